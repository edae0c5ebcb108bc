"""Notices of waiting calls, kept until they were sent or given up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.lifecycle.notices import Kind, Notice, NoticeState

_c = t.notice.c


class SqlNotices:
    """The notices, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, notices: Iterable[Notice]) -> None:
        """Keep new notices."""
        rows = [_row(each) for each in notices]
        if rows:
            self._connection.execute(t.notice.insert(), rows)

    def told_of(self, approvals: Sequence[str]) -> set[tuple[str, Kind]]:
        """Return which of these approvals have notices, of which kind."""
        query = sa.select(_c.approval_id, _c.kind).where(_c.approval_id.in_(approvals)).distinct()
        return {(row.approval_id, Kind(row.kind)) for row in self._connection.execute(query)}

    def due(self, at: dt.datetime, *, limit: int) -> list[Notice]:
        """Return notices that are to be sent now, the longest due first."""
        query = (
            sa.select(t.notice)
            .where(_c.state == NoticeState.DUE.value, _c.next_at <= rfc3339(at))
            .order_by(_c.next_at)
            .limit(limit)
        )
        return [_notice(row) for row in self._connection.execute(query)]

    def claim(self, notice: Notice, claimed: Notice) -> bool:
        """Take a notice for sending; False if another node did, or it is not due any more."""
        where = (_c.id == notice.id) & (_c.state == NoticeState.DUE.value) & (_c.tries == notice.tries)
        return self._connection.execute(t.notice.update().where(where).values(_row(claimed))).rowcount == 1

    def update(self, notice: Notice) -> None:
        """Replace the one with the same id."""
        self._connection.execute(t.notice.update().where(_c.id == notice.id).values(_row(notice)))

    def by_link(self, digest: str) -> Notice:
        """Return the notice that was sent with a link, which may be spent.

        Raises:
            AbsentError: none was.
        """
        row = self._connection.execute(sa.select(t.notice).where(_c.link_digest == digest)).one_or_none()
        if row is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_APPROVAL, "there is no such link", help="sign in and look at the approvals"
            )
        return _notice(row)

    def spend_links(self, approval_id: str, person: str) -> None:
        """Let no link answer any more that was sent to a person for an approval."""
        where = (_c.approval_id == approval_id) & (_c.recipient == person)
        self._connection.execute(t.notice.update().where(where).values(is_link_spent=True))

    def newest(self, *, limit: int) -> list[Notice]:
        """Return notices, the newest first."""
        query = sa.select(t.notice).order_by(_c.id.desc()).limit(limit)
        return [_notice(row) for row in self._connection.execute(query)]

    def backlog(self) -> dict[str, int]:
        """Return how many notices are due, and how many were given up."""
        query = sa.select(_c.state, sa.func.count()).group_by(_c.state)
        counts = {str(state): int(count) for state, count in self._connection.execute(query)}
        return {state.value: counts.get(state.value, 0) for state in (NoticeState.DUE, NoticeState.FAILED)}

    def forget(self, before: dt.datetime) -> None:
        """Drop notices that were due before a moment."""
        self._connection.execute(t.notice.delete().where(_c.next_at < rfc3339(before)))


def _row(notice: Notice) -> dict[str, Any]:
    row = asdict(notice)
    row |= {"kind": notice.kind.value, "state": notice.state.value, "next_at": rfc3339(notice.next_at)}
    return row | {"sent_at": rfc3339(notice.sent_at) if notice.sent_at else None}


def _notice(row: Any) -> Notice:  # noqa: ANN401 - a row
    return Notice(
        id=row.id,
        approval_id=row.approval_id,
        kind=Kind(row.kind),
        recipient=row.recipient,
        state=NoticeState(row.state),
        tries=row.tries,
        next_at=parse_rfc3339(row.next_at),
        error=row.error,
        sent_at=parse_rfc3339(row.sent_at) if row.sent_at else None,
        link_digest=row.link_digest,
        is_link_spent=row.is_link_spent,
    )
