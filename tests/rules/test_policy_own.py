"""The Cedar beside a charter: what grants cannot say, for one principal, within the organisation's rules."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import a_charter, a_system
from charter.bootstrap import trials
from charter.core.clock import SystemClock
from charter.policy.check import check_estate
from charter.policy.decide import decide
from charter.policy.own import parse_own
from charter.policy.verdict import Allow, Deny, Escalate, Layer, word
from charter.registry.data_class import DataClasses
from charter.registry.inventory import inventory_of
from charter.registry.manifest import parse_estate
from charter.registry.own_policy import permitted
from charter.registry.problem import EstateError
from charter.registry.risk import risk_of
from estates import PRINCIPAL, a_registry, estate_files
from policies import ENGINE, REFUND, a_request, bound, guards

PERMIT = """\
@id("odd-charges")
@reason("it reads charges of odd customers by day")
@mend("ask by day")
permit (
  principal,
  action == Charter::Action::"payments/charge.read",
  resource
)
when { resource.path like "charge/odd-*" && context.local["Europe/Berlin"].minute >= 480 };
"""
REFUNDS = """\
permit (principal, action in [Charter::Action::"payments/refund.create"], resource in Charter::System::"payments")
when { context.arguments has amount.quantity && context.arguments.amount.quantity.value.lessThan(decimal("100.0")) };
"""
FORBID = """\
@id("no-friday-refunds")
@reason("no refunds on Fridays")
forbid (principal == Charter::Principal::"refund-agent", action in Charter::Action::"irreversible", resource)
when { context.local.UTC.day == "fri" };
"""
READS = [{"system": "payments", "actions": ["charge.read"], "objects": ["charge/even-*"]}]
FRIDAY = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)


def decided(policy: str, action: str = "charge.read", arguments: Any = None, **asked: Any) -> Any:
    charter = a_charter(grants=asked.pop("grants", READS), policy=policy)
    slice_ = bound(charter, guardrails=asked.pop("guardrails", ()))
    request = a_request(action, arguments or {"charge_id": "odd-1"}, charter=charter, **asked)
    return decide(slice_, request, ENGINE)


def test_a_permit_allows_what_no_grant_does_and_is_told_as_the_reason() -> None:
    found = decided(PERMIT)
    assert isinstance(found, Allow)
    (reason,) = found.reasons
    assert (reason.rule, str(reason.source)) == ("refund-agent/policy/odd-charges", "principals/refund-agent.cedar:4:1")
    assert word(decided(PERMIT, arguments={"charge_id": "even-1"})) == "allow"  # by the grant
    assert word(decided(PERMIT, arguments={"charge_id": "1"})) == "deny"


def test_a_permit_alone_says_when_it_would_allow() -> None:
    night = dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC)
    found = decided(PERMIT, grants=[], at=night)
    assert isinstance(found, Deny)
    (reason,) = found.reasons
    assert reason.text == (
        "refund-agent may do `charge.read` on `payments` only as `refund-agent/policy/odd-charges` says: "
        "it reads charges of odd customers by day"
    )
    assert (reason.mend, reason.layer) == ("ask by day", Layer.CHARTER)


@pytest.mark.parametrize("amount", ["x", None, [5], True])
def test_a_permit_allows_nothing_that_it_cannot_read(amount: Any) -> None:
    assert word(decided(REFUNDS, "refund.create", REFUND)) == "allow"
    assert word(decided(REFUNDS, "refund.create", REFUND | {"amount": amount})) == "deny"
    blind = 'permit (principal, action == Charter::Action::"payments/refund.create", resource)'
    blind += ' unless { context.arguments has note.text && context.arguments.note.text like "*!*" };'
    assert word(decided(blind, "refund.create", REFUND | {"note": "a"})) == "allow"
    assert word(decided(blind, "refund.create", REFUND | {"note": "a!"})) == "deny"
    assert word(decided(blind, "refund.create", REFUND | {"note": ["a!"]})) == "deny"


def test_a_forbid_narrows_grants_and_own_permits_alike() -> None:
    found = decided(REFUNDS + FORBID, "refund.create", REFUND, at=FRIDAY)
    assert isinstance(found, Deny)
    (reason,) = found.reasons
    assert (reason.layer, reason.rule) == (Layer.CHARTER, "refund-agent/policy/no-friday-refunds")
    assert reason.text == "no refunds on Fridays"
    grants = [{"system": "payments", "actions": ["refund.create"]}]
    assert word(decided(FORBID, "refund.create", REFUND, grants=grants, at=FRIDAY)) == "deny"
    assert word(decided(FORBID, "refund.create", REFUND, grants=grants)) == "allow"


def test_guardrails_and_built_in_rules_stand_above_a_permit() -> None:
    night = guards('forbid (principal, action, resource) when { resource.path like "charge/*" };')
    assert word(decided(PERMIT, guardrails=night)) == "deny"
    charter = a_charter(grants=[], policy=PERMIT, data=["other"])
    assert (
        word(decide(bound(charter), a_request("charge.read", {"charge_id": "odd-1"}, charter=charter), ENGINE))
        == "deny"
    )
    sandbox = a_charter(grants=[], policy=PERMIT, environment="sandbox")
    request = a_request("charge.read", {"charge_id": "odd-1"}, charter=sandbox)
    assert word(decide(bound(sandbox), request, ENGINE)) == "deny"


def test_a_permit_may_ask_for_a_person() -> None:
    text = REFUNDS.replace("};", '}\nwhen { context.approvals.contains("payments-lead") };')
    found = decided(text, "refund.create", REFUND)
    assert isinstance(found, Escalate)
    assert found.approvers == ("payments-lead",)
    (reason,) = found.reasons
    assert reason.text.endswith("by `refund-agent/policy/1` only once `payments-lead` says yes")
    assert word(decided(text, "refund.create", REFUND, approvals=frozenset({"payments-lead"}))) == "allow"


def test_what_a_permit_reaches_counts_as_what_a_grant_reaches() -> None:
    charter, systems = a_charter(grants=[], policy=PERMIT + REFUNDS + FORBID), {"payments": a_system()}
    reach = inventory_of(charter, systems)
    assert (reach.systems, reach.data, reach.is_irreversible) == (("payments",), ("customer-pii",), True)
    assert risk_of(charter, systems, DataClasses(charter="v1")).points == 12
    assert bound(charter).actions_on("payments") == {"charge.read", "refund.create"}


ACTIONS = st.sampled_from(['Charter::Action::"a/b"', 'Charter :: Action\n::"a/c.d"', 'Charter::Action::"x/y z"'])
SCOPES = st.one_of(
    ACTIONS.map(lambda one: f"action == {one}"),
    st.lists(ACTIONS, min_size=1, max_size=3).map(lambda some: f"action in [{', '.join(some)}]"),
)
CLAUSES = st.sampled_from(
    ["", 'when { action == Charter::Action::"no/no" }', '// permit Charter::Action::"no/no";\n',
     'when { resource.path == "permit (principal, action == Charter::Action::\\\\\\"no/no\\\\\\", resource);" }']
)  # fmt: skip
STATEMENTS = st.builds(
    lambda note, effect, scope, clause: f'@reason("{note}")\n{effect} (principal, {scope}, resource)\n{clause};\n',
    st.sampled_from(["x", "forbid; permit (", "when"]),
    st.sampled_from(["permit", "forbid"]),
    SCOPES,
    CLAUSES,
)


@settings(max_examples=200)
@given(st.lists(STATEMENTS, max_size=4))
def test_the_inventory_finds_the_actions_that_cedar_finds(statements: list[str]) -> None:
    text = "".join(statements)
    found = parse_own("a", text, ENGINE)
    wanted = {tuple(each.split("/", 1)) for permit in found.permits.values() for each in permit.actions}
    assert set(permitted(text)) == wanted


@settings(max_examples=80)
@given(
    st.sampled_from([PERMIT, REFUNDS, PERMIT + REFUNDS]),
    st.sampled_from(["charge.read", "refund.create"]),
    st.sampled_from(["odd-1", "even-1", "1"]),
    st.sampled_from([50, 100, "x", 99.9]),
    st.integers(0, 48).map(lambda hours: FRIDAY + dt.timedelta(hours=hours)),
)
def test_a_forbid_beside_a_charter_never_allows_more(text: str, action: str, charge: str, amount: Any, at: Any) -> None:
    arguments = {"charge_id": charge, "amount": amount, "currency": "EUR"}
    free = decided(text, action, arguments, at=at)
    narrowed = decided(text + FORBID, action, arguments, at=at)
    assert word(narrowed) == "deny" or word(narrowed) == word(free)
    if at.weekday() == 4 and action == "refund.create":
        assert word(narrowed) == "deny"
    else:
        assert word(narrowed) == word(free)


ALIKE = '@id("a")\nforbid (principal, action, resource);\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("permit (principal, action, resource);", "1:1: a permit names its actions, so that everyone can see"),
        ('permit (principal, action in Charter::Action::"read", resource);', "1:1: a permit names its actions"),
        (
            'permit (principal == Charter::Principal::"other", action == Charter::Action::"payments/x", resource);',
            "1:1: what stands beside the charter of `refund-agent` is about `refund-agent` alone",
        ),
        ('forbid (principal, action == Charter::Action::"payments/charge.reed", resource);', "`charge.reed` is no"),
        ('forbid (principal, action, resource in Charter::System::"payment");', "there is no system `payment`;"),
        ('forbid (principal, action, resource) unless { context.approvals.contains("led") };', "no role `led`"),
        ('forbid (principal, action, resource) when { principal.nme == "x" };', "`nme` is nothing that"),
        ("forbid (principal, action, resource) when { context.arguments.amount.number > 5 };", "may be missing"),
        ("permit (principal, action == , resource);", "`,` cannot stand here"),
        ('@force("hard")\nforbid (principal, action, resource);', None),
        ('@reson("x")\nforbid (principal, action, resource);', "`@reson` means nothing here; did you mean `@reason`?"),
        (ALIKE + ALIKE, "is taken; by the one"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_beside_a_charter_is_told_with_its_place(text: str, told: str | None) -> None:
    try:
        estate = parse_estate(estate_files({"principals/refund-agent.cedar": text}))
        found = check_estate(estate, ENGINE)
    except EstateError as err:
        found = err.problems
    if told is None:
        assert found == ()
    else:
        assert any(told in str(each) and str(each).startswith("principals/refund-agent.cedar:") for each in found), (
            found
        )


def test_a_policy_without_a_charter_and_one_inside_a_charter_are_refused() -> None:
    with pytest.raises(EstateError, match="there is no charter `lost` beside it"):
        parse_estate(estate_files({"principals/lost.cedar": PERMIT}))
    inside = PRINCIPAL + "policy: 'permit (principal, action, resource);'\n"
    with pytest.raises(EstateError, match="the policy stands in a file of its own; write it into principals/refund"):
        parse_estate(estate_files({"principals/refund-agent.yaml": inside}))


def test_what_stands_beside_is_part_of_the_version_and_of_its_signature(tmp_path: Any) -> None:
    with a_registry(tmp_path) as house:
        plain = parse_estate(estate_files({}))
        house.apply(plain)
        estate = parse_estate(estate_files({"principals/refund-agent.cedar": FORBID}))
        found = house.plan(estate)
        (change,) = found.changes
        assert change.name == "refund-agent"
        assert '+@id("no-friday-refunds")' in change.notes
        house.apply(estate)
        assert house.plan(estate).changes == ()
        assert len(house.plan(plain).changes) == 1


def test_table_tests_cover_what_stands_beside() -> None:
    estate = parse_estate(estate_files({"principals/refund-agent.cedar": FORBID}))
    assert "refund-agent/policy/no-friday-refunds" in trials.run(estate, SystemClock()).untested
