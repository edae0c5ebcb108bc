"""Cedar that says otherwise than its author meant: arithmetic out of range, patterns and scopes without a bound."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.bootstrap.estate import check_texts
from charter.policy.cedar_value import MAX_LONG, MIN_LONG
from charter.policy.overflow import LIKELY, overflows
from charter.registry.problem import EstateError
from estates import TEAMS, estate_files
from policies import ENGINE

GUARDRAIL, BESIDE = "guardrails/own.cedar", "principals/refund-agent.cedar"
ACTION = 'action == Charter::Action::"payments/refund.create"'
DAY = dt.date(2026, 11, 24)


def told(
    condition: str, path: str = GUARDRAIL, effect: str = "forbid", teams: str = TEAMS
) -> tuple[list[str], list[str]]:
    """Return the problems and the warnings of an estate with one more policy."""
    text = f"{effect} (principal, {ACTION}, resource)\nwhen {{ {condition} }};\n"
    try:
        estate = check_texts(estate_files({path: text, "teams.yaml": teams}), DAY)
    except EstateError as err:
        return [str(each) for each in err.problems], []
    return [], [str(each) for each in estate.warnings]


@pytest.mark.parametrize(("path", "effect"), [(GUARDRAIL, "forbid"), (BESIDE, "forbid"), (BESIDE, "permit")])
def test_arithmetic_that_always_overflows_is_a_problem_at_its_place(path: str, effect: str) -> None:
    (found,), _ = told("9223372036854775807 + 1 > 0", path, effect)
    assert found == (
        f"{path}:2:8: this always leaves the range of Cedar's numbers (+); such a policy errs, and denies whatever it "
        "is about; write smaller numbers"
    )


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        ("context.chain.depth * 2 < 9223372036854775807 * 2", 34),
        ('datetime("9999-12-31").offset(duration("106751991167d")) > context.now', 17),
        ("-(-9223372036854775808) > 0", 11),
    ],
)
def test_other_arithmetic_that_always_overflows_is_told_too(condition: str, column: int) -> None:
    (found,), _ = told(condition)
    assert found.startswith(f"{GUARDRAIL}:2:{column}: this always leaves the range")


def test_arithmetic_that_overflows_for_large_numbers_of_a_call_is_a_warning() -> None:
    read = "context.arguments has amount && context.arguments.amount has number"
    wrong, doubtful = told(f"{read} && context.arguments.amount.number * 1000000000000 > 5")
    assert wrong == []
    assert "this leaves the range of Cedar's numbers (*) where a call gives numbers up to 1e+12" in doubtful[0]
    assert told(f"{read} && context.arguments.amount.number * 100 + 5 > 5") == ([], [])


@pytest.mark.parametrize(
    ("condition", "word", "help"),
    [
        (
            'decimal("922337203685478.0").lessThan(decimal("1.0"))',
            "`922337203685478.0` is no decimal",
            "write a number",
        ),
        ('datetime("2026-02-30") < context.now', "`2026-02-30` is no datetime", "write a day that there is"),
        ('duration("999999999999d") > duration("1d")', "`999999999999d` is no duration", "write as in 1d12h"),
    ],
)
def test_a_literal_that_cedar_does_not_hold_is_told_at_its_place(condition: str, word: str, help: str) -> None:
    (found,), _ = told(condition)
    assert found.startswith(f"{GUARDRAIL}:2:{9 + condition.index('(')}: ")
    assert word in found
    assert help in found


@pytest.mark.parametrize("count", [58, 59])
def test_conditions_that_cedar_will_not_read_back_are_told_where_they_stand(count: int) -> None:
    found, _ = told(" && ".join(["context.chain.depth > 1"] * count))
    assert [each.partition(";")[0] for each in found] == [
        f"{GUARDRAIL}:1:1: too many conditions stand in a row here for Cedar to read them back"
    ][: count - 58]


def test_a_like_that_every_text_is_like_is_told() -> None:
    _, (found,) = told('resource.path like "**"')
    assert found.startswith(f"{GUARDRAIL}:2:22: every text is like `*`")
    assert told('resource.path like "charge/*"') == ([], [])


def test_a_guardrail_that_stops_everything_is_told() -> None:
    files = estate_files({GUARDRAIL: '@id("all") @force("hard") forbid (principal, action, resource);\n'})
    (found,) = check_texts(files, DAY).warnings
    assert str(found).startswith(f"{GUARDRAIL}:1:27: `all` stops every call of every principal")


def test_a_rule_that_waits_for_a_yes_that_nobody_can_give_is_told_with_both_places() -> None:
    teams = TEAMS + "  nobody: []\n"
    _, (found,) = told('!context.approvals.contains("nobody")', teams=teams)
    assert found.startswith(f"{GUARDRAIL}:2:36: it waits for a yes of `nobody`, and nobody holds that role; ")
    assert "teams.yaml:9:" in found


NUMBERS = (
    st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.sampled_from([MAX_LONG, MIN_LONG + 1, 2**32, 2**31])
)
SUMS = st.recursive(
    NUMBERS.map(lambda number: (f"({number})" if number < 0 else str(number), number)),
    lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner).map(
        lambda parts: (
            f"({parts[1][0]} {parts[0]} {parts[2][0]})",
            None if parts[1][1] is None or parts[2][1] is None else _within(_done(*parts)),
        )
    ),
    max_leaves=6,
)


def _done(operator: str, left: tuple[str, int], right: tuple[str, int]) -> int:
    one, other = left[1], right[1]
    return one + other if operator == "+" else one - other if operator == "-" else one * other


def _within(number: int) -> int | None:
    return number if MIN_LONG <= number <= MAX_LONG else None


@settings(max_examples=150, deadline=None)
@given(SUMS)
def test_sums_of_written_numbers_are_told_exactly_where_they_overflow(made: tuple[str, int | None]) -> None:
    text, outcome = made
    (policy,) = ENGINE.parse(f"forbid (principal, action, resource) when {{ {text} == 0 }};")
    assert any(each.is_sure for each in overflows(policy)) is (outcome is None)
    assert LIKELY < MAX_LONG
