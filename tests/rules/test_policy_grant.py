"""Grants compile to readable, stable Cedar that no value in a charter can bend."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import REFUND_CHARTER, a_charter, a_system
from charter.core.values import Source
from charter.policy.cedar_text import any_of, decimal_digits, pattern, quoted
from charter.policy.decide import decide
from charter.policy.grant import compile_grants, free_actions, place
from charter.policy.verdict import Deny
from charter.policy.vocabulary import schema_text
from policies import ENGINE, a_request, bound, guards

REFUND_GRANT = REFUND_CHARTER["grants"][0]
TEXT = """\
@id("refund-agent/grant-1")
@source("principals/refund-agent.yaml:13:5")
@approval("payments-lead")
permit (
  principal == Charter::Principal::"refund-agent",
  action in [Charter::Action::"payments/charge.read", Charter::Action::"payments/refund.create"],
  resource in Charter::System::"payments"
)
when { resource.path like "charge/*" }
when { context.local["Europe/Berlin"].minute >= 480 && context.local["Europe/Berlin"].minute < 1080 }
when { ["mon", "tue", "wed", "thu", "fri"].contains(context.local["Europe/Berlin"].day) }
when { (action in [Charter::Action::"payments/charge.read"] && !(context.arguments has amount)) \
|| (context.arguments has amount.quantity && context.arguments.amount.quantity.unit == "EUR" \
&& context.arguments.amount.quantity.value.lessThanOrEqual(decimal("200.0"))) }
when { (action in [Charter::Action::"payments/charge.read"] && !(context.arguments has amount)) \
|| (context.arguments has amount.quantity && context.arguments.amount.quantity.unit == "EUR" \
&& context.arguments.amount.quantity.value.greaterThanOrEqual(decimal("0.0"))) }
when { (action in [Charter::Action::"payments/charge.read"] && !(context.arguments has amount)) \
|| (context.arguments has amount.quantity && context.arguments.amount.quantity.unit == "EUR" \
&& context.arguments.amount.quantity.value.lessThanOrEqual(decimal("100.0"))) \
|| context.approvals.contains("payments-lead") };
"""


def a_grant(**changed: Any) -> dict[str, Any]:
    """Return a grant of reading charges with some fields changed."""
    return {"system": "payments", "actions": ["charge.read"]} | changed


def text_of(**changed: Any) -> str:
    charter = a_charter(grants=[a_grant(**changed)])
    return compile_grants(charter, {}, {"payments": a_system()})[0].text


def test_a_grant_compiles_to_this_text() -> None:
    sources = {"grants.0": Source("principals/refund-agent.yaml", 13, 5)}
    (grant,) = compile_grants(a_charter(), sources, {"payments": a_system()})
    assert grant.text == TEXT


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"actions": ["*"]}, "  action,"),
        ({"actions": ["charge.read"]}, '  action == Charter::Action::"payments/charge.read",'),
        ({"when": {"days": "sat,sun"}}, 'when { ["sat", "sun"].contains(context.local.UTC.day) };'),
        ({"when": {"hours": "22:00-06:00 UTC"}}, "when { LOCAL.minute >= 1320 || LOCAL.minute < 360 };"),
        (
            {"when": {"hours": "22:00-06:00 UTC", "days": "fri"}},
            """when { (LOCAL.minute >= 1320 && ["fri"].contains(LOCAL.day))
            || (LOCAL.minute < 360 && ["sat"].contains(LOCAL.day)) };""",
        ),
        ({"when": {"mode": {"equals": "dry-run"}}}, 'when { GIVEN has mode.text && GIVEN.mode.text == "dry-run" };'),
        ({"when": {"force": {"equals": False}}}, "when { GIVEN has force.flag && GIVEN.force.flag == false };"),
        (
            {"when": {"count": {"one_of": [1, 2, "all"]}}},
            """when { (GIVEN has count.number && [1, 2].contains(GIVEN.count.number))
            || (GIVEN has count.text && GIVEN.count.text == "all") };""",
        ),
        (
            {"when": {"max count": {"max": 20}}},
            """when { GIVEN has "max count" && GIVEN["max count"] has quantity
            && GIVEN["max count"].quantity.unit == ""
            && GIVEN["max count"].quantity.value.lessThanOrEqual(decimal("20.0")) };""",
        ),
        ({"approval": {"by": "payments-lead"}}, 'when { context.approvals.contains("payments-lead") };'),
        (
            {"approval": {"when": {"query": {"like": "DELETE *"}}, "by": "lead"}},
            """when { (GIVEN has query.text && !(GIVEN.query.text like "DELETE *"))
            || context.approvals.contains("lead") };""",
        ),
    ],
)
def test_each_condition_has_its_own_clause(changed: Any, line: Any) -> None:
    wanted = re.sub(r"\n +", " ", line).replace("LOCAL", "context.local.UTC").replace("GIVEN", "context.arguments")
    assert wanted in text_of(**changed).splitlines()


def test_the_star_among_objects_asks_for_none() -> None:
    assert "resource.path" not in text_of(objects=["charge/*", "*"])


def test_a_grant_of_nothing_the_system_has_compiles_to_nothing() -> None:
    charter = a_charter(grants=[a_grant(actions=["charge.erase"]), a_grant()])
    grants = compile_grants(charter, {}, {"payments": a_system()})
    assert [grant.id for grant in grants] == ["refund-agent/grant-2"]


def test_only_reading_actions_without_the_amount_are_free_of_a_condition_on_it() -> None:
    grant, system = a_charter().grants[0], a_system()
    assert free_actions(grant, system, "amount") == ("payments/charge.read",)
    assert free_actions(grant, system, "note") == ()


def test_a_place_is_that_of_the_nearest_thing_around() -> None:
    sources = {"": Source("a", 1), "grants.0": Source("a", 5)}
    assert place(sources, "grants.0.when.amount.max") == Source("a", 5)
    assert place(sources, "data.0") == Source("a", 1)
    assert place({}, "data.0") is None


def test_two_hundred_objects_and_choices_stay_shallow_enough_to_bind() -> None:
    grant = a_grant(
        objects=[f"charge/{n}-*" for n in range(200)],
        when={"x": {"one_of": [f"v{n}" for n in range(200)]}, **{f"a{n}": {"max": n, "min": -n} for n in range(31)}},
    )
    assert len(bound(a_charter(grants=[grant])).grants) == 1


# --- no value becomes structure ---------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(
        [
            '"', "\\", '\\"',
            '" } ; permit (principal, action, resource); //', "*/", "//", "\n", "\\*", "\\u{22}", "\x00",
            '"] has x || true || ["', "' or true", "\u2028", "${x}", '@id("x")', "when { true }", "\\x22", "*\\", "😀",
            "like", "has", "true", "__cedar", "a b", "amount",
        ]
    ),
)  # fmt: skip
PRINTABLE = HOSTILE.filter(lambda text: a_valid("objects", [text]))


def a_valid(field: str, value: Any) -> bool:
    try:
        a_charter(grants=[a_grant(**{field: value})])
    except ValueError:
        return False
    return True


def literals(node: Any) -> list[str]:
    """Return every string literal and pattern in a policy's conditions, patterns with `*` for each wildcard."""
    if isinstance(node, dict):
        if isinstance(node.get("Value"), str):
            return [node["Value"]]
        if isinstance(node.get("like"), dict):
            parts = ["*" if part == "Wildcard" else part["Literal"] for part in node["like"]["pattern"]]
            return [*literals(node["like"]["left"]), "".join(parts)]
        own = [node["attr"]] if isinstance(node.get("attr"), str) else []
        return own + [text for each in node.values() for text in literals(each)]
    return [text for each in node for text in literals(each)] if isinstance(node, list) else []


@settings(max_examples=150)
@given(
    objects=st.lists(PRINTABLE, min_size=1, max_size=3).filter(lambda o: "*" not in o),
    name=HOSTILE.filter(lambda n: n not in ("hours", "days", "arguments")),
    choice=HOSTILE,
    like=PRINTABLE,
)
def test_no_text_in_a_charter_can_change_the_shape_of_its_policy(
    objects: Any, name: Any, choice: Any, like: Any
) -> None:
    grant = a_grant(objects=objects, when={name: {"equals": choice, "like": like, "max": "5 EUR"}})
    (compiled,) = compile_grants(a_charter(grants=[grant]), {}, {"payments": a_system()})
    (policy,) = ENGINE.parse(compiled.text)
    assert policy["effect"] == "permit"
    assert policy["principal"] == {"op": "==", "entity": {"type": "Charter::Principal", "id": "refund-agent"}}
    assert policy["action"] == {"op": "==", "entity": {"type": "Charter::Action", "id": "payments/charge.read"}}
    assert policy["resource"] == {"op": "in", "entity": {"type": "Charter::System", "id": "payments"}}
    assert policy["annotations"] == {"id": "refund-agent/grant-1"}
    assert [each["kind"] for each in policy["conditions"]] == ["when"] * 4
    texts = literals([each["body"] for each in policy["conditions"]])
    assert [each for each in texts if each in objects][: len(objects)] == objects
    assert {name, choice, like} <= set(texts)


@settings(max_examples=100)
@given(HOSTILE, st.lists(HOSTILE, min_size=1, max_size=3))
def test_no_name_in_a_charter_can_change_the_shape_of_the_schema(zone: Any, arguments: Any) -> None:
    schema = schema_text({"payments/charge.read": "read"}, [zone], arguments)
    text = f"forbid (principal, action, resource) when {{ context.arguments has {quoted(arguments[0])} }};"
    assert ENGINE.faults(text, schema) == []
    assert ENGINE.faults("permit (principal, action, resource) when { principal.root };", schema) != []


@given(st.text(max_size=30))
def test_a_literal_reads_back_as_what_it_was(text: Any) -> None:
    conditions = f"context.a == {quoted(text)} && context.b like {pattern(text)}"
    (policy,) = ENGINE.parse(f"permit (principal, action, resource) when {{ {conditions} }};")
    assert literals(policy["conditions"]) == ["a", text, "b", text]


@given(st.integers(1, 300))
def test_a_long_disjunction_holds_every_term_once_and_stays_shallow(count: Any) -> None:
    text = any_of([f"t{n}" for n in range(count)])
    assert [term.strip("() ") for term in text.split("||")] == [f"t{n}" for n in range(count)]
    depth = max(text[:at].count("(") - text[:at].count(")") for at in range(len(text) + 1))
    assert depth <= 6


@pytest.mark.parametrize(
    ("value", "text"), [("200", "200.0"), ("0.1", "0.1"), ("-5.2500", "-5.25"), ("1E+3", "1000.0"), ("0", "0.0")]
)
def test_a_decimal_is_written_with_one_to_four_digits_after_the_point(value: Any, text: Any) -> None:
    assert decimal_digits(Decimal(value)) == text


def test_compiling_twice_gives_the_same_digest() -> None:
    assert bound().digest == bound().digest
    assert bound(a_charter(expires=dt.date(2027, 1, 1))).digest != bound().digest


def test_a_charter_without_grants_is_valid_and_allows_nothing() -> None:
    night = 'forbid (principal == Charter::Principal::"refund-agent", action, resource);'
    empty = bound(a_charter(grants=[]), guardrails=guards(night))
    assert empty.granted == frozenset()
    verdict = decide(empty, a_request(), ENGINE)
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].text == "refund-agent has no grant on `payments`"
