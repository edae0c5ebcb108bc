"""How long payloads of entries are kept, by class: `CHARTER_RETENTION`, and which of its rules an entry is under.

    default=400d,customer-pii=90d,kind:observed=30d

A rule is for a class of data that an entry's call touches, for a kind of entry (`kind:`), or for the rest (`default`):
entries that no other rule is for. Where several are for one entry, the shortest time counts, since each goes by itself.
What no rule is for is kept.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from charter.evidence.entry import EntryKind
from charter.registry.duration import parse_duration, write_duration

REST = "default"
KIND = "kind:"
SHORTEST = dt.timedelta(days=1)  # a slip of the pen must not empty a log
LONGEST = dt.timedelta(days=36_500)
MAX_RULES = 100
_CLASS = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KINDS = frozenset(kind.value for kind in EntryKind)
Periods = Mapping[str, dt.timedelta]  # rule -> how long


def parse_retention(value: object) -> dict[str, dt.timedelta]:
    """Return the periods that a text like `default=400d,customer-pii=90d` names; an empty one names none.

    Raises:
        ValueError: a part is no rule, is there twice, or its time is too short or too long.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str):
        raise ValueError("is no text like default=400d,customer-pii=90d")  # noqa: TRY004 - as pydantic wants it
    found: dict[str, dt.timedelta] = {}
    for part in (each.strip() for each in value.split(",") if each.strip()):
        name, _, text = part.partition("=")
        kind = name.removeprefix(KIND)
        if kind not in _KINDS if name.startswith(KIND) else not _CLASS.fullmatch(name):
            raise ValueError(f"`{name[:80]}` is no class of data, no `{KIND}<kind of entry>` and not `{REST}`")
        if name in found:
            raise ValueError(f"`{name}` is there twice")
        period = parse_duration(text)
        if not SHORTEST <= period <= LONGEST:
            bounds = f"{write_duration(SHORTEST)} to {LONGEST.days}d"
            raise ValueError(f"`{name}` is kept for {bounds}, not for {text[:20]}")
        found[name] = period
    if len(found) > MAX_RULES:
        raise ValueError(f"has more than {MAX_RULES} rules")
    return found


def rules_for(periods: Periods, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the rules that an entry is under; `entry` is what it says, erased or not."""
    body = entry.get("body")
    data = body.get("data") if isinstance(body, dict) else None
    classes = (each for each in data if isinstance(each, str)) if isinstance(data, list) else ()
    named = (*dict.fromkeys(classes), f"{KIND}{entry.get('kind')}")
    found = tuple(name for name in named if name in periods and name != REST)
    return found or ((REST,) if REST in periods else ())


def place_of(rule: str, periods: Periods) -> str:
    """Return the name under which it is kept how far a rule was carried out.

    What is under `default` depends on which other rules there are: with others, it begins anew.
    """
    if rule != REST:
        return rule
    others = ",".join(sorted(name for name in periods if name != REST))
    return f"{REST}/{hashlib.sha256(others.encode()).hexdigest()[:16]}"
