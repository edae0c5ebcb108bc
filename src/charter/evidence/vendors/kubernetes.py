"""Kubernetes' audit events."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who, text_of
from charter.evidence.vendors.record import (
    Record,
    effect_of,
    ended,
    list_at,
    more_of,
    seen,
    text_at,
    texts_at,
    value_at,
)


def read(record: Record) -> Observation:
    """Kubernetes' audit events (audit.k8s.io/v1)."""
    code, audit, stage = value_at(record, "responseStatus.code"), text_at(record, "auditID"), text_at(record, "stage")
    name = text_at(record, "user.username")
    thing = "/".join(
        texts_at(record, "objectRef.namespace", "objectRef.resource", "objectRef.name", "objectRef.subresource")
    )
    verb = text_at(record, "verb")
    is_ok = None if not isinstance(code, int) else code < 400  # noqa: PLR2004 - HTTP
    return seen(
        f"{audit}/{stage}" if audit else "",
        value_at(record, "stageTimestamp") or value_at(record, "requestReceivedTimestamp"),
        Who(
            name,
            id=text_at(record, "user.uid"),
            kind="service" if name.startswith("system:") else "person",
            marks=(name,) if name else (),
        ),
        f"{text_at(record, 'objectRef.resource')}.{verb}" if text_at(record, "objectRef.resource") else verb,
        service="kubernetes",
        object=thing or text_at(record, "requestURI"),
        outcome=ended(is_ok),
        error=text_at(record, "responseStatus.reason") if is_ok is False else "",
        address=text_at(record, "sourceIPs") or text_of(next(iter(list_at(record, "sourceIPs")), "")),
        effect=effect_of(verb),
        uses_ai=".kserve." in text_at(record, "objectRef.apiGroup"),
        more=more_of(record, agent="userAgent", impersonates="impersonatedUser.username"),
    )
