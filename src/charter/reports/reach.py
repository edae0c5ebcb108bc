"""How far a charter's rights reach, in pieces that use can be held against: ranges of objects, data, hours, parties.

A range is one or more patterns, a piece each. A pattern with two stars at most, as nearly all are, is told by what an
object begins with, ends with and has in between; a regular expression, which engines make anew for each row, is left
to those with more.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

from charter.registry.field import MINUTES_A_DAY, Hours
from charter.reports.permissions import Aspect, Reach

HOURS_A_DAY = 24
_PLAIN = 3  # pieces between stars that need no regular expression
_EVERYTHING = "*"


def ranges(
    system: str, patterns: Iterable[str], places: Iterable[str], groups: Mapping[str, Sequence[str]]
) -> Iterator[Reach]:
    """Yield a grant's ranges of objects, a piece for each pattern. Any object at all is no range."""
    for pattern in dict.fromkeys(patterns):
        if pattern != _EVERYTHING:
            yield _piece(system, pattern, pattern)
    for place in dict.fromkeys(places):
        for pattern in (place, f"{place}/*"):
            yield _piece(system, f"under {place}", pattern)
    for name, members in groups.items():
        for pattern in dict.fromkeys(members):
            yield _piece(system, f"group {name}", pattern)


def _piece(system: str, what: str, pattern: str) -> Reach:
    first, *between = re.sub(r"\*+", "*", pattern).split("*")
    if not between:
        return Reach(Aspect.OBJECTS, system, what, prefix=first, is_open=False)
    middle, is_plain = "".join(between[:-1]), len(between) < _PLAIN
    regex = "" if is_plain else f"(?s)\\A{_regex(pattern)}\\z"
    return Reach(Aspect.OBJECTS, system, what, first, regex, middle=middle if is_plain else "", suffix=between[-1])


def _regex(pattern: str) -> str:
    """Return a pattern, in which `*` stands for any text, as every engine's regular expressions write it."""
    return ".*".join(
        re.sub(r"[^\w\s]", lambda sign: f"\\{sign[0]}" if sign[0].isascii() else sign[0], piece)
        for piece in pattern.split("*")
    )


def hours_utc(windows: Iterable[Hours | None], moments: Sequence[dt.datetime]) -> frozenset[int]:
    """Return the hours of the day, UTC, in which one of `windows` is open; None is always open.

    A window moves with its zone's summer time: an hour counts if it is open by the clocks of all `moments`.
    """
    return frozenset(hour for window in windows for hour in _open(window, moments))


def _open(window: Hours | None, moments: Sequence[dt.datetime]) -> frozenset[int]:
    if window is None:
        return frozenset(range(HOURS_A_DAY))
    zone = ZoneInfo(window.zone)
    each = [_hours(window, at.astimezone(zone).utcoffset() or dt.timedelta()) for at in moments]
    return frozenset.intersection(*each)


def _hours(window: Hours, offset: dt.timedelta) -> frozenset[int]:
    length = (window.end - window.start) % MINUTES_A_DAY or MINUTES_A_DAY
    start = window.start - int(offset.total_seconds() // 60)
    return frozenset((minute // 60) % HOURS_A_DAY for minute in range(start, start + length))


def delegations(sources: Iterable[str], to: Iterable[str], purposes: Iterable[str]) -> Iterator[Reach]:
    """Yield whom a principal may act for, whom it may lend to, and for what."""
    for word, names in (("for", sources), ("to", to), ("purpose", purposes)):
        for name in dict.fromkeys(names):
            yield Reach(Aspect.DELEGATION, what=name, pattern=word)
