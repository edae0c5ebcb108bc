"""The numbers of pictures, as Ibis expressions over `Facts`: counted, ranked and folded where the evidence is.

Whatever is ranked beyond the places of a picture shares the last one; `everyone` says how many were ranked. So an
answer has at most some thousand rows, of whatever size the evidence is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis
from ibis import _

from charter.reports.facts import Facts, naive
from charter.reports.picture import ROWS, SERIES, STEPS, STOPS
from charter.reports.unused import held_permissions
from charter.reports.words import calls_where

if TYPE_CHECKING:
    from ibis.expr.types import Table


@dataclass(frozen=True, slots=True)
class Sketch:
    """One query of a picture. `step`: days of a column, where it has columns of days."""

    name: str  # of QUERIES
    step: int = 1

    @property
    def needs_permissions(self) -> bool:
        """Whether it reads what charters grant."""
        return self.name in {"grants", "grants-of-one"}

    def answer(self, facts: Facts) -> Table:
        """Return its expression."""
        return QUERIES[self.name](facts, self.step)


def activity(facts: Facts, step: int) -> Table:
    """Calls by principal and stretch of days."""
    calls = facts.of_period(facts.calls).mutate(at=_stretch(facts, step))
    ranked = _ranked(calls, ["principal"], _.calls.sum(), ROWS)
    return (
        calls.join(ranked, "principal")
        .group_by(["place", "everyone", "at"])
        .agg(name=_.principal.min(), calls=_.calls.sum().cast("int64"))
        .order_by(["place", "at"])
    )


def week(facts: Facts, _step: int) -> Table:
    """Calls by day of the week (0 is Monday) and hour, UTC."""
    hours = facts.of_period(facts.hours).mutate(weekday=_.day.day_of_week.index().cast("int64"))
    return hours.group_by(["weekday", "hour"]).agg(calls=_.calls.sum().cast("int64")).order_by(["weekday", "hour"])


def denials(facts: Facts, step: int) -> Table:
    """Refusals by the rule that refused and stretch of days."""
    refused = facts.of_period(facts.calls).filter(_.verdict != "allow").mutate(at=_stretch(facts, step))
    ranked = _ranked(refused, ["rule"], _.calls.sum(), SERIES)
    return (
        refused.join(ranked, "rule")
        .group_by(["place", "everyone", "at"])
        .agg(
            name=_.rule.min(),
            denied=calls_where(_.verdict == "deny"),
            escalated=calls_where(_.verdict == "escalate"),
        )
        .order_by(["place", "at"])
    )


def grants(facts: Facts, _step: int) -> Table:
    """What is granted and what was used, by principal."""
    return _held_by(held_permissions(facts).mutate(name=_.principal), facts)


def grants_of_one(facts: Facts, _step: int) -> Table:
    """What is granted and what was used, by what of an authority it is, and by system."""
    held = held_permissions(facts)
    name = (held.system == "").ifelse(held.aspect, held.aspect + " on " + held.system)
    return _held_by(held.mutate(name=name), facts)


def sequences(facts: Facts, _step: int) -> Table:
    """Which tool followed which in sessions, up to STEPS calls of each."""
    of_session = {"group_by": ["principal", "session"], "order_by": ["time", "node", "index"]}
    known = facts.steps.filter((_.time >= naive(facts.since)) & (_.session != "")).mutate(
        tool=_.system + "/" + _.action
    )
    numbered = known.mutate(
        at=ibis.row_number().over(**of_session).cast("int64"),
        went_on=_.tool.lead().over(**of_session).notnull().cast("int64"),
    ).filter(_.at < STEPS)
    totals = numbered.group_by(["at", "tool"]).agg(weight=_.count())
    order = ibis.window(group_by="at", order_by=[ibis.desc("weight"), "tool"])
    ranked = totals.mutate(
        place=ibis.least(ibis.row_number().over(order), STOPS).cast("int64"),
        everyone=_.count().over(ibis.window(group_by="at")).cast("int64"),
    ).drop("weight")
    placed = numbered.join(ranked, ["at", "tool"]).mutate(target=_.place.lead().over(**of_session))
    return (
        placed.group_by(["at", "place", "everyone", "target"])
        .agg(name=_.tool.min(), sessions=_.count().cast("int64"), went_on=_.went_on.sum().cast("int64"))
        .order_by(["at", "place", ibis.asc("target", nulls_first=False)])
    )


def apart(facts: Facts, _step: int) -> Table:
    """How many calls no session is known of."""
    return facts.steps.filter((_.time >= naive(facts.since)) & (_.session == "")).agg(calls=_.count().cast("int64"))


QUERIES = {
    "activity": activity,
    "week": week,
    "denials": denials,
    "grants": grants,
    "grants-of-one": grants_of_one,
    "sequences": sequences,
    "apart": apart,
}


def _stretch(facts: Facts, step: int) -> Any:  # noqa: ANN401 - Ibis has no public types for values
    first = ibis.literal(naive(facts.since).date(), type="date")
    return (_.day.delta(first, unit="day") // step).cast("int64")


def _ranked(table: Table, key: list[str], weight: Any, own: int) -> Table:  # noqa: ANN401
    """Return key -> `place`, by weight, the others of the first `own` in one; and `everyone`, how many there are."""
    totals = table.group_by(key).agg(weight=weight)
    order = ibis.window(order_by=[ibis.desc("weight"), *key])
    return totals.mutate(
        place=ibis.least(ibis.row_number().over(order), own).cast("int64"),
        everyone=_.count().over(ibis.window()).cast("int64"),
    ).drop("weight")


def _held_by(held: Table, facts: Facts) -> Table:
    counted = held.mutate(is_used=(_.last_used >= naive(facts.since)).fill_null(False).cast("int64"))  # noqa: FBT003
    totals = counted.group_by("name").agg(granted=_.count(), used=_.is_used.sum()).mutate(unused=_.granted - _.used)
    order = ibis.window(order_by=[ibis.desc("unused"), "name"])
    placed = totals.mutate(
        place=ibis.least(ibis.row_number().over(order), ROWS).cast("int64"),
        everyone=_.count().over(ibis.window()).cast("int64"),
    )
    return (
        placed.group_by(["place", "everyone"])
        .agg(name=_.name.min(), granted=_.granted.sum().cast("int64"), used=_.used.sum().cast("int64"))
        .order_by("place")
    )
