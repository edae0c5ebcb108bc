"""A call as policy sees it: exact amounts or none."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_charter, a_system
from charter.core.errors import MalformedError
from charter.policy.amount import exact_decimal, whole_number
from charter.policy.request import build_request
from charter.policy.vocabulary import Argument, argument_of, local_time, question_of
from policies import a_request, an_asker, bound

EXACT = [
    (5, "5.0"),
    (-3, "-3.0"),
    (0.1, "0.1"),
    (150.25, "150.25"),
    (1e3, "1000.0"),
    (-0.0, "0.0"),
    ("350.00", "350.0"),
    ("-2", "-2.0"),
    (999_999_999_999, "999999999999.0"),
]
INEXACT = [
    0.1 + 0.2, math.nan, math.inf, -math.inf, 1e21, 10**12, 1e-5, True, None, [], {}, "", "1e3", " 5", "5 ", "+5",
    "5.", ".5",
    "1,000", "\u0663", "\uff15", "1_000", "0x10", "12345678901234", "1.23456", 2**70,
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), EXACT)
def test_a_plain_number_is_an_exact_amount(value: Any, text: Any) -> None:
    request = a_request(arguments={"charge_id": "c", "x": value})
    assert request.amounts["x"] == (text, None)


@pytest.mark.parametrize("value", INEXACT)
def test_what_is_no_exact_decimal_has_no_amount(value: Any) -> None:
    assert exact_decimal(value) is None
    assert "x" not in a_request(arguments={"charge_id": "c", "x": value}).amounts


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12) + 1, max_value=10**12 - 1, places=4))
def test_no_digit_of_an_amount_is_lost(value: Any) -> None:
    assert exact_decimal(value) == value
    assert exact_decimal(str(value)) in (None, value)


@given(st.floats())
def test_a_float_is_its_shortest_decimal_or_nothing(value: Any) -> None:
    found = exact_decimal(value)
    assert found is None or float(found) == value


def test_a_declared_amount_takes_its_unit_from_its_companion() -> None:
    assert a_request(arguments={"charge_id": "c", "amount": 5, "currency": "EUR"}).amounts["amount"] == ("5.0", "EUR")


@pytest.mark.parametrize("currency", [None, 5, "", "EU R", "€", "E" * 17, ["EUR"]])
def test_a_declared_amount_without_a_readable_unit_is_given_but_unread(currency: Any) -> None:
    request = a_request(arguments={"charge_id": "c", "amount": 5, "currency": currency})
    assert "amount" not in request.amounts
    assert request.unread == {"amount"}
    assert request.gives("amount")


def test_a_declared_amount_whose_argument_is_missing_is_not_given() -> None:
    request = a_request(arguments={"charge_id": "c", "currency": "EUR"})
    assert not request.gives("amount")


def test_an_action_the_system_does_not_have_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"`payments` has no action `nope`"):
        a_request("nope")


def test_too_many_arguments_are_refused() -> None:
    with pytest.raises(MalformedError, match="more than 256 arguments"):
        a_request(arguments={"charge_id": "c"} | {f"a{n}": n for n in range(256)})


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        ("text", Argument(text="text")),
        ("5", Argument(text="5", quantity=(Decimal(5), ""))),
        (5, Argument(number=5, quantity=(Decimal(5), ""))),
        (5.0, Argument(number=5, quantity=(Decimal(5), ""))),
        (5.5, Argument(quantity=(Decimal("5.5"), ""))),
        (True, Argument(flag=True)),
        (None, Argument()),
        ([1], Argument()),
        ("\ud800", Argument()),
        ("x" * 65_537, Argument()),
        (2**70, Argument()),
    ],
)
def test_an_argument_has_exactly_the_forms_its_value_surely_has(value: Any, argument: Any) -> None:
    assert argument_of(a_request(arguments={"charge_id": "c", "x": value}), "x") == argument


@pytest.mark.parametrize(("value", "number"), [(5, 5), (5.0, 5), (5.5, None), (True, None), ("5", None), (2**63, None)])
def test_a_whole_number_is_one_that_every_reader_holds(value: Any, number: Any) -> None:
    assert whole_number(value) == number


def test_local_time_follows_the_zone_and_its_changes() -> None:
    assert local_time(dt.datetime(2026, 7, 1, 23, 30, tzinfo=dt.UTC), "Europe/Berlin") == (90, "thu")
    assert local_time(dt.datetime(2026, 12, 1, 23, 30, tzinfo=dt.UTC), "Europe/Berlin") == (30, "wed")


def test_a_question_tells_only_of_what_the_policies_name() -> None:
    slice_ = bound()
    request = a_request(arguments={"charge_id": "c", "amount": 5, "currency": "EUR", "note": "hello"})
    question = question_of(request, zones=slice_.zones, arguments=slice_.arguments)
    assert set(question.given) == {"amount"}
    assert set(question.local) == {"Europe/Berlin"}


def test_equal_calls_make_equal_requests() -> None:
    charter = a_charter()
    first, second = (
        build_request(
            an_asker(charter), a_system(), "charge.read", {"charge_id": "c"}, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        )
        for _ in range(2)
    )
    assert first == second
