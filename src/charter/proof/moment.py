"""When a counterexample happens: one moment at which every clock and calendar says what it needs.

To a solver the minute in Berlin, the day in Tokyo and the working days of a calendar are unknowns of their own. What
holds nowhere even so holds at no moment; but where something may hold, there must be a real moment for it. So the
questions about time are gathered, and answered at every moment where one of them could turn: the bounds of windows on
each of many days, and the moments that policies name. Moments at which all answers are the same are one; few are
left, and the solver chooses.

INVARIANT: what is chosen is a moment, and the questions have the answers there that the solver was told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from charter.policy.cedar_value import DAY
from charter.policy.program import moment
from charter.proof.setting import Setting
from charter.proof.term import Term, Values, equal, evaluate, every, is_value, parts_of, some, value
from charter.registry.calendar import Calendar
from charter.registry.charter import DAYS

NEAR = dt.timedelta(days=15)
FAR = dt.timedelta(days=400)  # a year with all its holidays and changes of the clock
MAX_MOMENTS = 20_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments that are told apart by some questions about time, one for each set of answers."""

    questions: tuple[Term, ...]
    answers: Mapping[tuple[bool, ...], dt.datetime]

    @property
    def claim(self) -> Term:
        """That the questions are answered as they are at one of the moments."""
        return some(self._at(each) for each in self.answers)

    def _at(self, answers: Sequence[bool]) -> Term:
        return every(equal(question, value(each)) for question, each in zip(self.questions, answers, strict=True))

    def wish(self, at: dt.datetime, settings: Sequence[Setting]) -> Term:
        """Return that the questions are answered as at this moment."""
        return self._at(_answers(self.questions, at, settings))

    def of(self, values: Values) -> dt.datetime | None:
        """Return the moment that the values are about."""
        return self.answers.get(tuple(evaluate(each, values) for each in self.questions))


def time_questions(roots: Iterable[Term]) -> tuple[Term, ...]:
    """Return the questions about time in `roots`, each once."""
    asks: dict[Term, bool] = {}  # whether a term speaks of time alone
    found: list[Term] = []
    for term in parts_of(roots):
        own = [asks[each] for each in term.args if not is_value(each)]
        if term.op in ("has", "within", "variable"):
            asks[term] = is_of_time(term.data if term.op == "variable" else term.data[0])
        else:
            asks[term] = bool(own) and all(own)
        is_atom = term.op in ("has", "within", "equal", "less", "at most", "like")
        if asks[term] and is_atom:
            found.append(term)
    return tuple(found)


def is_of_time(name: str) -> bool:
    """Whether an unknown of this name is told by a clock or a calendar."""
    return name == "now" or name.startswith(("minute:", "day:", "workdays:", "before:"))


def moments_of(
    questions: Sequence[Term], settings: Sequence[Setting], start: dt.datetime, span: dt.timedelta
) -> Moments:
    """Return the moments from `start` on that the questions tell apart, the earliest of each; `start` is the first."""
    found: dict[tuple[bool, ...], dt.datetime] = {}
    for at in (start, *_turns(questions, settings, start, span)):
        found.setdefault(_answers(questions, at, settings), at)
    return Moments(tuple(questions), found)


def _turns(
    questions: Sequence[Term], settings: Sequence[Setting], start: dt.datetime, span: dt.timedelta
) -> list[dt.datetime]:
    """Return every moment at which an answer could change."""
    minutes: dict[str, set[int]] = {zone: {0} for each in settings for zone in each.bound.words.zones}
    named: set[dt.datetime] = set()
    for each in parts_of(questions):
        if each.op in ("equal", "less", "at most"):
            constants = [int(arg.data) for arg in each.args if is_value(arg) and type(arg.data) is int]
            names = {part.data for part in parts_of([each]) if part.op == "variable"}
            for zone, own in minutes.items():
                if f"minute:{zone}" in names:
                    own.update(c for k in constants for c in (k, k + 1) if 0 <= c < 24 * 60)
            if "now" in names and any(part.op == "rest" for part in parts_of([each])):
                named.update(_at_time_of_day(constants, start, span))
            elif "now" in names:
                named.update(at for at in _around(constants) if at >= start)
    found = set(named)
    for zone, some_minutes in minutes.items():
        found.update(_daily(zone, some_minutes, start, span))
    return sorted(found)[:MAX_MOMENTS]


def _around(milliseconds: Iterable[int]) -> Iterator[dt.datetime]:
    """Yield the moments that constants name, and the ones beside them."""
    for each in milliseconds:
        for near in (each - 1, each, each + 1):
            if 0 <= near < (_LATEST - _EPOCH) // dt.timedelta(milliseconds=1):
                yield _EPOCH + dt.timedelta(milliseconds=near)


def _at_time_of_day(milliseconds: Iterable[int], start: dt.datetime, span: dt.timedelta) -> Iterator[dt.datetime]:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(1, span.days + 1):
        for each in milliseconds:
            for near in (each - 1, each, each + 1):
                if 0 <= near < DAY:
                    yield midnight + dt.timedelta(days=day, milliseconds=near)


def _daily(zone: str, minutes: Iterable[int], start: dt.datetime, span: dt.timedelta) -> Iterator[dt.datetime]:
    here = _zone(zone)
    first = start.astimezone(here).date()
    for day in range(span.days + 1):
        date = first + dt.timedelta(days=day)
        for minute in minutes:
            at = dt.datetime.combine(date, dt.time(minute // 60, minute % 60), here).astimezone(dt.UTC)
            if at >= start:
                yield at


def _answers(questions: Sequence[Term], at: dt.datetime, settings: Sequence[Setting]) -> tuple[bool, ...]:
    values = clock_values(at, settings)
    return tuple(bool(evaluate(each, values)) for each in questions)


def clock_values(at: dt.datetime, settings: Sequence[Setting]) -> dict[str, Any]:
    """Return what clocks and calendars say at a moment."""
    values: dict[str, Any] = {"now": int(moment(at))}
    zones = {zone for each in settings for zone in each.bound.words.zones}
    calendars: dict[str, Calendar] = {}
    for each in settings:
        calendars |= each.calendars
    for zone in zones:
        here = at.astimezone(_zone(zone))
        today, before = here.date(), here.date() - dt.timedelta(days=1)
        values[f"minute:{zone}"] = here.hour * 60 + here.minute
        values[f"day:{zone}"] = DAYS[here.weekday()]
        values[f"workdays:{zone}"] = frozenset(name for name, each in calendars.items() if each.is_workday(today))
        values[f"before:{zone}"] = frozenset(name for name, each in calendars.items() if each.is_workday(before))
    return values


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
