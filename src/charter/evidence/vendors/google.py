"""Google Workspace's activities."""

from __future__ import annotations

from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import FAILED, Record, list_at, more_of, seen, text_at

MAX_EVENTS = 100  # of one record
_OBJECTS = ("doc_id", "client_id", "app_name", "user_email", "group_email", "target_user", "calendar_id")


def events_of(activity: Record) -> tuple[Record, ...]:
    """Return an activity of Google's once for each of its events, of which the second may be the one that matters.

    Raises:
        MalformedError: it has more than MAX_EVENTS.
    """
    events = list_at(activity, "events")
    if len(events) > MAX_EVENTS:
        raise MalformedError(ErrorCode.TOO_MANY, f"it tells of more than {MAX_EVENTS} events")
    return tuple({**activity, "events": [each]} for each in events) or (activity,)


def read(record: Record) -> Observation:
    """Google Workspace's activities (Admin SDK, Reports), each with one event."""
    application, event = text_at(record, "id.applicationName"), text_at(record, "events.name")
    number, time = text_at(record, "id.uniqueQualifier"), text_at(record, "id.time")
    return seen(
        f"{application}/{time}/{number}" if number else "",
        time,
        Who(
            text_at(record, "actor.email", "actor.key", "actor.profileId"),
            id=text_at(record, "actor.profileId"),
            kind="service" if text_at(record, "actor.callerType") == "KEY" else "person",
        ),
        event,
        service=f"google.{application}" if application else "google",
        object=_object(record),
        outcome="failure" if FAILED.search(event) else "success" if event.endswith("_success") else "unknown",
        address=text_at(record, "ipAddress"),
        uses_ai=application.startswith("gemini"),
        more=more_of(record, type="events.type"),
    )


def _object(record: Record) -> str:
    events = list_at(record, "events")
    parameters = list_at(events[0], "parameters") if events and isinstance(events[0], dict) else []
    values = {text_at(each, "name").lower(): found for each in parameters if (found := text_at(each, "value"))}
    named = next((values[name] for name in _OBJECTS if name in values), "")
    return named or text_at(record, "resourceDetails.id", "resourceDetails.title") or next(iter(values.values()), "")
