"""Valid objects with one thing changed: `a_charter(owner=None)`."""

from __future__ import annotations

from typing import Any

from charter.registry.charter import Charter
from charter.registry.system import System

REFUND_CHARTER: dict[str, Any] = {
    "charter": "v1",
    "principal": "refund-agent",
    "kind": "agent",
    "environment": "production",
    "owner": {"person": "maria@example.com", "team": "payments-ops"},
    "purpose": "Refund small disputed card charges",
    "model": {"provider": "anthropic", "name": "claude-*"},
    "data": ["customer-pii"],
    "approved": {"by": "alex@example.com", "role": "payments-risk", "on": "2026-11-02"},
    "credential": {"type": "private-key-jwt"},
    "grants": [
        {
            "system": "payments",
            "actions": ["charge.read", "refund.create"],
            "objects": ["charge/*"],
            "when": {"hours": "08:00-18:00 Europe/Berlin", "days": "mon-fri", "amount": {"max": "200 EUR"}},
            "limit": [{"count": 50, "per": "day"}, {"sum": "amount", "max": "2000 EUR", "per": "day"}],
            "approval": {"when": {"amount": {"over": "100 EUR"}}, "by": "payments-lead"},
        }
    ],
    "delegation": {"from": ["humans"], "purposes": ["dispute-handling"], "max_ttl": "1h", "max_depth": 2},
    "review": "90d",
    "expires": "2027-11-02",
}

PAYMENTS_SYSTEM: dict[str, Any] = {
    "charter": "v1",
    "system": "payments",
    "kind": "mcp",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "payments-platform"},
    "sensitive": True,
    "data": ["customer-pii"],
    "upstream": {"transport": "http", "url": "http://127.0.0.1:9/mcp"},
    "actions": {
        "charge.read": {"tool": "get_charge", "effect": "read", "object": "charge/{charge_id}"},
        "refund.create": {
            "tool": "create_refund",
            "effect": "irreversible",
            "object": "charge/{charge_id}",
            "amounts": {"amount": {"value": "amount", "unit": "currency"}},
        },
    },
}


def a_charter(**changed: Any) -> Charter:
    """Return the refund agent's charter with some top-level fields changed; None leaves one out."""
    return Charter.model_validate({k: v for k, v in (REFUND_CHARTER | changed).items() if v is not None})


def a_system(**changed: Any) -> System:
    """Return the payments system with some top-level fields changed; None leaves one out."""
    return System.model_validate({k: v for k, v in (PAYMENTS_SYSTEM | changed).items() if v is not None})
