"""Permissions broader than behaviour: every piece of an authority that was not used in the period, with how long not.

An action, a range of objects, a class of data, an hour of the day, a party or purpose of delegation counts as used by
an allowed call alone. How long is counted from the last use, or from the grant where that is later; nothing of what is
kept is left out, however long ago. Hours are told only of systems that were used: of others, the actions say it all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
from ibis import _

from charter.reports.facts import Facts, naive
from charter.reports.permissions import Aspect
from charter.reports.words import counted, said

if TYPE_CHECKING:
    from ibis.expr.types import Table

_A_DAY = 86_400  # seconds
_COLUMNS = (
    "principal",
    "team",
    "kind",
    "aspect",
    "system",
    "action",
    "what",
    "effect",
    "granted",
    "last_used",
    "idle",
    "until",
)

_RANGE = ("principal", "team", "kind", "aspect", "system", "action", "what", "effect")
_SHAPE = ("prefix", "middle", "suffix", "is_open", "pattern")


def unused_permissions(facts: Facts) -> Table:
    """What is granted and was not used in the period, the longest unused first."""
    since = naive(facts.since)
    idle = held_permissions(facts).filter(_.last_used.isnull() | (_.last_used < since))
    every = ibis.union(idle, _hours(facts.permissions, facts).select(*_COLUMNS))
    return (
        every.mutate(days=((_seconds(_.until) - _seconds(_.idle)) / _A_DAY).floor().cast("int64"))
        .drop("idle", "until")
        .order_by([ibis.desc("days"), "principal", "system", "aspect", "action", "what"])
        .mutate(
            sentence=said(_.principal, " may ", _may())
            + ibis.cases(
                (_.last_used.notnull(), said(" and last did so ", counted(_.days, "day"), " ago")),
                (_.days == 0, " since today and has not done so yet"),
                else_=said(" and has not done so for ", counted(_.days, "day")),
            ),
        )
        .relocate("sentence", after="days")
    )


def held_permissions(facts: Facts) -> Table:
    """What is granted, each piece with its last use; hours are not in it: they are told in stretches."""
    granted = facts.permissions
    allowed = facts.calls.filter(_.verdict == "allow")
    whole = [_actions(granted, allowed), _objects(granted, facts.objects)]
    if not facts.is_of_one_system:  # neither is a system's, and the calls would be read twice for nothing
        whole += [_data(granted, allowed), _delegations(granted, allowed)]
    return ibis.union(*[_idle(each).select(*_COLUMNS) for each in whole])


def _actions(granted: Table, allowed: Table) -> Table:
    used = allowed.group_by(["principal", "system", "action"]).agg(last_used=_["last"].max())
    return _held_against(granted.filter(_.aspect == Aspect.ACTION.value), used, ["principal", "system", "action"])


def _objects(granted: Table, objects: Table) -> Table:
    pieces = granted.filter(_.aspect == Aspect.OBJECTS.value)
    ranges = pieces.group_by([*_RANGE, "until"]).agg(granted=_.granted.max())
    pair = ["principal", "system"]
    # Distinct objects are nearly as many as their sums by day: held against the pieces first, few are left to group.
    touched = objects.select(*pair, "object", at=_["last"]).join(pieces.select(*pair, "what", *_SHAPE), pair)
    used = touched.filter(_is_inside()).group_by([*pair, "what"]).agg(last_used=_["at"].max())
    return _held_against(ranges, used, [*pair, "what"])


def _is_inside() -> Any:  # noqa: ANN401 - Ibis has no public types for values
    """Return whether `object` is in a piece of a range."""
    outer = _.prefix.length() + _.suffix.length()
    between = _.object.substr(_.prefix.length(), _.object.length() - outer)
    return (  # tens of millions of objects are held against pieces: what is quick and rarely true comes first
        _.object.startswith(_.prefix)
        & (_.is_open | (_.object == _.prefix))
        & _.object.endswith(_.suffix)
        & ((_.middle == "") | between.contains(_.middle))
        & (_.object.length() >= outer)
        & ((_.pattern == "") | _.object.re_search(_.pattern))
    )


def _data(granted: Table, allowed: Table) -> Table:
    classes = granted.filter(_.aspect == Aspect.DATA.value)
    touched = (
        allowed.filter(_.data != "")
        .group_by(["principal", "data"])
        .agg(at=_["last"].max())
        .join(classes.select("principal", "what").distinct(), "principal")
        .filter((", " + _.data + ", ").contains(", " + _.what + ", "))
    )
    used = touched.group_by(["principal", "what"]).agg(last_used=_["at"].max())
    return _held_against(classes, used, ["principal", "what"])


def _delegations(granted: Table, allowed: Table) -> Table:
    terms = granted.filter(_.aspect == Aspect.DELEGATION.value)
    chained = allowed.filter(_.lender != "").group_by(["principal", "lender", "purpose"]).agg(at=_["last"].max())
    ways = (  # of the few that are left: so the calls are read once and not for each
        chained.select("principal", what=_.lender, pattern=ibis.literal("for"), at=_["at"]),
        chained.select(principal=_.lender, what=_.principal, pattern=ibis.literal("to"), at=_["at"]),
        chained.select("principal", what=_.purpose, pattern=ibis.literal("purpose"), at=_["at"]),
    )
    key = ["principal", "what", "pattern"]
    held = _held_against(terms, ibis.union(*ways).group_by(key).agg(last_used=_["at"].max()), key)
    phrase = ibis.cases(
        (_.pattern == "for", "act for " + _.what),
        (_.pattern == "to", "lend to " + _.what),
        else_="act for the purpose " + _.what,
    )
    return held.mutate(what=phrase)


def _hours(granted: Table, facts: Facts) -> Table:
    """Return hours that were not used, neighbours in one row: `18:00-24:00 UTC`."""
    since = naive(facts.since)
    key = ["principal", "system", "hour"]
    used = facts.hours.filter(_.allowed > 0).group_by(key).agg(last_used=_["last"].max())
    pair = ["principal", "system"]
    busy = used.filter(_.last_used >= since).select(*pair).distinct()
    hours = granted.filter(_.aspect == Aspect.HOURS.value).semi_join(busy, pair)
    idle = _idle(_held_against(hours, used, key)).filter(_.last_used.isnull() | (_.last_used < since))
    order = ibis.window(group_by=pair, order_by="hour")
    stretches = idle.mutate(stretch=_.hour - ibis.row_number().over(order)).group_by([*pair, "stretch"])
    return stretches.agg(
        team=_.team.max(),
        kind=_.kind.max(),
        start=_.hour.min(),
        end=_.hour.max() + 1,
        granted=_.granted.max(),
        last_used=_.last_used.max(),
        idle=_.idle.max(),
        until=_.until.max(),
    ).mutate(
        aspect=ibis.literal(Aspect.HOURS.value),
        action=ibis.literal(""),
        effect=ibis.literal(""),
        what=said(_clock(_.start), "-", _clock(_.end), " UTC"),
    )


def _seconds(moment: Any) -> Any:  # noqa: ANN401 - Ibis has no public types for values
    return moment.epoch_seconds().cast("float64")  # with its fraction on one engine, and without on another


def _clock(hour: Any) -> Any:  # noqa: ANN401
    return hour.cast("string").lpad(2, "0") + ":00"


def _held_against(granted: Table, used: Table, key: list[str]) -> Table:
    return granted.left_join(used, key).drop(*(f"{name}_right" for name in key))


def _idle(table: Table) -> Table:
    """Add since when: the later of the grant and the last use."""
    return table.mutate(idle=ibis.coalesce(ibis.greatest(_.last_used, _.granted), _.granted))


def _may() -> Any:  # noqa: ANN401
    return ibis.cases(
        (_.aspect == Aspect.ACTION.value, _.action + " on " + _.system),
        (_.aspect == Aspect.OBJECTS.value, "reach " + _.what + " on " + _.system),
        (_.aspect == Aspect.DATA.value, "handle " + _.what),
        (_.aspect == Aspect.HOURS.value, "call " + _.system + " at " + _.what),
        else_=_.what,
    )
