"""Approvals and limit counters: rows <-> values."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.registry.approval import Approval, ApprovalState


class SqlApprovals:
    """The approvals kept, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, approval: Approval) -> None:
        """Keep a new one."""
        self._connection.execute(t.approval.insert(), _row(approval))

    def update(self, approval: Approval) -> None:
        """Replace the one with the same id."""
        row = _row(approval)
        self._connection.execute(t.approval.update().where(t.approval.c.id == row.pop("id")), row)

    def waiting_count(self, principal_id: str) -> int:
        """Return how many of a principal's wait."""
        query = (
            sa.select(sa.func.count())
            .select_from(t.approval)
            .where(t.approval.c.principal_id == principal_id, t.approval.c.state == ApprovalState.WAITING.value)
        )
        return int(self._connection.execute(query).scalar_one())

    def get(self, approval_id: str) -> Approval:
        """Return the approval.

        Raises:
            AbsentError: there is none of that id.
        """
        row = self._connection.execute(sa.select(t.approval).where(t.approval.c.id == approval_id)).first()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_APPROVAL, f"there is no approval {approval_id[:64]!a}", help="charter approvals ls"
            )
        return _approval(row)

    def of_principal(self, principal_id: str, state: ApprovalState, *, limit: int) -> list[Approval]:
        """Return a principal's approvals in `state`, newest first."""
        query = (
            sa.select(t.approval)
            .where(t.approval.c.principal_id == principal_id, t.approval.c.state == state.value)
            .order_by(t.approval.c.asked_at.desc(), t.approval.c.id.desc())
            .limit(limit)
        )
        return [_approval(row) for row in self._connection.execute(query)]

    def in_states(self, states: Sequence[ApprovalState], *, limit: int = 500) -> list[Approval]:
        """Return approvals in any of `states`, newest first."""
        query = (
            sa.select(t.approval)
            .where(t.approval.c.state.in_([s.value for s in states]))
            .order_by(t.approval.c.asked_at.desc(), t.approval.c.id.desc())
            .limit(limit)
        )
        return [_approval(row) for row in self._connection.execute(query)]


class SqlLimits:
    """The counters of limits, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def used(self, principal_id: str, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return what is used of each (key, window start); nothing used is absent."""
        c = t.limit_usage.c
        query = sa.select(c.key, c.window_start, c.used).where(
            c.principal_id == principal_id, sa.or_(*(sa.and_(c.key == k, c.window_start == w) for k, w in windows))
        )
        return {(row.key, row.window_start): row.used for row in self._connection.execute(query)}

    def add(self, principal_id: str, amounts: Sequence[tuple[str, int, int]]) -> None:
        """Add each (key, window start, amount); a negative amount gives back."""
        insert = insertion(self._connection.dialect)
        for key, start, amount in amounts:
            statement = insert(t.limit_usage).values(
                principal_id=principal_id, key=key, window_start=start, used=amount
            )
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["principal_id", "key", "window_start"],
                    set_={"used": t.limit_usage.c.used + amount},
                )
            )

    def forget(self, before: int) -> None:
        """Forget the counters of windows that began before `before`, seconds since 1970."""
        self._connection.execute(t.limit_usage.delete().where(t.limit_usage.c.window_start < before))


def _row(approval: Approval) -> dict[str, object]:
    return {
        "id": approval.id,
        "principal_id": approval.principal_id,
        "call_digest": approval.call_digest,
        "call": canonical(approval.call).decode(),
        "roles": canonical(list(approval.roles)).decode(),
        "given": canonical(approval.given).decode(),
        "state": approval.state.value,
        "asked_at": rfc3339(approval.asked_at),
        "expires_at": rfc3339(approval.expires_at),
        "verdict_id": approval.verdict_id,
    }


def _approval(row: sa.Row[tuple[object, ...]]) -> Approval:
    return Approval(
        id=row.id,
        principal_id=row.principal_id,
        call_digest=row.call_digest,
        call=json.loads(row.call),
        roles=tuple(json.loads(row.roles)),
        given=json.loads(row.given),
        state=ApprovalState(row.state),
        asked_at=parse_rfc3339(row.asked_at),
        expires_at=parse_rfc3339(row.expires_at),
        verdict_id=row.verdict_id,
    )
