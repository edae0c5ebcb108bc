"""Sinks and their cursors: rows <-> values."""

from __future__ import annotations

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.clock import parse_rfc3339, rfc3339
from charter.evidence.sink import Form, Sink, parse_target

_cursor = t.evidence_cursor.c


class SqlSinks:
    """The sinks kept, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> list[Sink]:
        """Return every sink, by name."""
        rows = self._connection.execute(sa.select(t.evidence_sink).order_by(t.evidence_sink.c.name))
        return [
            Sink(
                row.name,
                parse_target(row.address),
                Form(row.form),
                row.secret_env,
                row.added_by,
                parse_rfc3339(row.added_at),
            )
            for row in rows
        ]

    def add(self, sink: Sink) -> None:
        """Keep a new sink."""
        row = {
            "name": sink.name,
            "address": sink.target.address,
            "form": sink.form.value,
            "secret_env": sink.secret_env,
            "added_by": sink.added_by,
            "added_at": rfc3339(sink.added_at),
        }
        self._connection.execute(t.evidence_sink.insert(), row)

    def remove(self, name: str) -> None:
        """Forget a sink and how far it came."""
        self._connection.execute(t.evidence_cursor.delete().where(_cursor.sink == name))
        self._connection.execute(t.evidence_sink.delete().where(t.evidence_sink.c.name == name))

    def cursors(self, node: str) -> dict[str, int]:
        """Return the index of the first entry of a node's log that each sink has not taken; 0 is left out."""
        rows = self._connection.execute(sa.select(_cursor.sink, _cursor.next).where(_cursor.node == node))
        return {sink: int(index) for sink, index in rows}

    def move(self, name: str, node: str, to: int, at: str) -> bool:
        """Let a sink's cursor stand at `to`; return False if there is no such sink any more."""
        exists = sa.select(t.evidence_sink.c.name).where(t.evidence_sink.c.name == name)
        if self._connection.execute(exists).first() is None:
            return False
        values = {"sink": name, "node": node, "next": to, "moved_at": at}
        statement = insertion(self._connection.dialect)(t.evidence_cursor).values(values)
        moved = {"next": to, "moved_at": at}
        self._connection.execute(statement.on_conflict_do_update(index_elements=["sink", "node"], set_=moved))
        return True
