"""Signals that say again what was kept a moment ago, held back to be kept together.

A principal that goes on with what it does raises a signal with each call. Each kept by itself costs a commit, which is
more than the call cost, and tells nobody anything: a flood would make Charter work harder than whoever floods it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from charter.behaviour.signal import Signal

PACE_SECONDS = 1.0  # that a signal waits, if it only says again what was kept
MAX_HELD = 1_000  # signals, of everybody; whatever comes beyond is not waited with


@dataclass(slots=True)
class Repeats:
    """What was kept a moment ago, and what is held back because of it. Moments are seconds of a monotonic clock."""

    held: list[Signal] = field(default_factory=list)
    _since: float = 0.0  # the first of them is held
    _kept: dict[str, tuple[float, str | None]] = field(default_factory=dict)  # when, and the rule that answered

    def sift(self, found: Iterable[Signal], now: float, answer: Callable[[Signal], str | None]) -> list[Signal]:
        """Return the signals to keep at once, and hold the others.

        Held is what is the same as a signal kept a moment ago and is answered by the same rule: `answer` tells its id.
        """
        self._kept = {name: kept for name, kept in self._kept.items() if now - kept[0] < PACE_SECONDS}
        at_once = []
        for each in found:
            rule = answer(each)
            kept = self._kept.get(each.fingerprint)
            if kept is not None and kept[1] == rule:
                self._since = self._since if self.held else now
                self.held.append(each)
            else:
                self._kept[each.fingerprint] = now, rule
                at_once.append(each)
        return at_once

    def take(self, now: float, *, all_of_them: bool = False) -> list[Signal]:
        """Return what was held long enough, to be kept now."""
        if not (all_of_them or now - self._since >= PACE_SECONDS or len(self.held) >= MAX_HELD):
            return []
        taken, self.held = self.held, []
        for each in taken:
            if (kept := self._kept.get(each.fingerprint)) is not None:
                self._kept[each.fingerprint] = now, kept[1]
        return taken
