"""Okta's System Log."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import Record, ended, seen, text_at, value_at

_KINDS = {"User": "person", "PublicClientApp": "service", "ServiceAccount": "service", "AIAgent": "agent"}


def read(record: Record) -> Observation:
    """Okta's System Log."""
    result = text_at(record, "outcome.result")
    kind = _KINDS.get(text_at(record, "actor.type"), "unknown")
    return seen(
        text_at(record, "uuid"),
        value_at(record, "published"),
        Who(
            text_at(record, "actor.alternateId", "actor.displayName", "actor.id"),
            id=text_at(record, "actor.id"),
            kind=kind,
            credential=text_at(record, "authenticationContext.externalSessionId"),
        ),
        text_at(record, "eventType"),
        service="okta",
        object=text_at(record, "target.alternateId", "target.displayName"),
        outcome=ended({"SUCCESS": True, "ALLOW": True, "FAILURE": False, "DENY": False}.get(result)),
        error=text_at(record, "outcome.reason"),
        address=text_at(record, "client.ipAddress"),
        uses_ai=kind == "agent",
    )
