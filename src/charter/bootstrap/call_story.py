"""What `charter show CALL` tells: the story of one call, gathered from the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence, reconciling, verdicts
from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.entry import EntryKind
from charter.evidence.log import MAX_TEXT, Query, Stored, query
from charter.reports.call_story import Found, story_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House

Json = dict[str, Any]
MAX_RELATED = 200
MAX_AFTER = 200
_AROUND = dt.timedelta(hours=49)  # a call waits a day for a yes, and what was approved is made soon after
_UNDER_WAY = dt.timedelta(hours=2)  # in which what came of a call is looked for
_JUST = dt.timedelta(seconds=1)
_TOKENS = dt.timedelta(days=1)  # a token is that old at most
_RELATED = (
    EntryKind.OUTCOME,
    EntryKind.CONTEXT_CHANGED,
    EntryKind.CLIENT_ASKED,
    EntryKind.APPROVAL_ASKED,
    EntryKind.APPROVAL_GIVEN,
    EntryKind.APPROVAL_REFUSED,
    EntryKind.APPROVAL_SPENT,
    EntryKind.APPROVAL_CANCELLED,
)


def tell(house: House, which: str) -> Json:
    """Return the story of the call of a verdict (its id, or its index in the log), and the entries it rests on.

    Raises:
        AbsentError: the log has no such verdict.
        MalformedError: `which` is neither an id nor an index.
    """
    stored = verdicts.find(house, which)
    entry = stored.to_json()
    at, body = parse_rfc3339(entry["time"]), entry["body"]
    named = _naming(house, entry, "verdict_id", at - _JUST)
    answers = _naming(house, entry, "approval", at - _AROUND) if body.get("approval") else []
    own = {each.index: each for each in (*named, *answers)}
    related = [own[index].to_json() for index in sorted(own)]
    held = reconciling.of_one(house, entry)
    found = Found(
        verdict=entry,
        related=related,
        token=_token(house, entry, at),
        model=_model(house, body),
        after=_after(house, entry, at),
        children=_children(house, body, at),
        judgement=held.judgement,
        seen=[each.to_json() for each in reconciling.entries_of(house, held)],
        authority=_authority(house, entry),
        log=_log(house, entry, related),
    )
    entries = sorted([stored, *own.values()], key=lambda each: each.index)
    lines = [evidence.told(each) for each in entries]
    return {"entries": lines} | story_of(found)


def _naming(house: House, entry: Mapping[str, Any], by: str, since: dt.datetime) -> list[Stored]:
    """Return what the log says of a verdict or its approval from some time on, in order.

    An id that only stands somewhere in a text does not count: callers choose the names of runs.
    """
    text = str(entry["body"][by])
    if not 1 <= len(text) <= MAX_TEXT:
        return []
    until = parse_rfc3339(entry["time"]) + _AROUND
    wanted = Query(entry["principal"], _RELATED, since=since, until=until, text=text, limit=MAX_RELATED)
    found = house.database.read_log(lambda log: query(log, wanted)).entries
    return sorted((each for each in found if each.to_json()["body"].get(by) == text), key=lambda each: each.index)


def _children(house: House, body: Mapping[str, Any], at: dt.datetime) -> list[Json]:
    """Return the verdicts, of whomever, of calls that came of this one while it was under way."""
    which = str(body["verdict_id"])
    wanted = Query(kinds=(EntryKind.VERDICT,), since=at, until=at + _UNDER_WAY, text=which, limit=MAX_RELATED)
    found = [each.to_json() for each in house.database.read_log(lambda log: query(log, wanted)).entries]
    return sorted((each for each in found if _came_of(each, which)), key=lambda each: int(each["index"]))


def _came_of(entry: Mapping[str, Any], which: str) -> bool:
    parents = (entry["body"].get("sequence") or {}).get("parents") or ()
    return any(each.get("verdict") == which for each in parents)


def _token(house: House, entry: Mapping[str, Any], at: dt.datetime) -> Json | None:
    """Return the authentication that the call's token came from."""
    token = entry["body"].get("token")
    if not isinstance(token, str) or not 1 <= len(token) <= MAX_TEXT:
        return None
    kinds = (EntryKind.AUTHENTICATION,)
    wanted = Query(entry["principal"], kinds, since=at - _TOKENS, until=at + _JUST, text=token, limit=5)
    for each in house.database.read_log(lambda log: query(log, wanted)).entries:
        said = each.to_json()
        if said["body"].get("token") == token:
            return said
    return None


def _model(house: House, body: Mapping[str, Any]) -> Json | None:
    """Return the verdict of the call to the model that proposed this one."""
    answer = body.get("decided_by")
    which = answer.get("verdict") if isinstance(answer, Mapping) else None
    if not isinstance(which, str) or not verdicts.VERDICT_ID.fullmatch(which):
        return None
    try:
        return verdicts.find(house, which).to_json()
    except CharterError:  # it is older than what is kept here
        return None


def _after(house: House, entry: Mapping[str, Any], at: dt.datetime) -> list[Json]:
    """Return the later verdicts of the call's session, in order, as far as they are listed."""
    session = (entry["body"].get("sequence") or {}).get("session")
    if not isinstance(session, str) or not verdicts.SESSION_ID.fullmatch(session):
        return []
    wanted = Query(entry["principal"], (EntryKind.VERDICT,), since=at, until=at + _AROUND, text=session)
    found = (each.to_json() for each in verdicts.in_order(house, wanted, most=MAX_AFTER))
    return [
        each
        for each in found
        if each["index"] > entry["index"] and (each["body"].get("sequence") or {}).get("session") == session
    ]


def _authority(house: House, entry: Mapping[str, Any]) -> Json:
    """Return who applied the charter that the call was decided by, how it stands now, and how that is changed."""
    wanted = Query(entry["principal"], (EntryKind.CHARTER_APPLIED,), limit=MAX_RELATED)
    version = (entry["body"].get("charter") or {}).get("version")
    entries = (each.to_json() for each in house.database.read_log(lambda log: query(log, wanted)).entries)
    applied = next((each for each in entries if each["body"].get("version") == version), None)
    now = house.live.principals.get(str(entry["principal"]))
    name = now.name if now is not None else str(entry["body"]["principal"])
    return {
        "applied": {
            "by": applied["actor"],
            "at": applied["time"],
            "reason": applied["body"].get("reason"),
            "plan": applied["body"].get("plan"),
            "index": applied["index"],
        }
        if applied is not None
        else None,
        "owner": {"person": now.owner_person, "team": now.owner_team} if now is not None else None,
        "standing": now.standing.value if now is not None else None,
        "change": [f"charter restrain {name}", f"charter suspend {name}", f"charter kill {name}"],
    }


def _log(house: House, entry: Mapping[str, Any], related: Sequence[Mapping[str, Any]]) -> Json:
    """Return where in the log the call stands, and how that is proved."""
    note = house.database.read_log(lambda log: log.checkpoint())
    checkpoint = parse_checkpoint(note)
    return {
        "node": entry["node"],
        "origin": checkpoint.origin,
        "index": entry["index"],
        "entries": sorted([entry["index"], *(each["index"] for each in related)]),
        "size": checkpoint.size,
        "checkpoint": note,
        "prove": f"charter evidence prove {entry['index']}",
    }
