"""Duties that a plan breaks: by a principal that it touches, alone or with another that something ties to it.

INVARIANT: a broken duty counts as new unless it is proven that the same principals broke it before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import Deadline
from charter.proof.duty_check import Broken, Hand, Known, broken_duties
from charter.proof.search import Means
from charter.registry.duty import Duty


@dataclass(frozen=True, slots=True)
class Breach:
    """A duty that is broken after a change, or not proven to be kept."""

    broken: Broken
    is_new: bool  # the same principals are not proven to have broken it before

    def to_json(self) -> dict[str, Any]:
        """Return the breach as plain JSON."""
        return self.broken.to_json() | {"new": self.is_new}


@dataclass(frozen=True, slots=True)
class Duties:
    """What is asked of a plan: the duties after it, those that it changes, and who holds what before and after."""

    duties: Sequence[Duty]
    changed: frozenset[str]  # ids of duties that did not say the same before
    hands: Mapping[str, Hand]
    hand_before: Callable[[str], Hand | None]  # None: there was no such principal, or nobody knows
    known: Known = field(default_factory=dict)  # of these hands, and what is found of them
    known_before: Known = field(default_factory=dict)


def breaches(
    asked: Duties, touched: Collection[str], changed: Collection[str], means: Means, deadline: Deadline
) -> dict[str, tuple[Breach, ...]]:
    """Return what breaks a duty after a plan, by principal: each of `touched` that has a part in it.

    Of those whose charters are not `changed`, only what is new is told, and what breaks a duty that is new.
    """
    found: dict[str, list[Breach]] = {}
    for duty in asked.duties:
        for each in broken_duties([duty], asked.hands, means, touched, deadline, asked.known):
            breach = Breach(each, not _was_broken(duty, each, asked, means, deadline))
            for name in each.principals:
                if name in touched and (breach.is_new or name in changed or duty.id in asked.changed):
                    found.setdefault(name, []).append(breach)
    return {name: tuple(each) for name, each in found.items()}


def _was_broken(duty: Duty, now: Broken, asked: Duties, means: Means, deadline: Deadline) -> bool:
    hands = {name: hand for name in now.principals if (hand := asked.hand_before(name)) is not None}
    before = broken_duties([duty], hands, means, None, deadline, asked.known_before)
    return any(each.is_proven for each in before)
