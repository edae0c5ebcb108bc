"""Delegations as people draw them: from each initiator down to whoever acts for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Branch:
    """One delegation, as it is told, and those that rest on it."""

    delegation: Mapping[str, Any]
    branches: list[Branch] = field(default_factory=list)


def grown(told: Iterable[Mapping[str, Any]]) -> dict[str, list[Branch]]:
    """Return the delegations, each beneath what it rests on, by who began them; each has `id`, `rests_on`, `initiator`.

    What rests on one that is not among them stands where that one would.
    """
    found = {each["id"]: Branch(each) for each in told}
    roots: dict[str, list[Branch]] = {}
    for branch in found.values():
        above = found.get(branch.delegation["rests_on"])
        (above.branches if above else roots.setdefault(branch.delegation["initiator"], [])).append(branch)
    return roots
