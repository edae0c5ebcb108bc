"""What the review questions are asked about: tables of verdicts, outcomes and permissions, and the period.

Times are UTC without a zone, in microseconds, so that every engine groups days and hours alike. The tables reach back
beyond the period, by the history a baseline needs; each question says which of the two it looks at.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ibis
from ibis import _

if TYPE_CHECKING:
    from ibis.expr.types import Table

HISTORY = dt.timedelta(days=90)  # before the period, for what is usual

# column -> Ibis type; adapters make tables of exactly these
VERDICT_COLUMNS = {
    "time": "timestamp(6)",
    "principal": "string",
    "team": "string",
    "kind": "string",
    "verdict": "string",  # allow | deny | escalate
    "system": "string",
    "action": "string",  # the tool's name where no action is known
    "effect": "string",
    "object": "string",
    "data": "string",  # data classes, sorted, joined by a comma
    "sensitive": "boolean",
    "layer": "string",  # of the deciding reason
    "rule": "string",
    "text": "string",
}
OUTCOME_COLUMNS = {
    "time": "timestamp(6)",
    "principal": "string",
    "system": "string",
    "outcome": "string",  # ok | tool-error | failed | cancelled | withdrawn
    "bytes": "int64",
}
PERMISSION_COLUMNS = {
    "principal": "string",
    "team": "string",
    "kind": "string",
    "system": "string",
    "action": "string",
    "effect": "string",
    "granted": "timestamp(6)",  # since when without a break
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables, and the period `since <= time < until` that is asked about."""

    verdicts: Table
    outcomes: Table
    permissions: Table
    since: dt.datetime  # aware, UTC
    until: dt.datetime

    @property
    def in_period(self) -> Table:
        """The verdicts of the period."""
        return self.verdicts.filter(_.time >= _naive(self.since))

    def narrowed(self, *, team: str | None = None, kind: str | None = None, system: str | None = None) -> Facts:
        """Return the facts about one team, kind of principal or system alone."""
        wanted = {name: value for name, value in (("team", team), ("kind", kind), ("system", system)) if value}
        verdicts, permissions, outcomes = self.verdicts, self.permissions, self.outcomes
        for name, value in wanted.items():
            verdicts = verdicts.filter(verdicts[name] == value)
            permissions = permissions.filter(permissions[name] == value)
            if name == "system":
                outcomes = outcomes.filter(outcomes[name] == value)
        return replace(self, verdicts=verdicts, permissions=permissions, outcomes=outcomes)


def facts_between(since: dt.datetime, until: dt.datetime) -> Facts:
    """Return the facts as tables by name, bound to no engine: their SQL runs wherever tables of these names are."""
    return Facts(
        ibis.table(VERDICT_COLUMNS, name="verdicts"),
        ibis.table(OUTCOME_COLUMNS, name="outcomes"),
        ibis.table(PERMISSION_COLUMNS, name="permissions"),
        since,
        until,
    )


def _naive(at: dt.datetime) -> dt.datetime:
    return at.astimezone(dt.UTC).replace(tzinfo=None)


def bounds(facts: Facts) -> tuple[dt.datetime, dt.datetime]:
    """Return the period as the tables have times: UTC without a zone."""
    return _naive(facts.since), _naive(facts.until)
