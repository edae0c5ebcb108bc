"""Logs that are witnessed, and the cosigned head of one's own: rows <-> values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import octets
from charter.adapters.upsert import insertion
from charter.core.clock import rfc3339
from charter.evidence.witness import WitnessedLog

_log = t.witnessed_log.c


class SqlWitnessed:
    """What is kept of witnessing, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def logs(self) -> Sequence[tuple[WitnessedLog, str | None]]:
        """Return every log that is witnessed, and when a head of it was cosigned last."""
        rows = self._connection.execute(sa.select(t.witnessed_log).order_by(_log.origin))
        return [(_value(row), row.seen_at) for row in rows]

    def log(self, origin: str, *, to_keep: bool = False) -> WitnessedLog | None:
        """Return the log called `origin`; None: it is not witnessed.

        With `to_keep`, it is kept anew in this transaction: PostgreSQL, which refuses that to readers, locks its row.
        """
        query = sa.select(t.witnessed_log).where(_log.origin == origin)
        row = self._connection.execute(query.with_for_update() if to_keep else query).first()
        return None if row is None else _value(row)

    def add(self, log: WitnessedLog) -> None:
        """Witness another log."""
        self._connection.execute(t.witnessed_log.insert(), {"origin": log.origin, "seen_at": None, **_row(log)})

    def keep(self, log: WitnessedLog, at: dt.datetime) -> None:
        """Keep the last head that was cosigned."""
        update = t.witnessed_log.update().where(_log.origin == log.origin)
        self._connection.execute(update.values(**_row(log), seen_at=rfc3339(at)))

    def remove(self, origin: str) -> None:
        """Witness a log no more."""
        self._connection.execute(t.witnessed_log.delete().where(_log.origin == origin))

    def cosigned(self, node: str) -> str | None:
        """Return the newest head of a node's own log that witnesses cosigned, if there is one."""
        head = t.cosigned_head.c
        found = self._connection.execute(sa.select(head.checkpoint).where(head.node == node)).scalar()
        return None if found is None else str(found)

    def keep_cosigned(self, node: str, size: int, note: str, at: dt.datetime) -> None:
        """Keep a cosigned head of a node's own log in place of the one before."""
        values = {"size": size, "checkpoint": note, "cosigned_at": rfc3339(at)}
        statement = insertion(self._connection.dialect)(t.cosigned_head).values(node=node, **values)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["node"], set_=values))


def _value(row: sa.Row[tuple[object, ...]]) -> WitnessedLog:
    return WitnessedLog(row.origin, octets(row.public), row.size, octets(row.root), row.checkpoint)


def _row(log: WitnessedLog) -> dict[str, object]:
    return {"public": log.public, "size": log.size, "root": log.root, "checkpoint": log.note}
