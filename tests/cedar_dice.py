"""Charters, guardrails and calls made by dice, as people would write them: for comparing what Charter compiles."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

from builders import PAYMENTS_SYSTEM, a_charter, a_system
from charter.policy.guardrail import Guardrail
from charter.registry.charter import Charter
from charter.registry.system import System
from policies import guards

FRIDAY = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
ROLES = ("payments-lead", "risk", "owner")
SYSTEM: dict[str, Any] = PAYMENTS_SYSTEM | {
    "actions": PAYMENTS_SYSTEM["actions"]
    | {
        "note.add": {"tool": "add_note", "effect": "write", "object": "note/{charge_id}", "data": []},
        "report": {"tool": "report", "effect": "read", "object": "reports"},
    }
}
ACTIONS = tuple(SYSTEM["actions"])
PATTERNS = ("*", "a*", "*b", "charge/*", "charge/c*", "note/c1", "SELECT *", "*T*", "reports", "*/*", "Größe*", "c*/*e")
SCALARS = ("a", "ab", "5", "true", 5, 0, True, False)
VALUES = (
    *(-5, 0, 0.1, 5, 5.0, 99.9999, 100, 100.0001, 200, "200.00", "a", "ab", "SELECT 1", "DROP", "", "true", "5"),
    *(True, False, None, [], {}, 0.1 + 0.2, float("nan"), 10**13, "1e2", "\ud800", "Größe 5", "x" * 70_000),
)
HOURS = ("08:00-18:00 Europe/Berlin", "22:00-06:00 America/New_York", "00:00-24:00 UTC", "24:00-06:00 Asia/Kolkata")
GUARDRAILS = tuple(
    f"forbid (principal, {action}, resource) {condition};"
    for action, condition in (
        ("action", 'unless { principal.kind == "agent" }'),
        ("action", 'unless { context.approvals.contains("risk") }'),
        ('action in Charter::Action::"irreversible"', "when { resource.sensitive }"),
        (
            "action",
            """unless { context.arguments has amount.quantity
  && context.arguments.amount.quantity.value.lessThan(decimal("100.0")) }""",
        ),
        (
            'action == Charter::Action::"payments/note.add"',
            """when { context.arguments has note.text
  && context.arguments.note.text like "D*" }""",
        ),
        ("action", 'when { context.local["America/New_York"].minute < 300 }'),
        (
            "action",
            """when { resource.path like "charge/d*" }
  unless { context.approvals.containsAny(["owner", "payments-lead"]) }""",
        ),
        ("action", 'when { context.now >= datetime("2026-11-24T12:00:00+0100") }'),
        ("action", 'when { context.now.toTime() < duration("4h") }'),
        ("action", 'unless { principal.data.containsAny(resource.data) || resource in Charter::System::"crm" }'),
        ("action", 'when { ["staging", "sandbox"].contains(principal.environment) }'),
        (
            "action",
            """when { context.arguments has "x y" && context.arguments["x y"] has number
  && context.arguments["x y"].number * 2 - 1 > 7 }""",
        ),
    )
)


def a_charter_by_dice(dice: random.Random) -> tuple[Charter, System]:
    """Return a charter and the system it is about."""
    data = dice.choice((["customer-pii"], ["customer-pii", "other"], ["other"]))
    environment = dice.choice(("production", "production", "production", "staging"))
    grants = [a_grant(dice) for _ in range(dice.randrange(1, 4))]
    return a_charter(grants=grants, data=data), a_system(**SYSTEM | {"environment": environment})


def some_guardrails(dice: random.Random) -> tuple[Guardrail, ...]:
    """Return up to three guardrails."""
    return guards("\n".join(dice.sample(GUARDRAILS, dice.randrange(4)))) if dice.random() < 0.7 else ()


def a_grant(dice: random.Random) -> dict[str, Any]:
    actions = ["*"] if dice.random() < 0.5 else dice.sample(ACTIONS, dice.randrange(1, 4))
    grant: dict[str, Any] = {"system": "payments", "actions": actions}
    if dice.random() < 0.3:
        grant["objects"] = dice.sample(PATTERNS, dice.randrange(1, 10))
    if dice.random() < 0.5:
        grant["when"] = _when(dice)
    if dice.random() < 0.3:
        grant["limit"] = [{"sum": "amount", "max": "150 EUR", "per": "hour"}, {"count": 3, "per": "day"}]
    if dice.random() < 0.4:
        grant["approval"] = {"by": dice.choice(ROLES[:2]), "when": _conditions(dice)}
    return grant


def _when(dice: random.Random) -> dict[str, Any]:
    when: dict[str, Any] = _conditions(dice)
    if dice.random() < 0.3:
        when["hours"] = dice.choice(HOURS)
    if dice.random() < 0.3:
        when["days"] = dice.choice(("mon-fri", "sat", "sun,wed"))
    return when


def _conditions(dice: random.Random) -> dict[str, Any]:
    return {dice.choice(("amount", "note", "x y")): _condition(dice) for _ in range(dice.randrange(3))}


def _condition(dice: random.Random) -> dict[str, Any]:
    unit = dice.choice((" EUR", " EUR", "", " USD"))
    match dice.randrange(5):
        case 0 | 1:
            return {dice.choice(("max", "min", "over", "under")): dice.choice(("5", "100", "200", "0")) + unit}
        case 2:
            return {"equals": dice.choice(SCALARS)}
        case 3:
            return {"one_of": [dice.choice(SCALARS) for _ in range(dice.randrange(1, 4))]}
        case _:
            return {"like": dice.choice(PATTERNS)}


def a_call(dice: random.Random) -> tuple[str, dict[str, Any], dt.datetime, frozenset[str], bool]:
    """Return action, arguments, time, the roles that approved it, and whether the principal is restrained."""
    arguments: dict[str, Any] = {"charge_id": dice.choice(("c1", "d/e", "Größe"))}
    if dice.random() < 0.7:
        arguments["amount"] = dice.choice((5, 50, 150, "99.5", 200, dice.choice(VALUES)))
        arguments["currency"] = dice.choice(("EUR", "EUR", "EUR", "USD", 5))
    for name in ("note", "x y"):
        if dice.random() < 0.5:
            arguments[name] = dice.choice(VALUES)
    at = FRIDAY + dt.timedelta(minutes=dice.randrange(11 * 24 * 60), microseconds=dice.randrange(10**6))
    roles = frozenset(dice.sample(ROLES, dice.choice((0, 0, 1, 2))))
    return dice.choice(ACTIONS), arguments, at, roles, dice.random() < 0.2
