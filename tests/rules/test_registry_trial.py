"""Table tests as data."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from charter.policy.verdict import Layer
from charter.registry.trial import TrialCase, TrialLayer

CASE = {"name": "n", "principal": "p", "system": "s", "action": "a", "expect": "deny"}


def a_case(**changed: Any) -> TrialCase:
    return TrialCase.model_validate(CASE | changed)


def test_a_case_can_name_each_layer_of_control_and_no_other() -> None:
    elsewhere = {Layer.TOKEN, Layer.OBLIGATION}  # of a token, and of an enforcement point
    assert {layer.value for layer in TrialLayer} == {layer.value for layer in Layer if layer not in elsewhere}


def test_numbers_of_a_case_are_those_a_json_reader_makes() -> None:
    case = a_case(arguments={"amount": Decimal("80.50"), "lines": [{"price": Decimal("0.1")}], "count": 3})
    assert case.arguments == {"amount": 80.5, "lines": [{"price": 0.1}], "count": 3}
    assert type(case.arguments["amount"]) is float


def test_a_moment_needs_a_zone_and_is_kept_in_utc() -> None:
    assert a_case(at="2026-11-24T10:00:00+01:00").at == dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)


@pytest.mark.parametrize("at", ["2026-11-24T10:00:00", "now", 1_700_000_000, "", True])
def test_what_is_no_moment_is_refused(at: object) -> None:
    with pytest.raises(ValidationError):
        a_case(at=at)
