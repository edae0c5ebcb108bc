"""Logs of Microsoft Entra."""

from __future__ import annotations

from charter.evidence.observation import Observation, Who
from charter.evidence.vendors.record import Record, effect_of, ended, more_of, seen, text_at, texts_at, value_at


def read(record: Record) -> Observation:
    """Microsoft Entra: sign-ins and audit entries, from Graph or from a diagnostic setting (`properties`)."""
    said = record.get("properties") if isinstance(record.get("properties"), dict) else record
    if value_at(said, "activityDisplayName") is not None:
        return _read_audit(said)
    agent = text_at(said, "agent.agentType")
    is_service = bool(text_at(said, "servicePrincipalId")) and not text_at(said, "userPrincipalName")
    code = value_at(said, "status.errorCode")
    who = Who(
        text_at(said, "userPrincipalName", "servicePrincipalName", "appDisplayName", "appId"),
        id=text_at(said, "userId", "servicePrincipalId", "appId"),
        kind="agent" if agent and agent != "notAgentic" else "service" if is_service else "person",
        credential=text_at(said, "servicePrincipalCredentialKeyId"),
        marks=texts_at(said, "servicePrincipalId", "appId"),
    )
    return seen(
        text_at(said, "id"),
        value_at(said, "createdDateTime") or record.get("time"),
        who,
        "sign-in",
        service="entra",
        object=text_at(said, "resourceDisplayName", "appDisplayName"),
        outcome=ended(None if code is None else code in (0, "0")),
        error="" if code in (None, 0, "0") else text_at(said, "status.failureReason", "status.errorCode"),
        address=text_at(said, "ipAddress"),
        uses_ai=who.kind == "agent",
        more=more_of(said, application="appDisplayName", correlation="correlationId"),
    )


def _read_audit(said: object) -> Observation:
    result = text_at(said, "result").lower()
    application = text_at(said, "initiatedBy.app.displayName", "initiatedBy.app.servicePrincipalName")
    person = text_at(said, "initiatedBy.user.userPrincipalName")
    who = Who(
        person or application or text_at(said, "initiatedBy.app.servicePrincipalId"),
        id=text_at(said, "initiatedBy.user.id", "initiatedBy.app.servicePrincipalId"),
        kind="person" if person else "service",
        marks=texts_at(said, "initiatedBy.app.servicePrincipalId", "initiatedBy.app.appId"),
    )
    return seen(
        text_at(said, "id"),
        value_at(said, "activityDateTime"),
        who,
        text_at(said, "activityDisplayName"),
        service=text_at(said, "loggedByService") or "entra",
        object=text_at(said, "targetResources.displayName", "targetResources.id"),
        outcome=ended({"success": True, "failure": False}.get(result)),
        error=text_at(said, "resultReason") if result == "failure" else "",
        address=text_at(said, "initiatedBy.user.ipAddress"),
        effect=effect_of(text_at(said, "operationType") or text_at(said, "activityDisplayName")),
    )
