"""What can be asked of the evidence: list it, tell one verdict's story, prove, verify, export."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import errno
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from charter.adapters import whole_file
from charter.adapters.evidence_store import SqlLog, nodes_of
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError, UnavailableError
from charter.evidence.charter_verify import SKEW
from charter.evidence.check import LogReport, check_log, check_newest
from charter.evidence.checkpoint import Checkpoint
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.export import VERIFIER, PackSummary, export_pack, verifier_source
from charter.evidence.log import Query, Stored, entry_at, prove_inclusion, query, tail
from charter.evidence.neutral import cut_to
from charter.registry.charter import parse_duration

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

_FIRST = ("name", "principal", "use", "change", "reason")  # what a person wants to know of an entry before the rest
_LONGEST = 200  # characters of an entry's facts in its line
_AGO = re.compile(r"[0-9]{1,6}[smhdw]")
_FIRST_YEAR = 1970
Tell = Callable[[int, int], None]  # told how many of how many entries are done


def untold(_done: int, _of: int) -> None:
    """Tell nobody."""


def parse_moment(text: str, now: dt.datetime) -> dt.datetime:
    """Return the moment `text` names: RFC 3339, a date, or how long before `now` (`7d`).

    Raises:
        MalformedError: it names none.
    """
    try:
        found = _moment(text, now)
    except (ValueError, OverflowError) as err:
        raise _no_moment(text) from err
    if found.year < _FIRST_YEAR:  # nothing was recorded then, and periods before it would leave the calendar
        raise _no_moment(text)
    return found


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    if _AGO.fullmatch(text):
        return now - parse_duration(text)
    if len(text) == len("2026-11-24"):
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    return parse_rfc3339(text)


def _no_moment(text: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE,
        f"{text[:40]!a} is no time since {_FIRST_YEAR}",
        help="write 2026-11-24, 2026-11-24T09:30Z or 7d",
    )


def listing(
    house: House, wanted: dict[str, str | None], *, after: int | None, newest: int | None, limit: int
) -> dict[str, Any]:
    """Return entries in the log's order, and the index to go on after.

    Raises:
        AbsentError: the principal is unknown.
        MalformedError: a time, kind or text is out of bounds.
    """
    with_filter = any(wanted.values())

    def read(tx: HouseTransaction) -> tuple[Stored, ...]:
        log = log_of(house, tx)
        if newest is not None and not with_filter:
            return tail(log, None, newest)
        if after is not None and not with_filter:
            return tail(log, after, limit)
        found: list[Stored] = []
        cursor = None
        while len(found) < limit:
            page = query(log, _query(house, wanted, min(1000, limit), cursor))
            found += [entry for entry in page.entries if _has_verdict(entry, wanted.get("verdict"))]
            cursor = page.cursor
            if cursor is None:
                break
        return tuple(reversed(found[:limit]))

    entries = [view(entry) for entry in house.database.read(read)]
    return {"entries": entries, "next": entries[-1]["index"] if entries else (after if after is not None else -1)}


def entries_at(house: House, indexes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the entries at these places of the log, each with what it says in words; what is not there is left out."""

    def read(tx: HouseTransaction) -> list[Stored]:
        log, found = log_of(house, tx), []
        for index in indexes:
            with contextlib.suppress(AbsentError):
                found.append(entry_at(log, index))
        return found

    return [told(each) for each in house.database.read(read)]


def told(stored: Stored) -> dict[str, Any]:
    """Return an entry as a story tells it: with what it says in words, line by line."""
    return view(stored) | {"lines": _lines(stored.to_json())}


def proof(house: House, index: int) -> dict[str, Any]:
    """Return the proof that the entry at `index` stands under the newest checkpoint.

    Raises:
        AbsentError: there is no such entry.
    """
    cosigned = house.witnesses.cosigned
    proved = house.database.read(lambda tx: prove_inclusion(log_of(house, tx), index, cosigned))
    return {
        "index": index,
        "size": int(proved.note.splitlines()[1]),
        "entry": json.loads(proved.data),
        "path": [base64.b64encode(step).decode() for step in proved.path],
        "checkpoint": proved.note,
        "proof": proved.to_text(),
    }


async def verify(house: House, tell: Tell = untold, *, newest: int | None = None) -> dict[str, Any]:
    """Check the whole log, or its newest entries, away from the event loop, and say what is wrong with it."""

    def read(tx: HouseTransaction) -> LogReport:
        log = log_of(house, tx)
        if newest is not None:
            return check_newest(log, house.evidence_key, newest)
        return check_log(log, house.evidence_key, progress=tell)

    report = await asyncio.to_thread(house.database.read, read)
    checkpoint = report.checkpoint
    problems = [fault.text for fault in report.faults]
    if newest is None and (damage := await asyncio.to_thread(house.database.damage)) is not None:
        problems.append(
            f"the database's file is damaged, and queries may miss entries: {damage}; stop Charter, copy the data "
            "folder, and run `sqlite3 charter.db REINDEX`, or restore the newest backup"
        )
    return {
        "ok": not problems,
        "size": checkpoint.size if newest is not None and checkpoint else report.entries,
        "checked": report.entries,
        "root": base64.b64encode(checkpoint.root).decode() if checkpoint else None,
        "payloads": report.payloads,
        "erased": report.erased,
        "clock": {"set_back": report.set_back, "first": report.first_set_back},
        "problems": problems,
    }


@dataclass(frozen=True, slots=True)
class _Period:
    since: dt.datetime
    until: dt.datetime

    def to_json(self) -> dict[str, str]:
        return {"since": rfc3339(self.since), "until": rfc3339(self.until)}

    def range_in(self, log: SqlLog) -> tuple[int, int]:
        """Return the entries of the period with a neighbour on each side that shows it to be whole.

        What a clock set back let the log say later of it is within, so that whoever verifies is told.
        """
        first, after = log.between(rfc3339(self.since - SKEW), rfc3339(self.until + SKEW))
        last = query(log, Query(until=self.until, limit=1)).entries
        return max(0, first - 1), max(after, last[0].index if last else 0) + 1


def _period(since: str | None, until: str | None, now: dt.datetime) -> _Period | None:
    if since is None and until is None:
        return None
    over = now - SKEW
    end = over if until is None else parse_moment(until, now)
    found = _Period(parse_moment(since or f"{_FIRST_YEAR}-01-02", now), end)
    if found.until > over:
        text = f"nothing can show yet that the period until {rfc3339(end)} is whole"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="name an end that is a minute ago at least, or none")
    if found.since >= found.until:
        raise MalformedError(ErrorCode.BAD_VALUE, "the period ends before it begins", help="name another")
    return found


async def export(
    house: House,
    target: Path,
    since: str | None = None,
    until: str | None = None,
    *,
    actor: str = "charter",
    tell: Tell = untold,
) -> dict[str, Any]:
    """Write the whole log, or what shows all of a period, to `target`, and the stand-alone verifier beside it.

    Of a period it is recorded who had it exported: so an entry stands after it, which shows that it was over.

    Raises:
        MalformedError: the path names no file, or the times no period that is over.
        ConflictError: the file exists.
        UnavailableError: it cannot be written; no half of it is left.
    """
    if not str(target).isprintable() or not target.name:
        raise MalformedError(ErrorCode.BAD_VALUE, "the path names no file", help="name a new file for the pack")
    period = _period(since, until, house.clock.now())
    if period is not None:
        draft = Draft(EntryKind.EVIDENCE_EXPORTED, actor, None, period.to_json())
        await house.database.awrite(lambda tx: tx.record(draft))
    await house.witnesses.ask(at_once=True)
    told = await asyncio.to_thread(_export, house, target, period, house.witnesses.settled, tell)
    return told | (period.to_json() if period else {"since": None, "until": None})


def _export(
    house: House, target: Path, period: _Period | None, cosigned: Checkpoint | None, tell: Tell
) -> dict[str, Any]:
    def write(out: BinaryIO, tx: HouseTransaction) -> PackSummary:
        log = log_of(house, tx)
        start, end = period.range_in(log) if period else (0, None)
        head = cosigned if cosigned is not None and cosigned.size >= (end or 0) else None
        return export_pack(log, house.evidence_key, out, start=start, end=end, cosigned=head, progress=tell)

    try:
        if target.exists():
            raise ConflictError(ErrorCode.EXISTS, f"`{target}` exists already", help="name a new file")
        verifier = target.with_name(VERIFIER)
        whole_file.replace(verifier, verifier_source(), whole_file.SHARED)
        with whole_file.replacing(target, whole_file.SHARED) as out:
            summary = house.database.read(partial(write, out))
    except OSError as err:
        if err.errno == errno.ENAMETOOLONG:
            raise MalformedError(
                ErrorCode.BAD_VALUE, "the path is longer than a file's may be", help="name a new file for the pack"
            ) from err
        raise UnavailableError(
            ErrorCode.STORE_FAILED, f"cannot write `{target}`: {err.strerror}", help="choose another place"
        ) from err
    key = base64.b64encode(house.evidence_key).decode()
    return {
        "pack": str(target),
        "verifier": str(verifier),
        "key": key,
        "entries": summary.end - summary.start,
        "origin": summary.origin,
        "witnesses": [str(each) for each in house.witnesses.signers_of(cosigned)],
    }


def log_of(house: House, tx: HouseTransaction) -> SqlLog:
    """Return this node's log, in one snapshot."""
    return SqlLog(tx.connection, house.database.node, house.database.origin, tx.payloads)


def logs_of(house: House, tx: HouseTransaction) -> list[SqlLog]:
    """Return the logs of all nodes that wrote to this database, this node's first."""
    own = log_of(house, tx)
    others = nodes_of(tx.connection).items()
    return [own, *(replace(own, node=node, origin=origin) for node, origin in others if node != own.node)]


def _query(house: House, wanted: dict[str, str | None], limit: int, cursor: str | None) -> Query:
    now = house.clock.now()
    name, kind = wanted.get("principal"), "verdict" if wanted.get("verdict") else wanted.get("kind")
    principal = house.principal(name).id if name else None
    since, until = wanted.get("since"), wanted.get("until")
    try:
        kinds = (EntryKind(kind),) if kind else ()
    except ValueError as err:
        words = ", ".join(k.value for k in EntryKind)
        raise MalformedError(ErrorCode.BAD_VALUE, f"{kind!a} is no kind of entry", help=f"there are {words}") from err
    return Query(
        principal=principal,
        kinds=kinds,
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        text=wanted.get("text") or None,
        limit=limit,
        cursor=cursor,
    )


def _has_verdict(entry: Stored, word: str | None) -> bool:
    return word is None or entry.to_json()["body"].get("verdict") == word


def view(stored: Stored) -> dict[str, Any]:
    """Return an entry for people and programs: what it says, and one line that says it."""
    entry = stored.to_json()
    body = entry["body"]
    return {
        "index": entry["index"],
        "time": entry["time"],
        "kind": entry["kind"],
        "actor": entry["actor"],
        "principal": body.get("principal") or entry["principal"],
        "verdict": body.get("verdict"),
        "line": line_of(entry),
        "body": body,
    } | ({"erased_by": stored.erased_by} if stored.is_erased else {})


def line_of(entry: dict[str, Any]) -> str:
    """Return one line that says what an entry says."""
    body, kind = entry["body"], entry["kind"]
    match kind:
        case EntryKind.VERDICT:
            why = body["reasons"][0]["text"] if body["reasons"] else ""
            call = f"{body['principal']} → {body['system']}/{body['tool']}"
            return f"{body['verdict']:<8} {call}: {why} [{body['verdict_id']}]"
        case EntryKind.OUTCOME:
            call = f"{body['principal']} → {body['system']}/{body['tool']}"
            return f"{body['outcome']:<8} {call} in {body['duration_ms']} ms"
        case EntryKind.OBSERVED:
            who = body["who"].get("name") or body["who"].get("id") or "somebody"
            return f"{body['outcome']:<8} {who}: {body['action']}, as {entry['actor']} tells"
        case EntryKind.STANDING_CHANGED:
            move = f"{body['principal']}: {body['before']} → {body['after']}"
            return f"{move} by {entry['actor']}: {body.get('reason')}"
        case EntryKind.COMPOSITION_CHANGED | EntryKind.COMPOSITION_REVIEWED:
            changed = "; ".join(map(_changed_part, body["parts"]))
            deed = f"accepted by {entry['actor']}: {body['reason']}" if "reason" in body else "waits for a review"
            return f"{body['principal']}: {changed}; {deed}"
        case _:
            telling = {key: body[key] for key in _FIRST if key in body} | body
            words = ", ".join(f"{k}={v}" for k, v in telling.items() if isinstance(v, str | int) and k != "digest")
            return f"by {entry['actor']}: {cut_to(words, _LONGEST)}"


def _changed_part(part: dict[str, Any]) -> str:
    """Return in words what a part of a composition was and is, each value as far as it tells it from others."""
    was, now = (" or ".join(each[:40] for each in part[name]) or "nothing" for name in ("was", "now"))
    return f"{part['part']} {was} → {now} (told by {part['told_by']})"


def _lines(entry: dict[str, Any]) -> list[str]:
    """Return what an entry says, line by line, for its story."""
    lines = [line_of(entry)]
    for reason in entry["body"].get("reasons", ()):
        where = f" ({reason['source']})" if reason["source"] else ""
        lines.append(f"{reason['layer']}: {reason['rule']}{where}, of the link {reason['link']}")
        if reason["mend"] and entry["body"].get("verdict") != "allow":
            lines.append(f"to allow it: {reason['mend']}")
    lines += _told_chain(entry["body"].get("chain"))
    charter = entry["body"].get("charter")
    if isinstance(charter, dict) and "version" in charter:
        lines.append(f"under charter version {charter['version']} {charter['digest']}")
    return lines


def _told_chain(chain: dict[str, Any] | None) -> list[str]:
    """Return on whose behalf a call was made, through whom and for what, from the initiator to the executor."""
    if not chain:
        return []
    parties = [f"{each['name']} ({each['role']}, by {each['control_plane']})" for each in chain["parties"]]
    told = " → ".join(parties) or "a chain that is not known any more"
    return [f"on behalf of {chain['initiator']}: {told}, for {chain.get('purpose', 'what is not known')}"]
