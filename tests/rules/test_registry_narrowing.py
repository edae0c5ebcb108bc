"""What a token is narrowed to: read strictly, written back as read, and what of it may be lent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ErrorCode, MalformedError
from charter.registry.narrowing import MAX_DETAILS, MAX_TEXT, Narrowing, parse_narrowing, read_narrowing

RESOURCE = "http://127.0.0.1:8420/mcp/payments"


def a_detail(**changed: Any) -> dict[str, Any]:
    found = {"type": "charter_grant", "actions": ["charge.read"]} | changed
    return {name: value for name, value in found.items() if value is not None}


def read(*details: object) -> Narrowing:
    return read_narrowing(json.dumps(list(details)), system="payments", location=RESOURCE)


def test_what_is_not_named_is_not_narrowed() -> None:
    (detail,) = read(a_detail(actions=None)).details
    assert (detail.part.system, detail.part.actions, detail.part.objects) == ("payments", ("*",), ("*",))
    assert (detail.grants, detail.limits) == (None, ())


def test_a_detail_says_which_actions_objects_grants_and_how_much() -> None:
    limits = [{"count": 3}, {"sum": "amount", "max": "100 EUR"}]
    found = read(
        a_detail(objects=["charge/ch_1"], grants=["refund-agent/grant-2"], limits=limits, locations=[RESOURCE])
    )
    assert found.to_json() == [
        {
            "type": "charter_grant",
            "system": "payments",
            "actions": ["charge.read"],
            "objects": ["charge/ch_1"],
            "grants": ["refund-agent/grant-2"],
            "limits": limits,
        }
    ]
    assert parse_narrowing(found.to_json()) == found


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ([], "no list of 1 to 8"),
        ([a_detail()] * (MAX_DETAILS + 1), "no list of 1 to 8"),
        ({"type": "charter_grant"}, "are no list"),
        (["charter_grant"], "not of the type"),
        ([a_detail(type="payment_initiation")], "not of the type"),
        ([a_detail(type=["charter_grant"])], "not of the type"),
        ([a_detail(privileges=["admin"])], "means nothing here"),
        ([a_detail(datatypes=["contacts"])], "means nothing here"),
        ([a_detail(locations=["https://evil.example"])], "another location"),
        ([a_detail(locations=[RESOURCE, RESOURCE])], "another location"),
        ([a_detail(system="ledger")], "another system"),
        ([a_detail(system="PAYMENTS")], "another system"),
        ([a_detail(actions=[])], "no list of 1 to"),
        ([a_detail(actions="charge.read")], "no list of 1 to"),
        ([a_detail(actions=["*", "charge.read"])], "beside"),
        ([a_detail(actions=["charge\u200bread"])], "cannot be"),
        ([a_detail(objects=["charge/\u202e1"])], "invisible"),
        ([a_detail(grants=[])], "no list of 1 to"),
        ([a_detail(grants=["grant-1"])], "refund-agent/grant-1"),
        ([a_detail(grants=["refund-agent/grant-0"])], "refund-agent/grant-1"),
        ([a_detail(limits=[{"count": 0}])], "neither"),
        ([a_detail(limits=[{"count": True}])], "neither"),
        ([a_detail(limits=[{"count": 3, "per": "day"}])], "neither"),
        ([a_detail(limits=[{"sum": "amount", "max": 100}])], "neither"),
        ([a_detail(limits=[{"sum": "amount", "max": "much"}])], "no quantity"),
        ([a_detail(limits=[{"count": 1}] * 9)], "at most 8"),
        ([a_detail(objects=[f"charge/{n:0400d}" for n in range(12)])], "longer than 4096 bytes"),
    ],
)
def test_what_is_not_understood_is_refused(details: object, said: str) -> None:
    with pytest.raises(MalformedError, match=said) as caught:
        read_narrowing(json.dumps(details), system="payments", location=RESOURCE)
    assert caught.value.code is ErrorCode.BAD_DETAILS


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 3000, '[{"type":"charter_grant","type":"x"}]', " " * (MAX_TEXT + 1), "null"]
)
def test_what_is_no_json_list_is_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_narrowing(text, system="payments", location=RESOURCE)
    assert caught.value.code is ErrorCode.BAD_DETAILS


def test_only_actions_and_objects_can_be_lent_on() -> None:
    assert read(a_detail()).scope is not None
    assert read(a_detail(limits=[{"count": 1}])).scope is None
    assert read(a_detail(), a_detail(grants=["refund-agent/grant-1"])).scope is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
members = st.sampled_from(["type", "locations", "system", "actions", "objects", "grants", "limits"])


@given(st.lists(st.dictionaries(members, json_values | st.just("charter_grant"), max_size=5), max_size=3) | json_values)
def test_anything_is_a_narrowing_or_a_refusal_that_says_so(value: object) -> None:
    try:
        found = parse_narrowing(value)
    except MalformedError as err:
        assert err.code is ErrorCode.BAD_DETAILS  # noqa: PT017 - either will do
        return
    assert parse_narrowing(found.to_json()) == found
