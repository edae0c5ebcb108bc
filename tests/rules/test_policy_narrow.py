"""A narrowed token: the narrower of charter and details, whatever the call; limits over the token's life."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import a_charter
from charter.policy.chain import ChainCase, Party, decide_chain
from charter.policy.narrow import Narrowed, decide_narrowed
from charter.policy.request import Request
from charter.policy.verdict import Allow, Deny, Escalate, Layer, Verdict
from charter.registry.charter import Charter
from charter.registry.narrowing import parse_narrowing
from policies import ENGINE, REFUND, a_request, an_asker, bound

GRANTS: list[dict[str, Any]] = [
    {"system": "payments", "actions": ["charge.read"]},
    {
        "system": "payments",
        "actions": ["refund.create"],
        "objects": ["charge/*"],
        "when": {"amount": {"max": "200 EUR"}},
    },
    {
        "system": "payments",
        "actions": ["refund.create"],
        "objects": ["charge/ch_9"],
        "approval": {"by": "payments-lead"},
    },
]
CHARTER = a_charter(grants=GRANTS)
SLICE = bound(CHARTER)


def case_of(charter: Charter = CHARTER) -> ChainCase:
    return ChainCase((Party("prn_1", an_asker(charter), SLICE),))


def narrowed(*details: dict[str, Any]) -> Narrowed:
    found = [{"type": "charter_grant", "system": "payments"} | detail for detail in details]
    return Narrowed(parse_narrowing(found), "tok_1", 2_000_000_000)


def by(request: Request, *details: dict[str, Any]) -> Verdict:
    return decide_narrowed(case_of(), request, ENGINE, narrowed(*details))


def refund(**changed: Any) -> Request:
    return a_request("refund.create", REFUND | changed, charter=CHARTER)


def why(verdict: Verdict) -> str:
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.TOKEN
    return verdict.reasons[0].text


def test_a_token_that_is_not_narrowed_may_do_what_its_charter_says() -> None:
    assert isinstance(decide_narrowed(case_of(), refund(), ENGINE, None), Allow)


def test_a_detail_that_covers_the_call_leaves_it_as_the_charter_has_it() -> None:
    assert by(refund(), {"actions": ["refund.create"]}) == decide_chain(case_of(), refund(), ENGINE)


@pytest.mark.parametrize(
    "detail",
    [{"actions": ["charge.read"]}, {"objects": ["charge/ch_2"]}, {"objects": ["charge/CH_1"]}, {"objects": ["ch_1"]}],
)
def test_what_no_detail_covers_is_denied_although_the_charter_grants_it(detail: dict[str, Any]) -> None:
    assert "does not cover `refund.create` on `charge/ch_1`" in why(by(refund(), detail))


def test_a_detail_for_another_system_covers_nothing_here() -> None:
    assert "does not cover" in why(by(refund(), {"system": "ledger"}))


def test_what_the_charter_denies_stays_denied_whatever_the_token_says() -> None:
    verdict = by(refund(amount=900), {"actions": ["*"], "objects": ["*"], "grants": ["refund-agent/grant-2"]})
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].layer is Layer.CHARTER


def test_a_token_for_one_grant_is_not_allowed_by_another() -> None:
    assert "narrowed to other grants than `refund-agent/grant-2`" in why(
        by(refund(), {"grants": ["refund-agent/grant-1"]})
    )
    assert isinstance(by(refund(), {"grants": ["refund-agent/grant-2"]}), Allow)


def test_a_grant_that_needs_a_yes_is_asked_for_it_although_another_would_not_be() -> None:
    request = refund(charge_id="ch_9")
    assert isinstance(by(request, {}), Allow)
    verdict = by(request, {"grants": ["refund-agent/grant-3"]})
    assert isinstance(verdict, Escalate)
    assert verdict.approvers == ("payments-lead",)
    approved = by(replace(request, approvals=frozenset({"payments-lead"})), {"grants": ["refund-agent/grant-3"]})
    assert isinstance(approved, Allow)
    assert approved.approvals_used == ("payments-lead",)
    assert [reason.rule for reason in approved.reasons] == ["refund-agent/grant-3"]


def test_limits_are_counted_for_this_token_alone_and_beside_the_charters() -> None:
    limits = [{"count": 3}, {"sum": "amount", "max": "100 EUR"}]
    verdict = by(refund(), {"limits": limits})
    assert isinstance(verdict, Allow)
    (own,) = verdict.further
    (dues,) = own.options
    assert [(due.key, due.amount, due.ceiling, due.window.until) for due in dues] == [
        ("token/tok_1/0.0", 1, 3, 2_000_000_000),
        ("token/tok_1/0.1", 500_000, 1_000_000, 2_000_000_000),
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"amount": 100.01}, "at most 100 EUR"),
        ({"currency": "USD"}, "an amount that this call does not give so"),
        ({"currency": None}, "an amount that this call does not give so"),
        ({"amount": "1e2"}, "an amount that this call does not give so"),
        ({"amount": -5}, "an amount that this call does not give so"),
        ({"amount": 0.00001}, "an amount that this call does not give so"),
        ({"amount": None}, "an amount that this call does not give so"),
    ],
)
def test_what_cannot_be_counted_is_not_allowed(changed: dict[str, Any], said: str) -> None:
    free = a_charter(grants=[{"system": "payments", "actions": ["refund.create"]}])
    case = ChainCase((Party("prn_1", an_asker(free), bound(free)),))
    request = a_request("refund.create", REFUND | changed, charter=free)
    assert isinstance(decide_chain(case, request, ENGINE), Allow)
    verdict = decide_narrowed(case, request, ENGINE, narrowed({"limits": [{"sum": "amount", "max": "100 EUR"}]}))
    assert said in why(verdict)


def test_a_call_without_the_amount_is_not_free_of_a_limit_on_it() -> None:
    """A refund without an amount may well be one of everything; reads are asked for in a detail of their own."""
    free = a_charter(grants=[{"system": "payments", "actions": ["refund.create"]}])
    case = ChainCase((Party("prn_1", an_asker(free), bound(free)),))
    request = a_request("refund.create", {k: v for k, v in REFUND.items() if k != "amount"}, charter=free)
    limited = {"limits": [{"sum": "amount", "max": "100 EUR"}]}
    assert isinstance(decide_chain(case, request, ENGINE), Allow)
    assert isinstance(decide_narrowed(case, request, ENGINE, narrowed(limited)), Deny)
    assert isinstance(decide_narrowed(case, request, ENGINE, narrowed(limited, {"objects": ["charge/*"]})), Allow)


@pytest.mark.parametrize("most", ["100 eur", "100.00 EUR"])
def test_the_unit_of_a_limit_is_told_as_charters_tell_it(most: str) -> None:
    verdict = by(refund(), {"limits": [{"sum": "amount", "max": most}]})
    assert isinstance(verdict, Allow)
    assert [(due.amount, due.ceiling) for due in verdict.further[0].options[0]] == [(500_000, 1_000_000)]


def test_the_first_detail_that_lets_the_call_through_counts() -> None:
    verdict = by(refund(), {"objects": ["charge/x"]}, {"grants": ["refund-agent/grant-1"]}, {"limits": [{"count": 1}]})
    assert isinstance(verdict, Allow)
    assert verdict.further[0].options[0][0].key == "token/tok_1/2.0"


parts = st.fixed_dictionaries(
    {},
    optional={
        "actions": st.lists(st.sampled_from(["charge.read", "refund.create", "other"]), min_size=1, max_size=2),
        "objects": st.lists(st.sampled_from(["*", "charge/*", "charge/ch_1", "charge/ch_9"]), min_size=1, max_size=2),
        "grants": st.lists(st.sampled_from([f"refund-agent/grant-{n}" for n in (1, 2, 3, 7)]), min_size=1, max_size=3),
        "limits": st.lists(st.sampled_from([{"count": 1}, {"sum": "amount", "max": "60 EUR"}]), max_size=2),
    },
)


@settings(max_examples=150)
@given(
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(["charge.read", "refund.create"]),
    st.sampled_from(["ch_1", "ch_9", "x"]),
    st.sampled_from([10, 50, 150, 900]),
    st.sampled_from([(), ("payments-lead",)]),
)
def test_no_details_allow_what_the_charter_does_not(
    details: list[dict[str, Any]], action: str, charge: str, amount: int, approvals: tuple[str, ...]
) -> None:
    """The narrower of the two: an allow is one of the charter's, by its grants, with its limits and more."""
    arguments = REFUND | {"charge_id": charge, "amount": amount}
    request = a_request(action, arguments, charter=CHARTER, approvals=approvals)
    plain, found = decide_chain(case_of(), request, ENGINE), by(request, *details)
    if isinstance(plain, Deny):
        assert isinstance(found, Deny)
    if isinstance(plain, Escalate):
        assert not isinstance(found, Allow)
        if isinstance(found, Escalate):
            assert set(found.approvers) >= set(plain.approvers)
    if isinstance(plain, Allow) and isinstance(found, Allow):
        assert {reason.rule for reason in found.reasons} <= {reason.rule for reason in plain.reasons} or approvals
        named = {rule for detail in details for rule in detail.get("grants", [])}
        if all("grants" in detail for detail in details):
            assert {reason.rule for reason in found.reasons} <= named
