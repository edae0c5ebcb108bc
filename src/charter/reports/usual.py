"""Outside the usual pattern: a principal compared with its own earlier days, by rules anyone can check by hand.

Two kinds of signs. *Busy*: a day's calls lie three standard deviations above the mean of the principal's earlier active
days. *New*: a system, action, hour of the day (UTC) or place (an object's folder) seen for the first time. Neither is
said of a principal with fewer than seven earlier active days, and a place is new only to who knows few: one that works
through a thousand folders meets new ones all the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
from ibis import _

from charter.reports.facts import Facts, naive
from charter.reports.words import counted, said, tenths

if TYPE_CHECKING:
    from ibis.expr.types import Table

LEAST_DAYS = 7  # earlier active days
DEVIATIONS = 3.0
LEAST_CALLS = 10  # in a busy day: below, chance looks like a pattern
FEW_PLACES = 20

_COLUMNS = ("principal", "sign", "what", "first", "calls", "sentence")


def outside_the_pattern(facts: Facts) -> Table:
    """What was unlike a principal's earlier days: newest first, each with why it is told."""
    actions = _seen(facts.with_history(facts.calls), "system", "action")
    places = facts.with_history(facts.places).filter(_.place != "")  # a call without an object is at none
    signs = [
        _busy_days(facts),
        _first_times(facts, "new system", _seen(actions, "system"), _.system),
        _first_times(facts, "new action", actions, said(_.system, "/", _.action)),
        _first_times(facts, "new hour", _seen(_hours(facts), "hour"), _.hour.cast("string").lpad(2, "0") + ":00 UTC"),
        _first_times(facts, "new place", _seen(places, "system", "place"), said(_.system, "/", _.place)),
    ]
    return ibis.union(*signs).order_by([ibis.desc("first"), "principal", "sign", "what"])


def _hours(facts: Facts) -> Table:
    """Return each principal's calls by day and hour. Narrow, as engines keep what is read twice."""
    group = facts.with_history(facts.hours).group_by(["principal", "day", "hour"])
    return group.agg(first=_["first"].min(), calls=_.calls.sum().cast("int64"))


def _days(facts: Facts) -> Table:
    """Return each principal's active days with their calls and what its earlier ones were like."""
    days = _hours(facts).group_by(["principal", "day"]).agg(calls=_.calls.sum().cast("int64"))
    earlier = ibis.window(group_by="principal", order_by="day", rows=(None, -1))
    return days.mutate(
        known=_.calls.count().over(earlier),
        mean=_.calls.mean().over(earlier),
        deviation=_.calls.std(how="sample").over(earlier),
    )


def _busy_days(facts: Facts) -> Table:
    """Days far above the mean. A day's calls scatter by their root at least, however alike the earlier days were."""
    since = naive(facts.since)
    return (
        _days(facts)
        .filter((_.known >= LEAST_DAYS) & (_.day >= since.date()) & (_.calls >= LEAST_CALLS))
        .mutate(scatter=ibis.greatest(_.deviation, _.mean.sqrt(), 1.0))
        .filter(_.calls > _.mean + _.scatter * DEVIATIONS)
        .mutate(
            sign=ibis.literal("busy day"),
            what=_.day.cast("string"),
            first=_.day.cast("timestamp(6)"),
            sentence=said(_.principal, " made ", counted(_.calls, "call"), " on ", _.day, "; on its ", _.known)
            + said(" earlier days it made " + tenths(_.mean), " a day, give or take ", tenths(_.scatter)),
        )
        .select(*_COLUMNS)
    )


def _seen(table: Table, *columns: str) -> Table:
    """Return what each principal did, by `columns`: when first, as how manieth of all that it did, and how often."""
    group = table.group_by(["principal", *columns])
    seen = group.agg(first=_["first"].min(), calls=_.calls.sum().cast("int64"))
    order = ibis.window(group_by="principal", order_by=["first", *columns])
    return seen.mutate(known=ibis.row_number().over(order))


def _first_times(facts: Facts, sign: str, seen: Table, what: Any) -> Table:  # noqa: ANN401 - Ibis has no types
    """What a principal did for the first time in the period, after enough days without it."""
    since = naive(facts.since)
    limit = FEW_PLACES if sign == "new place" else 1_000_000
    days = _days(facts).select("principal", day="day", days="known")
    return (
        seen.filter((_["first"] >= since) & (_.known >= 1) & (_.known <= limit))
        .mutate(day=_["first"].date())
        .join(days, ["principal", "day"])
        .filter(_.days >= LEAST_DAYS)
        .mutate(what=what)  # of the few that are told: naming all takes longer than counting them
        .mutate(
            sign=ibis.literal(sign),
            sentence=said(_.principal, f": {sign} ", _.what, ", ", counted(_.calls, "call"))
            + said(
                "; not once on its " + _.days.cast("string"), " earlier days, which show ", counted(_.known, "other")
            ),
        )
        .select(*_COLUMNS)
    )
