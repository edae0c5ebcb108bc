"""Who used one thing lately, by turns: what tells several senders at a time from one that moves, rotates or restarts.

    one after the other     A A A B B B      a sender that moved, or a key that was rotated: nothing to tell
    by turns                A B A, A B A B   somebody was there, another came, and the first is still there

INVARIANT: whoever was there first must be seen again `HANDOVER` seconds after the other came: what was under way when
a sender changed over counts for nothing, and how fast the two alternate makes no difference.
INVARIANT: memory is bounded: at most `MAX_SENDERS` are told apart, and the one that was there the shortest goes first.
So nobody pushes out who is there all the time by coming as ever somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

WINDOW_SECONDS = 300.0  # after its last use a sender is forgotten
HANDOVER_SECONDS = 30.0
MAX_SENDERS = 8
T = TypeVar("T")


@dataclass(slots=True)
class Span(Generic[T]):
    """The uses of one sender, from the first to the last within the window. Times are monotonic seconds."""

    sender: str
    number: int  # of those before: two may be seen for the first time at one moment
    first: float
    last: float
    of: T  # what evidence tells of the last use


class Trail(Generic[T]):
    """The senders of one thing."""

    __slots__ = ("_known", "_spans")

    def __init__(self) -> None:
        self._known = 0
        self._spans: dict[str, Span[T]] = {}  # by sender, the one that was used last at the end

    def is_only(self, now: float) -> bool:
        """Note another use of the only sender; return whether there is just one, as far as is remembered."""
        if len(self._spans) != 1:
            return False
        for span in self._spans.values():
            span.last = now
        return True

    def use(self, sender: str, of: T, now: float) -> tuple[Span[T], ...]:
        """Note a use; return the other senders that are there at the same time, the last used one last."""
        self._forget(now)
        span = self._spans.pop(sender, None)
        if span is None:
            self._known += 1
            span = Span(sender, self._known, now, now, of)
        span.last, span.of = now, of
        if len(self._spans) >= MAX_SENDERS:
            shortest = min(self._spans.values(), key=lambda each: each.last - each.first)
            del self._spans[shortest.sender]
        others = tuple(other for other in self._spans.values() if _are_together(span, other))
        self._spans[sender] = span
        return others

    def _forget(self, now: float) -> None:
        for sender in [each.sender for each in self._spans.values() if now - each.last > WINDOW_SECONDS]:
            del self._spans[sender]


def _are_together(one: Span[T], other: Span[T]) -> bool:
    earlier, later = (one, other) if one.number < other.number else (other, one)
    return earlier.last - later.first >= HANDOVER_SECONDS
