"""Limits reserved: a call counted against those of every link of its chain, or against none.

INVARIANT: nothing is added before every link was found to have room: a denial leaves no counter changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from charter.policy.verdict import Deny, Layer, LimitDue, LinkLimits, Reason

_PERIOD_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_FIRST_MONDAY = 4 * 86_400  # 1970-01-05: weeks begin on Monday


class LimitStore(Protocol):
    """The counters of limits."""

    def used(self, principal_id: str, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return what is used of each (key, window start); nothing used is absent."""
        ...

    def add(self, principal_id: str, amounts: Sequence[tuple[str, int, int]]) -> None:
        """Add each (key, window start, amount); a negative amount gives back."""
        ...


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was counted for one link, and can be given back: (key, window start, amount)."""

    owner: str
    amounts: tuple[tuple[str, int, int], ...]


def window_start(per: str, at: dt.datetime) -> int:
    """Return the start of the window `per` that `at` lies in, in seconds since 1970, aligned to UTC."""
    now, period = int(at.timestamp()), _PERIOD_SECONDS[per]
    if per == "week":
        return (now - _FIRST_MONDAY) // period * period + _FIRST_MONDAY
    return now // period * period


def reserve(
    limits: LimitStore, links: Sequence[LinkLimits], system: str, at: dt.datetime
) -> tuple[Reserved, ...] | Deny:
    """Count a call against the first option of each link that has room, or say which link has no room."""
    chosen: list[Reserved] = []
    for link in links:
        found = _first_with_room(limits, link, system, at)
        if isinstance(found, Deny):
            return found
        chosen.append(found)
    kept = tuple(each for each in chosen if each.amounts)
    for each in kept:
        limits.add(each.owner, each.amounts)
    return kept


def give_back(limits: LimitStore, reserved: Sequence[Reserved]) -> None:
    """Undo what `reserve` counted, for a call that surely did not happen."""
    for each in reserved:
        limits.add(each.owner, [(key, start, -amount) for key, start, amount in each.amounts])


def _first_with_room(limits: LimitStore, link: LinkLimits, system: str, at: dt.datetime) -> Reserved | Deny:
    """Return what to count for one link; the denial is the first option's."""
    first: Deny | None = None
    for option in link.options:
        found = _room(limits, link, option, system, at)
        if isinstance(found, Reserved):
            return found
        first = first or found
    return first or Reserved(link.owner, ())


def _room(
    limits: LimitStore, link: LinkLimits, option: Sequence[LimitDue], system: str, at: dt.datetime
) -> Reserved | Deny:
    if not option:
        return Reserved(link.owner, ())
    due = [(limit, (limit.key, window_start(limit.per, at))) for limit in option]
    used = limits.used(link.owner, [window for _, window in due])
    for limit, window in due:
        if used.get(window, 0) + limit.amount > limit.ceiling:
            ends = dt.datetime.fromtimestamp(window[1] + _PERIOD_SECONDS[limit.per], dt.UTC)
            text = f"the limit of {limit.text} for `{link.name}` on `{system}` is used up"
            mend = f"wait until {ends:%Y-%m-%d %H:%M} UTC, or raise the limit through plan and apply"
            return Deny((Reason(Layer.LIMIT, limit.key, text, mend, link.name, limit.source),))
    return Reserved(link.owner, tuple((window[0], window[1], limit.amount) for limit, window in due))
