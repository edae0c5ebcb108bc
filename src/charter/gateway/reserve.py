"""Limits reserved: a call counted against those of every link of its chain, or against none.

INVARIANT: nothing is added before every link was found to have room: a denial leaves no counter changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from charter.policy.grant import SCALE
from charter.policy.phrase import amount_text
from charter.policy.verdict import Allow, Deny, Layer, LimitDue, LinkLimits, Reason


class LimitStore(Protocol):
    """The counters of limits."""

    def used(self, principal_id: str, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return what is used of each (counter, window start); nothing used is absent."""
        ...

    def add(self, principal_id: str, amounts: Sequence[tuple[str, int, int]]) -> None:
        """Add each (counter, window start, amount); a negative amount gives back."""
        ...


class Reserved(msgspec.Struct, frozen=True):
    """What was counted for one link, and can be given back: (counter, window start, amount)."""

    owner: str
    amounts: tuple[tuple[str, int, int], ...]
    arguments: tuple[str | None, ...] = ()  # what each sums; None: it counts calls
    link: str = ""  # the owner's name
    limits: tuple[str, ...] = ()  # in words: `50 calls per day`

    def told(self) -> list[dict[str, str]]:
        """Return what evidence says of it."""
        return [{"link": self.link, "limit": each} for each in self.limits]


def owed(owner: str, name: str, verdict: Allow) -> tuple[LinkLimits, ...]:
    """Return the limits of every link of the chain of a call that is allowed, the caller's (`owner`, `name`) first."""
    return (LinkLimits(owner, name, (verdict.limits, *verdict.alternatives)), *verdict.further)


def reserve(
    limits: LimitStore, links: Sequence[LinkLimits], system: str, at: dt.datetime
) -> tuple[Reserved, ...] | Deny:
    """Count a call against the first option of each link that has room, or say which link has no room."""
    kept = with_room(limits, links, system, at)
    for each in kept if isinstance(kept, tuple) else ():
        limits.add(each.owner, each.amounts)
    return kept


def with_room(
    limits: LimitStore, links: Sequence[LinkLimits], system: str, at: dt.datetime
) -> tuple[Reserved, ...] | Deny:
    """Return what a call would count, if every link has room; nothing is counted."""
    chosen: list[Reserved] = []
    for link in links:
        found = _first_with_room(limits, link, system, at)
        if isinstance(found, Deny):
            return found
        chosen.append(found)
    return tuple(each for each in chosen if each.amounts)


def room(limits: LimitStore, links: Sequence[LinkLimits], at: dt.datetime) -> list[dict[str, Any]]:
    """Return, of each link's first choice, every limit with how much of it is used now."""
    told = []
    for link in links:
        for due in link.options[0] if link.options else ():
            windows = [(due.counter, start) for start in due.window.starts(at)]
            used = sum(limits.used(link.owner, windows).values())
            is_sum = " of `" in due.text
            told.append(
                {
                    "limit": due.text,
                    "link": link.name,
                    "used": amount_text(used, SCALE, due.text) if is_sum else str(used),
                }
            )
    return told


def give_back(limits: LimitStore, reserved: Sequence[Reserved]) -> None:
    """Undo what `reserve` counted, for a call that surely did not happen."""
    for each in reserved:
        limits.add(each.owner, [(key, start, -amount) for key, start, amount in each.amounts])


def correct(limits: LimitStore, reserved: Sequence[Reserved], actual: Mapping[str, Decimal]) -> None:
    """Count what a call really took in place of what was reserved for it, of the arguments that `actual` tells."""
    for each in reserved:
        changes = []
        for (key, start, amount), argument in zip(each.amounts, each.arguments, strict=True):
            took = actual.get(argument or "")
            if took is not None and int(took * SCALE) != amount:
                changes.append((key, start, int(took * SCALE) - amount))
        if changes:
            limits.add(each.owner, changes)


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
    counters = [(limit, [(limit.counter, start) for start in limit.window.starts(at)]) for limit in option]
    used = limits.used(link.owner, [each for _, windows in counters for each in windows])
    for limit, windows in counters:
        if sum(used.get(each, 0) for each in windows) + limit.amount > limit.ceiling:
            oldest = next((start for counter, start in windows if used.get((counter, start), 0)), windows[-1][1])
            text = f"the limit of {limit.text} for `{link.name}` on `{system}` is used up"
            mend = _mend(limit, at, oldest)
            return Deny((Reason(Layer.LIMIT, limit.key, text, mend, link.name, limit.source),))
    amounts = tuple((*windows[-1], limit.amount) for limit, windows in counters)
    arguments, texts = (tuple(getattr(limit, name) for limit, _ in counters) for name in ("argument", "text"))
    return Reserved(link.owner, amounts, arguments, link.name, texts)


def _mend(limit: LimitDue, at: dt.datetime, oldest: int) -> str:
    if limit.window.until is not None:
        return "ask for a new token"
    return f"wait until {_moment(limit.window.ends(at, oldest))} UTC, or raise the limit through plan and apply"


def _moment(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"
