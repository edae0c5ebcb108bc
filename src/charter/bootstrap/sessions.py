"""Sessions of principals, read back from the log: which there were, and one of them whole, with its graph."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence, verdicts
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query
from charter.reports.session import Graph, Session, graph_of, read_session, read_sessions

if TYPE_CHECKING:
    from charter.bootstrap.house import House

Json = dict[str, Any]
DEFAULT_PERIOD = "7d"
MAX_ENTRIES = 20_000  # looked at for a list
MAX_SESSIONS = 200
MAX_STEPS = 1_000  # of one session
_KINDS = (EntryKind.VERDICT, EntryKind.OUTCOME, EntryKind.CONTEXT_CHANGED)
_LONGEST = dt.timedelta(hours=2)  # after its last step, in which outcomes of a session come


def listing(house: House, name: str, since: str | None = None) -> Json:
    """Return the sessions of a principal since some time, the one that was used last first.

    Raises:
        AbsentError: nobody has that name.
        MalformedError: the time cannot be read.
    """
    start = evidence.parse_moment(since or DEFAULT_PERIOD, house.clock.now())
    wanted = Query(house.principal(name).id, _KINDS, since=start)
    entries = [each.to_json() for each in verdicts.newest_first(house, wanted, most=MAX_ENTRIES)]
    found = read_sessions(entries)
    return {
        "principal": name,
        "since": rfc3339(start),
        "sessions": [each.summary() for each in found[:MAX_SESSIONS]],
        "is_whole": len(entries) < MAX_ENTRIES and len(found) <= MAX_SESSIONS,
    }


def show(house: House, session_id: str, *, name: str | None = None, since: str | None = None) -> Json:
    """Return one session: its summary, steps and graph. With its principal's name it is found faster.

    Raises:
        AbsentError: the log knows no such session since then, or none of that principal.
        MalformedError: it is no session's id, or the time cannot be read.
    """
    session = find(house, session_id, name=name, since=since)
    graph = graph_of(session)
    return session.summary() | {"calls": [each.to_json() for each in session.steps], "graph": graph.to_json()}


def drawn(house: House, session_id: str, *, name: str | None = None, since: str | None = None) -> tuple[Session, Graph]:
    """Return one session and its graph.

    Raises:
        AbsentError, MalformedError: as of `show`.
    """
    session = find(house, session_id, name=name, since=since)
    return session, graph_of(session)


def find(house: House, session_id: str, *, name: str | None = None, since: str | None = None) -> Session:
    """Return a session as the log has it, as far as its newest steps.

    Raises:
        AbsentError, MalformedError: as of `show`.
    """
    if not verdicts.SESSION_ID.fullmatch(session_id):
        text = f"{session_id[:64]!a} is no session's id"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="charter sessions PRINCIPAL lists them")
    principal = house.principal(name).id if name is not None else None
    start = evidence.parse_moment(since or DEFAULT_PERIOD, house.clock.now())
    wanted = Query(principal, (EntryKind.VERDICT,), since=start, text=session_id)
    own = [each.to_json() for each in verdicts.in_order(house, wanted, most=MAX_STEPS)]
    own = [each for each in own if (each["body"].get("sequence") or {}).get("session") == session_id]
    if not own:
        of = f" of `{name}`" if name is not None else ""
        text = f"the log knows no session {session_id}{of} since {rfc3339(start)[:16]}"
        raise AbsentError(ErrorCode.UNKNOWN_ENTRY, text, help="charter sessions PRINCIPAL --since 30d")
    first, last = parse_rfc3339(own[0]["time"]), parse_rfc3339(own[-1]["time"])
    rest = Query(own[0]["principal"], _KINDS[1:], since=first, until=last + _LONGEST)
    found = [each.to_json() for each in verdicts.newest_first(house, rest, most=MAX_ENTRIES)]
    session = read_session(session_id, [*own, *found])
    assert session is not None  # noqa: S101 - it has a verdict
    return session
