"""Right-sizing: a charter drawn closer to what was used, piece by piece, and what is kept although nobody used it.

INVARIANT: each step takes something away: an action, a range of objects, a class of data, hours, days, part of a limit
or an amount, a party, purpose or step of delegation. It is proven all the same that the whole allows nothing new.
INVARIANT: what was used in the period stays, with a margin where a number or a time is drawn closer.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from charter.policy.like import is_like
from charter.proof.caution import MIN_CALLS, MIN_DAYS, MIN_WEEKS, RARE, season_of
from charter.proof.narrowing import Ground, Narrowing, Piece, Steps, key_of
from charter.proof.observed import QUARTER, Seen
from charter.proof.right_size_delegation import draw_initiators, draw_terms, draw_tokens
from charter.registry.charter import DAYS, Charter, Grant
from charter.registry.field import MINUTES_A_DAY, Hours
from charter.registry.grant import Limit

MARGIN, MUCH = 2, 4  # a limit of more than four times the most that was used becomes twice that
SEGMENTS = 5  # beginnings of objects that are told apart
_HOUR = 60
_LESS, _LESS_OF_ALL = 2 * _HOUR, 6 * _HOUR  # minutes that must go, of a window and of a whole day
_WORKING = DAYS[:5]
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A narrower charter. `grants`: for each grant as it was, its JSON as it shall be; None: it goes."""

    charter: Charter
    narrowings: tuple[Narrowing, ...]
    kept: tuple[tuple[str, str], ...]  # what was not used and stays: key, why
    grants: tuple[dict[str, Any] | None, ...]
    untouched: tuple[tuple[str, str], ...] = ()  # system, action: its grants stay but for other actions
    thin: tuple[str, ...] = ()  # what stays, on little use

    @property
    def is_narrower(self) -> bool:
        """Whether anything is taken away."""
        return bool(self.narrowings)


def file_of(charter: Charter) -> dict[str, Any]:
    """Return a charter in the shape of its file; the Cedar beside it stands in a file of its own."""
    return {name: each for name, each in charter.to_json().items() if name != "policy"}


def proposed(charter: Charter, ground: Ground) -> Proposal:
    """Return `charter` drawn closer to what was observed. The Cedar beside it is left as it stands."""
    return _Sizing(charter, ground).run()


class _Sizing(Steps):
    """One proposal under way."""

    def __init__(self, charter: Charter, ground: Ground) -> None:
        super().__init__(charter, ground)
        self.whole = file_of(charter)
        self.untouched: dict[tuple[str, str], None] = {}

    def run(self) -> Proposal:
        grants = tuple(self._grant(n, each) for n, each in enumerate(self.charter.grants))
        self.whole["grants"] = [each for each in grants if each is not None]
        self._data()
        draw_terms(self, self.whole)
        draw_tokens(self, self.whole)
        charter = Charter.model_validate(self.whole | ({"policy": self.charter.policy} if self.charter.policy else {}))
        kept = tuple(self.kept.items())
        return Proposal(charter, tuple(self.narrowings), kept, grants, tuple(self.untouched), tuple(self._thin()))

    def _thin(self) -> Iterator[str]:
        """Yield what stays on little use alone: a few calls made to keep an authority look the same."""
        for (system, action), seen in sorted(self.observed.seen.items()):
            if seen.count <= RARE:
                yield f"`{action}` on `{system}` stays on {_calls(seen.count)} alone"

    # --- grants -------------------------------------------------------------------------------------------------------

    def _grant(self, place: int, grant: Grant) -> dict[str, Any] | None:
        told: dict[str, Any] = copy.deepcopy(self.whole["grants"][place])
        system = self.ground.systems.get(grant.system)
        if system is None:
            return told
        granted = system.granted(grant)
        left = [name for name in granted if not self._drops(grant.system, name)]
        if granted and not left:
            return None
        if tuple(left) != tuple(granted):
            told["actions"] = left
        seen = list(self.observed.of_actions(grant.system, left))
        fixed = [(grant.system, name) for name in left if (grant.system, name) in self.ground.fixed]
        self.untouched |= dict.fromkeys(fixed)
        if seen and not fixed:
            self._objects(grant, told, seen)
            if self._is_much(seen):
                self._times(grant, told, seen)
                self._limits(place, grant, told)
                self._amounts(grant, told, seen)
                draw_initiators(self, grant, told, seen)
        return told

    def _drops(self, system: str, action: str) -> bool:
        key = (system, action)
        if key in self.observed.seen:
            return False
        past = self.observed.past.get(key)
        name = key_of(Piece.ACTION, system, action)
        if past is not None and past.refused:
            self.kept[name] = f"it was asked for {_times(past.refused)} in the period, and refused"
            return False
        if past is not None and past.count:
            season = season_of(past.dates)
            if season or past.count <= RARE:
                when = f"last on {past.last:%d %b %Y}" if past.last else ""
                self.kept[name] = f"it is used {f'at {season}' if season else 'seldom'}: {_times(past.count)}, {when}"
                return False
        known, systems = self.ground.known, self.ground.systems
        since = known(
            lambda each: any(g.system == system and action in systems[system].granted(g) for g in each.grants)
        )
        if past is None or past.last is None:
            return self.drop(Piece.ACTION, system, action, since, "no recorded call asked for it")
        why = f"its {_times(past.count)} of use ended on {past.last:%d %b %Y}, and follow no season"
        idle = (self.ground.at - past.last).days
        step = Narrowing(Piece.ACTION, system, action, action, "nothing", past.count, past.last, idle, why)
        return self.take(step, since)

    def _is_much(self, seen: Sequence[Seen]) -> bool:
        days = {day for each in seen for day in each.dates()}
        return sum(each.count for each in seen) >= MIN_CALLS and len(days) >= MIN_DAYS and season_of(days) is None

    def _objects(self, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
        if any(each.objects is None for each in seen):
            return
        used = frozenset(name for each in seen for name in each.objects or ())
        since = self.ground.known(
            lambda charter: any(
                (g.system, g.objects, g.under, g.groups) == (grant.system, grant.objects, grant.under, grant.groups)
                for g in charter.grants
            )
        )
        system = self.ground.systems[grant.system]

        def is_in_group(one: str, group: str) -> bool:
            return any(is_like(one, each) for each in system.patterns_of(group))

        why = f"none of {len(used)} objects was inside"
        ways = ("objects", "under", "groups")
        for name, matches in zip(ways, (is_like, _is_under, is_in_group), strict=True):
            patterns = list(told.get(name) or ())
            others = [other for each in ways if each != name for other in told.get(each) or ()]
            if not patterns or not (others or any(matches(one, each) for one in used for each in patterns)):
                continue  # something has to stay
            left = [
                each
                for each in patterns
                if any(matches(one, each) for one in used)
                or not self.drop(Piece.OBJECTS, grant.system, each, since, why)
            ]
            told[name] = left
            if not left and name != "objects":
                del told[name]
        if told.get("objects") == [_ANY] and self._is_much(seen):
            self._beginnings(grant, told, used, since)

    def _beginnings(self, grant: Grant, told: dict[str, Any], used: frozenset[str], since: dt.datetime) -> None:
        starts = sorted({f"{one.partition('/')[0]}/*" for one in used if "/" in one and "*" not in one})
        if not starts or len(starts) > SEGMENTS or any("/" not in one or "*" in one for one in used):
            return
        step = Narrowing(
            Piece.OBJECTS,
            grant.system,
            _ANY,
            "any object",
            ", ".join(starts),
            0,
            None,
            None,
            f"all {len(used)} objects that were used begin so; everything that does stays allowed",
        )
        if self.take(step, since):
            told["objects"] = starts

    # --- times --------------------------------------------------------------------------------------------------------

    def _times(self, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
        own = grant.when.hours if grant.when else None
        zone = ZoneInfo(own.zone if own else "UTC")
        moments = [dt.datetime.fromtimestamp(q * QUARTER, zone) for each in seen for q in each.quarters]
        since = self.ground.known(
            lambda charter: any(g.system == grant.system and g.when == grant.when for g in charter.grants)
        )
        when = dict(told.get("when") or {})
        hours = closer(own, [each.hour * _HOUR + each.minute for each in moments])
        uses = sum(each.count for each in seen)
        what = "+".join(grant.actions)[:80]
        if hours is not None:
            margin = "an hour" if own else "two hours"
            why = f"all {uses} calls were within them, with {margin} to spare on both sides"
            was = str(own) if own else "any hour"
            if self.take(Narrowing(Piece.HOURS, grant.system, what, was, hours, uses, None, None, why), since):
                when["hours"] = hours
        if (grant.when is None or grant.when.workdays is None) and (own is None or own.start < own.end):
            self._days(grant, when, moments, (uses, since, what))
        if when:
            told["when"] = when

    def _days(
        self, grant: Grant, when: dict[str, Any], moments: Sequence[dt.datetime], about: tuple[int, dt.datetime, str]
    ) -> None:
        uses, since, what = about
        if self.ground.at - max(since, self.observed.since) < MIN_WEEKS:
            return
        may = tuple(grant.when.days) if grant.when and grant.when.days else DAYS
        used = {DAYS[each.weekday()] for each in moments}
        left = [day for day in may if day in used or (day in _WORKING and used <= set(_WORKING))]
        if len(left) == len(may) or not left:
            return
        why = f"no call of {uses} in {(self.ground.at - self.observed.since).days // 7} weeks was on another day"
        step = Narrowing(Piece.DAYS, grant.system, what, ", ".join(may), ", ".join(left), uses, None, None, why)
        if self.take(step, since):
            when["days"] = left

    # --- numbers ------------------------------------------------------------------------------------------------------

    def _limits(self, place: int, grant: Grant, told: dict[str, Any]) -> None:
        for n, limit in enumerate(grant.limit):
            peak = self.observed.fills[place, n].peak()
            most = Decimal(limit.count) if limit.count is not None else limit.max.value if limit.max else None
            if peak is None or most is None or peak <= 0 or most <= peak * MUCH:
                continue
            becomes = roomy(peak)
            unit = limit.max.unit if limit.max else None
            words = _said(becomes, unit)
            why = f"the most in any such window was {_said(peak, unit)}; twice that stays"
            what = f"{limit.sum or 'calls'} {limit.time} #{place + 1}"
            since = self.ground.known(_limited(limit))
            step = Narrowing(Piece.LIMIT, grant.system, what, _said(most, unit), words, 0, None, None, why)
            if self.take(step, since):
                told["limit"][n] |= {"count": int(becomes)} if limit.count is not None else {"max": words}
                Limit.model_validate(told["limit"][n])

    def _amounts(self, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
        for name, condition in (grant.when.arguments if grant.when else {}).items():
            peaks = [each.peaks.get(name) if each.is_told else None for each in seen]
            known = [each for each in peaks if each is not None]
            if condition.max is None or len(known) != len(peaks):
                continue
            peak = max(known)
            if peak <= 0 or condition.max.value <= peak * MUCH:
                continue
            floor = max((each.value for each in (condition.min, condition.over) if each), default=Decimal(0))
            becomes, unit = max(roomy(peak), floor + 1), condition.max.unit
            why = f"the largest that was asked for is {_said(peak, unit)}; twice that stays"
            said = (str(condition.max), _said(becomes, unit))
            step = Narrowing(Piece.AMOUNT, grant.system, name, *said, 0, None, None, why)
            since = self.ground.known(
                lambda charter: any(g.system == grant.system and g.when == grant.when for g in charter.grants)
            )
            inside = told["when"].get("arguments", told["when"])
            if becomes < condition.max.value and name in inside and self.take(step, since):
                inside[name] = dict(inside[name]) | {"max": _said(becomes, unit)}

    # --- the whole ----------------------------------------------------------------------------------------------------

    def _data(self) -> None:
        needed = set(self.observed.data)
        for grant in self.whole["grants"]:
            system = self.ground.systems.get(grant["system"])
            if system is None:
                return
            for name in system.granted(Grant.model_validate(grant)):
                own = system.actions[name].data
                needed.update(system.data if own is None else own)
        if self.charter.policy:
            return  # the Cedar beside it may say what it likes of data
        left: list[str] = []
        for each in self.charter.data:
            since = self.ground.known(_handles(each))
            why = "no call touched it, and no action that stays does"
            if each in needed or not self.drop(Piece.DATA, "", each, since, why):
                left.append(each)
        if left == list(self.charter.data):
            return
        self.whole["data"] = left
        for way, classes in (self.whole.get("data_flow") or {}).items():
            self.whole["data_flow"][way] = [each for each in classes if each in left]


def closer(window: Hours | None, minutes: Sequence[int]) -> str | None:
    """Return a closer window in which all local `minutes` of the day lie with room to spare; None if none is worth it.

    Each minute stands for the quarter of an hour from it on. The room is an hour on both sides, two without a window.
    """
    start, length, zone = (window.start, _length(window), window.zone) if window else (0, MINUTES_A_DAY, "UTC")
    places = [(each - start) % MINUTES_A_DAY for each in minutes]
    if not places or max(places) + QUARTER // 60 > length:
        return None
    room = _HOUR if window else 2 * _HOUR
    first = max(0, (min(places) - room) // _HOUR * _HOUR)
    last = min(length, -(-(max(places) + QUARTER // 60 + room) // _HOUR) * _HOUR)
    if length - (last - first) < (_LESS if window else _LESS_OF_ALL):
        return None
    opens, closes = (start + first) % MINUTES_A_DAY, (start + last) % MINUTES_A_DAY or MINUTES_A_DAY
    return f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02} {zone}"


def _length(window: Hours) -> int:
    return (window.end - window.start) % MINUTES_A_DAY or MINUTES_A_DAY


def roomy(peak: Decimal) -> Decimal:
    """Return the next round number (1, 2 or 5 with noughts) at or above twice `peak`, and at least 1."""
    least = max(peak * MARGIN, Decimal(1))
    scale = Decimal(1)
    while scale * 10 <= least:
        scale *= 10
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= least).to_integral_value(ROUND_CEILING)


def _limited(limit: Limit) -> Callable[[Charter], bool]:
    return lambda charter: any(limit in grant.limit for grant in charter.grants)


def _handles(data: str) -> Callable[[Charter], bool]:
    return lambda charter: data in charter.data


def _is_under(one: str, place: str) -> bool:
    return one == place or one.startswith(f"{place}/")


def _said(value: Decimal, unit: str | None) -> str:
    return f"{value.normalize():f}{f' {unit}' if unit else ''}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
