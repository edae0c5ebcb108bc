"""How often Charter replaces its own keys: a period for each kind, which the settings may change (CHARTER_ROTATE).

INVARIANT: no period is so long that what a key signed could outlive it: an authority's ends well before the authority.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

from charter.registry.duration import parse_duration, write_duration

_DAY = dt.timedelta(days=1)
SHORTEST = dt.timedelta(minutes=1)
USUAL: Mapping[str, dt.timedelta] = MappingProxyType(
    {
        "token": 30 * _DAY,
        "jwt-svid": 30 * _DAY,
        "evidence": 365 * _DAY,
        "charter": 365 * _DAY,
        "data": 90 * _DAY,
        "x509-root": 182 * _DAY,
        "x509-intermediate": 7 * _DAY,
    }
)
LONGEST: Mapping[str, dt.timedelta] = MappingProxyType(
    {
        "token": 365 * _DAY,
        "jwt-svid": 365 * _DAY,
        "evidence": 3650 * _DAY,
        "charter": 3650 * _DAY,
        "data": 365 * _DAY,
        "x509-root": 350 * _DAY,  # it lives two years, waits one period and signs another
        "x509-intermediate": 13 * _DAY,  # it lives two weeks
    }
)
Periods = Mapping[str, dt.timedelta]


def parse_periods(value: object) -> dict[str, dt.timedelta]:
    """Return the periods that `token=7d,evidence=180d` names, and those of the rest as usual.

    Raises:
        ValueError: a part names no key, or no period that fits it.
    """
    if isinstance(value, Mapping):
        return dict(USUAL) | dict(value)
    if not isinstance(value, str):
        raise ValueError("is no text like token=7d,evidence=180d")  # noqa: TRY004 - as pydantic wants it
    found: dict[str, dt.timedelta] = {}
    for part in (each.strip() for each in value.split(",") if each.strip()):
        name, _, text = part.partition("=")
        if name not in USUAL:
            raise ValueError(f"`{name[:40]}` is no key of Charter's; there are {', '.join(USUAL)}")
        if name in found:
            raise ValueError(f"`{name}` is there twice")
        period = parse_duration(text)
        if not SHORTEST <= period <= LONGEST[name]:
            most = write_duration(LONGEST[name])
            raise ValueError(f"`{name}` is replaced every {write_duration(SHORTEST)} to {most}, not every {text}")
        found[name] = period
    return dict(USUAL) | found
