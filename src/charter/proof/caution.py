"""What keeps right-sizing from taking what is needed seldom: how long is enough, what is rare, what is seasonal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

MIN_HISTORY = dt.timedelta(days=30)  # nothing is proposed on less
LOOKED_BACK = dt.timedelta(days=400)  # a year and a month: each season was there once
MIN_CALLS, MIN_DAYS = 20, 10  # before ranges, times and limits are drawn closer
MIN_WEEKS = dt.timedelta(weeks=8)  # before days of the week are taken
RARE = 3  # uses, in all that is looked at
_NEAR = 3  # days before and after the end of a month that belong to it
_ALIKE = 3  # days that make a weekday a habit
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def is_month_end(day: dt.date) -> bool:
    """Whether a day is within three of the turn of a month."""
    return day.day <= _NEAR or (day + dt.timedelta(days=_NEAR)).month != day.month


def is_quarter_end(day: dt.date) -> bool:
    """Whether a day is within three of the turn of a quarter."""
    return is_month_end(day) and (day + dt.timedelta(days=_NEAR)).month % 3 == 1


def is_year_end(day: dt.date) -> bool:
    """Whether a day lies in the two weeks before a new year, or the first of it."""
    return (day.month == 12 and day.day > 16) or (day.month == 1 and day.day <= 7)  # noqa: PLR2004 - the calendar's


_SEASONS = (("year end", is_year_end), ("quarter end", is_quarter_end), ("month end", is_month_end))


def season_of(days: Collection[dt.date]) -> str | None:
    """Return the season that all `days` fall into, the longest first; None if there is none."""
    if not days:
        return None
    for name, is_in in _SEASONS:
        if all(is_in(day) for day in days):
            return name
    weekdays = {day.weekday() for day in days}
    return f"{WEEKDAYS[weekdays.pop()]}s" if len(weekdays) == 1 and len(days) >= _ALIKE else None


def not_covered(since: dt.date, until: dt.date) -> tuple[str, ...]:
    """Return the seasons that no day between the two, and including them, belongs to."""
    length = min((until - since).days, LOOKED_BACK.days)
    days = [until - dt.timedelta(days=n) for n in range(length + 1)]
    return tuple(name for name, is_in in _SEASONS if not any(is_in(day) for day in days))
