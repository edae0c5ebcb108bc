"""Cedar's expressions as terms: held to Cedar itself, over its whole language and with every kind of mistake."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

import charter.proof.cedar as translation
from builders import a_charter, a_system
from cedar_dice import a_call, a_charter_by_dice, some_guardrails
from cedar_fuzz import KINDS, VALUES, Author, a_world, bound, read
from charter.core.errors import CharterError
from charter.policy.decide import decide
from charter.policy.expression import NotModelledError
from charter.policy.verdict import Allow
from charter.policy.vocabulary import (
    CALL_ATTRIBUTES,
    CHAIN_ATTRIBUTES,
    FORMS,
    LOCAL_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    PRINCIPAL_ATTRIBUTES,
    QUANTITY_ATTRIBUTES,
)
from charter.proof import cedar_numbers, cedar_sets
from charter.proof.authority import Reach, reach_of
from charter.proof.cedar import Reader, rule_of
from charter.proof.reading import truth_value
from charter.proof.setting import setting_of
from charter.proof.symbol import Fields, Kind, Scalar, Symbol, Thing
from charter.proof.term import FALSE, TRUE, Term, equal, evaluate, plus, times, value
from charter.proof.witness import values_of
from policies import ENGINE, a_request
from policies import bound as bound_slice
from proof_stage import agree, variables_of

NAMES = tuple(KINDS)


def decisions(seeds: range, worlds: int = 12) -> tuple[int, int, int]:
    """Compare on policies by dice; return how many policies there were, how many modelled, and on how many worlds."""
    seen = modelled = count = 0
    for seed in seeds:
        dice = random.Random(seed)  # noqa: S311 - a test's dice
        author = Author(dice, narrow=dice.random() < 0.3)
        try:
            policies = read("\n".join(author.policy() for _ in range(4)))
        except ValueError:
            continue
        reference = bound(policies)
        for _ in range(worlds):
            modelled += agree(a_world(dice), policies, reference, NAMES)
            seen, count = seen + len(policies), count + 1
    return seen, modelled, count


def test_terms_say_what_cedar_says_of_policies_by_dice() -> None:
    seen, modelled, count = decisions(range(120))
    assert count > 1_000
    assert modelled > 0.95 * seen


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_terms_say_what_cedar_says_of_very_many_policies() -> None:
    seen, modelled, count = decisions(range(10_000, 19_000))
    assert count > 100_000
    assert modelled > 0.95 * seen


# --- planted faults: each a way in which a translation could be too lax -----------------------------------------------


def _no_overflow(kind: Kind, term: Term, holds_up: Term) -> translation.Reading:
    return translation.Reading(Scalar(kind, term), holds_up)


def _same_of_any_kind(one: object, other: object) -> Term:
    if isinstance(one, Scalar) and isinstance(other, Scalar) and one.term.sort is other.term.sort:
        return equal(one.term, other.term)
    return FALSE


def _eager(reader: Reader, given: dict[str, object], depth: int) -> translation.Reading:
    left, left_up = reader.truth(given["left"], depth)  # type: ignore[arg-type]
    right, right_up = reader.truth(given["right"], depth)  # type: ignore[arg-type]
    return truth_value(translation.every((left, right)), translation.every((left_up, right_up)))


FAULTS: dict[str, tuple[str, object]] = {
    "sums have no end": ("_bounded", _no_overflow),
    "a duration is a long": ("same", _same_of_any_kind),
}
READERS: dict[str, tuple[str, Callable[..., object]]] = {
    "the right of && is always read": ("&&", _eager),
    "less than is at most": ("<", cedar_numbers.ordering(or_equal=True)),
    "a sum is a difference": ("+", cedar_numbers.adding(-1)),
    "contains any is contains all": ("containsAny", cedar_sets.comparing(cedar_sets.holds_all)),
    "decimals at most is less": ("lessThanOrEqual", cedar_numbers.decimal_ordering()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = FAULTS[fault]
    for module in (translation, cedar_numbers, cedar_sets):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, wrong)
    with pytest.raises(AssertionError):
        decisions(range(1_000), 4)


@pytest.mark.parametrize("fault", READERS)
def test_a_planted_fault_of_an_operator_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, wrong = READERS[fault]
    monkeypatch.setitem(translation._READERS, operator, wrong)
    with pytest.raises(AssertionError):
        decisions(range(1_000), 4)


# --- what Charter writes ----------------------------------------------------------------------------------------------


def _compared(seeds: range) -> tuple[int, int]:
    """Hold the terms of slices to decisions, and facts to calls; return how many decisions, and how many allows."""
    count = allowed = 0
    for seed in seeds:
        dice = random.Random(seed)  # noqa: S311 - a test's dice
        charter, system = a_charter_by_dice(dice)
        slice_ = bound_slice(charter, system=system, guardrails=some_guardrails(dice))
        reaches: dict[str, Reach] = {}
        for _ in range(25):
            action, arguments, at, approvals, restrained = a_call(dice)
            try:
                request = a_request(
                    action, arguments, charter=charter, system=system, at=at, approvals=approvals, restrained=restrained
                )
            except CharterError:
                continue
            if action not in reaches:
                reaches[action] = reach_of(slice_, {system.system: system}, (system.system, action), ENGINE)
            is_allowed = isinstance(decide(slice_, request, ENGINE), Allow)
            setting = reaches[action].setting
            values = values_of(request, setting) if setting else {}
            assert evaluate(reaches[action].allowed, values) is is_allowed, (seed, action, arguments)
            for fact in setting.facts([reaches[action].allowed]) if setting else ():
                assert evaluate(fact, values) is True, (seed, action, arguments, fact)
            count, allowed = count + 1, allowed + is_allowed
    return count, allowed


def test_what_a_slice_allows_in_terms_is_what_is_decided_and_every_call_keeps_the_facts() -> None:
    count, allowed = _compared(range(80))
    assert count > 1_500
    assert allowed > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_slices_allow_in_terms_is_what_is_decided_over_many_charters() -> None:
    count, allowed = _compared(range(1_000, 4_000))
    assert count > 60_000
    assert allowed > 4_000


# --- single words -----------------------------------------------------------------------------------------------------


def _rule(text: str) -> translation.Rule:
    policies = read(f"permit (principal, action, resource) when {{ {text} }};")
    return rule_of(policies["policy0"], _well_typed())


def _well_typed() -> dict[str, Symbol]:
    """Return the variables of a request in which every attribute is of its own type."""
    dice = random.Random(1)  # noqa: S311 - any values
    given = {name: VALUES[kind](dice) for name, kind in KINDS.items()}
    world = replace(a_world(dice), principal=given, resource=given, context=given)
    return variables_of(world, NAMES)[0]


@pytest.mark.parametrize(
    "text",
    [
        'principal.getTag("a") == 1',
        'ip("10.0.0.1").isLoopback()',
        "context.level * principal.level > 3",
        "decimal(context.name) == principal.limit",
        "context.data.contains(principal.name)",
        "context.data.containsAll(principal.data)",
        'User::"a".level == 1',
        '(if context.restrained then 1 else "a") == 1',
        'context.name == "\U0003ffff"',
    ],
)
def test_what_is_outside_is_refused(text: str) -> None:
    with pytest.raises(NotModelledError):
        _rule(text)


def test_a_policy_that_nests_without_end_is_refused() -> None:
    deep: dict[str, object] = {"Value": True}
    for _ in range(200):
        deep = {"!": {"arg": deep}}
    scope = {"op": "All"}
    policy = {"effect": "permit", "principal": scope, "action": scope, "resource": scope}
    with pytest.raises(NotModelledError):
        rule_of(policy | {"conditions": [{"kind": "when", "body": deep}]}, _well_typed())


def test_a_sum_beyond_64_bits_errs() -> None:
    assert _rule("9223372036854775807 + 1 > 0").errs is TRUE
    assert _rule("9223372036854775807 - 1 > 0").errs is FALSE
    assert _rule('duration("-90m").toHours() == -1').satisfied is TRUE
    assert _rule('datetime("1969-12-31T23:00:00Z").toDate() == datetime("1969-12-31")').satisfied is TRUE
    assert evaluate(plus(times(value(3), 4), value(-2)), {}) == 10


def test_a_charter_that_grants_nothing_of_an_action_allows_nothing() -> None:
    slice_ = bound_slice(a_charter(grants=[]))
    assert reach_of(slice_, {"payments": a_system()}, ("payments", "charge.read"), ENGINE).allowed is FALSE
    assert reach_of(None, {"payments": a_system()}, ("payments", "charge.read"), ENGINE).allowed is FALSE


def test_a_setting_tells_of_everything_that_the_schema_declares() -> None:
    slice_ = bound_slice(a_charter())
    setting = setting_of(slice_, a_system(), "refund.create")
    principal, resource, context = (setting.variables[name] for name in ("principal", "resource", "context"))
    assert isinstance(principal, Thing)
    assert isinstance(resource, Thing)
    assert isinstance(context, Fields)
    members = [each.attributes.members.keys() for each in (principal, resource) if each.attributes]
    assert members == [set(PRINCIPAL_ATTRIBUTES), set(OBJECT_ATTRIBUTES)]
    assert context.members.keys() == set(CALL_ATTRIBUTES)
    assert fields_of(context, "chain").members.keys() == set(CHAIN_ATTRIBUTES)
    assert fields_of(fields_of(context, "local"), "Europe/Berlin").members.keys() == set(LOCAL_ATTRIBUTES)
    amount = fields_of(fields_of(context, "arguments"), "amount")
    assert amount.members.keys() == set(FORMS)
    assert fields_of(amount, "quantity").members.keys() == set(QUANTITY_ATTRIBUTES)


def fields_of(record: Fields, name: str) -> Fields:
    found = record.members[name][1]
    assert isinstance(found, Fields)
    return found
