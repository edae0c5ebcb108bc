"""At which hours a principal is at work: of the days that were watched, on how many it did anything in that hour.

Hours are UTC, working days and weekends apart. An hour counts once a day, however much was done in it: a busy night
must not make nights usual.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

HOURS, KINDS = 24, 2
WEEKEND = 5  # the first of its days
WEIGHT = 4.0  # days that peers count for
FADES_AT = 128.0  # days, from which on the older half counts half
NEARBY = 0.5  # what an hour beside one that was worked in counts
SECONDS_A_DAY = 86_400


@dataclass(slots=True)
class Week:
    """Days watched, and on how many of them each hour was worked in; by kind of day."""

    days: list[float] = field(default_factory=lambda: [0.0] * KINDS)
    hours: list[list[float]] = field(default_factory=lambda: [[0.0] * HOURS for _ in range(KINDS)])
    today: int = -1  # days since 1970
    worked: int = 0  # the hours of today that count already, as bits

    def is_counted(self, at: dt.datetime) -> bool:
        """Whether the hour of `at` was worked in already."""
        return _day(at) == self.today and bool(self.worked >> at.hour & 1)

    def probability(self, at: dt.datetime, prior: float) -> float:
        """Return how probable it is that it works in the hour of `at`, on such a day; `prior` is so of peers."""
        kind = _kind(at)
        hours = self.hours[kind]
        beside = max(hours[at.hour - 1], hours[(at.hour + 1) % HOURS]) * NEARBY
        return (max(hours[at.hour], beside) + WEIGHT * prior) / (self.days[kind] + WEIGHT)

    def work(self, at: dt.datetime) -> None:
        """Take note that it did something."""
        day = _day(at)
        if day > self.today:
            self._pass_days(day)
        elif day < self.today:
            return  # late news of a day that is over
        if not self.worked >> at.hour & 1:
            self.worked |= 1 << at.hour
            self.hours[_kind(at)][at.hour] += 1

    def _pass_days(self, day: int) -> None:
        first = day if self.today < 0 else max(self.today + 1, day - 366)
        for each in range(first, day + 1):
            kind = int(_weekday(each) >= WEEKEND)
            self.days[kind] += 1
            if self.days[kind] >= FADES_AT:
                self.days[kind] /= 2
                self.hours[kind] = [count / 2 for count in self.hours[kind]]
        self.today, self.worked = day, 0

    def to_json(self) -> list[Any]:
        """Return what `week_from` reads."""
        return [self.days, self.hours, self.today, self.worked]


def week_from(told: Any) -> Week:  # noqa: ANN401 - JSON
    """Return what `to_json` wrote."""
    days, hours, today, worked = told
    if len(days) != KINDS or [len(each) for each in hours] != [HOURS] * KINDS:
        raise ValueError("this is no week")
    return Week([float(n) for n in days], [[float(n) for n in each] for each in hours], int(today), int(worked))


def _day(at: dt.datetime) -> int:
    return int(at.timestamp() // SECONDS_A_DAY)


def _weekday(day: int) -> int:
    return (day + 3) % 7  # 1970 began on a Thursday


def _kind(at: dt.datetime) -> int:
    return int(_weekday(_day(at)) >= WEEKEND)
