"""What was met before, in bounded memory, and how probable it is to meet something new.

A principal that works through new objects all day is not told of each; one that met the same three for a month is. So
the surprise of a new thing rests on how often new things came, not on a list alone: with `fresh` new ones in `total`
meetings, and a prior of `WEIGHT` meetings of peers, p(new) = (fresh + WEIGHT * prior) / (total + WEIGHT).

INVARIANT: at most `room` names are kept; what was not met for longest goes. What went comes back as new, which raises
`fresh`: a principal with more objects than there is room for is surprised by none of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WEIGHT = 8.0
FADES_AT = 4096.0  # meetings, from which on the older half counts half


@dataclass(slots=True)
class Known:
    """Names met, each with how often."""

    room: int
    names: OrderedDict[str, float] = field(default_factory=OrderedDict)
    total: float = 0.0
    fresh: float = 0.0

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def meet(self, name: str, *, is_fresh: bool = True) -> None:
        """Take note that `name` was met; one that is new here is no news (not `is_fresh`) where others know it."""
        if name in self.names:
            self.names.move_to_end(name)
            self.names[name] += 1
        else:
            self.fresh += is_fresh
            self.names[name] = 1
            if len(self.names) > self.room:
                self.names.popitem(last=False)
        self.total += 1
        if self.total >= FADES_AT:
            self.total, self.fresh = self.total / 2, self.fresh / 2
            for each in self.names:
                self.names[each] /= 2

    def newness(self, prior: float) -> float:
        """Return how probable it is that the next thing is a new one; `prior` is so of peers."""
        return (self.fresh + WEIGHT * prior) / (self.total + WEIGHT)

    def share(self, name: str, prior: float) -> float:
        """Return how probable it is that the next thing is `name`; `prior` is so of peers."""
        return (self.names.get(name, 0.0) + WEIGHT * prior) / (self.total + WEIGHT)

    def most(self, count: int) -> list[tuple[str, float]]:
        """Return what is met most often."""
        return sorted(self.names.items(), key=lambda each: (-each[1], each[0]))[:count]

    def to_json(self) -> list[Any]:
        """Return what `known_from` reads."""
        return [round(self.total, 3), round(self.fresh, 3), [[name, round(n, 3)] for name, n in self.names.items()]]


def known_from(told: Any, room: int) -> Known:  # noqa: ANN401 - JSON
    """Return what `to_json` wrote."""
    total, fresh, names = told
    pairs: Iterable[tuple[str, float]] = ((str(name), float(count)) for name, count in names[-room:])
    return Known(room, OrderedDict(pairs), float(total), float(fresh))
