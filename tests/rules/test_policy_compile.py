"""Policies compiled to Python: what the code is, the traps that Python sets, and what is left to Cedar."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cedar_fuzz import read
from charter.policy import cedar_value as value
from charter.policy.cedar_literal import read_datetime, read_decimal, read_duration
from charter.policy.cedar_value import EvaluationError, Fixed, Moment, Span, element, is_like, same
from charter.policy.compile import NotModelledError, compile_policy, in_scope
from charter.policy.like import is_like as glob
from charter.policy.program import moment

SETTING = (("User", "a"), (("User", "a"),), ("Action", "x"), (("Action", "x"),), ("File", "f"), (("File", "f"),))


def compiled(text: str) -> Any:
    (policy,) = read(text).values()
    return compile_policy(policy)


def holds(condition: str, principal: Any = None, context: Any = None) -> bool:
    """Return whether `permit … when { condition }` is satisfied."""
    policy = compiled(f"permit (principal, action, resource) when {{ {condition} }};")
    return bool(policy.rule(principal or {}, {}, context or {}, SETTING, policy.values))


@pytest.mark.parametrize(
    ("condition", "attributes"),
    [
        ("principal.x + 1 > 0", {"x": True}),
        ("principal.x * 9 == principal.x", {"x": "a"}),
        ("principal.x + 1 > 0", {"x": 2**63 - 1}),
        ("principal.x - 1 < 0", {"x": -(2**63)}),
        ("principal.x * principal.x > 0", {"x": 2**62}),
        ("-principal.x > 0", {"x": -(2**63)}),
        ("principal.x.isEmpty()", {"x": ""}),
        ("principal.x < 1", {"x": False}),
        ("principal.x < 1", {"x": Fixed(0)}),
        ('principal.x.contains("a")', {"x": "abc"}),
        ('principal.x like "*"', {"x": 5}),
        ("principal.x", {"x": 1}),
        ("principal.x || true", {"x": ""}),
        ("if principal.x then true else true", {"x": None}),
        ("principal.x has y", {"x": "y"}),
        ('principal.x.lessThan(decimal("1.0"))', {"x": 0}),
        ('principal.x < datetime("2026-01-01")', {"x": 0}),
        ("principal.missing == 1", {}),
    ],
)
def test_what_cedar_calls_an_error_is_one(condition: str, attributes: Any) -> None:
    with pytest.raises((EvaluationError, KeyError)):
        holds(condition, attributes)


@pytest.mark.parametrize(
    ("condition", "attributes"),
    [
        ("principal.x == true", {"x": 1}),
        ("principal.x == 1", {"x": True}),
        ("principal.x == 15000", {"x": Fixed(15_000)}),
        ('principal.x == decimal("1.5")', {"x": 15_000}),
        ("[1, 2].contains(principal.x)", {"x": True}),
        ("[true].containsAny([1])", {}),
        ("[[1]].contains([principal.x])", {"x": True}),
        ("{a: 1} == {a: principal.x}", {"x": True}),
        ('principal == "User"', {}),
        ("[principal.x] == [{a: 1}]", {"x": {"a": True}}),
    ],
)
def test_values_of_two_types_are_never_the_same(condition: str, attributes: Any) -> None:
    assert not holds(condition, attributes)


def test_an_error_behind_a_settled_word_is_never_met() -> None:
    assert holds("true || principal.missing")
    assert not holds("false && principal.missing")
    assert holds("if true then true else principal.missing")
    assert not holds("(principal has missing) && principal.missing == 1")


def test_conditions_are_asked_in_their_order_and_stop_at_the_first_that_fails() -> None:
    policy = compiled("permit (principal, action, resource) when { false } unless { principal.missing };")
    assert not policy.rule({}, {}, {}, SETTING, policy.values)


def test_policies_that_differ_in_their_values_alone_share_one_function() -> None:
    text = (
        'permit (principal, action, resource in Box::"{0}") when {{ resource.path like "{0}/*" && context.n < {1} }};'
    )
    one, other = compiled(text.format("a", 5)), compiled(text.format("b", 77))
    assert one.rule is other.rule
    assert one.values != other.values


HOSTILE = ('"); import os; ("', "\\n", "{x}", "v[0]", "' or 1 == 1 or '", "__import__('os')", "\u2028", '\\"')


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_policy_becomes_code(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    policy = compiled(
        f"permit (principal, action, resource in Box::{quoted}) when {{ principal[{quoted}] == {quoted}"
        f" && principal has {quoted} && principal.y like {quoted} && [{quoted}].contains({quoted}) }};"
    )
    code = policy.rule.__code__
    assert {each for each in code.co_consts if isinstance(each, str)} <= {"y"}
    assert set(code.co_names) <= {"type", "str", "fail"}
    assert policy.values[0] == ("Box", text)


@pytest.mark.parametrize(
    "condition",
    [
        'principal.hasTag("x")',
        'principal.getTag("x") == 1',
        'ip("127.0.0.1").isLoopback()',
        'User::"a".name == "a"',
        'User::"a" in Team::"t"',
        "context == {}",
        '(if principal.x then principal else resource).name == "a"',
        "{a: 1}.a == 1",
        "principal in principal.teams",
        'decimal(principal.x).lessThan(decimal("1.0"))',
        'decimal("1.23456").lessThan(decimal("1.0"))',
        'datetime("2026-13-01") < context.now',
        'duration("5") < duration("1d")',
        "[" + "1, " * 2_000 + "1].contains(1)",
    ],
)
def test_what_is_not_modelled_is_left_to_cedar(condition: str) -> None:
    with pytest.raises(NotModelledError):
        compiled(f"permit (principal, action, resource) when {{ {condition} }};")


WRAPS: dict[str, Any] = {
    "not": lambda inner: {"!": {"arg": inner}},
    "and": lambda inner: {"&&": {"left": inner, "right": {"Value": True}}},
    "else": lambda inner: {"if-then-else": {"if": {"Value": False}, "then": {"Value": True}, "else": inner}},
    "less": lambda inner: {"==": {"left": {"<": {"left": {"Value": 1}, "right": {"Value": 2}}}, "right": inner}},
    "set": lambda inner: {"isEmpty": {"arg": {"Set": [inner, {"Var": "principal"}]}}},
}


def nested(name: str, depth: int) -> Any:
    body: Any = {"Value": True}
    for _ in range(depth):
        body = WRAPS[name](body)
    return {
        "effect": "permit",
        "principal": {"op": "All"},
        "action": {"op": "All"},
        "resource": {"op": "All"},
        "conditions": [{"kind": "when", "body": body}],
    }


@pytest.mark.parametrize("name", WRAPS)
def test_what_nests_as_deeply_as_is_modelled_compiles_and_a_little_more_is_left_to_cedar(name: str) -> None:
    policy = compile_policy(nested(name, 19))
    assert type(policy.rule({}, {}, {}, SETTING, policy.values)) is bool
    with pytest.raises(NotModelledError):
        compile_policy(nested(name, 41))


@pytest.mark.parametrize("place", ["principal", "resource"])
def test_a_template_is_left_to_cedar(place: str) -> None:
    policy = nested("not", 1) | {place: {"op": "in", "slot": f"?{place}"}}
    with pytest.raises(NotModelledError):
        compile_policy(policy)
    with pytest.raises(NotModelledError):
        in_scope(policy[place], ("User", "a"), ())


def test_a_pattern_of_many_stars_costs_no_more_than_its_text_is_long() -> None:
    """Python's `re` would need years for this one."""
    assert not is_like("a" * 65_536, ("", *["a"] * 30, "b"))
    assert not holds('principal.x like "' + "*a" * 30 + '*b"', {"x": "a" * 65_536})


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_match_as_charters_do(pattern: str, text: str) -> None:
    assert holds(f'principal.x like "{pattern}"', {"x": text}) == glob(text, pattern)


scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.text("ab", max_size=1),
    st.integers(-3, 3).map(Fixed),
    st.integers(-3, 3).map(Moment),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda some: frozenset(map(element, some))),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    ),
    max_leaves=5,
)


@given(values, values)
def test_elements_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    assert (element(one) == element(other)) == same(one, other)
    assert same(one, one)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1.5", 15_000),
        ("-0.0001", -1),
        ("922337203685477.5807", 2**63 - 1),
        ("-922337203685477.5808", -(2**63)),
        ("922337203685477.5808", None),
        ("1", None),
        ("1.23456", None),
        ("\u0661.5", None),
        ("", None),
    ],
)
def test_decimals_are_read_as_cedar_reads_them(text: str, meant: int | None) -> None:
    assert read_decimal(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1970-01-02", 86_400_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1970-01-01T01:00:00+0100", 0),
        ("1969-12-31T23:00:00.001-0100", 1),
        ("2026-02-29", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:00:60Z", None),
        ("2026-01-01T00:00:00+2400", None),
        ("2026-01-01T00:00:00", None),
        ("0000-01-01", None),
    ],
)
def test_datetimes_are_read_as_cedar_reads_them(text: str, meant: int | None) -> None:
    assert read_datetime(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1d2h3m4s5ms", 93_784_005),
        ("-1h", -3_600_000),
        ("0s", 0),
        ("", None),
        ("-", None),
        ("1h1d", None),
        ("9" * 39 + "d", None),
    ],
)
def test_durations_are_read_as_cedar_reads_them(text: str, meant: int | None) -> None:
    assert read_duration(text) == meant


def test_times_are_counted_in_whole_milliseconds_towards_the_past() -> None:
    assert moment(dt.datetime(1970, 1, 1, 0, 0, 0, 1_999, dt.UTC)) == 1
    assert moment(dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, dt.UTC)) == -1
    assert type(moment(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))) is Moment


def test_durations_are_cut_towards_zero_and_days_towards_the_past() -> None:
    assert value.whole(Span(-1_500), 1_000) == -1
    assert value.to_date(Moment(-1)) == -86_400_000
    assert value.to_time(Moment(-1)) == 86_399_999
    with pytest.raises(EvaluationError):
        value.to_date(Moment(-(2**63)))
