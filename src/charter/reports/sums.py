"""Rows summed by day, as Ibis expressions: the same ones seal a segment, compact a day and sum what is not sealed yet.

INVARIANT: a sum of sums is the sum of all their rows, for each table and in any order. Hypothesis holds it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import ibis
from ibis import _

from charter.reports.facts import ROWS, SUMS

if TYPE_CHECKING:
    from ibis.expr.types import Table

SOURCE = {"calls": "verdicts", "hours": "verdicts", "objects": "verdicts", "places": "verdicts", "ends": "outcomes"}
_MEASURES = frozenset({"calls", "first", "last", "text", "allowed", "bytes"})


def keys_of(name: str) -> tuple[str, ...]:
    """Return the columns by which the sums `name` are told apart."""
    return tuple(column for column in SUMS[name] if column not in _MEASURES)


def sum_of_rows(name: str, cut: dt.datetime | None = None) -> Table:
    """Return rows (tables `verdicts`, `outcomes`) summed to the table `name`.

    No sum has rows from before and after `cut` (UTC, without a zone), so that a period may begin within a day.
    """
    rows = ibis.table(ROWS[SOURCE[name]], name=SOURCE[name]).mutate(day=_.time.date())
    rows = rows.mutate(hour=rows.time.hour().cast("int64")) if name == "hours" else rows
    rows = rows.filter(rows.verdict == "allow") if name == "objects" else rows
    keys: list[Any] = [*keys_of(name), *([(_.time >= cut).name("late")] if cut else [])]
    measured = {
        "calls": _.count(),
        "first": _.time.min(),
        "last": _.time.max(),
        "text": _.text.max(),
        "allowed": (_.verdict == "allow").sum(),
        "bytes": _.bytes.sum(),
    }
    return _shaped(rows, name, keys, measured)


def sum_of_sums(name: str) -> Table:
    """Return the table `name`, whose sums may be of the same keys, with one sum for each."""
    sums = ibis.table(SUMS[name], name=name)
    measured = {
        "calls": _.calls.sum(),
        "first": _["first"].min(),
        "last": _["last"].max(),
        "text": _.text.max(),
        "allowed": _.allowed.sum(),
        "bytes": _.bytes.sum(),
    }
    return _shaped(sums, name, list(keys_of(name)), measured)


def _shaped(table: Table, name: str, keys: list[Any], measured: dict[str, Any]) -> Table:
    columns = SUMS[name]
    wanted = {column: measured[column].cast(columns[column]) for column in columns if column in _MEASURES}
    return table.group_by(keys).agg(**wanted).select(*columns)
