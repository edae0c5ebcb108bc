"""What rules did because of findings, as long as it lasts: rows <-> values."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.clock import parse_rfc3339, rfc3339
from charter.lifecycle.responses import Responded
from charter.registry.response import Response

_c = t.response.c


class SqlResponses:
    """The responses in force, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put(self, found: Responded) -> None:
        """Keep one, in place of the one before of the same finding."""
        row = {
            "principal_id": found.principal_id,
            "rule": found.rule,
            "does": found.does.value,
            "began_at": rfc3339(found.began_at),
            "until": rfc3339(found.until) if found.until else None,
        }
        statement = insertion(self._connection.dialect)(t.response).values(row | {"finding_id": found.finding_id})
        self._connection.execute(statement.on_conflict_do_update(index_elements=["finding_id"], set_=row))

    def get(self, finding_id: str) -> Responded | None:
        """Return what was done because of a finding, if it lasts."""
        row = self._connection.execute(sa.select(t.response).where(_c.finding_id == finding_id)).one_or_none()
        return _responded(row) if row is not None else None

    def end(self, finding_id: str) -> None:
        """Forget one: it is over."""
        self._connection.execute(t.response.delete().where(_c.finding_id == finding_id))

    def due(self, at: dt.datetime) -> list[Responded]:
        """Return those whose time is over."""
        query = sa.select(t.response).where(_c.until <= rfc3339(at)).order_by(_c.until).limit(100)
        return [_responded(row) for row in self._connection.execute(query)]

    def all(self, principal: str | None = None) -> list[Responded]:
        """Return those that last, of one principal or of all."""
        query = sa.select(t.response).order_by(_c.began_at.desc(), _c.finding_id)
        if principal is not None:
            query = query.where(_c.principal_id == principal)
        return [_responded(row) for row in self._connection.execute(query)]


def _responded(row: sa.Row[tuple[object, ...]]) -> Responded:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return Responded(
        found["finding_id"],
        found["principal_id"],
        found["rule"],
        Response(found["does"]),
        parse_rfc3339(found["began_at"]),
        parse_rfc3339(found["until"]) if found["until"] else None,
    )
