"""What a grant's own numbers rule out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.registry.grant import Grant
from charter.registry.never_met import never_met

GRANT = {"system": "payments", "actions": ["refund.create"]}


def slips(**terms: Any) -> list[tuple[str, str]]:
    return [(each.path, each.text) for each in never_met(Grant.model_validate(GRANT | terms))]


def approval(**amount: str) -> dict[str, Any]:
    return {"when": {"amount": amount}, "by": "payments-lead"}


@pytest.mark.parametrize(
    ("terms", "path", "text"),
    [
        ({"when": {"amount": {"min": "300 EUR", "max": "200 EUR"}}}, "when.amount", "no call is ever allowed"),
        ({"when": {"amount": {"over": "200", "under": "200"}}}, "when.amount", "no call is ever allowed"),
        ({"when": {"amount": {"over": "200", "max": "200"}}}, "when.amount", "no call is ever allowed"),
        (
            {"when": {"amount": {"max": "200 EUR"}}, "approval": approval(over="300 EUR")},
            "approval.when.amount",
            "`amount` is never over 200 EUR here, so nobody is ever asked",
        ),
        (
            {"when": {"amount": {"max": "200 EUR"}}, "approval": approval(over="200 EUR")},
            "approval.when.amount",
            "so nobody is ever asked",
        ),
        (
            {"when": {"amount": {"max": "200 EUR"}}, "approval": approval(over="100 USD")},
            "approval.when.amount",
            "`amount` has `USD` here and `EUR` under `when`",
        ),
        ({"approval": approval(min="3", max="2")}, "approval.when.amount", "nobody is ever asked"),
        (
            {"limit": [{"sum": "amount", "max": f"9 {unit}", "per": "day"} for unit in ("EUR", "USD")]},
            "limit.1.max",
            "`amount` is added up in `USD` here and in `EUR` before: no call is in both",
        ),
        (
            {"when": {"amount": {"max": "2 EUR"}}, "limit": [{"sum": "amount", "max": "9 EURO", "per": "day"}]},
            "limit.0.max",
            "`amount` has `EURO` here and `EUR` under `when`",
        ),
        (
            {"when": {"amount": {"max": "2 EUR"}}, "limit": [{"sum": "amount", "max": "9", "per": "day"}]},
            "limit.0.max",
            "`amount` has no unit here and `EUR` under `when`",
        ),
        (
            {"when": {"size": {"max": "5 MB"}}, "approval": {"when": {"size": {"over": "6000 kB"}}, "by": "ops"}},
            "approval.when.size",
            "never over 5 MB",
        ),
    ],
)
def test_a_slip_is_told_with_its_place(terms: dict[str, Any], path: str, text: str) -> None:
    ((found, said),) = slips(**terms)
    assert found == path
    assert text in said


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"when": {"amount": {"min": "200 EUR", "max": "200 EUR"}}},
        {"when": {"amount": {"max": "200 EUR"}}, "approval": approval(over="100 EUR")},
        {"when": {"amount": {"max": "200 EUR"}}, "approval": approval(min="200 EUR")},
        {"when": {"size": {"max": "5 MB"}}, "limit": [{"sum": "size", "max": "5000 kB", "per": "day"}]},
        {"when": {"note": {"like": "a*"}}, "approval": approval(over="1")},
    ],
)
def test_what_some_call_meets_is_no_slip(terms: dict[str, Any]) -> None:
    assert slips(**terms) == []


AMOUNTS = st.integers(-20, 20)
ENDS = st.fixed_dictionaries({}, optional=dict.fromkeys(("min", "max", "over", "under"), AMOUNTS)).filter(bool)


def holds(ends: dict[str, int], amount: Decimal) -> bool:
    return (
        ("min" not in ends or amount >= ends["min"])
        and ("max" not in ends or amount <= ends["max"])
        and ("over" not in ends or amount > ends["over"])
        and ("under" not in ends or amount < ends["under"])
    )


@given(ends=ENDS)
def test_a_condition_is_a_slip_exactly_if_no_amount_meets_it(ends: dict[str, int]) -> None:
    halves = [Decimal(each) / 2 for each in range(-43, 44)]  # bounds are whole: between two of them stands a half
    is_met = any(holds(ends, each) for each in halves)
    assert bool(slips(when={"amount": ends})) == (not is_met)
