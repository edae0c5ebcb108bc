"""GitHub's audit log."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import UNNAMED, Record, ended_as_named, more_of, seen, text_at


def read(record: Record) -> Observation:
    """GitHub's audit log, as streamed or exported. What the platform does, or a stranger in public, has no actor."""
    actor, action = text_at(record, "actor"), text_at(record, "action")
    is_bot = record.get("actor_is_bot") is True or actor.endswith("[bot]")
    is_agent = record.get("actor_is_agent") is True or "copilot" in actor.lower()
    return seen(
        text_at(record, "_document_id"),
        record.get("@timestamp") or record.get("created_at"),
        Who(
            actor or UNNAMED,
            id=text_at(record, "actor_id"),
            kind="agent" if is_agent else "service" if is_bot else "person" if actor else "unknown",
            credential=text_at(record, "token_id", "hashed_token"),
        ),
        action,
        service="github",
        object=text_at(record, "repo", "repository", "org", "business"),
        outcome=ended_as_named(action),
        address=text_at(record, "actor_ip"),
        uses_ai=is_agent or (bool(actor) and action.startswith("copilot")),
        more=more_of(record, access="programmatic_access_type", organisation="org", to="user", permission="permission"),
    )
