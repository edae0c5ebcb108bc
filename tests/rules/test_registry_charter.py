"""A charter is one value: however it is written, it has one canonical form and one digest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import REFUND_CHARTER, a_charter, a_system
from charter.core.canonical import canonical
from charter.registry.charter import Charter, Quantity, When, parse_duration, write_duration
from charters import charters, durations, quantities


def shuffled(value: Any, draw: st.DataObject) -> Any:
    """Return `value` with the keys of every mapping in another order."""
    match value:
        case dict():
            keys = draw.draw(st.permutations(list(value)))
            return {key: shuffled(value[key], draw) for key in keys}
        case list():
            return [shuffled(item, draw) for item in value]
        case _:
            return value


@settings(max_examples=100)
@given(charters)
def test_a_charter_read_from_its_own_json_is_the_same_charter(written: dict[str, Any]) -> None:
    charter = Charter.model_validate(written)
    again = Charter.model_validate_json(canonical(charter.to_json()))
    assert again == charter
    assert again.digest == charter.digest


def test_a_changed_copy_has_a_digest_of_its_own() -> None:
    charter = a_charter()
    before = charter.digest
    renamed = charter.model_copy(update={"principal": "another"})
    assert renamed.digest == a_charter(principal="another").digest != before
    assert charter.model_copy(deep=True).digest == charter.digest == before
    assert charter == a_charter()  # what is kept beside the fields is no part of the value
    assert charter.to_json() == a_charter().to_json()


@settings(max_examples=60)
@given(charters, st.data())
def test_the_order_of_fields_does_not_change_the_digest(written: dict[str, Any], data: st.DataObject) -> None:
    assert Charter.model_validate(shuffled(written, data)).digest == Charter.model_validate(written).digest


@settings(max_examples=60)
@given(charters, charters)
def test_two_charters_share_a_digest_only_if_they_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = Charter.model_validate(one), Charter.model_validate(other)
    assert (first.digest == second.digest) == (first == second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"review": "90d"}, {"review": "2160h"}),
        ({"grants": []}, {"grants": None}),
        ({"data": []}, {"data": None}),
    ],
)
def test_two_ways_to_write_one_thing_are_one_version(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert a_charter(**one).digest == a_charter(**other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [("200 EUR", "200.00 EUR"), ("0.5", "0.50"), (7, "7"), (0.1, "0.1")],
)
def test_a_quantity_is_its_value_however_many_zeros_it_has(one: object, other: object) -> None:
    assert Quantity.model_validate(one) == Quantity.model_validate(other)
    assert str(Quantity.model_validate(one)) == str(Quantity.model_validate(other))


@settings(max_examples=60)
@given(quantities("EUR"))
def test_a_quantity_reads_back_exactly(text: str) -> None:
    quantity = Quantity.model_validate(text)
    assert Quantity.model_validate(str(quantity)) == quantity


@settings(max_examples=60)
@given(durations)
def test_a_duration_reads_back_exactly(text: str) -> None:
    assert parse_duration(write_duration(parse_duration(text))) == parse_duration(text)


def test_an_argument_called_hours_does_not_hide_the_window() -> None:
    when = When.model_validate({"hours": "08:00-18:00 UTC", "arguments": {"hours": {"max": 5}}})
    again = When.model_validate(json.loads(json.dumps(when.model_dump(mode="json"))))
    assert again == when
    assert again.hours is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires", 1_893_456_000),
        ("expires", "2027-11-02T00:00:00"),
        ("review", 90),
        ("data", "customer-pii"),
        ("delegation", {"from": ["humans"], "max_depth": "2"}),
        ("delegation", {"from": ["humans"], "max_depth": 9}),
        ("purpose", "a\u202eb"),
        ("purpose", "x" * 501),
        ("principal", "Refund-Agent"),
        ("grants", [{"system": "payments", "actions": ["*", "charge.read"]}]),
        ("grants", [{"system": "payments", "actions": ["charge.*"]}]),
        ("grants", [{"system": "payments", "actions": ["charge.read"], "limit": [{"count": "5", "per": "day"}]}]),
        ("grants", [{"system": "payments", "actions": ["charge.read"], "limit": [{"count": True, "per": "day"}]}]),
        ("grants", [{"system": "payments", "actions": ["charge.read"], "when": {"amount": {"equals": None}}}]),
    ],
)
def test_a_value_that_would_have_to_be_guessed_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        a_charter(**{field: value})


def test_a_charter_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        a_charter().purpose = "another"  # type: ignore[misc] - that is the point


def test_the_systems_a_charter_reaches_are_those_its_grants_name() -> None:
    assert Charter.model_validate(REFUND_CHARTER).systems == ("payments",)


@pytest.mark.parametrize("sensitive", ["yes", 1, "true"])
def test_whether_a_system_is_sensitive_is_not_guessed(sensitive: object) -> None:
    with pytest.raises(ValidationError):
        a_system(sensitive=sensitive)
