"""Payloads emptied, and holds: rows <-> values. Satisfies evidence.erasure.ErasureStore."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.clock import parse_rfc3339, rfc3339
from charter.evidence.erasure import Cover, Hold

_entry, _hold = t.evidence_entry.c, t.evidence_hold.c


@dataclass(frozen=True, slots=True)
class SqlErasures:
    """On one connection."""

    connection: sa.Connection

    def empty(self, node: str, indexes: Sequence[int], erased_by: int) -> int:
        """Empty the payloads of these entries; return how many were there."""
        there = (_entry.node == node, _entry.index.in_(indexes), _entry.payload.is_not(None))
        gone = {"salt": None, "payload": None, "payload_key": None, "erased_by": erased_by}
        return self.connection.execute(t.evidence_entry.update().where(*there).values(gone)).rowcount

    def holds(self) -> Sequence[Hold]:
        """Return the holds that stand, oldest first."""
        query = sa.select(t.evidence_hold).where(_hold.released_at.is_(None)).order_by(_hold.placed_at, _hold.id)
        return [
            Hold(
                row.id,
                Cover(row.principal_id, row.system, row.person, row.since, row.until),
                row.reason,
                row.placed_by,
                parse_rfc3339(row.placed_at),
            )
            for row in self.connection.execute(query)
        ]

    def place(self, hold: Hold) -> None:
        """Keep a new hold."""
        row = {"id": hold.id, "reason": hold.reason, "placed_by": hold.placed_by, "placed_at": rfc3339(hold.placed_at)}
        self.connection.execute(t.evidence_hold.insert(), row | hold.cover.to_json())

    def release(self, hold: Hold, by: str, at: dt.datetime, reason: str) -> None:
        """Keep that a hold stands no more."""
        gone = {"released_by": by, "released_at": rfc3339(at), "release_reason": reason}
        self.connection.execute(t.evidence_hold.update().where(_hold.id == hold.id).values(gone))
