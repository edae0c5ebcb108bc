"""What the review questions are asked about: what was recorded, summed by day, and the period.

Two layers. *Rows* are one verdict or outcome each, as they stand in the log. *Sums* are what the questions read: rows
counted by day and by the columns that a question groups or filters by, each with the first and last moment. A sum of
sums is a sum, so it does not matter to a question how often and in which pieces a day was summed: sealed, compacted,
or a minute ago.

Times are UTC without a zone, in microseconds, so that every engine groups days and hours alike. The tables reach back
beyond the period, for what is usual and for how long something was not used; each question says which it looks at.
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
HUMANS = "humans"  # the lender of every call that people let be made for them

Columns = dict[str, str]  # name -> Ibis type; adapters make tables of exactly these

VERDICT_ROWS: Columns = {
    "node": "string",
    "index": "int64",  # in that node's log: with it, what a row is known by
    "time": "timestamp(6)",
    "principal": "string",
    "team": "string",
    "kind": "string",
    "verdict": "string",  # allow | deny | escalate
    "system": "string",
    "action": "string",  # the tool's name where no action is known
    "effect": "string",
    "object": "string",
    "place": "string",  # the object's folder
    "data": "string",  # data classes, sorted, joined by a comma
    "sensitive": "boolean",
    "layer": "string",  # of the deciding reason, where it is a refusal
    "rule": "string",
    "text": "string",
    "lender": "string",  # the party next to the caller in its chain: a principal, or `humans`
    "purpose": "string",  # of the chain
    "session": "string",  # that the call is a step of; nothing where none is known
}
OUTCOME_ROWS: Columns = {
    "node": "string",
    "index": "int64",
    "time": "timestamp(6)",
    "principal": "string",
    "system": "string",
    "outcome": "string",  # ok | tool-error | failed | cancelled | withdrawn
    "bytes": "int64",
}
ROWS: dict[str, Columns] = {"verdicts": VERDICT_ROWS, "outcomes": OUTCOME_ROWS}

_WHO: Columns = {"day": "date", "principal": "string", "team": "string", "kind": "string", "system": "string"}
_HOW_OFTEN: Columns = {"calls": "int64", "first": "timestamp(6)", "last": "timestamp(6)"}
CALLS: Columns = {
    **_WHO, "action": "string", "effect": "string", "verdict": "string", "sensitive": "boolean", "data": "string",
    "layer": "string", "rule": "string", "lender": "string", "purpose": "string", "text": "string", **_HOW_OFTEN,
}  # fmt: skip
HOURS: Columns = {**_WHO, "hour": "int64", "allowed": "int64", **_HOW_OFTEN}
OBJECTS: Columns = {**_WHO, "object": "string", "sensitive": "boolean", **_HOW_OFTEN}  # of allowed calls
PLACES: Columns = {**_WHO, "place": "string", **_HOW_OFTEN}
ENDS: Columns = {
    "day": "date", "principal": "string", "system": "string", "outcome": "string", "bytes": "int64", **_HOW_OFTEN,
}  # fmt: skip
SUMS: dict[str, Columns] = {"calls": CALLS, "hours": HOURS, "objects": OBJECTS, "places": PLACES, "ends": ENDS}

_STEP = ("node", "index", "time", "principal", "team", "kind", "system", "action", "session")
STEPS: Columns = {name: VERDICT_ROWS[name] for name in _STEP}  # calls one by one, for which followed which

AUTHORITY: Columns = {
    "principal": "string",
    "team": "string",
    "kind": "string",
    "aspect": "string",  # action | objects | data | hours | delegation
    "system": "string",  # nothing where it holds of all
    "action": "string",
    "effect": "string",
    "what": "string",  # a pattern, a data class, a lender, borrower or purpose
    "prefix": "string",  # what every object of the piece of a range begins with; the next four as `Reach` has them
    "middle": "string",
    "suffix": "string",
    "is_open": "boolean",
    "pattern": "string",
    "hour": "int64",  # UTC, where it is one
    "granted": "timestamp(6)",  # since when without a break
}
PERMISSIONS: Columns = {
    **AUTHORITY,
    "until": "timestamp(6)",  # the end of the period, to which it is counted how long something was not used
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables, and the beginning of the period that is asked about. Nothing in them is from its end on."""

    calls: Table
    hours: Table
    objects: Table
    places: Table
    ends: Table
    steps: Table
    permissions: Table
    since: dt.datetime  # aware, UTC
    is_of_one_system: bool = False  # narrowed so: what holds of all systems is not in it

    def of_period(self, table: Table) -> Table:
        """Return what of a table of sums lies in the period."""
        since = naive(self.since)
        days = table.filter(_.day >= since.date())
        # Moments are the widest column there is: they are read only where a period begins within a day.
        return days.filter(_["first"] >= since) if since.time() != dt.time() else days

    def with_history(self, table: Table) -> Table:
        """Return what of a table of sums lies in the period or in the days before it that tell what is usual."""
        since = naive(self.since)
        return table.filter(_.day >= (since - HISTORY).date())

    def narrowed(
        self,
        *,
        team: str | None = None,
        kind: str | None = None,
        system: str | None = None,
        principal: str | None = None,
    ) -> Facts:
        """Return the facts about one team, kind of principal, system or principal alone."""
        asked = {"team": team, "kind": kind, "system": system, "principal": principal}
        wanted = {name: value for name, value in asked.items() if value}
        narrow = {}
        for name in (*SUMS, "steps", "permissions"):
            table: Table = getattr(self, name)
            for column, value in wanted.items():
                if column in table.columns:
                    table = table.filter(table[column] == value)
            narrow[name] = table
        return replace(self, **narrow, is_of_one_system=self.is_of_one_system or bool(system))


def facts_since(since: dt.datetime) -> Facts:
    """Return the facts as tables by name, bound to no engine: their SQL runs wherever tables of these names are."""
    sums = {name: ibis.table(columns, name=name) for name, columns in SUMS.items()}
    steps, permissions = ibis.table(STEPS, name="steps"), ibis.table(PERMISSIONS, name="permissions")
    return Facts(**sums, steps=steps, permissions=permissions, since=since)


def naive(at: dt.datetime) -> dt.datetime:
    """Return a moment as the tables have it: UTC without a zone."""
    return at.astimezone(dt.UTC).replace(tzinfo=None)
