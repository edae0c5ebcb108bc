"""Evidence entries as OCSF events (schema 1.9.0-dev, whose `ai_operation` profile has the AI agent and its charter).

    verdict, outcome, observed   API Activity         6003
    authentication…              Authentication       3002
    finding.…, tool.held         Detection Finding    2004
    everything else              Entity Management    3004

The facts go over whole: `raw_data` is the entry byte for byte as it was hashed, `metadata.uid` its place in the log, so
whoever gets an event can have it proved; `unmapped` is its body. What a field of OCSF means, it holds besides.

INVARIANT: an event is valid against the published schema, whatever an entry holds: one whose body is not what its kind
has goes over as a change, with its raw bytes. So no entry can stop a sink.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.evidence.entry import EntryKind
from charter.evidence.log import Stored

VERSION = "1.9.0-dev"
API, AUTHENTICATION, ENTITY, FINDING = 6003, 3002, 3004, 2004
_NAMES = {
    API: "API Activity",
    AUTHENTICATION: "Authentication",
    ENTITY: "Entity Management",
    FINDING: "Detection Finding",
}
_PROFILES = dict.fromkeys((API, AUTHENTICATION, ENTITY), ("ai_operation", "security_control")) | {
    FINDING: ("security_control",)  # whose agent stands in its evidences
}
_CATEGORIES = {2: "Findings", 3: "Identity & Access Management", 6: "Application Activity"}
_OTHER = 99
_SHA_256 = {"algorithm": "SHA-256", "algorithm_id": 3}
_INFORMATIONAL, _MEDIUM, _HIGH = (1, "Informational"), (3, "Medium"), (4, "High")
_SUCCESS, _FAILURE, _UNKNOWN = (1, "Success"), (2, "Failure"), (0, "Unknown")
_BY_EFFECT = {"read": 2, "write": 3}
_BY_WORD = {"create": 1, "read": 2, "update": 3, "delete": 4}
_BY_ENDING = {  # what an entry's kind ends with -> what happened to an entity
    "applied": 3, "changed": 3, "rotated": 3, "renewed": 3, "reviewed": 3, "pinned": 3, "accepted": 3, "switched": 3,
    "registered": 1, "issued": 1, "opened": 1, "recorded": 1, "asked": 1, "made": 1, "proposed": 1, "joined": 6,
    "added": 1, "revoked": 4, "withdrawn": 4, "removed": 4, "retired": 4, "cancelled": 4, "put-out": 7,
}  # fmt: skip
_BY_STANDING = {"active": 13, "suspended": 12, "revoked": 9, "retired": 9, "restrained": 3}
_FINDING_STATES = {"open": (1, "New"), "resolved": (4, "Resolved"), "adopted": (4, "Resolved")}
Event = dict[str, Any]


def event_of(stored: Stored) -> Event:
    """Return an entry as an OCSF event."""
    entry = stored.to_json()
    try:
        return _event(stored, entry, _mapper(stored.kind)(entry, entry["body"]))
    except (LookupError, TypeError, AttributeError, ValueError):
        plain = {**entry, "kind": "entry", "body": {}}
        return _event(stored, plain, _change(plain, {})) | {"unmapped": entry["body"]}


def _event(stored: Stored, entry: Mapping[str, Any], found: Event) -> Event:
    """Return an event of what was `found` in an entry."""
    number, activity = found.pop("class"), found["activity_id"]
    severity, status = found.pop("severity", _INFORMATIONAL), found.pop("status", None)
    said = {
        "class_uid": number,
        "class_name": _NAMES[number],
        "category_uid": number // 1000,
        "category_name": _CATEGORIES[number // 1000],
        "type_uid": number * 100 + activity,
        "severity_id": severity[0],
        "severity": severity[1],
        "time": _milliseconds(entry["time"]),
        "metadata": _metadata(stored, entry) | {"profiles": [*_PROFILES[number]]},
        "raw_data": stored.data.decode(),
        "raw_data_hash": _SHA_256 | {"value": hashlib.sha256(stored.data).hexdigest()},
        "raw_data_size": len(stored.data),
        "unmapped": entry["body"],
    }
    if status is not None:
        said |= {"status_id": status[0], "status": status[1]}
    agent = _agent(entry, entry["body"])
    if agent is not None:
        actor = {"app_uid": agent["uid"], "app_name": agent.get("name", agent["uid"])}
        is_finding = number == FINDING  # whose class has no agent of its own
        said |= {"evidences": [{"ai_agent": agent, "actor": actor}]} if is_finding else {"ai_agent": agent}
    return said | {name: value for name, value in found.items() if value is not None}


def _mapper(kind: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Event]:
    match kind:
        case EntryKind.VERDICT:
            return _verdict
        case EntryKind.OUTCOME:
            return _outcome
        case EntryKind.OBSERVED:
            return _observed
        case EntryKind.AUTHENTICATION | EntryKind.AUTHENTICATION_FAILURES | EntryKind.OPERATOR_SIGNED_IN:
            return _authentication
        case EntryKind.FINDING_OPENED | EntryKind.FINDING_CHANGED | EntryKind.TOOL_HELD:
            return _finding
        case _:
            return _change


def _metadata(stored: Stored, entry: Mapping[str, Any]) -> Event:
    observed = entry["body"].get("source") if entry["kind"] == EntryKind.OBSERVED else None
    told = {
        "version": VERSION,
        "product": {"name": "Charter", "vendor_name": "Charter"},
        "uid": f"{stored.node}/{stored.index}",
        "sequence": stored.index,
        "log_name": "evidence",
        "log_provider": stored.node,
        "event_code": stored.kind,
        "original_time": str(entry["time"]),
        "logged_time": _milliseconds(entry["time"]),
    }
    if isinstance(observed, Mapping):
        told |= {"log_source": str(observed["kind"]), "original_event_uid": str(observed["event"])}
        told["original_time"] = str(entry["body"]["at"])
    return told


def _agent(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event | None:
    """Return the AI agent that an entry is about: who, in which session, under which charter."""
    if entry["principal"] is None:
        return None
    agent: Event = {"uid": str(entry["principal"])}
    name, session, charter = body.get("principal"), _session(body), body.get("charter")
    if isinstance(name, str) and name:
        agent["name"] = name
    if isinstance(session, str) and session:
        agent["instance_uid"] = session
    digest = charter.get("digest") if isinstance(charter, Mapping) else None
    if entry["kind"] == EntryKind.CHARTER_APPLIED:
        digest = body.get("digest")
    if isinstance(digest, str) and digest.startswith("sha256:"):
        file: Event = {"name": f"{agent.get('name', agent['uid'])}.yaml", "type_id": 1, "type": "Regular File"}
        agent["charter"] = file | {"hashes": [_SHA_256 | {"value": digest.removeprefix("sha256:")}]}
        if isinstance(charter, Mapping) and charter.get("version") is not None:
            agent["charter"]["version"] = agent["version"] = str(charter["version"])
    model = _model(body)
    return agent if model is None else agent | {"ai_model": model}


def _session(body: Mapping[str, Any]) -> object:
    """Return the session that a call is a step of; of entries from before that was told, the transport's."""
    sequence = body.get("sequence")
    return sequence.get("session") if isinstance(sequence, Mapping) else body.get("session")


def _model(body: Mapping[str, Any]) -> Event | None:
    model = body.get("model")
    if not isinstance(model, Mapping) or not model.get("name"):
        return None
    return {"name": str(model["name"]), "ai_provider": str(model.get("provider") or "unknown")}


def _actor(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    actor: Event = {"app_uid": str(entry["actor"])}
    if isinstance(body.get("principal"), str):
        actor["app_name"] = body["principal"]
    chain = body.get("chain")
    if isinstance(chain, Mapping) and chain.get("initiator"):
        actor["user"] = {"name": str(chain["initiator"])}
    session = {"uid": body.get("session"), "credential_uid": body.get("token")}
    session = {name: value for name, value in session.items() if isinstance(value, str) and value}
    return actor | ({"session": session} if session else {})


def _endpoint(address: object, otherwise: str) -> Event:
    """Return where a request came from: an address if it is one, else a name."""
    try:
        return {"ip": str(ipaddress.ip_address(str(address).partition("%")[0]))}
    except ValueError:
        return {"name": str(address) if isinstance(address, str) and address else otherwise}


def _verdict(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    word, reasons = str(body.get("verdict")), body.get("reasons") or []
    effect, system = body.get("effect"), str(body.get("system"))
    first = reasons[0] if reasons else {}
    action, disposition, status, severity = {
        "allow": ((1, "Allowed"), (1, "Allowed"), _SUCCESS, _INFORMATIONAL),
        "deny": ((2, "Denied"), (2, "Blocked"), _FAILURE, _MEDIUM),
    }.get(word, ((_OTHER, word), (_OTHER, word), (_OTHER, word), _MEDIUM))
    thing = body.get("object")
    return {
        "class": API,
        "activity_id": _BY_EFFECT.get(str(effect), _OTHER),
        "activity_name": str(effect or "unknown"),
        "severity": severity,
        "status": status,
        "status_detail": str(first.get("text", "")) or None,
        "action_id": action[0],
        "action": action[1],
        "disposition_id": disposition[0],
        "disposition": disposition[1],
        "message": f"{word}: {body.get('principal')} called {body.get('tool')} of {system}",
        "actor": _actor(entry, body),
        "api": {
            "operation": str(body.get("action") or body.get("tool")),
            "service": {"name": system},
            "request": {"uid": str(body.get("verdict_id"))},
        },
        "src_endpoint": _endpoint(body.get("source"), str(body.get("door") or "unknown")),
        "resources": [{"name": str(thing), "labels": [str(each) for each in body.get("data") or ()]}]
        if thing
        else None,
        "policy": {"name": str(first["rule"]), "uid": str(body.get("slice") or "")} if first.get("rule") else None,
        "authorizations": [
            {"decision": str(each.get("text", "")), "policy": {"name": str(each.get("rule") or each.get("layer"))}}
            for each in reasons
        ],
    }


def _outcome(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    word = str(body.get("outcome"))
    system = str(body.get("system"))
    return {
        "class": API,
        "activity_id": _OTHER,
        "activity_name": "outcome",
        "status": _SUCCESS if word in ("ok", "success") else (_OTHER, word),
        "message": f"{word}: {body.get('principal')} called {body.get('tool')} of {system}",
        "action_id": 1,
        "action": "Allowed",
        "actor": _actor(entry, body),
        "api": {
            "operation": str(body.get("tool")),
            "service": {"name": system},
            "request": {"uid": str(body.get("verdict_id"))},
            "response": {"message": word},
        },
        "src_endpoint": _endpoint(body.get("source"), "charter"),
    }


def _observed(_entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    source, who = body["source"], body["who"]
    word = str(body.get("outcome"))
    user = {"name": str(who.get("name") or "unknown")} | ({"uid": str(who["id"])} if who.get("id") else {})
    session = {"credential_uid": str(who["credential"])} if who.get("credential") else None
    thing, server = body.get("object"), (body.get("more") or {}).get("server")
    return {
        "class": API,
        "activity_id": _BY_WORD.get(str(body.get("effect")), _OTHER),
        "activity_name": str(body.get("effect") or body["action"]),
        "status": {"success": _SUCCESS, "failure": _FAILURE}.get(word, _UNKNOWN),
        "status_detail": str(body["error"]) if body.get("error") else None,
        "message": f"{source['kind']}: {user['name']} did {body['action']}",
        "action_id": 3,
        "action": "Observed",
        "actor": {"user": user} | ({"session": session} if session else {}),
        "api": {"operation": str(body["action"]), "service": {"name": str(body.get("service") or source["kind"])}},
        "src_endpoint": _endpoint(body.get("address"), "unknown"),
        "dst_endpoint": _endpoint(server, "unknown") if server else None,
        "resources": [{"name": str(thing)}] if thing else None,
        "ai_model": _model(body),
    }


def _authentication(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    is_failed = entry["kind"] == EntryKind.AUTHENTICATION_FAILURES or body.get("outcome") == "refused"
    name = body.get("principal") or entry["actor"]
    return {
        "class": AUTHENTICATION,
        "activity_id": 1,
        "activity_name": "Logon",
        "severity": _MEDIUM if is_failed else _INFORMATIONAL,
        "status": _FAILURE if is_failed else _SUCCESS,
        "status_detail": str(body["why"]) if body.get("why") else None,
        "action_id": 2 if is_failed else 1,
        "action": "Denied" if is_failed else "Allowed",
        "message": f"{name}: {body.get('outcome') or entry['kind']}",
        "user": {"name": str(name) or "unknown", "uid": str(entry["principal"] or entry["actor"])},
        "service": {"name": str(body.get("resource") or "charter")},
        "auth_protocol_id": _OTHER,
        "auth_protocol": str(body.get("method") or entry["kind"]),
        "src_endpoint": _endpoint(body.get("source"), "unknown"),
    }


def _finding(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    kind, state = str(entry["kind"]), str(body.get("to") or body.get("state") or "open")
    is_new = kind != EntryKind.FINDING_CHANGED
    title = str(body.get("title") or body.get("kind") or body.get("reason") or kind)
    return {
        "class": FINDING,
        "activity_id": 1 if is_new else 2,
        "activity_name": "Create" if is_new else "Update",
        "severity": _HIGH if is_new else _INFORMATIONAL,
        "status": _FINDING_STATES.get(state, (_OTHER, state)),
        "message": title,
        "is_alert": is_new,
        "finding_info": {
            "uid": str(body.get("finding") or f"{entry['node']}/{entry['index']}"),
            "title": title,
            "types": [str(body.get("kind") or kind)],
        },
    }


def _change(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Event:
    kind = str(entry["kind"])
    thing, _, deed = kind.partition(".")
    activity = _BY_STANDING.get(str(body.get("after")), 3) if thing == "standing" else _BY_ENDING.get(deed, _OTHER)
    named = next((str(body[key]) for key in ("principal", "system", "name", "path", thing) if body.get(key)), thing)
    entity = {"name": named, "type": thing, "type_id": _OTHER}
    if entry["principal"] is not None:
        entity["uid"] = str(entry["principal"])
    return {
        "class": ENTITY,
        "activity_id": activity,
        "activity_name": deed or kind,
        "status": _SUCCESS,
        "message": f"{kind}: {named}, by {entry['actor']}",
        "comment": str(body["reason"]) if body.get("reason") else None,
        "entity": entity,
        "actor": _actor(entry, body),
    }


def _milliseconds(time: str) -> int:
    return int(parse_rfc3339(time).timestamp() * 1000)
