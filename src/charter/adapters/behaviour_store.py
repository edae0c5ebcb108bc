"""Behaviour: rows <-> values. Baselines and cursors are one node's; signals and what was accepted are everybody's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.behaviour.acceptance import Accepted
from charter.behaviour.baseline import Baseline, baseline_from
from charter.behaviour.signal import Feature
from charter.core.clock import parse_rfc3339, rfc3339

MAX_SIGNALS = 100  # kept of one principal
_baseline, _signal, _accepted = t.behaviour_baseline.c, t.behaviour_signal.c, t.behaviour_accepted.c


@dataclass(frozen=True, slots=True)
class KeptSignal:
    """A signal as it is kept."""

    id: str  # sig_…
    principal_id: str
    finding_id: str
    at: dt.datetime  # of the act
    noticed_at: dt.datetime
    count: int
    body: Mapping[str, Any]  # Signal.to_json


class SqlBehaviour:
    """What is kept of behaviour, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def cursor(self, node: str) -> tuple[int, int] | None:
        """Return from where a node's log is watched, and below which index nothing is said; None at the first start."""
        row = self._connection.execute(
            sa.select(t.behaviour_cursor).where(t.behaviour_cursor.c.node == node)
        ).one_or_none()
        return (int(row.next), int(row.silent)) if row is not None else None

    def move(self, node: str, to: int, silent: int, at: dt.datetime) -> None:
        """Keep how far a node's log was watched."""
        row = {"next": to, "silent": silent, "moved_at": rfc3339(at)}
        statement = insertion(self._connection.dialect)(t.behaviour_cursor).values(row | {"node": node})
        self._connection.execute(statement.on_conflict_do_update(index_elements=["node"], set_=row))

    def baseline(self, node: str, subject: str) -> Baseline | None:
        """Return the baseline of a principal or group; None if none is kept that can still be read."""
        query = sa.select(_baseline.body).where(_baseline.node == node, _baseline.subject == subject)
        body = self._connection.execute(query).scalar()
        if body is None:
            return None
        try:
            return baseline_from(msgspec.json.decode(body))
        except ValueError:  # of another format: it is learned again
            return None

    def keep(self, node: str, bodies: Mapping[str, str], at: dt.datetime) -> None:
        """Keep baselines, by subject."""
        for subject, body in bodies.items():
            row = {"body": body, "kept_at": rfc3339(at)}
            statement = insertion(self._connection.dialect)(t.behaviour_baseline).values(
                row | {"node": node, "subject": subject}
            )
            self._connection.execute(statement.on_conflict_do_update(index_elements=["node", "subject"], set_=row))

    def add(self, signals: Iterable[KeptSignal]) -> None:
        """Keep signals; of each principal, the newest."""
        found = list(signals)
        for each in found:
            row = {
                "id": each.id,
                "principal_id": each.principal_id,
                "finding_id": each.finding_id,
                "at": rfc3339(each.at),
                "noticed_at": rfc3339(each.noticed_at),
                "count": each.count,
                "body": json.dumps(dict(each.body)),
            }
            self._connection.execute(t.behaviour_signal.insert().values(row))
        for principal in {each.principal_id for each in found}:
            newest = (
                sa.select(_signal.id)
                .where(_signal.principal_id == principal)
                .order_by(_signal.noticed_at.desc(), _signal.id.desc())
                .offset(MAX_SIGNALS)
                .limit(10_000)
            )
            old = [each for (each,) in self._connection.execute(newest)]
            if old:
                self._connection.execute(t.behaviour_signal.delete().where(_signal.id.in_(old)))

    def signals(
        self, *, principal: str | None = None, since: dt.datetime | None = None, limit: int = 100
    ) -> list[KeptSignal]:
        """Return signals, newest first."""
        query = sa.select(t.behaviour_signal).order_by(_signal.noticed_at.desc(), _signal.id.desc()).limit(limit)
        if principal is not None:
            query = query.where(_signal.principal_id == principal)
        if since is not None:
            query = query.where(_signal.at >= rfc3339(since))
        return [
            KeptSignal(
                row.id,
                row.principal_id,
                row.finding_id,
                parse_rfc3339(row.at),
                parse_rfc3339(row.noticed_at),
                int(row._mapping["count"]),  # noqa: SLF001 - rows have a method of that name
                json.loads(row.body),
            )
            for row in self._connection.execute(query)
        ]

    def accept(self, accepted: Accepted) -> None:
        """Keep what an owner says is normal."""
        row = {
            "id": accepted.id,
            "principal_id": accepted.principal,
            "feature": accepted.feature.value,
            "key": accepted.key,
            "until": rfc3339(accepted.until),
            "accepted_by": accepted.by,
            "reason": accepted.reason,
            "accepted_at": rfc3339(accepted.at),
        }
        self._connection.execute(t.behaviour_accepted.insert().values(row))

    def withdraw(self, accepted_id: str) -> None:
        """Let something be normal no more."""
        self._connection.execute(t.behaviour_accepted.delete().where(_accepted.id == accepted_id))

    def accepted(self, at: dt.datetime, principal: str | None = None) -> list[Accepted]:
        """Return what counts as normal at a moment, newest first."""
        query = sa.select(t.behaviour_accepted).where(_accepted.until > rfc3339(at))
        if principal is not None:
            query = query.where(_accepted.principal_id == principal)
        rows = self._connection.execute(query.order_by(_accepted.accepted_at.desc(), _accepted.id))
        return [
            Accepted(
                row.id,
                row.principal_id,
                Feature(row.feature),
                row.key,
                parse_rfc3339(row.until),
                row.accepted_by,
                row.reason,
                parse_rfc3339(row.accepted_at),
            )
            for row in rows
        ]

    def forget(self, at: dt.datetime) -> None:
        """Forget what counts no more."""
        self._connection.execute(t.behaviour_accepted.delete().where(_accepted.until <= rfc3339(at)))

    def principals_with_signals(self, since: dt.datetime) -> Sequence[str]:
        """Return the ids of principals of which something was noticed since a moment."""
        query = sa.select(_signal.principal_id).where(_signal.noticed_at >= rfc3339(since)).distinct()
        return [each for (each,) in self._connection.execute(query)]
