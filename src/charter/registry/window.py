"""The windows of limits: aligned to clock and calendar (`per: day`), sliding (`within: 24h`), or the life of a token.

A sliding window is counted in slices of a sixtieth of its length, a second at least. The oldest slice counts until all
of it has left the window: so a limit is never exceeded in any window of its length, and room comes back at most one
slice late.

INVARIANT: `starts` names every counter that a call at a moment is measured against; the last is the one it adds to.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

SLICES = 60
LONGEST = dt.timedelta(days=31)  # of a sliding window, and of a month
_FIRST_MONDAY = 4 * 86_400  # 1970-01-05: weeks begin on Monday
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


@dataclass(frozen=True, slots=True)
class Window:
    """One of `per` (minute, hour, day, week, month), in a zone; or sliding, of so many seconds; or `until` a moment."""

    per: str | None = None
    zone: str = "UTC"
    seconds: int | None = None
    until: int | None = None  # seconds since 1970: the end of what is counted in one piece

    @property
    def tag(self) -> str:
        """What sets its counters apart from those of other windows of the same limit; nothing for the plain ones."""
        if self.until is not None:
            return ""
        if self.seconds is not None:
            return f"@{self.seconds}s"
        return "" if self.zone == "UTC" and self.per != "month" else f"@{self.per} {self.zone}"

    def starts(self, at: dt.datetime) -> tuple[int, ...]:
        """Return the counters that count at `at`, by their first second since 1970, oldest first."""
        if self.until is not None:
            return (self.until,)
        now = int(at.timestamp())
        if self.seconds is None:
            return (_aligned(self.per or "day", self.zone, now),)
        step = -(-self.seconds // SLICES)
        oldest = (now - self.seconds) // step * step
        return tuple(range(oldest, now // step * step + 1, step))

    def ends(self, at: dt.datetime, oldest: int) -> dt.datetime:
        """Return when the counter that began at `oldest` stops counting; for an aligned window, when it ends."""
        if self.until is not None:
            return dt.datetime.fromtimestamp(self.until, dt.UTC)
        if self.seconds is not None:
            step = -(-self.seconds // SLICES)
            return dt.datetime.fromtimestamp(oldest + step + self.seconds, dt.UTC)
        return _end_of(self.per or "day", self.zone, at)


def _aligned(per: str, zone: str, now: int) -> int:
    if zone == "UTC" and per != "month":
        offset = _FIRST_MONDAY if per == "week" else 0
        return (now - offset) // _SECONDS[per] * _SECONDS[per] + offset
    return int(_start_of(per, zone, dt.datetime.fromtimestamp(now, dt.UTC)).timestamp())


def _start_of(per: str, zone: str, at: dt.datetime) -> dt.datetime:
    here = at.astimezone(_zone(zone))
    match per:
        case "minute":
            return here.replace(second=0, microsecond=0)
        case "hour":
            return here.replace(minute=0, second=0, microsecond=0)
        case _:
            day = here.date()
            back = day.weekday() if per == "week" else day.day - 1 if per == "month" else 0
            return dt.datetime.combine(day - dt.timedelta(days=back), dt.time(), here.tzinfo)


def _end_of(per: str, zone: str, at: dt.datetime) -> dt.datetime:
    if per in ("minute", "hour"):
        return (_start_of(per, zone, at) + dt.timedelta(seconds=_SECONDS[per])).astimezone(dt.UTC)
    start = _start_of(per, zone, at)
    days = {"day": 1, "week": 7}.get(per)
    last = start.date() + dt.timedelta(days=days or 32)
    day = last if days else last.replace(day=1)
    return dt.datetime.combine(day, dt.time(), start.tzinfo).astimezone(dt.UTC)


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
