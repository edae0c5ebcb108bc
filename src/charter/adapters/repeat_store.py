"""Yeses to further calls: rows <-> values."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.clock import parse_rfc3339, rfc3339
from charter.registry.repeat import Repeat

_c = t.approval_repeat.c


class SqlRepeats:
    """Those kept, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self) -> list[Repeat]:
        """Return them in the order they were given."""
        return [_repeat(row) for row in self._connection.execute(sa.select(t.approval_repeat).order_by(_c.id))]

    def put(self, repeat: Repeat) -> None:
        """Keep one, new or changed."""
        terms = {
            "charter": repeat.charter,
            "epoch": repeat.epoch,
            "system": repeat.system,
            "tool": repeat.tool,
            "delegation": repeat.delegation,
            "arguments": dict(repeat.arguments),
            "vary": list(repeat.vary),
            "seat": repeat.seat,
            "person": repeat.person,
            "reason": repeat.reason,
            "approval_id": repeat.approval_id,
        }
        row = {
            "id": repeat.id,
            "principal_id": repeat.principal_id,
            "terms": json.dumps(terms),
            "left": repeat.left,
            "until": rfc3339(repeat.until),
        }
        statement = insertion(self._connection.dialect)(t.approval_repeat).values(row)
        changed = {"left": statement.excluded.left}
        self._connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))

    def remove(self, ids: Iterable[str]) -> None:
        """Forget some."""
        self._connection.execute(t.approval_repeat.delete().where(_c.id.in_(list(ids))))

    def forget(self, at: dt.datetime) -> None:
        """Forget those that are over."""
        self._connection.execute(t.approval_repeat.delete().where(_c.until <= rfc3339(at)))


def _repeat(row: sa.Row[tuple[object, ...]]) -> Repeat:
    terms = json.loads(row.terms)
    vary = tuple(terms.pop("vary"))
    return Repeat(
        id=row.id, principal_id=row.principal_id, left=row.left, until=parse_rfc3339(row.until), vary=vary, **terms
    )
