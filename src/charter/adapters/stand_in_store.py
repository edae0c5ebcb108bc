"""Who stands in for whom; one for each person."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.clock import parse_rfc3339, rfc3339
from charter.registry.stand_in import StandIn

_c = t.stand_in.c


class SqlStandIns:
    """The stand-ins, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put(self, found: StandIn) -> None:
        """Keep a stand-in; whoever stood in for the same person does no more."""
        self.end(found.person)
        row = {"person": found.person, "stand_in": found.by, "until": rfc3339(found.until), "reason": found.reason}
        self._connection.execute(t.stand_in.insert().values(row | {"made_at": rfc3339(found.made_at)}))

    def end(self, person: str) -> bool:
        """Let nobody stand in for a person; return whether somebody did."""
        return self._connection.execute(t.stand_in.delete().where(_c.person == person)).rowcount > 0

    def current(self, at: dt.datetime) -> list[StandIn]:
        """Return those that count at a moment."""
        query = sa.select(t.stand_in).where(_c.until > rfc3339(at)).order_by(_c.person)
        return [
            StandIn(row.person, row.stand_in, parse_rfc3339(row.until), row.reason, parse_rfc3339(row.made_at))
            for row in self._connection.execute(query)
        ]
