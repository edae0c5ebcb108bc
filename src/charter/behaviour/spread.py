"""How large something usually is: a stream's mean and variance, and how probable an amount this large is.

Amounts of data, costs and calls an hour spread over orders of magnitude, so their logarithms are what is kept. The
prediction is Student's t of a normal-inverse-gamma posterior (Murphy, "Conjugate Bayesian analysis of the Gaussian
distribution", 2007, section 3), whose prior is that of peers: with nothing known, peers decide; with much, they do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charter.behaviour.bits import above

if TYPE_CHECKING:
    from river.stats import Var

PRIOR_WEIGHT = 2.0  # observations that peers count for
PRIOR_SHAPE = 2.0
FADES_AT = 1024  # observations, from which on the older half counts half
FLOOR = 0.5  # standard deviation of the logarithm: nothing is held to less than e**0.5 up or down


@dataclass(frozen=True, slots=True)
class Usual:
    """What peers say before anything is known: of natural logarithms."""

    mean: float
    deviation: float


@dataclass(slots=True)
class Spread:
    """The logarithms of a stream of amounts, each at least 1."""

    var: Var = field(default_factory=lambda: _fresh())  # noqa: PLW0108 - it is defined below

    @property
    def count(self) -> float:
        """How many were seen, older ones counting less."""
        return float(self.var.mean.n)

    @property
    def mean(self) -> float:
        """Of the logarithms."""
        return float(self.var.mean.get())

    @property
    def deviation(self) -> float:
        """Of the logarithms, never below FLOOR."""
        return max(FLOOR, math.sqrt(max(0.0, float(self.var.get()))))

    def see(self, amount: float) -> None:
        """Take note of one amount."""
        self.var.update(math.log(max(1.0, amount)))
        if self.count >= FADES_AT:
            self.var = _restored(self.count / 2, self.mean, float(self.var.get()))

    def tail(self, amount: float, prior: Usual) -> float:
        """Return how probable an amount this large, or a larger one, is."""
        n, seen = self.count, self.mean
        weight = PRIOR_WEIGHT + n
        mean = (PRIOR_WEIGHT * prior.mean + n * seen) / weight
        shape = PRIOR_SHAPE + n / 2
        scatter = PRIOR_SHAPE * prior.deviation**2 + max(0.0, n - 1) * float(self.var.get() or 0.0) / 2
        scatter += PRIOR_WEIGHT * n * (seen - prior.mean) ** 2 / (2 * weight)
        scale = max(FLOOR, math.sqrt(scatter * (weight + 1) / (shape * weight)))
        return above(math.log(max(1.0, amount)), mean, scale, 2 * shape)

    def usual(self, otherwise: Usual) -> Usual:
        """Return what it says to others, if it saw enough to say anything."""
        return Usual(self.mean, self.deviation) if self.count >= 2 * PRIOR_WEIGHT else otherwise

    def to_json(self) -> list[float]:
        """Return what `spread_from` reads."""
        return [self.count, round(self.mean, 6), round(float(self.var.get() or 0.0), 6)]


def spread_from(told: Any) -> Spread:  # noqa: ANN401 - JSON
    """Return what `to_json` wrote."""
    count, mean, variance = (float(each) for each in told)
    return Spread(_restored(count, mean, variance) if count else _fresh())


def _fresh() -> Var:
    from river.stats import Var  # heavy, and needed by whoever watches alone

    return Var()


def _restored(count: float, mean: float, variance: float) -> Var:
    """Return the state of that many observations: two points, apart by the deviation, have the same moments."""
    found = _fresh()
    apart = math.sqrt(max(0.0, variance * (count - 1) / count))
    found.update(mean - apart, count / 2)
    found.update(mean + apart, count / 2)
    return found
