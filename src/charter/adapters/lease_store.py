"""Leases: rows <-> values."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.registry.lease import FINAL, Holder, Lease, LeaseState, Right

_c = t.lease.c
_TIMES = ("created_at", "expires_at", "ends_at", "issued_at", "next_try_at", "tidy_at", "changed_at")
_PLAIN = (
    "id", "system", "kind", "system_digest", "ttl_seconds", "renewals", "why", "attempts", "error", "seen_missing"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SqlLeases:
    """The leases, on one connection. Satisfies lifecycle.leases.LeaseStore."""

    connection: sa.Connection

    def add(self, lease: Lease) -> None:
        """Keep a new one."""
        self.connection.execute(t.lease.insert(), _row(lease))

    def update(self, lease: Lease) -> None:
        """Replace the one with the same id."""
        row = _row(lease)
        self.connection.execute(t.lease.update().where(_c.id == row.pop("id")), row)

    def get(self, lease_id: str) -> Lease:
        """Return one lease.

        Raises:
            AbsentError: there is none of that id.
        """
        row = self.connection.execute(sa.select(t.lease).where(_c.id == lease_id)).first()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_LEASE, f"there is no lease {lease_id[:80]!a}", help="charter leases ls shows them"
            )
        return _lease(row)

    def alive(self) -> Sequence[Lease]:
        """Return the leases whose life is not over, and those with something left to clear away."""
        finished = _c.state.in_([state.value for state in FINAL])
        query = sa.select(t.lease).where(sa.or_(sa.not_(finished), _c.tidy_at.is_not(None)))
        return [_lease(row) for row in self.connection.execute(query.order_by(_c.created_at, _c.id))]

    def newest(self, limit: int, *, principal_id: str | None = None, system: str | None = None) -> Sequence[Lease]:
        """Return the newest leases, whatever became of them."""
        query = sa.select(t.lease).order_by(_c.created_at.desc(), _c.id.desc()).limit(limit)
        query = query.where(_c.principal_id == principal_id) if principal_id else query
        query = query.where(_c.system == system) if system else query
        return [_lease(row) for row in self.connection.execute(query)]


def _row(lease: Lease) -> dict[str, object]:
    times = {name: rfc3339(at) if (at := getattr(lease, name)) else None for name in _TIMES}
    return (
        {name: getattr(lease, name) for name in _PLAIN}
        | times
        | {
            "principal_id": lease.principal_id,
            "state": lease.state.value,
            "system_body": _text(dict(lease.system_body)),
            "holder": _text(asdict(lease.holder)),
            "rights": _text([asdict(right) for right in lease.rights]),
            "handle": _text(dict(lease.handle)),
        }
    )


def _lease(row: sa.Row[Any]) -> Lease:
    rights = [Right(**each | {"verbs": tuple(each["verbs"])}) for each in json.loads(row.rights)]
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    return Lease(
        **plain | {name: _time(getattr(row, name)) for name in _TIMES},
        state=LeaseState(row.state),
        system_body=json.loads(row.system_body),
        holder=Holder(**json.loads(row.holder)),
        rights=tuple(rights),
        handle=json.loads(row.handle),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return canonical(json.loads(json.dumps(value))).decode()


def _time(text: str | None) -> dt.datetime | None:
    return parse_rfc3339(text) if text else None
