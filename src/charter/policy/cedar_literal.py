"""Cedar's extension values from the texts that policies write them in: `decimal("1.5")`, `datetime("2026-11-24")`.

What is not surely read as Cedar reads it yields None, and is left to Cedar.
"""

from __future__ import annotations

import datetime as dt
import re

from charter.policy.cedar_value import MAX_LONG, MIN_LONG, Fixed, Moment, Span

_DECIMAL = re.compile(r"(-?)([0-9]{1,19})\.([0-9]{1,4})", re.ASCII)
_DATETIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?(?:Z|([+-])([0-9]{2})([0-9]{2})))?",
    re.ASCII,
)
_DURATION = re.compile(r"(-?)(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?", re.ASCII)
_UNITS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MAX_DIGITS = 40
_MILLISECOND = dt.timedelta(milliseconds=1)


def read_decimal(text: str) -> Fixed | None:
    """Return the decimal that `text` names."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    scaled = int(found[2]) * 10_000 + int(found[3].ljust(4, "0"))
    value = -scaled if found[1] else scaled
    return Fixed(value) if MIN_LONG <= value <= MAX_LONG else None


def read_datetime(text: str) -> Moment | None:
    """Return the moment that `text` names: a day, or a time to the second or millisecond with its offset."""
    found = _DATETIME.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(each) for each in found.groups()[:3])
    hour, minute, second, thousandths = (int(each or 0) for each in found.groups()[3:7])
    sign, hours, minutes = found[8], int(found[9] or 0), int(found[10] or 0)
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - an offset is less than a day
        return None
    try:
        local = dt.datetime(year, month, day, hour, minute, second, thousandths * 1000, dt.UTC)
    except ValueError:
        return None
    away = dt.timedelta(hours=hours, minutes=minutes)
    value = (local - _EPOCH) + (away if sign == "-" else -away)
    return Moment(value // _MILLISECOND)


def read_duration(text: str) -> Span | None:
    """Return the duration that `text` names, as in `1d12h` or `-500ms`."""
    found = _DURATION.fullmatch(text)
    if found is None or len(text) > _MAX_DIGITS or not any(found.groups()[1:]):
        return None
    value = sum(int(each or 0) * unit for each, unit in zip(found.groups()[1:], _UNITS, strict=True))
    value = -value if found[1] else value
    return Span(value) if MIN_LONG <= value <= MAX_LONG else None
