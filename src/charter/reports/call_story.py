"""One call's whole story, told from the log: who, what, by which rule, with whose yes, and what came of it.

Pure: entries of the log go in, as JSON; plain JSON comes out, in the shape that the control API, `charter show` and the
console share. What an older entry does not say is None, and never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter.evidence.entry import EntryKind
from charter.evidence.reconciliation import Judgement

Json = dict[str, Any]
Entry = Mapping[str, Any]
MAX_AFTER = 25  # calls of the session that are listed
_ANSWERS = {
    EntryKind.APPROVAL_GIVEN.value: "yes",
    EntryKind.APPROVAL_REFUSED.value: "no",
    EntryKind.APPROVAL_CANCELLED.value: "cancelled",
}
_DECIDED = {"allow": "was allowed", "deny": "was denied", "escalate": "waits for a person"}


@dataclass(frozen=True, slots=True)
class Found:
    """What the log has of a call."""

    verdict: Entry
    related: Sequence[Entry] = ()  # entries that name the verdict or its approval, in order
    token: Entry | None = None  # of the authentication that its token came from
    model: Entry | None = None  # the verdict of the call to the model that proposed it
    after: Sequence[Entry] = ()  # later verdicts of its session, in order
    children: Sequence[Entry] = ()  # verdicts that name it as what they came of
    judgement: Judgement | None = None
    seen: Sequence[Entry] = ()  # observations that were laid to it
    authority: Json = field(default_factory=dict)  # who gave what the call rests on, and how it stands now
    log: Json = field(default_factory=dict)


def story_of(found: Found) -> Json:
    """Return the story of a call."""
    body, outcome = found.verdict["body"], _first(found.related, EntryKind.OUTCOME)
    return {
        "verdict_id": body["verdict_id"],
        "index": found.verdict["index"],
        "at": found.verdict["time"],
        "verdict": body["verdict"],
        "sentence": _sentence(body),
        "who": _who(found.verdict, found.token),
        "asked": _asked(body),
        "rule": _rule(body),
        "authority": found.authority,
        "limits": body.get("limits") or [],
        "approval": _approval(body, found.related),
        "proposed_by": _proposed_by(body, found.model),
        "sequence": body.get("sequence"),
        "permit": _permit(body, outcome),
        "outcome": _outcome(outcome),
        "labels": _labels(body, found.related, outcome),
        "questions": [_question(each) for each in found.related if each["kind"] == EntryKind.CLIENT_ASKED],
        "afterwards": [brief(each) for each in found.after[:MAX_AFTER]],
        "afterwards_in_all": len(found.after),
        "children": [brief(each) for each in found.children[:MAX_AFTER]],
        "reconciliation": _reconciliation(found),
        "log": found.log,
    }


def brief(entry: Entry) -> Json:
    """Return a verdict in a line of a list."""
    body = entry["body"]
    return {
        "verdict_id": body["verdict_id"],
        "index": entry["index"],
        "at": entry["time"],
        "step": (body.get("sequence") or {}).get("step"),
        "principal": body["principal"],
        "verdict": body["verdict"],
        "system": body["system"],
        "tool": body["tool"],
        "action": body.get("action"),
        "object": body.get("object"),
        "why": (body.get("reasons") or [{}])[0].get("text", ""),
    }


def argument_text(value: Any) -> str:  # noqa: ANN401 - as evidence has it
    """Return what evidence keeps of an argument, in words."""
    if value is None:
        return "not given"
    if not isinstance(value, Mapping):
        return str(value)
    if "quantity" in value:
        return f"{value['quantity'].get('value')} {value['quantity'].get('unit')}"
    for name in ("number", "flag"):
        if name in value:
            return str(value[name])
    sizes = [f"{value[name]} {word}" for name, word in (("length", "characters"), ("items", "items")) if name in value]
    return f"a text that is not kept ({', '.join(sizes)})" if sizes else "a text that is not kept"


def _sentence(body: Mapping[str, Any]) -> str:
    first = (body.get("reasons") or [{}])[0]
    where = f" ({first['source']})" if first.get("source") else ""
    what = f"`{body.get('action') or body['tool']}` on `{body['system']}` by `{body['principal']}`"
    rule = first.get("rule", "nothing that is told")
    said = str(first.get("text", ""))
    told = f"{what} {_DECIDED.get(body['verdict'], body['verdict'])} by `{rule}`{where}"
    return told if body["verdict"] == "allow" or not said else f"{told}: {said}"


def _who(entry: Entry, token: Entry | None) -> Json:
    body, chain = entry["body"], entry["body"].get("chain")
    return {
        "principal": body["principal"],
        "id": entry["principal"],
        "kind": body.get("kind"),
        "team": body.get("team"),
        "environment": body.get("environment"),
        "charter": body.get("charter"),
        "tier": body.get("tier"),
        "credential": _credential(body, token),
        "narrowed_to": body.get("narrowed_to"),
        "chain": chain,
        "client": body.get("client"),
        "source": body.get("source"),
        "asked_by": body.get("asked_by"),
    }


def _credential(body: Mapping[str, Any], token: Entry | None) -> Json | None:
    """Return the token that the call came with, and which credential it was issued to."""
    if not body.get("token"):
        return None
    said: Mapping[str, Any] = token["body"] if token is not None else {}
    return {
        "token": body["token"],
        "key": said.get("key"),
        "method": said.get("method"),
        "bound_to": said.get("bound_to"),
        "issued_at": token["time"] if token is not None else None,
        "index": token["index"] if token is not None else None,
    }


def _asked(body: Mapping[str, Any]) -> Json:
    asked = body.get("asked") or {}
    return {
        "system": body["system"],
        "tool": body["tool"],
        "action": body.get("action"),
        "object": body.get("object"),
        "effect": body.get("effect"),
        "data": body.get("data") or [],
        "sensitive": bool(body.get("sensitive")),
        "model": body.get("model"),
        "arguments": asked.get("arguments"),
        "digest": body.get("call_digest"),
        "tool_pin": asked.get("tool_pin"),
        "door": body.get("door"),
    }


def _rule(body: Mapping[str, Any]) -> Json:
    return {"reasons": list(body.get("reasons") or []), "slice": body.get("slice"), "timing_us": body.get("timing_us")}


def _approval(body: Mapping[str, Any], related: Sequence[Entry]) -> Json | None:
    if not body.get("approval"):
        return None
    asked = _first(related, EntryKind.APPROVAL_ASKED)
    spent = _first(related, EntryKind.APPROVAL_SPENT)
    answers = [
        {
            "by": each["actor"],
            "answer": _ANSWERS[each["kind"]],
            "given": each["body"].get("given") or {},
            "at": each["time"],
            "reason": each["body"].get("reason"),
            "index": each["index"],
        }
        for each in related
        if each["kind"] in _ANSWERS
    ]
    return {
        "id": body["approval"],
        "roles": (asked["body"].get("roles") if asked is not None else None) or [],
        "asked_at": asked["time"] if asked is not None else None,
        "asked_by": asked["body"].get("verdict_id") if asked is not None else None,
        "expires_at": asked["body"].get("expires_at") if asked is not None else None,
        "answers": answers,
        "spent_by": spent["body"].get("verdict_id") if spent is not None else None,
    }


def _proposed_by(body: Mapping[str, Any], model: Entry | None) -> Json | None:
    """Return the model's answer that proposed the call; None where the principal's models are not asked here."""
    if "decided_by" not in body:
        return None
    answer = body["decided_by"]
    if answer is None:
        return {"is_known": False, "response": None, "model": None, "verdict_id": None, "call": None}
    call = brief(model) if model is not None else None
    named = {"response": answer.get("response"), "model": answer.get("model"), "verdict_id": answer.get("verdict")}
    return {"is_known": True, "call": call} | named


def _permit(body: Mapping[str, Any], outcome: Entry | None) -> Json:
    """Return whether a permit was issued for the call, and whether it was spent."""
    if body["verdict"] != "allow":
        return {"state": "none", "text": "no permit was issued, so nothing could be forwarded"}
    if body.get("asked_by") is not None:
        return {"state": "none", "text": "none: the enforcement point that asked carries the call out itself"}
    if outcome is None:
        return {
            "state": "unknown",
            "text": "one was issued for just this call; no outcome says whether it was spent",
        }
    if outcome["body"].get("sent"):
        return {"state": "spent", "text": "one was issued for just this call, and spent on it"}
    return {
        "state": "forgotten",
        "text": "one was issued for just this call, and forgotten before anything was sent",
    }


def _outcome(outcome: Entry | None) -> Json | None:
    if outcome is None:
        return None
    names = ("outcome", "sent", "bytes", "result_digest", "duration_ms", "labels", "used", "asked")
    said = {name: outcome["body"].get(name) for name in names}
    return {"index": outcome["index"], "at": outcome["time"]} | said


def _labels(body: Mapping[str, Any], related: Sequence[Entry], outcome: Entry | None) -> Json:
    """Return what the session had read before, where the values came from, and what the call brought in."""
    changes = [each["body"] for each in related if each["kind"] == EntryKind.CONTEXT_CHANGED]
    added = [each["added"] for each in changes if each.get("added")]
    return {
        "before": (body.get("asked") or {}).get("flow") or {},
        "added": {
            "exposed": any(bool(each.get("exposed")) for each in added),
            "data": sorted({str(name) for each in added for name in each.get("data") or ()}),
        },
        "after": {"exposed": bool(changes[-1].get("exposed")), "data": changes[-1].get("data") or []}
        if changes
        else None,
        "result": outcome["body"].get("labels") if outcome is not None else None,
    }


def _question(entry: Entry) -> Json:
    return {"at": entry["time"], "index": entry["index"], "what": entry["body"].get("what")}


def _reconciliation(found: Found) -> Json | None:
    if found.judgement is None:
        return None
    seen = [
        {
            "index": each["index"],
            "at": each["body"].get("at"),
            "source": (each["body"].get("source") or {}).get("kind"),
            "action": each["body"].get("action"),
            "object": each["body"].get("object"),
            "outcome": each["body"].get("outcome"),
        }
        for each in found.seen
    ]
    return found.judgement.to_json() | {"seen": seen}


def _first(entries: Sequence[Entry], kind: EntryKind) -> Entry | None:
    return next((each for each in entries if each["kind"] == kind.value), None)
