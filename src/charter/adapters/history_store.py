"""Systems and files as they held, on one connection (registry/history.py)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import digest
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, IntegrityError
from charter.registry.history import Held, Succession

_h = t.estate_history.c


def keep_history(
    connection: sa.Connection, successions: Sequence[Succession], place: tuple[str, int], at: dt.datetime
) -> None:
    """Keep what came to hold, and what ceased, at the entry `place` (node, index) of a log."""
    until = {"until_node": place[0], "until_index": place[1], "until_at": rfc3339(at)}
    since = {"since_node": place[0], "since_index": place[1], "since_at": rfc3339(at)}
    for each in successions:
        named = sa.and_(_h.kind == each.kind, _h.name == each.name, _h.until_at.is_(None))
        connection.execute(t.estate_history.update().where(named).values(until))
        if each.body is not None:
            row = {"kind": each.kind, "name": each.name, "digest": each.digest, "body": each.body}
            connection.execute(t.estate_history.insert(), row | since)


def held_at(connection: sa.Connection, node: str, index: int, at: dt.datetime) -> list[Held]:
    """Return what held when the entry `index` of a node's log was made, by kind and name.

    Changes that another node's log tells of are placed by their time.

    Raises:
        IntegrityError: something is not what its digest says.
    """
    moment = rfc3339(at)
    began = sa.case((_h.since_node == node, _h.since_index < index), else_=_h.since_at <= moment)
    lasted = sa.or_(
        _h.until_at.is_(None), sa.case((_h.until_node == node, _h.until_index >= index), else_=_h.until_at > moment)
    )
    query = sa.select(_h.kind, _h.name, _h.digest, _h.body).where(began, lasted).order_by(_h.kind, _h.name, _h.id)
    found = [Held(*row) for row in connection.execute(query)]
    for each in found:
        if digest(each.body.encode()) != each.digest:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"the {each.kind} `{each.name[:64]}` as it held then is not what its digest says",
                help="the database was altered; compare it with your backup",
            )
    return found


def moves_of(connection: sa.Connection, node: str) -> list[int]:
    """Return the indices in a node's log at which something came to hold or ceased, in order."""
    began = sa.select(_h.since_index).where(_h.since_node == node)
    ended = sa.select(_h.until_index).where(_h.until_node == node)
    return sorted(int(index) for index in connection.execute(sa.union(began, ended)).scalars())
