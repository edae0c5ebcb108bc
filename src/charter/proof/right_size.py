"""Right-sizing: a charter drawn closer to what was used, piece by piece, and what is kept although nobody used it.

INVARIANT: each step takes something away: an action, a range of objects, a class of data, hours, days, part of a limit
or an amount, a party, purpose or step of delegation. It is proven all the same that the whole allows nothing new.
INVARIANT: what was used in the period stays, with a margin where a number or a time is drawn closer.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from charter.policy.like import is_like
from charter.proof.caution import MIN_CALLS, MIN_DAYS, MIN_HISTORY, MIN_WEEKS, RARE, season_of
from charter.proof.observed import QUARTER, Observed, Seen
from charter.registry.charter import DAYS, Charter, Grant
from charter.registry.field import MINUTES_A_DAY, Hours
from charter.registry.grant import Limit
from charter.registry.system import System

MARGIN, MUCH = 2, 4  # a limit of more than four times the most that was used becomes twice that
SEGMENTS = 5  # beginnings of objects that are told apart
_HOUR = 60
_LESS, _LESS_OF_ALL = 2 * _HOUR, 6 * _HOUR  # minutes that must go, of a window and of a whole day
_WORKING = DAYS[:5]
_ANY = "*"


class Piece(StrEnum):
    """What of an authority is drawn closer."""

    ACTION = "action"
    OBJECTS = "objects"
    DATA = "data"
    HOURS = "hours"
    DAYS = "days"
    LIMIT = "limit"
    AMOUNT = "amount"
    DELEGATION = "delegation"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One step. `key` names it for as long as the charter says what it says; `uses`: in all that was looked at."""

    piece: Piece
    system: str
    what: str
    was: str
    becomes: str
    uses: int
    last_used: dt.datetime | None
    unused_days: int | None  # None: it is used, and drawn closer
    why: str

    @property
    def key(self) -> str:
        """What a person says to have it kept."""
        return key_of(self.piece, self.system, self.what)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "key": self.key,
            "piece": self.piece.value,
            "system": self.system,
            "what": self.what,
            "was": self.was,
            "becomes": self.becomes,
            "uses": self.uses,
            "last_used": self.last_used.isoformat() if self.last_used else None,
            "unused_days": self.unused_days,
            "why": self.why,
        }


def key_of(piece: Piece, system: str, what: str) -> str:
    """Return the name of a step: `action:payments/refund.create`, `data:customer-pii`."""
    return f"{piece.value}:{system}/{what}" if system else f"{piece.value}:{what}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A narrower charter. `grants`: for each grant as it was, its JSON as it shall be; None: it goes."""

    charter: Charter
    narrowings: tuple[Narrowing, ...]
    kept: tuple[tuple[str, str], ...]  # what was not used and stays: key, why
    grants: tuple[dict[str, Any] | None, ...]

    @property
    def is_narrower(self) -> bool:
        """Whether anything is taken away."""
        return bool(self.narrowings)


Known = Callable[[Callable[[Charter], bool]], dt.datetime]  # since when without a break charters satisfied something


@dataclass(frozen=True, slots=True)
class Ground:
    """What a proposal rests on. `known`: see above; `marks`: what people said is kept, by key; `left`: not tried."""

    systems: Mapping[str, System]
    observed: Observed
    known: Known
    at: dt.datetime
    marks: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()


def file_of(charter: Charter) -> dict[str, Any]:
    """Return a charter in the shape of its file; the Cedar beside it stands in a file of its own."""
    return {name: each for name, each in charter.to_json().items() if name != "policy"}


def proposed(charter: Charter, ground: Ground) -> Proposal:
    """Return `charter` drawn closer to what was observed. The Cedar beside it is left as it stands."""
    return _Sizing(charter, ground).run()


class _Sizing:
    """One proposal under way."""

    def __init__(self, charter: Charter, ground: Ground) -> None:
        self.charter, self.ground, self.observed = charter, ground, ground.observed
        self.whole = file_of(charter)
        self.narrowings: list[Narrowing] = []
        self.kept: dict[str, str] = {}

    def run(self) -> Proposal:
        grants = tuple(self._grant(n, each) for n, each in enumerate(self.charter.grants))
        self.whole["grants"] = [each for each in grants if each is not None]
        self._data()
        self._delegation()
        charter = Charter.model_validate(self.whole | ({"policy": self.charter.policy} if self.charter.policy else {}))
        return Proposal(charter, tuple(self.narrowings), tuple(self.kept.items()), grants)

    # --- one step -----------------------------------------------------------------------------------------------------

    def _takes(self, step: Narrowing, since: dt.datetime | None = None) -> bool:
        """Whether a step is taken, unless something says that its piece is kept. Unused: `since` it was granted."""
        if step.key in self.ground.left:
            return False
        reason = self.ground.marks.get(step.key) or self._too_young(since)
        if reason:
            self.kept[step.key] = reason
            return False
        if step not in self.narrowings:
            self.narrowings.append(step)
        return True

    def _too_young(self, since: dt.datetime | None) -> str | None:
        if since is None or self.ground.at - max(since, self.observed.since) >= MIN_HISTORY:
            return None
        days = max(0, (self.ground.at - max(since, self.observed.since)).days)
        return f"it was granted {_days(days)} ago; nothing is taken before {MIN_HISTORY.days} days"

    def _unused(self, piece: Piece, system: str, what: str, since: dt.datetime, why: str) -> Narrowing:
        idle = (self.ground.at - max(since, self.observed.since)).days
        return Narrowing(piece, system, what, what, "nothing", 0, None, idle, why)

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
        if seen:
            self._objects(grant, told, seen)
            if self._is_much(seen):
                self._times(grant, told, seen)
                self._limits(place, grant, told)
                self._amounts(grant, told, seen)
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
            step = self._unused(Piece.ACTION, system, action, since, "no recorded call asked for it")
        else:
            why = f"its {_times(past.count)} of use ended on {past.last:%d %b %Y}, and follow no season"
            idle = (self.ground.at - past.last).days
            step = Narrowing(Piece.ACTION, system, action, action, "nothing", past.count, past.last, idle, why)
        return self._takes(step, since)

    def _is_much(self, seen: Sequence[Seen]) -> bool:
        days = {day for each in seen for day in each.dates()}
        return sum(each.count for each in seen) >= MIN_CALLS and len(days) >= MIN_DAYS and season_of(days) is None

    def _objects(self, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
        if any(each.objects is None for each in seen):
            return
        used = frozenset(name for each in seen for name in each.objects or ())
        since = self.ground.known(
            lambda charter: any(
                grant.objects == g.objects and g.under == grant.under and g.system == grant.system
                for g in charter.grants
            )
        )
        for name, matches in (("objects", _is_object), ("under", _is_under)):
            patterns = list(told.get(name) or ())
            why = f"none of {len(used)} objects was inside"
            left = [
                each
                for each in patterns
                if any(matches(one, each) for one in used)
                or not self._takes(self._unused(Piece.OBJECTS, grant.system, each, since, why), since)
            ]
            if left != patterns and (left or told.get("under" if name == "objects" else "objects") or grant.groups):
                told[name] = left
                if not left and name == "under":
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
        if self._takes(step, since):
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
            if self._takes(Narrowing(Piece.HOURS, grant.system, what, was, hours, uses, None, None, why), since):
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
        if self._takes(step, since):
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
            if self._takes(step, since):
                told["limit"][n] |= {"count": int(becomes)} if limit.count is not None else {"max": words}
                Limit.model_validate(told["limit"][n])

    def _amounts(self, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
        for name, condition in (grant.when.arguments if grant.when else {}).items():
            peaks = [each.peaks.get(name) for each in seen]
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
            if becomes < condition.max.value and name in inside and self._takes(step, since):
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
            if each in needed or not self._takes(self._unused(Piece.DATA, "", each, since, why), since):
                left.append(each)
        if left == list(self.charter.data):
            return
        self.whole["data"] = left
        for way, classes in (self.whole.get("data_flow") or {}).items():
            self.whole["data_flow"][way] = [each for each in classes if each in left]

    def _delegation(self) -> None:
        terms = self.charter.delegation
        if terms is None:
            return
        told, chains = self.whole["delegation"], self.observed.chains
        since = self.ground.known(lambda charter: charter.delegation == terms)
        principals = {name for name in terms.source if name != "humans"}
        used = {name for names, _, _ in chains for name in names & principals}
        if any(not names & principals for names, _, _ in chains):
            used.add("humans")
        left = [
            name
            for name in terms.source
            if name in used
            or not self._takes(
                self._unused(Piece.DELEGATION, "", f"from {name}", since, "no call was made for it"), since
            )
        ]
        if not left and not terms.to:
            del self.whole["delegation"]
            return
        told["from"] = left
        if not chains or terms.to:  # what it lends on stands in others' calls
            return
        asked = {purpose for _, purpose, _ in chains}
        kept = [
            each
            for each in terms.purposes
            if each in asked
            or not self._takes(
                self._unused(Piece.DELEGATION, "", f"purpose {each}", since, "no call was for it"), since
            )
        ]
        if kept:  # without purposes, any purpose
            told["purposes"] = kept
        deepest = max(depth for _, _, depth in chains)
        if deepest < terms.max_depth and self.observed.calls >= MIN_CALLS:
            why = "no chain was longer"
            step = Narrowing(Piece.DELEGATION, "", "max_depth", str(terms.max_depth), str(deepest), 0, None, None, why)
            if self._takes(step, since):
                told["max_depth"] = deepest


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


def _is_object(one: str, pattern: str) -> bool:
    return is_like(one, pattern)


def _is_under(one: str, place: str) -> bool:
    return one == place or one.startswith(f"{place}/")


def _said(value: Decimal, unit: str | None) -> str:
    return f"{value.normalize():f}{f' {unit}' if unit else ''}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
