"""Durations as people write them: `90d`, `1h`. The settings read them too, so this module loads at once."""

from __future__ import annotations

import datetime as dt
import re

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(value: object) -> dt.timedelta:
    """Return the duration that `90d`, `1h`, `15m`, `30s` or `2w` names.

    Raises:
        ValueError: it names none, or zero.
    """
    if isinstance(value, dt.timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError(f"`{value}` is no duration; write a whole number and s, m, h, d or w, as in 90d")
    return dt.timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def write_duration(value: dt.timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back as `value`."""
    seconds = int(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds % _UNITS[unit] == 0 and not (unit == "w" and seconds // _UNITS["d"] % 7):
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
