"""Logs of vendors and platforms, read as observations: one row of `READERS` for each kind of log.

A reader takes one record, a JSON object, and says what it tells of; it knows the vendor's fields and nothing else. What
lacks an actor, an action or a time is refused, and whoever reads the file sets that line aside; where a vendor tells of
deeds that nobody is named for, the actor is `UNNAMED`.

INVARIANT: a reader raises MalformedError or returns, whatever the record holds.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.observation import Observation, Used, Who, count_of, digest_of_record, text_of, time_of

MAX_LINE = 1024 * 1024  # bytes
MAX_EVENTS = 100  # of one record
UNNAMED = "(unnamed)"  # no login has parentheses
MAX_FILE = 1024 * 1024 * 1024  # bytes, unpacked
_GZIP = b"\x1f\x8b"
Record = Mapping[str, Any]
Told = tuple[str, object, Who, str]  # event id, time, who, action


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a file, as it stands there."""

    number: int  # from 1: of the line, or of the record in a document that holds many
    data: bytes


def read_observations(data: bytes, kind: str) -> tuple[Observation, ...]:
    """Return what one record of a log of that kind tells of: one event; of Google's, as many as it holds.

    Raises:
        MalformedError: it is no record of such a log.
    """
    reader = READERS.get(kind)
    if reader is None:
        known = ", ".join(READERS)
        raise MalformedError(ErrorCode.BAD_VALUE, f"{kind[:40]!a} is no kind of log", help=f"there are {known}")
    if len(data) > MAX_LINE:
        raise MalformedError(ErrorCode.TOO_LARGE, f"it is longer than {MAX_LINE} bytes")
    try:
        record = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "it is no JSON") from err
    if not isinstance(record, dict):
        raise MalformedError(ErrorCode.BAD_VALUE, "it is no JSON object")
    digest, told = digest_of_record(record), []
    for number, each in enumerate(_single(record) if kind == "google-workspace" else (record,)):
        found = reader(each)
        if not found.who.name:
            raise MalformedError(ErrorCode.BAD_VALUE, "it names no actor")
        if not found.action:
            raise MalformedError(ErrorCode.BAD_VALUE, "it names no action")
        event = (found.event or digest) + (f"/{number}" if number else "")
        told.append(replace(found, source=kind, digest=digest, event=event))
    return tuple(told)


def _single(activity: Record) -> tuple[Record, ...]:
    """Return an activity of Google's once for each of its events, of which the second may be the one that matters."""
    events = _list_at(activity, "events")
    if len(events) > MAX_EVENTS:
        raise MalformedError(ErrorCode.TOO_MANY, f"it tells of more than {MAX_EVENTS} events")
    return tuple({**activity, "events": [each]} for each in events) or (activity,)


def split_lines(data: bytes) -> Iterator[Line]:
    """Yield the records of a log file: JSON lines, or one JSON document with a list of them; either may be gzipped.

    Raises:
        MalformedError: it is larger than a file may be, or packed and broken.
    """
    plain = _unpacked(data)
    records = _listed(plain)
    if records is not None:
        yield from (Line(number, bytes(each)) for number, each in enumerate(records, 1))
        return
    for number, line in enumerate(io.BytesIO(plain), 1):
        if line.strip():
            yield Line(number, line.strip())


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return _of_a_size(data)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            return _of_a_size(packed.read(MAX_FILE + 1))
    except (OSError, EOFError, zlib.error) as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "the file is gzipped, and broken") from err


def _of_a_size(data: bytes) -> bytes:
    if len(data) > MAX_FILE:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the file is larger than {MAX_FILE} bytes", help="split it")
    return data


class _Document(msgspec.Struct):
    Records: list[msgspec.Raw] | None = None  # CloudTrail
    records: list[msgspec.Raw] | None = None  # Azure's diagnostic settings
    items: list[msgspec.Raw] | None = None  # Google Workspace, Kubernetes' EventList
    value: list[msgspec.Raw] | None = None  # Entra
    data: list[msgspec.Raw] | None = None  # OpenAI, Anthropic


_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_document = msgspec.json.Decoder(_Document).decode


def _listed(plain: bytes) -> list[msgspec.Raw] | None:
    """Return the records of a file that is one document, or None if it is lines."""
    start = plain.lstrip()[:1]
    try:
        if start == b"[":
            return _list(plain)
        if start == b"{":
            found = _document(plain)
            lists = (found.Records, found.records, found.items, found.value, found.data)
            return next((each for each in lists if each is not None), None)
    except (msgspec.DecodeError, RecursionError):
        return None
    return None


# --- finding one's way in records -------------------------------------------------------------------------------------


def _at(record: object, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a dotted path of a record, or None."""
    for name in path.split("."):
        if isinstance(record, list):
            record = record[0] if record else None
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def _text(record: object, *paths: str) -> str:
    """Return the first text that stands at one of the paths."""
    return next((found for path in paths if (found := text_of(_at(record, path)))), "")


def _texts(record: object, *paths: str) -> tuple[str, ...]:
    return tuple(found for path in paths if (found := text_of(_at(record, path))))


def _more(record: object, **paths: str) -> dict[str, str]:
    return {name: found for name, path in paths.items() if (found := _text(record, path))}


def _effect_of(action: str) -> str:
    """Return what an action does, as far as its name tells: `repo.create`, `iam:CreateUser`, `claude_file_viewed`."""
    name = action.rsplit(".", 1)[-1].rsplit(":", 1)[-1].lower()
    for word in (name, name.rpartition("_")[2]):
        for effect, beginnings in _EFFECTS.items():
            if word.startswith(beginnings):
                return effect
    return "other"


_EFFECTS = {
    "create": ("create", "add", "put", "run", "invoke", "insert", "post", "register", "upload"),
    "read": ("get", "list", "describe", "read", "head", "watch", "query", "search", "view", "download", "access"),
    "update": ("update", "patch", "modify", "set", "change", "edit", "rename", "attach", "assign", "archive"),
    "delete": ("delete", "remove", "destroy", "terminate", "revoke", "disable", "detach"),
}


def _seen(event: str, at: object, who: Who, action: str, **more: Any) -> Observation:  # noqa: ANN401
    found = {"effect": _effect_of(action)} | more
    return Observation("", event, "", time_of(at), who, action, **found)


_FAILED = re.compile(r"(?:^|[._])fail(?:ed|ure)(?:$|[._])")


def _ended_as_named(action: str) -> str:
    """Return how it ended, in logs that tell a failure by its name alone: `login.failed`, `user.failed_login`."""
    return _ended(not _FAILED.search(action))


def _ended(is_ok: bool | None) -> str:
    return "unknown" if is_ok is None else "success" if is_ok else "failure"


# --- one reader for each kind of log ----------------------------------------------------------------------------------

_AWS_KINDS = {"IAMUser": "person", "Root": "person", "AssumedRole": "service", "AWSService": "service"}
_AWS_AI = ("bedrock", "sagemaker", "qbusiness", "q.", "qapps", "codewhisperer")

_AWS_OBJECTS = (  # of calls that name no resource, which most are
    *("agentId", "knowledgeBaseId", "bucketName", "secretId", "keyId", "functionName", "tableName", "instanceId"),
    *("roleArn", "roleName", "policyArn", "userName", "groupName", "queueUrl", "topicArn", "stackName", "logGroupName"),
)


def _cloudtrail(record: Record) -> Observation:
    """AWS CloudTrail, and Bedrock's log of model invocations (`schemaType`)."""
    if _text(record, "schemaType") == "ModelInvocationLog":
        return _bedrock(record)
    service, action = _text(record, "eventSource"), _text(record, "eventName")
    arn = _text(record, "userIdentity.arn")
    name = arn or _text(record, "userIdentity.userName", "userIdentity.invokedBy", "userIdentity.principalId")
    who = Who(
        name,
        id=_text(record, "userIdentity.principalId"),
        kind=_AWS_KINDS.get(_text(record, "userIdentity.type"), "unknown"),
        credential=_text(record, "userIdentity.accessKeyId"),
        marks=_marks_of(arn),
    )
    model = _text(record, "requestParameters.modelId")
    error = _text(record, "errorCode", "errorMessage")  # a sign-in that failed has no code
    return _seen(
        _text(record, "eventID"),
        _at(record, "eventTime"),
        who,
        action,
        service=service,
        object=model or _text(record, "resources.ARN", *(f"requestParameters.{name}" for name in _AWS_OBJECTS)),
        outcome=_ended(not error),
        error=error,
        address=_text(record, "sourceIPAddress"),
        used=Used("aws.bedrock", model) if model else None,
        uses_ai=service.startswith(_AWS_AI),
        effect="read" if record.get("readOnly") is True else _effect_of(action),
        more=_more(record, region="awsRegion", account="recipientAccountId", request="requestID"),
    )


_ROLE = re.compile(r"arn:aws[a-z-]*:sts::(\d{12}):assumed-role/([^/]+)/[^/]+")


def _marks_of(arn: str) -> tuple[str, ...]:
    """Return what AWS makes sure of: the ARN, and of an assumed role its account and name."""
    role = _ROLE.fullmatch(arn)
    return (arn, f"{role[1]}/{role[2]}") if role else (arn,) if arn else ()


def _bedrock(record: Record) -> Observation:
    arn, model = _text(record, "identity.arn"), _text(record, "modelId")
    error = _text(record, "errorCode")
    return _seen(
        _text(record, "requestId"),
        _at(record, "timestamp"),
        Who(arn, kind="service", marks=_marks_of(arn)),
        _text(record, "operation"),
        service="bedrock.amazonaws.com",
        object=model,
        outcome=_ended(not error),
        error=error,
        used=Used(
            "aws.bedrock",
            model,
            count_of(_at(record, "input.inputTokenCount")),
            count_of(_at(record, "output.outputTokenCount")),
        ),
        uses_ai=True,
        more=_more(record, region="region", account="accountId"),
    )


def _entra(record: Record) -> Observation:
    """Microsoft Entra: sign-ins and audit entries, from Graph or from a diagnostic setting (`properties`)."""
    said = record.get("properties") if isinstance(record.get("properties"), dict) else record
    if _at(said, "activityDisplayName") is not None:
        return _entra_audit(said)
    agent = _text(said, "agent.agentType")
    is_service = bool(_text(said, "servicePrincipalId")) and not _text(said, "userPrincipalName")
    code = _at(said, "status.errorCode")
    who = Who(
        _text(said, "userPrincipalName", "servicePrincipalName", "appDisplayName", "appId"),
        id=_text(said, "userId", "servicePrincipalId", "appId"),
        kind="agent" if agent and agent != "notAgentic" else "service" if is_service else "person",
        credential=_text(said, "servicePrincipalCredentialKeyId"),
        marks=_texts(said, "servicePrincipalId", "appId"),
    )
    return _seen(
        _text(said, "id"),
        _at(said, "createdDateTime") or record.get("time"),
        who,
        "sign-in",
        service="entra",
        object=_text(said, "resourceDisplayName", "appDisplayName"),
        outcome=_ended(None if code is None else code in (0, "0")),
        error="" if code in (None, 0, "0") else _text(said, "status.failureReason", "status.errorCode"),
        address=_text(said, "ipAddress"),
        uses_ai=who.kind == "agent",
        more=_more(said, application="appDisplayName", correlation="correlationId"),
    )


def _entra_audit(said: object) -> Observation:
    result = _text(said, "result").lower()
    application = _text(said, "initiatedBy.app.displayName", "initiatedBy.app.servicePrincipalName")
    person = _text(said, "initiatedBy.user.userPrincipalName")
    who = Who(
        person or application or _text(said, "initiatedBy.app.servicePrincipalId"),
        id=_text(said, "initiatedBy.user.id", "initiatedBy.app.servicePrincipalId"),
        kind="person" if person else "service",
        marks=_texts(said, "initiatedBy.app.servicePrincipalId", "initiatedBy.app.appId"),
    )
    return _seen(
        _text(said, "id"),
        _at(said, "activityDateTime"),
        who,
        _text(said, "activityDisplayName"),
        service=_text(said, "loggedByService") or "entra",
        object=_text(said, "targetResources.displayName", "targetResources.id"),
        outcome=_ended({"success": True, "failure": False}.get(result)),
        error=_text(said, "resultReason") if result == "failure" else "",
        address=_text(said, "initiatedBy.user.ipAddress"),
        effect=_effect_of(_text(said, "operationType") or _text(said, "activityDisplayName")),
    )


_OKTA_KINDS = {"User": "person", "PublicClientApp": "service", "ServiceAccount": "service", "AIAgent": "agent"}


def _okta(record: Record) -> Observation:
    """Okta's System Log."""
    result = _text(record, "outcome.result")
    kind = _OKTA_KINDS.get(_text(record, "actor.type"), "unknown")
    return _seen(
        _text(record, "uuid"),
        _at(record, "published"),
        Who(
            _text(record, "actor.alternateId", "actor.displayName", "actor.id"),
            id=_text(record, "actor.id"),
            kind=kind,
            credential=_text(record, "authenticationContext.externalSessionId"),
        ),
        _text(record, "eventType"),
        service="okta",
        object=_text(record, "target.alternateId", "target.displayName"),
        outcome=_ended({"SUCCESS": True, "ALLOW": True, "FAILURE": False, "DENY": False}.get(result)),
        error=_text(record, "outcome.reason"),
        address=_text(record, "client.ipAddress"),
        uses_ai=kind == "agent",
    )


def _github(record: Record) -> Observation:
    """GitHub's audit log, as streamed or exported. What the platform does, or a stranger in public, has no actor."""
    actor, action = _text(record, "actor"), _text(record, "action")
    is_bot = record.get("actor_is_bot") is True or actor.endswith("[bot]")
    is_agent = record.get("actor_is_agent") is True or "copilot" in actor.lower()
    return _seen(
        _text(record, "_document_id"),
        record.get("@timestamp") or record.get("created_at"),
        Who(
            actor or UNNAMED,
            id=_text(record, "actor_id"),
            kind="agent" if is_agent else "service" if is_bot else "person" if actor else "unknown",
            credential=_text(record, "token_id", "hashed_token"),
        ),
        action,
        service="github",
        object=_text(record, "repo", "repository", "org", "business"),
        outcome=_ended_as_named(action),
        address=_text(record, "actor_ip"),
        uses_ai=is_agent or (bool(actor) and action.startswith("copilot")),
        more=_more(record, access="programmatic_access_type", organisation="org", to="user", permission="permission"),
    )


def _google_workspace(record: Record) -> Observation:
    """Google Workspace's activities (Admin SDK, Reports), each with one event."""
    application, event = _text(record, "id.applicationName"), _text(record, "events.name")
    number, time = _text(record, "id.uniqueQualifier"), _text(record, "id.time")
    return _seen(
        f"{application}/{time}/{number}" if number else "",
        time,
        Who(
            _text(record, "actor.email", "actor.key", "actor.profileId"),
            id=_text(record, "actor.profileId"),
            kind="service" if _text(record, "actor.callerType") == "KEY" else "person",
        ),
        event,
        service=f"google.{application}" if application else "google",
        object=_google_object(record),
        outcome="failure" if _FAILED.search(event) else "success" if event.endswith("_success") else "unknown",
        address=_text(record, "ipAddress"),
        uses_ai=application.startswith("gemini"),
        more=_more(record, type="events.type"),
    )


_GOOGLE_OBJECTS = ("doc_id", "client_id", "app_name", "user_email", "group_email", "target_user", "calendar_id")


def _google_object(record: Record) -> str:
    events = _list_at(record, "events")
    parameters = _list_at(events[0], "parameters") if events and isinstance(events[0], dict) else []
    values = {_text(each, "name").lower(): found for each in parameters if (found := _text(each, "value"))}
    named = next((values[name] for name in _GOOGLE_OBJECTS if name in values), "")
    return named or _text(record, "resourceDetails.id", "resourceDetails.title") or next(iter(values.values()), "")


def _openai(record: Record) -> Observation:
    """OpenAI's audit logs of an organisation."""
    key = _text(record, "actor.api_key.id")
    account = _text(record, "actor.api_key.service_account.id")
    person = _text(record, "actor.session.user.email", "actor.api_key.user.email")
    action = _text(record, "type")
    about = record.get(action)  # what the event itself says: the member that bears its name
    return _seen(
        _text(record, "id"),
        _at(record, "effective_at"),
        Who(
            account or person or key,
            id=_text(record, "actor.session.user.id", "actor.api_key.user.id", "actor.api_key.service_account.id"),
            kind="service" if account else "person" if person else "unknown",
            credential=key,
        ),
        action,
        service="openai",
        object=_text(about, "id") or _text(record, "project.name", "project.id"),
        outcome=_ended_as_named(action),
        error=_text(about, "error_code"),
        address=_text(record, "actor.session.ip_address"),
        uses_ai=not action.startswith(("login.", "logout.")),
        more=_more(record, project="project.id"),
    )


_ANTHROPIC_OBJECTS = (
    *("claude_chat_id", "claude_file_id", "claude_artifact_id", "claude_project_id"),
    *("api_key_id", "workspace_id", "organization_id"),
)


def _anthropic(record: Record) -> Observation:
    """Anthropic's activity of an organisation (Compliance API)."""
    person, key = _text(record, "actor.email_address"), _text(record, "actor.api_key_id", "actor.admin_api_key_id")
    action = _text(record, "type")
    return _seen(
        _text(record, "id"),
        _at(record, "created_at"),
        Who(
            person or key or _text(record, "actor.user_id", "actor.type"),
            id=_text(record, "actor.user_id"),
            kind="person" if person else "service" if key else "unknown",
            credential=key,
        ),
        action,
        service="anthropic",
        object=_text(record, *_ANTHROPIC_OBJECTS),
        outcome=_ended_as_named(action),
        address=_text(record, "actor.ip_address"),
        uses_ai=bool(person or key),  # and not who only tried to sign in, or a directory that brings its people
        more=_more(
            record,
            workspace="workspace_id",
            claimed="actor.unauthenticated_email_address",  # by whom, is proven by nothing
            directory="actor.directory_id",
        ),
    )


def _kubernetes(record: Record) -> Observation:
    """Kubernetes' audit events (audit.k8s.io/v1)."""
    code, audit, stage = _at(record, "responseStatus.code"), _text(record, "auditID"), _text(record, "stage")
    name = _text(record, "user.username")
    thing = "/".join(
        _texts(record, "objectRef.namespace", "objectRef.resource", "objectRef.name", "objectRef.subresource")
    )
    verb = _text(record, "verb")
    is_ok = None if not isinstance(code, int) else code < 400  # noqa: PLR2004 - HTTP
    return _seen(
        f"{audit}/{stage}" if audit else "",
        _at(record, "stageTimestamp") or _at(record, "requestReceivedTimestamp"),
        Who(
            name,
            id=_text(record, "user.uid"),
            kind="service" if name.startswith("system:") else "person",
            marks=(name,) if name else (),
        ),
        f"{_text(record, 'objectRef.resource')}.{verb}" if _text(record, "objectRef.resource") else verb,
        service="kubernetes",
        object=thing or _text(record, "requestURI"),
        outcome=_ended(is_ok),
        error=_text(record, "responseStatus.reason") if is_ok is False else "",
        address=_text(record, "sourceIPs") or text_of(next(iter(_list_at(record, "sourceIPs")), "")),
        effect=_effect_of(verb),
        uses_ai=".kserve." in _text(record, "objectRef.apiGroup"),
        more=_more(record, agent="userAgent", impersonates="impersonatedUser.username"),
    )


def _list_at(record: Record, name: str) -> list[Any]:
    found = record.get(name)
    return found if isinstance(found, list) else []


def _jsonl(record: Record) -> Observation:
    """JSON lines of anybody: `time`, `actor`, `action`, and what else of the fields below there is."""
    provider, model = _text(record, "provider"), _text(record, "model")
    used = Used(provider, model, count_of(record.get("input_tokens")), count_of(record.get("output_tokens")))
    kind, outcome, effect = _text(record, "actor_kind"), _text(record, "outcome"), _text(record, "effect")
    action = _text(record, "action")
    return _seen(
        _text(record, "id"),
        record.get("time"),
        Who(
            _text(record, "actor"),
            id=_text(record, "actor_id"),
            kind=kind if kind in ("person", "service", "agent") else "unknown",
            credential=_text(record, "credential"),
            marks=_texts(record, "spiffe_id"),
        ),
        action,
        service=_text(record, "service"),
        object=_text(record, "object"),
        outcome=outcome if outcome in ("success", "failure") else "unknown",
        error=_text(record, "error"),
        address=_text(record, "address"),
        effect=effect if effect in _EFFECTS else _effect_of(action),
        used=used if model or provider else None,
        uses_ai=bool(model or provider) or kind == "agent",
        more=_more(record, session="session"),
    )


READERS: dict[str, Callable[[Record], Observation]] = {
    "cloudtrail": _cloudtrail,
    "entra": _entra,
    "okta": _okta,
    "github": _github,
    "google-workspace": _google_workspace,
    "openai": _openai,
    "anthropic": _anthropic,
    "kubernetes": _kubernetes,
    "jsonl": _jsonl,
}
