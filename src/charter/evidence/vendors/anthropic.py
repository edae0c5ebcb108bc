"""Anthropic's activity log."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import Record, ended_as_named, more_of, seen, text_at, value_at

_OBJECTS = (
    *("claude_chat_id", "claude_file_id", "claude_artifact_id", "claude_project_id"),
    *("api_key_id", "workspace_id", "organization_id"),
)


def read(record: Record) -> Observation:
    """Anthropic's activity of an organisation (Compliance API)."""
    person, key = text_at(record, "actor.email_address"), text_at(record, "actor.api_key_id", "actor.admin_api_key_id")
    action = text_at(record, "type")
    return seen(
        text_at(record, "id"),
        value_at(record, "created_at"),
        Who(
            person or key or text_at(record, "actor.user_id", "actor.type"),
            id=text_at(record, "actor.user_id"),
            kind="person" if person else "service" if key else "unknown",
            credential=key,
        ),
        action,
        service="anthropic",
        object=text_at(record, *_OBJECTS),
        outcome=ended_as_named(action),
        address=text_at(record, "actor.ip_address"),
        uses_ai=bool(person or key),  # and not who only tried to sign in, or a directory that brings its people
        more=more_of(
            record,
            workspace="workspace_id",
            claimed="actor.unauthenticated_email_address",  # by whom, is proven by nothing
            directory="actor.directory_id",
        ),
    )
