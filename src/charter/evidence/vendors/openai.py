"""OpenAI's audit logs."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import Record, ended_as_named, more_of, seen, text_at, value_at


def read(record: Record) -> Observation:
    """OpenAI's audit logs of an organisation."""
    key = text_at(record, "actor.api_key.id")
    account = text_at(record, "actor.api_key.service_account.id")
    person = text_at(record, "actor.session.user.email", "actor.api_key.user.email")
    action = text_at(record, "type")
    about = record.get(action)  # what the event itself says: the member that bears its name
    return seen(
        text_at(record, "id"),
        value_at(record, "effective_at"),
        Who(
            account or person or key,
            id=text_at(record, "actor.session.user.id", "actor.api_key.user.id", "actor.api_key.service_account.id"),
            kind="service" if account else "person" if person else "unknown",
            credential=key,
        ),
        action,
        service="openai",
        object=text_at(about, "id") or text_at(record, "project.name", "project.id"),
        outcome=ended_as_named(action),
        error=text_at(about, "error_code"),
        address=text_at(record, "actor.session.ip_address"),
        uses_ai=not action.startswith(("login.", "logout.")),
        more=more_of(record, project="project.id"),
    )
