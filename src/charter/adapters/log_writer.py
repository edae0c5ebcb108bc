"""Appending to the evidence log's rows.

INVARIANT: entries, tiles and the signed head change in one transaction, and the head only if it still has the size it
was read with; a second writer finds itself out and stops.
INVARIANT: a log whose head, edge and signature do not agree is not opened.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy import exc

from charter.adapters import tables as t
from charter.adapters.driver_sql import Compiled, batch
from charter.adapters.evidence_store import SqlLog, octets
from charter.adapters.payloads import Payloads
from charter.adapters.upsert import insertion
from charter.core.clock import rfc3339
from charter.core.errors import MalformedError
from charter.core.keys import Signer
from charter.evidence.checkpoint import parse_checkpoint, sign_checkpoint, verify_checkpoint
from charter.evidence.entry import Entry
from charter.evidence.key_change import line_of
from charter.evidence.log import broken
from charter.evidence.tile import WIDTH, Edge, Tile, load_edge
from charter.evidence.tree import HASH_BYTES, leaf_hash

_ANOTHER = "another process wrote to this node's log, so this one stops writing"
_entry, _head, _kept = t.evidence_entry.c, t.evidence_head.c, t.evidence_checkpoint.c


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log stands: its right edge and the signed note over it."""

    edge: Edge
    note: str

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self.edge.size


@dataclass(frozen=True, slots=True)
class LogWriter:
    """Appends to one node's log and signs its heads."""

    node: str
    origin: str
    signer: Signer
    payloads: Payloads | None = None

    def create(self, connection: sa.Connection) -> Head:
        """Begin the log: an empty head."""
        edge = Edge()
        head = Head(edge, self._sign(edge))
        connection.execute(t.evidence_head.insert(), {"node": self.node, **_head_row(head)})
        return head

    def load(self, connection: sa.Connection) -> Head:
        """Return the head of the log after checking that all its parts agree.

        Raises:
            IntegrityError: they do not.
        """
        row = connection.execute(sa.select(t.evidence_head).where(_head.node == self.node)).first()
        if row is None:
            raise broken("the log has no head")
        try:
            checkpoint = parse_checkpoint(row.checkpoint)
        except MalformedError as err:
            raise broken(f"the log's head: {err.detail}") from err
        verify_checkpoint(checkpoint, self.origin, self.signer.public)
        kept = SqlLog(connection, self.node, self.origin)
        newest = connection.execute(sa.select(sa.func.max(_entry.index)).where(_entry.node == self.node)).scalar()
        if newest != (row.size - 1 if row.size else None):
            raise broken(f"the log's head counts {row.size} entries, but the newest is {newest}")
        latest = connection.execute(sa.select(sa.func.max(_kept.size)).where(_kept.node == self.node)).scalar()
        if latest is not None and latest > row.size:
            raise broken(f"the log was cut: its head counts {row.size} entries, but a checkpoint of {latest} is kept")
        edge = load_edge(row.size, kept.tile)
        if b"".join(edge.frontier.roots) != row.frontier:
            raise broken("the log's head and the newest entries do not agree")
        if (checkpoint.size, checkpoint.root) != (edge.size, edge.frontier.root):
            raise broken(f"the signed checkpoint is of {checkpoint.size} other entries than the log's {edge.size}")
        self._verify_newest(connection, edge)
        return Head(edge, row.checkpoint)

    def append(
        self, connection: sa.Connection, head: Head, entries: Sequence[Entry], successor: Signer | None = None
    ) -> Head:
        """Append `entries` after `head`; return the new head.

        With a `successor`, the key of the log changes to that with this head, which both sign and which is kept.

        Raises:
            IntegrityError: somebody else wrote to this log.
        """
        edge, tiles = head.edge.extend([leaf_hash(entry.data) for entry in entries])
        new = Head(edge, self._sign(edge, successor))
        is_kept = successor is not None or head.size // WIDTH != new.size // WIDTH
        try:
            written = self._write(connection, head, new, (entries, tiles), is_kept=is_kept)
        except exc.IntegrityError as err:
            raise broken(_ANOTHER) from err
        if written != 1:
            raise broken(_ANOTHER)
        return new

    def _write(
        self,
        connection: sa.Connection,
        head: Head,
        new: Head,
        grown: tuple[Sequence[Entry], Sequence[Tile]],
        *,
        is_kept: bool,
    ) -> int:
        """Write what is new; return how many heads were moved on: 1, or 0 if somebody else moved it."""
        sql, node = _statements(connection.dialect), self.node
        entries, tiles = grown
        with batch(connection) as cursor:
            moved, others = cursor(), cursor()
            sql.head.one(moved, {"at_node": node, "at_size": head.size, **_head_row(new)})
            sql.entry.many(others, [_entry_row(entry, self.payloads) for entry in entries])
            for tile in tiles:
                row = {"node": node, "level": tile.level, "index": tile.index, "hashes": tile.hashes}
                sql.tile.one(others, row)
            if is_kept:
                sql.checkpoint.one(others, {"node": node, "size": new.size, "checkpoint": new.note})
        return int(moved.rowcount)

    def _verify_newest(self, connection: sa.Connection, edge: Edge) -> None:
        """Check the entries under the partial tile: what a broken disk or a careless hand would hit first."""
        first = edge.size // WIDTH * WIDTH
        query = sa.select(_entry.index, _entry.data).where(_entry.node == self.node, _entry.index >= first)
        for expected, (index, data) in enumerate(connection.execute(query.order_by(_entry.index)), first):
            start = (expected - first) * HASH_BYTES
            if index != expected:
                raise broken(f"entry {expected} is missing")
            if leaf_hash(octets(data)) != edge.partial[0][start : start + HASH_BYTES]:
                raise broken(f"entry {index} is not what was recorded")

    def _sign(self, edge: Edge, successor: Signer | None = None) -> str:
        at, signer = (self.origin, edge.size, edge.frontier.root), self.signer
        if successor is None:
            return sign_checkpoint(*at, signer).to_note()
        line = line_of(self.origin, signer.public, successor.public)
        return sign_checkpoint(*at, signer, successor, extensions=(line,)).to_note()


class _Statements:
    """What `append` executes, in the SQL of one database."""

    def __init__(self, dialect: sa.Dialect) -> None:
        insert = insertion(dialect)
        tile = insert(t.evidence_tile)
        names = ("size", "frontier", "checkpoint")
        head = t.evidence_head.update().values({name: sa.bindparam(name) for name in names})
        at = (_head.node == sa.bindparam("at_node"), _head.size == sa.bindparam("at_size"))
        self.head = Compiled(head.where(*at), dialect)
        self.entry = Compiled(t.evidence_entry.insert(), dialect)
        self.tile = Compiled(  # over the partial tile it grew from
            tile.on_conflict_do_update(
                index_elements=["node", "level", "index"], set_={"hashes": tile.excluded.hashes}
            ),
            dialect,
        )
        self.checkpoint = Compiled(t.evidence_checkpoint.insert(), dialect)


@lru_cache(maxsize=8)
def _statements(dialect: sa.Dialect) -> _Statements:
    return _Statements(dialect)


def _entry_row(entry: Entry, payloads: Payloads | None) -> dict[str, object]:
    apart = entry.apart if payloads is not None else None
    return {
        "salt": apart.salt if apart else None,
        "payload": payloads.close(entry.node, entry.index, apart) if payloads and apart else None,
        "payload_key": payloads.active if payloads and apart else None,
        "erased_by": None,
        "node": entry.node,
        "index": entry.index,
        "time": rfc3339(entry.time),
        "kind": entry.kind.value,
        "principal_id": entry.principal,
        "data": entry.data,
    }


def _head_row(head: Head) -> dict[str, object]:
    return {"size": head.size, "frontier": b"".join(head.edge.frontier.roots), "checkpoint": head.note}


def opened_body(writer: LogWriter) -> dict[str, str]:
    """Return what the first entry of a log says: its name, and the key its checkpoints are signed with."""
    public = base64.b64encode(writer.signer.public).decode()
    return {"origin": writer.origin, "key_id": writer.signer.key_id, "public_key": public}
