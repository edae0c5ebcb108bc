"""What rules come to over all calls: what guardrails stop, which rules say nothing, which duties are broken."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders import REFUND_CHARTER, a_charter, a_system
from charter.policy.guardrail import Guardrail
from charter.proof.duty_check import Broken, Hand, broken_duties
from charter.proof.effect import Side
from charter.proof.equal_authority import equal_authorities
from charter.proof.inspection import Fault, Inspection, idle_guardrails, inspect
from charter.proof.surroundings import Surroundings
from charter.registry.central import NOTHING
from charter.registry.charter import Charter
from charter.registry.duty import Duty
from policies import ENGINE, bound, guards
from proof_stage import Helpless, means

SYSTEM = a_system()
GRANT: dict[str, Any] = {"system": "payments", "actions": ["charge.read"], "objects": ["charge/*"]}
REFUND: dict[str, Any] = {"system": "payments", "actions": ["refund.create"], "objects": ["charge/*"]}


def side(*grants: dict[str, Any], guardrails: tuple[Guardrail, ...] = (), **changed: Any) -> Side:
    charter = a_charter(grants=[copy.deepcopy(each) for each in grants], **changed)
    return Side(bound(charter, guardrails=guardrails, system=SYSTEM), {"payments": SYSTEM})


def inspected(*grants: dict[str, Any], guardrails: tuple[Guardrail, ...] = (), **changed: Any) -> Inspection:
    return inspect(side(*grants, guardrails=guardrails, **changed), means())


def faults(found: Inspection) -> dict[str, Fault]:
    assert not found.gaps
    return {each.rule.removeprefix("refund-agent/"): each.fault for each in found.faults}


def test_a_charter_within_its_guardrails_is_proven_to_be() -> None:
    guard = guards('forbid (principal, action, resource) when { resource.path like "dispute/*" };')
    found = inspected(GRANT, guardrails=guard)
    assert found.is_inside
    assert found.faults == ()


def test_what_a_guardrail_stops_is_told_by_grant_and_guardrail_with_a_call_and_who_may_lift_it() -> None:
    guard = guards(
        '@id("frozen") @approval("payments-lead") forbid (principal, action, resource) '
        'when { resource.path like "charge/frozen-*" } unless { context.approvals.contains("payments-lead") };'
    )
    found = inspected(GRANT, REFUND, guardrails=guard)
    assert not found.is_inside
    assert {(each.rule, each.guardrail, each.lifted_by) for each in found.stops} == {
        ("refund-agent/grant-1", "guardrail/frozen", ("payments-lead",)),
        ("refund-agent/grant-2", "guardrail/frozen", ("payments-lead",)),
    }
    assert all(each.call["object"].startswith("charge/frozen-") for each in found.stops)


@pytest.mark.parametrize(
    ("grants", "guardrail", "expected"),
    [
        ([GRANT, REFUND], "", {}),
        ([GRANT | {"when": {"amount": {"max": "5 EUR", "min": "6 EUR"}}}], "", {"grant-1": Fault.NEVER_OPEN}),
        ([GRANT | {"objects": ["dispute/*"]}], "", {"grant-1": Fault.NEVER_OPEN}),
        ([GRANT], 'forbid (principal, action, resource) when { resource.path like "c*" };', {"grant-1": Fault.USELESS}),
        ([GRANT, GRANT | {"objects": ["charge/a*"]}], "", {"grant-2": Fault.SHADOWED}),
        ([GRANT | {"objects": ["charge/a*"]}, GRANT], "", {"grant-1": Fault.SHADOWED}),
        ([GRANT, GRANT], "", {"grant-2": Fault.SHADOWED}),
        ([GRANT | {"limit": [{"count": 5, "per": "day"}]}, GRANT | {"objects": ["charge/a*"]}], "", {}),
        (
            [GRANT | {"limit": [{"count": 5, "per": "day"}]}, GRANT | {"limit": [{"count": 4, "per": "day"}]}],
            "",
            {"grant-2": Fault.SHADOWED},
        ),
        ([GRANT | {"objects": ["charge/a*"]}, GRANT | {"objects": ["charge/b*"]}], "", {}),
        (
            [GRANT | {"when": {"hours": "08:00-18:00 UTC"}}, GRANT | {"when": {"hours": "09:00-17:00 UTC"}}],
            "",
            {"grant-2": Fault.SHADOWED},
        ),
        (
            [
                REFUND | {"approval": {"by": "payments-lead"}},
                REFUND | {"approval": {"by": "payments-lead", "count": 2}},
            ],
            "",
            {"grant-2": Fault.SHADOWED},
        ),
    ],
)
def test_a_rule_that_says_nothing_is_told(
    grants: list[dict[str, Any]], guardrail: str, expected: dict[str, Fault]
) -> None:
    assert faults(inspected(*grants, guardrails=guards(guardrail) if guardrail else ())) == expected


def test_contradictory_guardrails_leave_nothing_and_say_so() -> None:
    both = guards(
        '@id("day") forbid (principal, action, resource) when { context.local.UTC.minute < 720 };'
        '@id("night") forbid (principal, action, resource) when { context.local.UTC.minute >= 720 };'
    )
    found = inspected(GRANT, guardrails=both)
    assert faults(found) == {"grant-1": Fault.USELESS}
    assert found.faults[0].by == ("guardrail/day", "guardrail/night")
    assert "guardrail/day and guardrail/night together forbid whatever satisfies it" in found.faults[0].sentence


def test_only_the_rules_that_leave_nothing_are_named_of_those_that_stop_something() -> None:
    many = guards(
        '@id("small") forbid (principal, action, resource) unless { context.arguments has amount && '
        "context.arguments.amount has quantity && "
        'context.arguments.amount.quantity.value.lessThanOrEqual(decimal("50.0")) };'
        '@id("large") forbid (principal, action, resource) unless { context.arguments has amount && '
        "context.arguments.amount has quantity && "
        'context.arguments.amount.quantity.value.greaterThanOrEqual(decimal("60.0")) };'
        '@id("idle") forbid (principal, action, resource) when { resource.path like "dispute/*" };'
        '@id("partly") forbid (principal, action, resource) when { resource.path like "charge/a*" };'
    )
    (fault,) = inspected(REFUND, guardrails=many).faults
    assert (fault.fault, fault.by) == (Fault.USELESS, ("guardrail/large", "guardrail/small"))
    alone = guards(
        '@id("partly") forbid (principal, action, resource) when { resource.path like "charge/a*" };'
        '@id("all") forbid (principal, action, resource) when { resource.path like "charge/*" };'
    )
    (fault,) = inspected(REFUND, guardrails=alone).faults
    assert fault.sentence.endswith("is useless: guardrail/all forbids whatever satisfies it")


def test_only_the_rules_that_say_it_already_are_named_of_those_that_say_some_of_it() -> None:
    named = [GRANT | {"objects": [f"charge/{each}*"]} for each in ("a", "b")]
    (fault,) = inspected(GRANT | {"objects": ["charge/aa*", "charge/ba*"]}, *named, REFUND).faults
    assert fault.rule == "refund-agent/grant-1"
    assert fault.by == ("refund-agent/grant-2", "refund-agent/grant-3")
    assert fault.sentence.endswith(
        "is shadowed: refund-agent/grant-2 and refund-agent/grant-3 together allow whatever it allows too"
    )
    (fault,) = inspected(GRANT | {"objects": ["charge/aa*"]}, *named).faults
    assert fault.sentence.endswith("is shadowed: refund-agent/grant-2 allows whatever it allows too")


def test_a_guardrail_that_stops_nothing_is_told_unless_something_is_unproven() -> None:
    guard = guards('@id("idle") forbid (principal, action, resource) when { resource.path like "dispute/*" };')
    one = side(GRANT, guardrails=guard)
    assert idle_guardrails([one], [inspect(one, means())]) == ("guardrail/idle",)


def test_a_solver_that_gives_up_calls_no_rule_useless_and_no_charter_inside() -> None:
    guard = guards('@id("g") forbid (principal, action, resource) when { resource.path like "charge/x*" };')
    found = inspect(
        side(GRANT | {"objects": ["charge/b*"]}, GRANT | {"objects": ["charge/a*"]}, guardrails=guard),
        means(Helpless()),
    )
    assert found.faults == ()
    assert not found.is_inside
    assert found.gaps


def test_whether_a_rule_says_something_is_not_proven_where_the_solver_gives_up() -> None:
    """Without guardrails nothing else would be left unproven, and the rule would pass for one that says something."""
    never = REFUND | {"when": {"amount": {"min": "6 EUR", "max": "5 EUR"}}}
    found = inspect(side(never), means(Helpless()))
    assert found.faults == ()
    (gap,) = found.gaps
    assert gap.action == ("payments", "refund.create")
    assert gap.why == "whether `refund-agent/grant-1` says something: the solver gave up: timeout"
    assert faults(inspected(never)) == {"grant-1": Fault.NEVER_OPEN}


# --- duties -----------------------------------------------------------------------------------------------------------


def duty(**changed: Any) -> Duty:
    parts = [{"system": "payments", "actions": [name]} for name in ("charge.read", "refund.create")]
    return Duty.model_validate({"id": "apart", "parts": parts, "reason": "who reads does not pay"} | changed)


def hand(name: str, *grants: dict[str, Any], **changed: Any) -> Hand:
    given = {"principal": name, "delegation": None, "grants": [copy.deepcopy(each) for each in grants]} | changed
    charter = a_charter(**given)
    return Hand(charter, lambda: Side(bound(charter, system=SYSTEM), {"payments": SYSTEM}))


def broken(duty: Duty, *hands: Hand) -> list[Broken]:
    return list(broken_duties([duty], {each.charter.principal: each for each in hands}, means()))


def test_one_principal_that_may_do_all_parts_breaks_a_duty() -> None:
    (found,) = broken(duty(), hand("one", GRANT, REFUND))
    assert (found.principals, found.tie, found.is_proven) == (("one",), None, True)
    assert [each["call"]["action"] for each in found.calls] == ["charge.read", "refund.create"]
    assert found.sentence == "`one` may do all parts of `apart`: who reads does not pay"


def test_two_with_one_owner_break_it_together_and_two_strangers_do_not() -> None:
    reader, payer = hand("reader", GRANT), hand("payer", REFUND)
    (found,) = broken(duty(), reader, payer)
    assert found.principals == ("payer", "reader")
    assert found.tie == "owner"
    assert [each["principal"] for each in found.calls] == ["reader", "payer"]
    stranger = hand("payer", REFUND, owner={"person": "jo@example.com", "team": "other"})
    assert broken(duty(), reader, stranger) == []
    assert broken(duty(tied=[]), reader, payer) == []


def test_two_that_lend_to_each_other_break_it_only_if_both_charters_say_so() -> None:
    other = {"person": "jo@example.com", "team": "other"}
    lender = hand("reader", GRANT, delegation={"to": ["payer"]})
    borrower = hand("payer", REFUND, owner=other, delegation={"from": ["reader"]})
    assert [each.tie for each in broken(duty(), lender, borrower)] == ["delegation"]
    assert broken(duty(), lender, hand("payer", REFUND, owner=other)) == []


def test_what_a_person_must_say_yes_to_does_not_count() -> None:
    asked = REFUND | {"approval": {"by": "payments-lead"}}
    assert broken(duty(), hand("one", GRANT, asked)) == []
    partly = REFUND | {"approval": {"by": "payments-lead", "when": {"amount": {"over": "10 EUR"}}}}
    (found,) = broken(duty(), hand("one", GRANT, partly))
    assert found.calls[1]["call"]["arguments"]["amount"] <= 10


def test_a_part_is_of_its_objects_alone() -> None:
    apart = duty(
        parts=[
            {"system": "payments", "actions": ["charge.read"], "objects": ["charge/a*"]},
            {"system": "payments", "actions": ["charge.read"], "objects": ["charge/b*"]},
        ]
    )
    assert broken(apart, hand("one", GRANT | {"objects": ["charge/a*", "charge/c*"]})) == []
    (found,) = broken(apart, hand("one", GRANT))
    assert [each["call"]["object"][:8] for each in found.calls] == ["charge/a", "charge/b"]


def test_what_is_not_proven_counts_as_reached() -> None:
    hands = {"one": hand("one", GRANT, REFUND)}
    (found,) = broken_duties([duty()], hands, means(Helpless()))
    assert not found.is_proven
    assert "perhaps" in found.sentence


# --- the same authority -----------------------------------------------------------------------------------------------


def test_charters_with_the_same_authority_are_found_however_they_are_written() -> None:
    among = Surroundings({"payments": SYSTEM}, (), NOTHING, {})
    grants = {
        "one": [GRANT, REFUND],
        "two": [REFUND, GRANT | {"objects": ["charge/*", "charge/a*"]}],
        "three": [GRANT],
        "four": [GRANT | {"objects": ["*"]}],
        "five": [GRANT, GRANT | {"objects": ["charge/a*"]}, REFUND | {"limit": [{"count": 1, "per": "day"}]}],
    }
    charters: dict[str, Charter] = {name: a_charter(principal=name, grants=each) for name, each in grants.items()}
    sides = {name: Side(among.bind(each, ENGINE), among.systems) for name, each in charters.items()}
    assert sorted(equal_authorities(charters, sides, among, means())) == [("four", "three"), ("one", "two")]
    assert REFUND_CHARTER["principal"] == "refund-agent"
