"""How far the spools of programs that decide by themselves came."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.clock import rfc3339

_c = t.decision_spool.c


class SqlSpools:
    """The spools, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def through(self, principal_id: str, spool: str) -> int:
        """Return the number of the last decision recorded of a spool; 0: none."""
        query = sa.select(_c.through).where(_c.principal_id == principal_id, _c.spool == spool)
        return self._connection.execute(query).scalar() or 0

    def put(self, principal_id: str, spool: str, through: int, at: dt.datetime) -> None:
        """Keep how far a spool came."""
        row = {"principal_id": principal_id, "spool": spool, "through": through, "at": rfc3339(at)}
        statement = insertion(self._connection.dialect)(t.decision_spool).values(row)
        changed = {"through": statement.excluded.through, "at": statement.excluded.at}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["principal_id", "spool"], set_=changed)
        )

    def forget(self, before: dt.datetime) -> None:
        """Forget spools of which nothing came since a moment."""
        self._connection.execute(t.decision_spool.delete().where(_c.at < rfc3339(before)))
