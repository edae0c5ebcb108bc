"""The evidence log as it is kept: rows <-> values, read-only. Satisfies evidence.log.LogReader."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.payloads import Payloads
from charter.core.errors import AbsentError, ErrorCode, IntegrityError
from charter.evidence.log import Filter, Stored
from charter.evidence.payload import opening_of, told

_COMMON = frozenset({"verdict", "outcome"})
_OURS = re.compile(rb"[a-z]{3}_[0-9a-z]{26}")  # an identifier of Charter's: never in what stands apart
_entry, _head, _tile, _kept = t.evidence_entry.c, t.evidence_head.c, t.evidence_tile.c, t.evidence_checkpoint.c
_HASHES = sa.select(_tile.hashes).where(  # built once: a proof reads half a dozen tiles
    _tile.node == sa.bindparam("node"), _tile.level == sa.bindparam("level"), _tile.index == sa.bindparam("place")
)


@dataclass(frozen=True, slots=True)
class SqlLog:
    """One node's log, on one connection."""

    connection: sa.Connection
    node: str
    origin: str
    payloads: Payloads | None = None  # what opens payloads; without it, they are not shown

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint, as it is kept."""
        note = self.connection.execute(sa.select(_head.checkpoint).where(_head.node == self.node)).scalar()
        if note is None:
            raise AbsentError(ErrorCode.UNKNOWN_ENTRY, "the log has no head", help="restore the newest backup")
        return str(note)

    def checkpoints(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return kept checkpoints of sizes above `after`, smallest first."""
        query = sa.select(_kept.size, _kept.checkpoint).where(_kept.node == self.node, _kept.size > after)
        rows = self.connection.execute(query.order_by(_kept.size).limit(limit))
        return [(size, note) for size, note in rows]

    def entries(self, after: int | None, limit: int) -> Sequence[Stored]:
        """Return entries with an index above `after` (None: from the very first), in order."""
        query = _select().where(_entry.node == self.node)
        if after is not None:
            query = query.where(_entry.index > after)
        return self._stored(query.order_by(_entry.index).limit(limit))

    def chosen(self, indexes: Sequence[int]) -> Sequence[Stored]:
        """Return the entries at these indexes, in order."""
        return self._stored(_select().where(_entry.node == self.node, _entry.index.in_(indexes)).order_by(_entry.index))

    def between(self, since: str, until: str | None) -> tuple[int, int]:
        """Return the indices of the first entry at `since` or later, and of the first at `until` or later.

        Where there is none so late, and where nothing is said, that is the index behind the last.
        """
        every = sa.select(sa.func.max(_entry.index)).where(_entry.node == self.node)
        end = int(self.connection.execute(every).scalar() or 0) + 1
        first, last = (None if time is None else self._first_at(time) for time in (since, until))
        return end if first is None else first, end if last is None else last

    def _first_at(self, time: str) -> int | None:
        at = sa.select(sa.func.min(_entry.index)).where(_entry.node == self.node, _entry.time >= time)
        found = self.connection.execute(at).scalar()
        return None if found is None else int(found)

    def find(self, wanted: Filter) -> Sequence[Stored]:
        """Return the newest entries that `wanted` describes."""
        # SQLite would walk the whole log by its key and sort it, where the index of times has the order: so the node is
        # said in a way that no index fits.
        is_timed = wanted.since is not None or wanted.until is not None or wanted.before is not None
        node = _entry.node.concat("") if is_timed or wanted.principal is not None else _entry.node
        query = _select().where(node == self.node)
        if wanted.principal is not None:
            query = query.where(_entry.principal_id == wanted.principal)
        if wanted.kinds:
            query = query.where(_entry.kind.in_(wanted.kinds))
            if not _COMMON.intersection(wanted.kinds):
                query = query.where(t.RARE_KIND)  # lets the database use the index of the rare kinds
        if wanted.since is not None:
            query = query.where(_entry.time >= wanted.since)
        if wanted.until is not None:
            query = query.where(_entry.time < wanted.until)
        newest = query.order_by(_entry.time.desc(), _entry.index.desc()).limit(wanted.limit)
        if wanted.text is not None and not _OURS.fullmatch(wanted.text):
            return self._holding(newest, wanted.text, wanted)
        if wanted.text is not None:
            newest = newest.where(self._holds(wanted.text))
        return self._stored(_behind(newest, wanted.before))

    def _holding(self, query: sa.Select[Any], text: bytes, wanted: Filter) -> Sequence[Stored]:
        """Return the newest entries that hold `text`, in what is hashed or in what stands apart."""
        query, before = query.where(sa.or_(self._holds(text), _entry.payload.is_not(None))), wanted.before
        found: list[Stored] = []
        while len(found) < wanted.limit:
            rows = self._stored(_behind(query, before))
            found += [each for each in rows if text in each.data or (each.payload and text in each.payload)]
            if len(rows) < wanted.limit:
                break
            before = (rows[-1].time, rows[-1].index)
        return found[: wanted.limit]

    def of_kind(self, kind: str, *, after: int | None, since: str) -> Sequence[Stored]:
        """Return the entries of one rare kind behind the index `after`, or if there is none since a time, in order."""
        query = _select().where(_entry.node == self.node, _entry.kind == kind)
        # said so that the database uses the index of the rare kinds in one case, and that of the log in the other
        query = query.where(t.RARE_KIND, _entry.time >= since) if after is None else query.where(_entry.index > after)
        return self._stored(query.order_by(_entry.index))

    def of_kind_between(self, kind: str, since: str, before: str, limit: int) -> Sequence[Stored]:
        """Return the oldest entries of one rare kind from a time on, `before` another, by time."""
        query = _select().where(_entry.kind == kind, t.RARE_KIND, _entry.time >= since, _entry.time < before)
        own = query.where(_entry.node.concat("") == self.node)  # said so that no index of nodes fits
        return self._stored(own.order_by(_entry.time, _entry.index).limit(limit))

    def tile(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile, or b"" if it is not kept."""
        found = self.connection.execute(_HASHES, {"node": self.node, "level": level, "place": index}).scalar()
        return octets(found or b"")

    def _holds(self, text: bytes) -> sa.ColumnElement[bool]:
        if self.connection.dialect.name == "postgresql":
            return sa.func.position(sa.literal(text).op("IN")(_entry.data)) > 0
        return sa.func.instr(_entry.data, text) > 0

    def _stored(self, query: sa.Select[Any]) -> Sequence[Stored]:
        return [self._of_row(row) for row in self.connection.execute(query)]

    def _of_row(self, row: Sequence[Any]) -> Stored:
        node, index, time, kind, principal, data, salt, payload, key, erased_by = row
        opened = _opened(self.payloads, (node, index), (salt, payload, key))
        opening = opening_of(octets(salt)) if opened is not None else None
        return Stored(node, index, time, kind, principal, octets(data), opened, opening, erased_by)


def entries_of(connection: sa.Connection, kind: str, since: str, payloads: Payloads | None) -> Iterator[dict[str, Any]]:
    """Yield the entries of one rare kind since a time, of all nodes, as JSON with what stands apart of them."""
    columns = (_entry.node, _entry.index, _entry.data, *APART)
    query = sa.select(*columns).where(_entry.kind == kind, t.RARE_KIND, _entry.time >= since)
    for node, index, data, *apart in connection.execute(query.order_by(_entry.time)):
        yield json.loads(whole_data(payloads, (node, index), data, tuple(apart)))


def nodes_of(connection: sa.Connection) -> dict[str, str]:
    """Return the nodes whose logs are in the database, with the names of those."""
    found = sa.select(_head.node, t.node.c.origin).join(t.node, t.node.c.id == _head.node).order_by(_head.node)
    return {row[0]: row[1] for row in connection.execute(found)}


def octets(value: bytes | str) -> bytes:
    """Return what a column of bytes holds; SQLite gives text where a careless or ill hand wrote some."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _behind(query: sa.Select[Any], before: tuple[str, int] | None) -> sa.Select[Any]:
    return query if before is None else query.where(sa.tuple_(_entry.time, _entry.index) < before)


def _select() -> sa.Select[Any]:
    found = (_entry.node, _entry.index, _entry.time, _entry.kind, _entry.principal_id, _entry.data)
    return sa.select(*found, _entry.salt, _entry.payload, _entry.payload_key, _entry.erased_by)


APART = (_entry.salt, _entry.payload, _entry.payload_key)
"""The columns that `whole_data` needs beside node, index and data."""
Kept = tuple[bytes | None, bytes | None, int | None]  # what is in them: nothing once it was erased


def whole_data(payloads: Payloads | None, place: tuple[str, int], data: bytes | str, apart: Kept) -> bytes:
    """Return the JSON of an entry with what stands apart of it, for readers that need not the hashed bytes."""
    return told(octets(data), _opened(payloads, place, apart))


def _opened(payloads: Payloads | None, place: tuple[str, int], apart: Kept) -> bytes | None:
    """Return a payload; None if it is not there or does not open, which `charter evidence verify` judges."""
    salt, payload, key = apart
    if payloads is None or salt is None or payload is None or key is None:
        return None
    with contextlib.suppress(IntegrityError):
        return payloads.open(*place, octets(salt), octets(payload), key)
    return None
