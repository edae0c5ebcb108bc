"""Freezes, classes of data and defaults that a charter sets aside, decided by the real engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.policy.central import central_guardrails
from charter.policy.check import check_estate
from charter.policy.decide import decide
from charter.policy.request import NO_CHAIN, ChainFacts
from charter.policy.verdict import Deny, Escalate, word
from charter.registry.central import Central, read_central
from charter.registry.charter import Charter
from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from charter.registry.sourced import TextFile
from estates import PRINCIPAL, estate_files
from policies import ENGINE, REFUND, a_request, bound, guards

FREEZE = """\
charter: v1
freezes:
  - {id: year-end, from: 2026-12-18T18:00:00+01:00, until: 2027-01-04T06:00:00+01:00, MORE}
"""
OPEN = a_charter(grants=[{"system": "payments", "actions": ["charge.read", "refund.create"]}])
START, END = dt.datetime(2026, 12, 18, 17, tzinfo=dt.UTC), dt.datetime(2027, 1, 4, 5, tzinfo=dt.UTC)
INSIDE = dt.datetime(2026, 12, 24, 12, tzinfo=dt.UTC)


def laid_down(**files: str) -> Central:
    return read_central([TextFile(path.replace("_yaml", ".yaml"), text) for path, text in files.items()])


def frozen(more: str = "effects: [write, irreversible]") -> Central:
    return laid_down(calendars_yaml=FREEZE.replace("MORE", more))


def verdict(
    central: Central,
    charter: Charter = OPEN,
    *,
    action: str = "refund.create",
    arguments: Mapping[str, Any] = REFUND,
    **asked: Any,
) -> Any:
    slice_ = bound(charter, guardrails=central_guardrails(central, ENGINE), central=central)
    return decide(slice_, a_request(action, arguments, charter=charter, **asked), ENGINE)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-12-18T16:59:59.999+00:00", "allow"),
        ("2026-12-18T17:00:00+00:00", "deny"),
        ("2027-01-04T04:59:59.999+00:00", "deny"),
        ("2027-01-04T05:00:00+00:00", "allow"),
    ],
)
def test_a_freeze_holds_from_its_first_moment_to_before_its_last(at: str, expected: str) -> None:
    assert word(verdict(frozen(), at=dt.datetime.fromisoformat(at))) == expected


def test_a_freeze_says_which_it_is_where_it_stands_and_when_it_ends() -> None:
    found = verdict(frozen(), at=INSIDE)
    assert isinstance(found, Deny)
    (reason,) = found.reasons
    assert (reason.rule, str(reason.source)) == ("freeze/year-end", "calendars.yaml:3:5")
    assert reason.text == "the freeze `year-end` holds changes back until 2027-01-04 05:00 UTC"
    assert reason.mend == "wait until 2027-01-04 05:00 UTC"


def test_a_freeze_lets_reading_go_on_and_others_be() -> None:
    assert word(verdict(frozen(), action="charge.read", at=INSIDE)) == "allow"
    for scope in ("kinds: [copilot]", "environments: [sandbox]", "teams: [finance]", "tiers: [low]"):
        assert word(verdict(frozen(f"for: {{{scope}}}"), at=INSIDE)) == "allow"
    assert word(verdict(frozen("for: {kinds: [agent], tiers: [high]}"), at=INSIDE)) == "deny"


def test_a_person_of_the_freezes_role_lets_one_call_by() -> None:
    central = frozen("approval: payments-lead")
    found = verdict(central, at=INSIDE)
    assert isinstance(found, Escalate)
    assert found.approvers == ("payments-lead",)
    assert word(verdict(central, at=INSIDE, approvals=frozenset({"payments-lead"}))) == "allow"


@settings(max_examples=60)
@given(st.integers(-(10**6), 3 * 10**6), st.sampled_from(["charge.read", "refund.create"]))
def test_a_freeze_is_what_its_two_moments_say(seconds: int, action: str) -> None:
    at = START + dt.timedelta(seconds=seconds)
    is_frozen = 0 <= seconds < (END - START).total_seconds()
    expected = "deny" if is_frozen and action != "charge.read" else "allow"
    assert word(verdict(frozen(), action=action, at=at)) == expected


# --- whose models may see what ----------------------------------------------------------------------------------------


def seen_by(providers: str) -> Central:
    return laid_down(data_yaml=f"charter: v1\nclasses: {{customer-pii: {{level: restricted, {providers}}}}}\n")


@pytest.mark.parametrize(
    ("providers", "expected"),
    [("providers: [anthropic]", "allow"), ("providers: [openai]", "deny"), ("providers: []", "deny"), ("", "allow")],
)
def test_data_is_read_only_by_models_of_the_providers_it_may_go_to(providers: str, expected: str) -> None:
    assert word(verdict(seen_by(providers), action="charge.read")) == expected


def test_what_a_model_may_not_see_is_told_with_its_place() -> None:
    found = verdict(seen_by("providers: [openai, mistral]"), action="charge.read")
    (reason,) = found.reasons
    assert (reason.rule, str(reason.source)) == ("data/customer-pii", "data.yaml:2:56")
    assert reason.text == "only models of openai and mistral may see `customer-pii`"
    assert reason.mend == "use a model of openai or mistral, or have data.yaml allow another provider"


def test_writing_a_class_shows_it_to_nobody() -> None:
    assert word(verdict(seen_by("providers: [openai]"), action="refund.create")) == "allow"


MODELS = PAYMENTS_SYSTEM | {
    "system": "models", "kind": "model", "upstream": None, "provider": "openai",
    "actions": {"ask": {"tool": "ask", "effect": "read"}},
}  # fmt: skip


def test_what_is_sent_to_a_model_system_counts_for_its_provider() -> None:
    charter = a_charter(grants=[{"system": "models", "actions": ["ask"]}])
    models = a_system(**MODELS)
    for providers, expected in (("[anthropic]", "deny"), ("[openai]", "allow")):
        central = seen_by(f"providers: {providers}")
        slice_ = bound(charter, system=models, guardrails=central_guardrails(central, ENGINE), central=central)
        request = a_request("ask", {}, charter=charter, system=models)
        assert (request.touched.sends, request.touched.reads) == (frozenset({"customer-pii"}), frozenset())
        assert word(decide(slice_, request, ENGINE)) == expected


# --- what can be done under a purpose ---------------------------------------------------------------------------------

LISTED = """\
charter: v1
purposes:
  dispute-handling:
    only:
      - {system: payments, actions: [charge.read]}
      - {system: payments, actions: [refund.create], objects: ["charge/ch_1", "charge/vip/*"]}
  everything: {only: [{system: payments, actions: ["*"]}]}
  another: {only: [{system: payments, actions: [charge.read]}]}
"""


@pytest.mark.parametrize(
    ("purpose", "action", "charge", "expected"),
    [
        ("dispute-handling", "charge.read", "ch_9", "allow"),
        ("dispute-handling", "refund.create", "ch_1", "allow"),
        ("dispute-handling", "refund.create", "vip/7", "allow"),
        ("dispute-handling", "refund.create", "ch_2", "deny"),
        ("everything", "refund.create", "ch_2", "allow"),
        ("another", "refund.create", "ch_1", "deny"),
        ("unlisted", "refund.create", "ch_2", "allow"),
        ("", "refund.create", "ch_2", "allow"),
    ],
)
def test_under_a_purpose_nothing_is_done_but_what_it_lists(
    purpose: str, action: str, charge: str, expected: str
) -> None:
    arguments = {**REFUND, "charge_id": charge} if action == "refund.create" else {"charge_id": charge}
    chain = ChainFacts(1, purpose, "maria@example.com", by_person=True) if purpose else NO_CHAIN
    found = verdict(laid_down(purposes_yaml=LISTED), action=action, arguments=arguments, chain=chain)
    assert word(found) == expected


def test_what_is_no_part_of_a_task_is_told_with_the_purposes_place() -> None:
    chain = ChainFacts(1, "another", "maria@example.com", by_person=True)
    (reason,) = verdict(laid_down(purposes_yaml=LISTED), chain=chain).reasons
    assert (reason.rule, str(reason.source)) == ("purpose/another", "purposes.yaml:8:12")
    assert reason.text == "the task is for `another`, which this call is no part of"
    assert "purposes.yaml" in reason.mend


def test_a_purpose_grants_nothing() -> None:
    nothing = a_charter(grants=[{"system": "payments", "actions": ["charge.read"]}])
    chain = ChainFacts(1, "everything", "maria@example.com", by_person=True)
    assert word(verdict(laid_down(purposes_yaml=LISTED), nothing, chain=chain)) == "deny"


@pytest.mark.parametrize(
    ("wrong", "where", "said"),
    [
        ("{system: paymens, actions: [charge.read]}", "purposes.yaml:3:28", "there is no system `paymens`"),
        ("{system: payments, actions: [charge.red]}", "purposes.yaml:3:48", "did you mean `charge.read`"),
        ("{system: payments, actions: ['charge.*']}", "purposes.yaml:3:48", "is no action name"),
        ("{system: payments}", "purposes.yaml:3:19", "`actions` is missing"),
        ("", "purposes.yaml:3:18", "at least 1"),
    ],
)
def test_a_purpose_that_names_what_there_is_none_of_is_told_at_its_place(wrong: str, where: str, said: str) -> None:
    text = f"charter: v1\npurposes:\n  a-task: {{only: [{wrong}]}}\n"
    with pytest.raises(EstateError) as found:
        check_estate(parse_estate(estate_files({"purposes.yaml": text})), ENGINE)
    told = [str(each) for each in found.value.problems]
    assert any(where in each and said in each for each in told), told


# --- ceilings on what is read, written and sent -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "action", "told"),
    [
        ({"read": []}, "charge.read", "`charge.read` on `payments` reads `customer-pii`, which the charter"),
        ({"read": []}, "refund.create", None),
        ({"write": []}, "refund.create", "`refund.create` on `payments` writes `customer-pii`, which the charter"),
        ({"write": [], "send": []}, "charge.read", None),
    ],
)
def test_a_charter_may_read_what_it_may_not_write(flow: dict[str, Any], action: str, told: str | None) -> None:
    charter = a_charter(grants=OPEN.to_json()["grants"], data_flow=flow)
    found = verdict(Central(), charter, action=action)
    assert word(found) == ("deny" if told else "allow")
    if told:
        assert found.reasons[0].text.startswith(told)
        assert found.reasons[0].mend.startswith("add `customer-pii` to `data_flow.")


def test_what_a_flow_names_must_be_in_the_charters_data() -> None:
    text = PRINCIPAL.replace("data: [customer-pii]\n", "data: [customer-pii]\ndata_flow: {write: [customer-pi]}\n")
    with pytest.raises(EstateError) as caught:
        parse_estate(estate_files({"principals/refund-agent.yaml": text}))
    assert [str(each) for each in caught.value.problems] == [
        "principals/refund-agent.yaml:9:21: `customer-pi` is not in the charter's `data`; did you mean `customer-pii`?"
    ]


# --- force and exceptions ---------------------------------------------------------------------------------------------

DEFAULT = (
    '@id("no-refunds")\n@force("default")\nforbid (principal, action in Charter::Action::"irreversible", resource);\n'
)


@pytest.mark.parametrize(
    ("until", "at", "expected"),
    [
        (None, "2027-06-01T00:00:00+00:00", "allow"),
        ("2026-12-01", "2026-12-01T23:59:59+00:00", "allow"),
        ("2026-12-01", "2026-12-02T00:00:00+00:00", "deny"),
    ],
)
def test_a_charter_sets_a_default_aside_until_its_last_day(until: str | None, at: str, expected: str) -> None:
    exception = {"rule": "no-refunds", "reason": "small"} | ({"until": until} if until else {})
    charter = a_charter(grants=OPEN.to_json()["grants"], exceptions=[exception])
    slice_ = bound(charter, guardrails=guards(DEFAULT))
    request = a_request("refund.create", REFUND, charter=charter, at=dt.datetime.fromisoformat(at))
    assert word(decide(slice_, request, ENGINE)) == expected
    assert word(decide(bound(OPEN, guardrails=guards(DEFAULT)), a_request(charter=OPEN), ENGINE)) == "deny"


@pytest.mark.parametrize("force", ["hard", "ceiling", ""])
def test_nothing_but_a_default_can_be_set_aside(force: str) -> None:
    text = DEFAULT.replace('@force("default")\n', f'@force("{force}")\n' if force else "")
    charter = a_charter(grants=OPEN.to_json()["grants"], exceptions=[{"rule": "no-refunds", "reason": "small"}])
    slice_ = bound(charter, guardrails=guards(text))
    assert word(decide(slice_, a_request("refund.create", REFUND, charter=charter), ENGINE)) == "deny"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('@force("firm")\nforbid (principal, action, resource);', "guardrails/house.cedar:1:2: `firm` is no force"),
        (
            '@force("hard")\nforbid (principal, action, resource) unless { context.approvals.contains("owner") };',
            "guardrails/house.cedar:1:2: what is hard nobody lifts, and yet this asks for an approval; remove the",
        ),
    ],
)  # fmt: skip
def test_a_force_that_makes_no_sense_is_refused(text: str, told: str) -> None:
    with pytest.raises(EstateError) as caught:
        guards(text)
    assert str(caught.value.problems[0]).startswith(told)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("no-refund", "there is no rule `no-refund`; did you mean `no-refunds`?"),
        ("irreversible-at-home", "the rule `irreversible-at-home` is ceiling, so no charter can set it aside"),
        ("house-rule", "the rule `house-rule` is hard, so no charter can set it aside"),
    ],
)  # fmt: skip
def test_an_exception_names_a_default_that_there_is(rule: str, told: str) -> None:
    files = {
        "principals/refund-agent.yaml": PRINCIPAL + f"exceptions: [{{rule: {rule}, reason: small}}]\n",
        "guardrails/more.cedar": DEFAULT,
        "guardrails/rules.yaml": "charter: v1\nrules: [{id: house-rule, reason: x, at_most: {review: 99w}}]\n",
    }
    (problem,) = check_estate(parse_estate(estate_files(files)), ENGINE)
    assert str(problem).startswith(f"principals/refund-agent.yaml:21:21: {told}")
