"""Charters read directly, in plain Python, from what their fields mean: the other opinion that policy is held to.

Nothing but the facts of a chain is shared with charter.policy: values are read, compared and matched anew.
`verdict_of` gives `allow`, `deny` or `escalate`, the grants that allow, and the fewest roles that would have to say
yes.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from charter.policy.request import NO_CHAIN, ChainFacts
from charter.registry.charter import DAYS, ArgumentCondition, Charter, Effect, Grant, Quantity
from charter.registry.system import System

TENTHS = Decimal("0.0001")


@dataclass(frozen=True)
class Opinion:
    word: str
    grants: frozenset[str]
    fewest: int


@dataclass(frozen=True)
class Frozen:
    """A time in which some calls of some principals wait for the yes of a role, or are not made at all."""

    start: dt.datetime
    until: dt.datetime
    effects: frozenset[str]
    fits: Mapping[str, str]  # kind, environment, team -> what it must be
    approval: str | None


@dataclass(frozen=True)
class Laid:
    """What the organisation lays down: freezes, and whose models may see a class of data."""

    freezes: tuple[Frozen, ...] = ()
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    charter: Charter
    system: System
    action: str
    arguments: Mapping[str, Any]
    path: str
    at: dt.datetime
    restrained: bool = False
    chain: ChainFacts = NO_CHAIN
    laid: Laid = Laid()
    session: frozenset[str] = frozenset()  # classes of data that its session has read


def verdict_of(ask: Ask, approvals: frozenset[str]) -> Opinion:
    """Return what the charter says of a call."""
    allowing = allowing_grants(ask, approvals)
    if allowing:
        return Opinion("allow", allowing, 0)
    roles = {seat for grant in ask.charter.grants if grant.approval for seat in wanted_seats(grant)} | {"owner"}
    roles |= {each.approval for each in ask.laid.freezes if each.approval}
    for size in range(1, len(roles) + 1):
        for some in itertools.combinations(sorted(roles), size):
            if allowing_grants(ask, frozenset(some)):
                return Opinion("escalate", frozenset(), size)
    return Opinion("deny", frozenset(), 0)


def allowing_grants(ask: Ask, approvals: frozenset[str]) -> frozenset[str]:
    if ask.charter.environment is not ask.system.environment:
        return frozenset()
    if not may_touch(ask) or not may_show(ask) or is_frozen(ask, approvals):
        return frozenset()
    if ask.restrained and ask.system.actions[ask.action].effect is not Effect.READ and "owner" not in approvals:
        return frozenset()
    return frozenset(
        f"{ask.charter.principal}/grant-{number}"
        for number, grant in enumerate(ask.charter.grants, start=1)
        if allows(grant, ask, approvals)
    )


def is_frozen(ask: Ask, approvals: frozenset[str]) -> bool:
    """Whether a freeze holds the call back that nobody lifts."""
    charter, effect = ask.charter, ask.system.actions[ask.action].effect.value
    own = {"kind": charter.kind.value, "environment": charter.environment.value, "team": charter.owner.team}
    return any(
        each.start <= ask.at < each.until
        and effect in each.effects
        and all(own[name] == wanted for name, wanted in each.fits.items())
        and each.approval not in approvals
        for each in ask.laid.freezes
    )


def may_show(ask: Ask) -> bool:
    """Whether each class goes to no model but one that may see it: the principal's reads, the system's is sent."""
    own, ways = ask.charter.model.provider, touched_by(ask)
    others = ask.system.provider or ""
    for name, allowed in ask.laid.providers.items():
        if name in ways["read"] and own not in allowed:
            return False
        if name in ways["send"] and others not in allowed:
            return False
        if others and name in ask.session and others not in allowed:
            return False
    return True


def may_touch(ask: Ask) -> bool:
    """Whether the charter covers each class of data, in the way that the action touches it."""
    own = ask.charter.data_flow
    for way, classes in touched_by(ask).items():
        ceiling = getattr(own, way, None)
        if not classes <= set(ask.charter.data if ceiling is None else ceiling):
            return False
    return True


def touched_by(ask: Ask) -> dict[str, set[str]]:
    """Which classes the action reads, writes and sends."""
    action = ask.system.actions[ask.action]
    touched = set(ask.system.data if action.data is None else action.data)
    named = {way: set(getattr(action.data_flow, way, None) or ()) for way in ("read", "write", "send")}
    left = touched - set().union(*named.values())
    if ask.system.kind.value == "model":
        named["send"] |= left
    elif action.effect is Effect.READ:
        named["read"] |= left
    else:
        named["write"] |= left
    return named


def allows(grant: Grant, ask: Ask, approvals: frozenset[str]) -> bool:
    return covers(grant, ask) and satisfies(grant, ask) and is_approved(grant, ask, approvals)


def covers(grant: Grant, ask: Ask) -> bool:
    if grant.system != ask.system.system or (ask.action not in grant.actions and grant.actions != ("*",)):
        return False
    return is_meant(grant, ask) and in_window(grant, ask.at) and is_lent(grant, ask.chain)


def is_lent(grant: Grant, chain: ChainFacts) -> bool:
    """Whether the call is made for somebody whom the grant means, in the way it means."""
    wanted = grant.delegated
    if wanted is None:
        return True
    if chain.depth == 0 or chain.depth > (wanted.max_depth or 8):
        return False
    starters = {"humans"} if chain.by_person else {chain.initiator} - {"humans"}  # whatever a principal calls itself
    return (
        (wanted.by is None or bool(starters & set(wanted.by)))
        and (wanted.roles is None or any(role in chain.initiator_roles for role in wanted.roles))
        and (wanted.purposes is None or chain.purpose in wanted.purposes)
    )


def is_meant(grant: Grant, ask: Ask) -> bool:
    """Whether the object is one of the grant's: by pattern, by place, or by group, a group's groups included."""
    if any(matches(ask.path, pattern) for pattern in grant.objects):
        return True
    if any(is_below(ask.path, place) for place in grant.under or ()):
        return True
    return any(is_in(ask.system, name, ask.path) for name in grant.groups or ())


def is_below(path: str, place: str) -> bool:
    return path.split("/")[: len(place.split("/"))] == place.split("/")


def is_in(system: System, name: str, path: str) -> bool:
    group = (system.groups or {})[name]
    if any(matches(path, pattern) for pattern in group.objects) or any(is_below(path, each) for each in group.under):
        return True
    return any(is_in(system, inner, path) for inner in group.groups)


def satisfies(grant: Grant, ask: Ask) -> bool:
    for name, condition in (grant.when.arguments if grant.when else {}).items():
        if not is_free(grant, ask, name) and judge(condition, ask, name) is not True:
            return False
    for limit in grant.limit:
        if limit.sum and limit.max and not is_free(grant, ask, limit.sum):
            amount = quantity(ask, limit.sum)
            wanted = counted_in(limit.max.value, limit.max.unit or "")
            if amount is None or wanted is None or amount[1] != wanted[1] or amount[0] < 0:
                return False
    return True


def is_approved(grant: Grant, ask: Ask, approvals: frozenset[str]) -> bool:
    if grant.approval is None or wanted_seats(grant) <= approvals:
        return True
    surely_not = [
        is_free(grant, ask, name) or judge(condition, ask, name) is False
        for name, condition in grant.approval.when.items()
    ]
    return any(surely_not)


def wanted_seats(grant: Grant) -> set[str]:
    """As many seats of the role as people must say yes."""
    rule = grant.approval
    return (
        {rule.by if number == 1 else f"{rule.by}/{number}" for number in range(1, (rule.count or 1) + 1)}
        if rule
        else set()
    )


def is_free(grant: Grant, ask: Ask, name: str) -> bool:
    """Reading without the amount, beside an action of the grant that has it."""
    granted = [each for each in ask.system.actions if each in grant.actions or grant.actions == ("*",)]
    others_have_it = any(name in ask.system.actions[each].amounts for each in granted)
    own = ask.system.actions[ask.action]
    return others_have_it and own.effect is Effect.READ and name not in own.amounts and argument(ask, name, ...) is ...


def judge(condition: ArgumentCondition, ask: Ask, name: str) -> bool | None:
    """Return whether the argument satisfies the condition; None where that is not sure."""
    sure: list[bool | None] = []
    for bound, compare in (
        ("max", Decimal.__le__),
        ("min", Decimal.__ge__),
        ("over", Decimal.__gt__),
        ("under", Decimal.__lt__),
    ):
        limit: Quantity | None = getattr(condition, bound)
        if limit is not None:
            amount = quantity(ask, name)
            wanted = counted_in(limit.value, limit.unit or "")
            fits = amount is not None and wanted is not None and amount[1] == wanted[1]
            sure.append(compare(amount[0], wanted[0]) if fits and amount and wanted else None)
    choices = () if condition.equals is None else (condition.equals,)
    sure += [chosen(argument(ask, name), some) for some in (choices, condition.one_of or ()) if some]
    for most, size in ((condition.max_length, len_of(ask, name, str)), (condition.max_items, entries_of(ask, name))):
        if most is not None:
            sure.append(None if size is None else size <= most)
    for holds in (condition.each_of and condition.each_of.__contains__, each_like(condition.each_like)):
        if holds:
            entries = texts(ask, name)
            sure.append(None if entries is None else all(holds(text) for text in entries))
    if condition.like is not None:
        value = argument(ask, name)
        sure.append(matches(value, condition.like) if isinstance(value, str) and is_unicode(value) else None)
    if False in sure:
        return False
    return None if None in sure else True


def len_of(ask: Ask, name: str, kind: type) -> int | None:
    value = argument(ask, name)
    return len(value) if type(value) is kind and (kind is list or is_unicode(value)) else None


def entries_of(ask: Ask, name: str) -> int | None:
    """A list's length; a text is one entry."""
    if isinstance(argument(ask, name), list):
        return len_of(ask, name, list)
    return None if len_of(ask, name, str) is None else 1


def texts(ask: Ask, name: str) -> list[str] | None:
    value = argument(ask, name)
    entries = value if isinstance(value, list) else [value]
    return entries if all(isinstance(each, str) and is_unicode(each) for each in entries) else None


def each_like(pattern: str | None) -> Callable[[str], bool] | None:
    return None if pattern is None else lambda text: matches(text, pattern)


def chosen(value: Any, choices: tuple[Any, ...]) -> bool | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int) or (isinstance(value, str) and not is_unicode(value)):
        return None
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return True
    return False if all(type(value) is type(choice) for choice in choices) else None


def is_unicode(text: str) -> bool:
    """Half a surrogate pair is no character: such a text is nothing surely, and not another text surely either."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def quantity(ask: Ask, name: str) -> tuple[Decimal, str] | None:
    declared = ask.system.actions[ask.action].amounts.get(name)
    if declared is None:
        number = exact(argument(ask, name))
        return None if number is None else (number, "")
    number = exact(argument(ask, declared.value))
    if number is None:
        return None
    unit = declared.given_in or "" if declared.unit is None else argument(ask, declared.unit)
    if not isinstance(unit, str) or (declared.unit and not unit.isalpha()):
        return None
    return counted_in(number / declared.per_unit, unit)


def argument(ask: Ask, name: str, otherwise: Any = None) -> Any:
    """The argument, or what a path leads to."""
    found: Any = ask.arguments
    for step in name.split("."):
        if not isinstance(found, dict) or step not in found:
            return otherwise
        found = found[step]
    return found


def counted_in(number: Decimal, unit: str) -> tuple[Decimal, str] | None:
    """Sizes in kB and times in seconds, if that is exact."""
    powers = {"B": -1, "kB": 0, "MB": 1, "GB": 2}
    if unit in powers:
        number, unit = number * Decimal(1000) ** powers[unit], "kB"
    elif unit == "h":
        number, unit = number * 3600, "s"
    elif unit == "usd":
        unit = "USD"
    return (number, unit) if abs(number) < 10**12 and number.quantize(TENTHS) == number else None


def exact(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not value.removeprefix("-").replace(".", "", 1).isdigit():
        return None
    number = Decimal(str(value))
    return number if number.is_finite() and abs(number) < 10**12 and number.quantize(TENTHS) == number else None


def in_window(grant: Grant, at: dt.datetime) -> bool:
    when = grant.when
    if when is None:
        return True
    if when.hours is None:
        return is_day(grant, at.astimezone(dt.UTC).date())
    here = at.astimezone(ZoneInfo(when.hours.zone)).replace(tzinfo=None)
    length = (when.hours.end - when.hours.start) % 1440 or 1440
    for back in (0, 1):  # the window that opened today, or the one that opened yesterday
        day = here.date() - dt.timedelta(days=back)
        opens = dt.datetime.combine(day, dt.time()) + dt.timedelta(minutes=when.hours.start)
        is_open = opens <= here < opens + dt.timedelta(minutes=length)
        if is_open and is_day(grant, day):
            return True
    return False


EASTER_MONDAY = dt.date(2027, 3, 29)
HOLIDAYS = {
    "DE-BE": {dt.date(2026, 12, 25), dt.date(2026, 12, 26), EASTER_MONDAY},
    "FR": {dt.date(2026, 12, 25), EASTER_MONDAY},
}


def is_day(grant: Grant, day: dt.date) -> bool:
    """Whether the day is one of the grant's days, and worked; what is a holiday is written out above."""
    when = grant.when
    if when and when.days is not None and DAYS[day.weekday()] not in when.days:
        return False
    is_worked = day.weekday() < 5 and day not in HOLIDAYS.get(when.workdays or "" if when else "", set())
    return is_worked or not (when and when.workdays)


def matches(text: str, pattern: str) -> bool:
    """Glob with `*` alone, by the table of prefixes."""
    reach = {0}
    for char in pattern:
        if char == "*":
            reach = set(range(min(reach), len(text) + 1)) if reach else set()
        else:
            reach = {at + 1 for at in reach if at < len(text) and text[at] == char}
    return len(text) in reach
