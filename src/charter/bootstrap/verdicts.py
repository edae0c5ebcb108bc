"""Finding verdicts in the log: by their id, by their index, and all of a session.

A verdict's id holds the time it was made at, so it is looked for around that time first; where the clock that wrote
the log and the one that made the id differ, the whole log is searched.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence
from charter.core.clock import rfc3339
from charter.core.entropy import moment_of
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.evidence.entry import EntryKind
from charter.evidence.log import MAX_PAGE, Query, Stored, entry_at, query
from charter.evidence.receipt import sign_receipt
from charter.identity.keys import KeyUse

if TYPE_CHECKING:
    from charter.bootstrap.house import House

VERDICT_ID = re.compile(r"vrd_[0-9a-z]{1,36}")
SESSION_ID = re.compile(r"ses_[0-9a-f]{24}")
_INDEX = re.compile(r"[0-9]{1,15}")
_NEAR = dt.timedelta(minutes=2)


def find(house: House, which: str) -> Stored:
    """Return the entry of a verdict: its id, or its index in the log.

    Raises:
        AbsentError: the log has no such verdict.
        MalformedError: `which` is neither an id nor an index.
    """
    if _INDEX.fullmatch(which):
        found = house.database.read(lambda tx: entry_at(evidence.log_of(house, tx), int(which)))
        if found.kind != EntryKind.VERDICT.value:
            text = f"the entry {which} tells of no verdict, but of `{found.kind}`"
            raise AbsentError(ErrorCode.UNKNOWN_ENTRY, text, help="charter evidence query --kind verdict")
        return found
    if not VERDICT_ID.fullmatch(which):
        text = f"{which[:64]!a} is neither a verdict's id nor an index in the log"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="write vrd_…, or a number as charter evidence shows it")
    made = moment_of(which)
    periods = ((made - _NEAR, made + _NEAR),) if made is not None else ()
    for since, until in (*periods, (None, None)):
        wanted = Query(text=which, kinds=(EntryKind.VERDICT,), since=since, until=until, limit=10)
        for each in house.database.read_log(lambda log, wanted=wanted: query(log, wanted)).entries:  # type: ignore[misc]
            if each.to_json()["body"].get("verdict_id") == which:
                return each
    raise AbsentError(ErrorCode.UNKNOWN_ENTRY, f"the log knows no verdict {which!a}", help="charter evidence query")


def newest_first(house: House, wanted: Query, *, most: int) -> Iterator[Stored]:
    """Yield the entries that `wanted` describes, page by page, at most so many."""
    cursor: str | None = None
    while most > 0:
        page = Query(
            principal=wanted.principal,
            kinds=wanted.kinds,
            since=wanted.since,
            until=wanted.until,
            text=wanted.text,
            limit=min(MAX_PAGE, most),
            cursor=cursor,
        )
        found = house.database.read_log(lambda log, page=page: query(log, page))  # type: ignore[misc]
        yield from found.entries
        most -= len(found.entries)
        cursor = found.cursor
        if cursor is None:
            return


def scan(house: House, since: dt.datetime, until: dt.datetime, *, most: int) -> Iterator[Stored]:
    """Yield all entries of a period in the log's order, page by page; of more than `most`, the newest."""
    first, end = house.database.read_log(lambda log: log.between(rfc3339(since), rfc3339(until)))
    after = max(first, end - most) - 1
    while after + 1 < end:
        limit = min(MAX_PAGE, end - after - 1)
        page = house.database.read_log(lambda log, after=after, limit=limit: log.entries(after, limit))  # type: ignore[misc]
        if not page:
            return
        yield from page
        after = page[-1].index


def in_order(house: House, wanted: Query, *, most: int) -> Sequence[Stored]:
    """Return the newest entries that `wanted` describes, at most so many, in the log's order."""
    return sorted(newest_first(house, wanted, most=most), key=lambda each: each.index)


def receipt(house: House, which: str) -> dict[str, Any]:
    """Return the signed receipt of an entry, by its index, or of a verdict, by the id that its answer bore.

    The entry stands under the log's signed head already. It is signed when somebody asks, and not with each answer.

    Raises:
        AbsentError: there is no such entry.
        MalformedError: `which` is neither an id nor an index.
    """
    if _INDEX.fullmatch(which):
        entry = house.database.read(lambda tx: entry_at(evidence.log_of(house, tx), int(which)))
    else:
        entry = find(house, which)
    signer = house.ring.signer(KeyUse.EVIDENCE, house.database.origin)
    return {"index": entry.index, "time": entry.time, "receipt": sign_receipt(house.database.origin, entry, signer)}
