"""Findings: rows <-> values. The same finding seen twice is one row, told by its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.registry.record import Finding, FindingState


class SqlFindings:
    """The findings kept, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def open(self, finding: Finding) -> tuple[Finding, bool]:
        """Keep a finding; return it and whether it is new.

        One with its fingerprint that is there already is returned as it stands: whoever accepted it is not asked again.
        """
        insert = insertion(self._connection.dialect)
        statement = insert(t.finding).values(_row(finding)).on_conflict_do_nothing(index_elements=["fingerprint"])
        # psycopg counts no rows for such an insert, so it is asked for one
        is_new = self._connection.execute(statement.returning(sa.literal(1))).first() is not None
        kept = self._connection.execute(sa.select(t.finding).where(t.finding.c.fingerprint == finding.fingerprint))
        return _finding(kept.one()), is_new

    def get(self, finding_id: str) -> Finding:
        """Return the finding of that id.

        Raises:
            AbsentError: there is none.
        """
        row = self._connection.execute(sa.select(t.finding).where(t.finding.c.id == finding_id)).first()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_FINDING, f"there is no finding {finding_id[:64]!a}", help="charter findings"
            )
        return _finding(row)

    def update(self, finding: Finding) -> None:
        """Replace the one with the same id."""
        row = _row(finding)
        self._connection.execute(t.finding.update().where(t.finding.c.id == row.pop("id")).values(row))

    def drop(self, finding_id: str) -> None:
        """Forget a finding that this very transaction opened, and told nobody of."""
        self._connection.execute(t.finding.delete().where(t.finding.c.id == finding_id))

    def open_count(self, principal_id: str, kind: str) -> int:
        """Return how many findings of a kind are open for a principal."""
        c = t.finding.c
        query = sa.select(sa.func.count()).where(
            c.principal_id == principal_id, c.kind == kind, c.state == FindingState.OPEN.value
        )
        return int(self._connection.execute(query).scalar() or 0)

    def of_kinds(self, kinds: Sequence[str]) -> list[Finding]:
        """Return every finding of these kinds, whatever its state."""
        query = sa.select(t.finding).where(t.finding.c.kind.in_(kinds)).order_by(t.finding.c.opened_at, t.finding.c.id)
        return [_finding(row) for row in self._connection.execute(query)]

    def in_states(self, states: Sequence[FindingState] = tuple(FindingState), *, limit: int = 500) -> list[Finding]:
        """Return findings in any of `states`, newest first."""
        c = t.finding.c
        query = (
            sa.select(t.finding)
            .where(c.state.in_([state.value for state in states]))
            .order_by(c.opened_at.desc(), c.id.desc())
            .limit(limit)
        )
        return [_finding(row) for row in self._connection.execute(query)]


def _row(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.id,
        "kind": finding.kind,
        "fingerprint": finding.fingerprint,
        "state": finding.state.value,
        "title": finding.title,
        "body": canonical(dict(finding.body)).decode(),
        "principal_id": finding.principal_id,
        "opened_at": rfc3339(finding.opened_at),
        "changed_at": rfc3339(finding.changed_at),
    }


def _finding(row: sa.Row[Any]) -> Finding:
    return Finding(
        id=row.id,
        kind=row.kind,
        fingerprint=row.fingerprint,
        state=FindingState(row.state),
        title=row.title,
        body=json.loads(row.body),
        principal_id=row.principal_id,
        opened_at=parse_rfc3339(row.opened_at),
        changed_at=parse_rfc3339(row.changed_at),
    )
