"""Payloads emptied, holds, orders, and how far retention went: rows <-> values. Satisfies erasure.ErasureStore."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import octets
from charter.adapters.upsert import insertion
from charter.core.clock import parse_rfc3339, rfc3339
from charter.evidence.erasure import Cover, Erasing, Hold, Order
from charter.evidence.log import Stored

_entry, _hold = t.evidence_entry.c, t.evidence_hold.c
_order, _swept = t.evidence_erasure.c, t.evidence_retention.c


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

    # --- orders that are under way ------------------------------------------------------------------------------------

    def orders(self, node: str) -> Sequence[Order]:
        """Return the orders that are under way in a node's log, oldest first."""
        query = sa.select(t.evidence_erasure).where(_order.node == node).order_by(_order.asked_at, _order.id)
        return [
            Order(
                row.id,
                row.node,
                Cover(**msgspec.json.decode(row.cover)),
                Erasing(row.actor, row.reason, row.rule),
                row.reached,
                row.end,
            )
            for row in self.connection.execute(query)
        ]

    def waiting(self, node: str) -> Mapping[str, int]:
        """Return how many orders wait for other nodes than `node`, by the names of their logs."""
        count = sa.select(t.node.c.origin, sa.func.count()).join(t.node, t.node.c.id == _order.node)
        rows = self.connection.execute(count.where(_order.node != node).group_by(t.node.c.origin).order_by("origin"))
        return {row[0]: row[1] for row in rows}

    def begin(self, order: Order, at: dt.datetime) -> None:
        """Keep a new order."""
        row = {"id": order.id, "node": order.node, "cover": msgspec.json.encode(order.cover.to_json()).decode()}
        row |= {"actor": order.by.actor, "reason": order.by.reason, "rule": order.by.rule, "asked_at": rfc3339(at)}
        self.connection.execute(t.evidence_erasure.insert(), row | {"reached": order.reached, "end": order.end})

    def advance(self, order: Order, reached: int) -> None:
        """Keep how far an order is carried out."""
        self.connection.execute(t.evidence_erasure.update().where(_order.id == order.id).values(reached=reached))

    def end(self, order: Order) -> None:
        """Forget an order that is carried out, and with it whom it named."""
        self.connection.execute(t.evidence_erasure.delete().where(_order.id == order.id))

    # --- retention ----------------------------------------------------------------------------------------------------

    def last_before(self, node: str, time: str) -> int:
        """Return the index of the newest entry before a time, -1 if there is none."""
        # by the index of times, as in evidence_store
        query = sa.select(_entry.index).where(_entry.node.concat("") == node, _entry.time < time)
        found = self.connection.execute(query.order_by(_entry.time.desc(), _entry.index.desc()).limit(1)).scalar()
        return -1 if found is None else int(found)

    def kept(self, node: str, after: int, last: int, limit: int) -> Sequence[Stored]:
        """Return the entries behind `after`, up to `last`, whose payload is there; it is not opened."""
        columns = (_entry.node, _entry.index, _entry.time, _entry.kind, _entry.principal_id, _entry.data)
        meant = (_entry.node == node, _entry.index > after, _entry.index <= last, _entry.payload.is_not(None))
        query = sa.select(*columns).where(*meant).order_by(_entry.index).limit(limit)
        return [Stored(*row[:5], octets(row[5])) for row in self.connection.execute(query)]

    def swept(self, node: str) -> Mapping[str, tuple[int, str | None]]:
        """Return how far each rule was carried out, and when it last was to its end."""
        query = sa.select(_swept.rule, _swept.reached, _swept.swept_at).where(_swept.node == node)
        return {rule: (reached, at) for rule, reached, at in self.connection.execute(query)}

    def sweep(self, node: str, rule: str, reached: int, at: dt.datetime | None) -> None:
        """Keep how far a rule is carried out; with `at`, that this is its end for now."""
        values = {"reached": reached} | ({"swept_at": rfc3339(at)} if at is not None else {})
        row = {"node": node, "rule": rule, "swept_at": None} | values
        statement = insertion(self.connection.dialect)(t.evidence_retention).values(row)
        self.connection.execute(statement.on_conflict_do_update(index_elements=["node", "rule"], set_=values))

    def sweep_anew(self) -> None:
        """Forget how far retention was carried out, in the logs of all nodes."""
        self.connection.execute(t.evidence_retention.delete())
