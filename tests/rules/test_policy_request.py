"""A call as policy sees it: exact amounts or none."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.core.errors import MalformedError
from charter.policy.amount import exact_decimal, whole_number
from charter.policy.request import build_request
from charter.policy.vocabulary import Argument, Words, argument_of, question_of, record_of
from charter.registry.calendar import Calendars
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

NOTHING: frozenset[str] = frozenset()


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


NESTED = {
    "amounts": {
        "total": {"value": "order.cents", "unit": "order.currency", "per_unit": 100},
        "size": {"value": "bytes", "given_in": "B"},
    }
}


@pytest.mark.parametrize(
    ("arguments", "amounts", "unread"),
    [
        ({"order": {"cents": 1999, "currency": "eur"}}, {"total": ("19.99", "EUR")}, set()),
        ({"order": {"cents": 1999}}, {}, {"total"}),
        ({"order": {"cents": "x", "currency": "EUR"}}, {}, {"total"}),
        ({"order": {"currency": "EUR"}}, {}, set()),
        ({"order": [1999], "order.cents": 5}, {}, set()),
        ({"bytes": 5_000_000}, {"size": ("5000.0", "kB")}, set()),
        ({"bytes": 1}, {"size": ("0.001", "kB")}, set()),
        ({"bytes": 0.01}, {}, {"size"}),
        ({"bytes": 10**15}, {}, {"size"}),
    ],
)
def test_amounts_are_found_within_and_told_in_one_unit(arguments: Any, amounts: Any, unread: Any) -> None:
    action = PAYMENTS_SYSTEM["actions"]["refund.create"] | NESTED
    system = a_system(actions={"refund.create": action})
    request = a_request(arguments={"charge_id": "c"} | arguments, system=system)
    assert {name: request.amounts[name] for name in ("total", "size") if name in request.amounts} == amounts
    assert request.unread == unread


def test_what_is_called_like_a_path_is_not_what_the_path_leads_to() -> None:
    decoy = a_request(arguments={"charge_id": "c", "order.total": 1, "order": {"total": 1000}})
    assert argument_of(decoy, "order.total") == Argument(number=1000, quantity=(Decimal(1000), ""))
    alone = a_request(arguments={"charge_id": "c", "order.total": 1})
    assert argument_of(alone, "order.total") is None


def test_a_list_is_told_with_the_patterns_that_all_of_it_matches() -> None:
    patterns = ("*@example.com", "a*")
    for value, alike in (
        (["a@example.com", "b@example.com"], {"*@example.com"}),
        ("a@example.com", set(patterns)),
        (["a@example.com", "a@example.net"], {"a*"}),
        ([], set(patterns)),
    ):
        record = record_of(a_request(arguments={"charge_id": "c", "to": value}), "to", patterns)
        assert record is not None
        assert record["alike"] == alike


def test_an_action_the_system_does_not_have_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"`payments` has no action `nope`"):
        a_request("nope")


def test_too_many_arguments_are_refused() -> None:
    with pytest.raises(MalformedError, match="more than 256 arguments"):
        a_request(arguments={"charge_id": "c"} | {f"a{n}": n for n in range(256)})


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        ("text", Argument(text="text", length=4, items=1, texts=frozenset({"text"}), alike=NOTHING)),
        ("5", Argument(text="5", length=1, items=1, texts=frozenset("5"), alike=NOTHING, quantity=(Decimal(5), ""))),
        (5, Argument(number=5, quantity=(Decimal(5), ""))),
        (5.0, Argument(number=5, quantity=(Decimal(5), ""))),
        (5.5, Argument(quantity=(Decimal("5.5"), ""))),
        (True, Argument(flag=True)),
        (None, Argument()),
        ([1], Argument(items=1)),
        (["a", "b", "a"], Argument(items=3, texts=frozenset("ab"), alike=NOTHING)),
        (["a", "\ud800"], Argument(items=2)),
        (["x"] * 1001, Argument(items=1001)),
        ([], Argument(items=0, texts=frozenset(), alike=NOTHING)),
        ({"a": 1}, Argument()),
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


@pytest.mark.parametrize(
    ("at", "minute", "day"), [("2026-07-01T23:30:00+00:00", 90, "thu"), ("2026-12-01T23:30:00+00:00", 30, "wed")]
)
def test_local_time_follows_the_zone_and_its_changes(at: str, minute: int, day: str) -> None:
    request = a_request(at=dt.datetime.fromisoformat(at))
    local = question_of(request, Words(zones=("Europe/Berlin",))).local["Europe/Berlin"]
    assert (local["minute"], local["day"]) == (minute, day)


def test_local_time_tells_the_calendars_by_which_today_and_yesterday_are_worked() -> None:
    calendars = {name: Calendars(charter="v1").find(name) for name in ("DE-BE", "FR")}
    named = tuple((name, found) for name, found in calendars.items() if found)
    words = Words(zones=("UTC",), calendars={"UTC": named})
    at = dt.datetime(2026, 5, 15, tzinfo=dt.UTC)  # the day after Ascension, a holiday in both
    local = question_of(a_request(at=at), words).local["UTC"]
    assert (local["workdays"], local["before"]) == (frozenset({"DE-BE", "FR"}), frozenset())
    at = dt.datetime(2026, 3, 9, tzinfo=dt.UTC)  # Monday; the day before was Women's Day in Berlin, and a Sunday
    local = question_of(a_request(at=at), words).local["UTC"]
    assert (local["workdays"], local["before"]) == (frozenset({"DE-BE", "FR"}), frozenset())


def test_a_question_tells_only_of_what_the_policies_name() -> None:
    slice_ = bound()
    request = a_request(arguments={"charge_id": "c", "amount": 5, "currency": "EUR", "note": "hello"})
    question = question_of(request, slice_.words)
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
