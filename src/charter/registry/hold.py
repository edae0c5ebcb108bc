"""Holds: what lowers a standing without a person, and until one has looked at why.

Each hold rests on a finding, and leaves a *floor*: the best standing there is meanwhile. People choose a standing as
always. What counts is the worst of what people chose and of all floors.

INVARIANT: the end of a hold gives back what that hold took, and nothing else: not what a person chose before or since,
nor what another hold takes.
INVARIANT: revoked and retired are final, and need no holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from charter.core.canonical import canonical
from charter.registry.standing import Standing

_WORSE = (Standing.ACTIVE, Standing.RESTRAINED, Standing.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a principal: the standing that people chose, and the floor that each open finding leaves."""

    chosen: Standing
    floors: Mapping[str, Standing] = field(default_factory=dict)  # by finding: fnd_…

    @property
    def standing(self) -> Standing:
        """What counts."""
        if self.chosen not in _WORSE:
            return self.chosen
        return max((self.chosen, *self.floors.values()), key=_WORSE.index)

    def with_floor(self, finding: str, floor: Standing) -> Held:
        """Return it with one more hold, or a hold that leaves less; none becomes milder."""
        known = self.floors.get(finding, floor)
        return Held(self.chosen, dict(self.floors) | {finding: max(known, floor, key=_WORSE.index)})

    def without(self, finding: str) -> Held:
        """Return it without the hold that rests on `finding`."""
        return Held(self.chosen, {name: floor for name, floor in self.floors.items() if name != finding})


def write_held(held: Held | None) -> str | None:
    """Return a principal's holds as they are kept."""
    if held is None:
        return None
    floors = {finding: floor.value for finding, floor in held.floors.items()}
    return canonical({"chosen": held.chosen.value, "floors": floors}).decode()


def read_held(text: str | None) -> Held | None:
    """Return the holds that `write_held` wrote."""
    if text is None:
        return None
    found = json.loads(text)
    floors = {finding: Standing(floor) for finding, floor in found["floors"].items()}
    return Held(Standing(found["chosen"]), floors)
