"""What is expected of a principal before it did anything: by its charter's grants, and by its peers.

Peers are the principals that may do exactly the same (charters of one pattern), where there are others; else those of
the same kind. Their memory is one baseline, learned from all of them, from each at most so much a day.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

from charter.behaviour.baseline import Baseline
from charter.behaviour.known import Known
from charter.behaviour.spread import Usual

VOCABULARY = 64  # deeds that something not granted is one of
GRANTED = 0.9  # of what is done is what was granted, before anything is known
NEW = 0.5  # the first of anything is as likely new as not
ENOUGH = 50.0  # meetings, from which on peers say anything
REFUSED, OUTSIDE = 0.05, 0.02  # of what is asked for, where nobody knows better
AT_WORK = 0.5  # in any hour
WEIGHT = 20.0  # verdicts that peers count for
PACE = Usual(math.log(6), 1.0)  # calls in ten minutes
VOLUME = Usual(math.log(2_000), 2.0)  # bytes
SPEND = Usual(math.log(10), 1.5)  # thousandths


@dataclass(frozen=True, slots=True)
class Peers:
    """What a charter and peers let expect of one principal."""

    granted: frozenset[str] = frozenset()  # deeds: system/action
    group: str = ""  # how people are told of the peers
    baseline: Baseline | None = None

    def newness(self, which: str) -> float:
        """Return how often peers meet something new of a memory, which is named as baselines do."""
        known = self._known(which)
        return known.newness(NEW) if known is not None and known.total >= ENOUGH else NEW

    def knows(self, which: str, name: str) -> bool:
        """Return whether peers met `name`."""
        known = self._known(which)
        return known is not None and name in known

    def deed(self, deed: str) -> float:
        """Return how probable a deed is, where nothing is known of the principal itself."""
        if self.granted and deed in self.granted:
            base = GRANTED / len(self.granted)
        else:
            base = (1 - GRANTED if self.granted else 1.0) / VOCABULARY
        return self.baseline.deeds.share(deed, base) if self.baseline is not None else base

    def step(self, last: str, deed: str) -> float:
        """Return how probable a deed is after another."""
        first = self.deed(deed)
        known = self.baseline.steps.get(last) if self.baseline is not None else None
        return known.share(deed, first) if known is not None else first

    def at_work(self, at: dt.datetime) -> float:
        """Return how probable it is that one of them works in this hour."""
        return self.baseline.week.probability(at, AT_WORK) if self.baseline is not None else AT_WORK

    def refused(self) -> float:
        """Return which share of what is asked for is refused."""
        return self._share("denied", REFUSED)

    def outside(self) -> float:
        """Return which share of what is asked for nobody had given."""
        return self._share("outside", OUTSIDE)

    def pace(self) -> Usual:
        """Return how many calls they make in a window."""
        return self.baseline.pace.usual(PACE) if self.baseline is not None else PACE

    def volume(self, deed: str) -> Usual:
        """Return how many bytes a deed's answers have."""
        found = self.baseline.volumes.get(deed) if self.baseline is not None else None
        return found.usual(VOLUME) if found is not None else VOLUME

    def spend(self) -> Usual:
        """Return what a call costs, in thousandths."""
        return self.baseline.spend.usual(SPEND) if self.baseline is not None else SPEND

    def _known(self, which: str) -> Known | None:
        found = getattr(self.baseline, which) if self.baseline is not None else None
        return found if isinstance(found, Known) else None

    def _share(self, which: str, base: float) -> float:
        if self.baseline is None:
            return base
        denials = self.baseline.denials
        return float((getattr(denials, which) + WEIGHT * base) / (denials.calls + WEIGHT))
