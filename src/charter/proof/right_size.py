"""Right-sizing: a charter without the actions that nobody used in a period, and whether that is safe.

INVARIANT: what is proposed is the charter as it stands with actions taken out of grants, or whole grants; nothing is
added, so it can only narrow, and that is proven again all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from charter.registry.charter import EVERY_ACTION, Charter, Grant
from charter.registry.system import System


@dataclass(frozen=True, slots=True)
class Proposal:
    """A narrower charter, and what it takes away: (system, action), each as the grant that named it."""

    charter: Charter
    removed: tuple[tuple[str, str], ...]

    @property
    def is_narrower(self) -> bool:
        """Whether anything is taken away."""
        return bool(self.removed)


def proposed(charter: Charter, systems: Mapping[str, System], used: Collection[tuple[str, str]]) -> Proposal:
    """Return `charter` with those actions alone that were `used`. The Cedar beside it is left as it stands."""
    removed: list[tuple[str, str]] = []
    kept: list[Grant] = []
    for grant in charter.grants:
        system = systems.get(grant.system)
        if system is None:
            kept.append(grant)
            continue
        granted = system.granted(grant)
        left = tuple(name for name in granted if (grant.system, name) in used)
        removed += [(grant.system, name) for name in granted if name not in left]
        if left:
            is_whole = left == granted
            kept.append(grant if is_whole else grant.model_copy(update={"actions": left}))
    return Proposal(charter.model_copy(update={"grants": tuple(kept)}), tuple(dict.fromkeys(removed)))


def file_of(proposal: Proposal) -> dict[str, Any]:
    """Return the proposed charter in the shape of its file; the Cedar beside it stands in a file of its own."""
    return {name: each for name, each in proposal.charter.to_json().items() if name != "policy"}


def names_every_action(charter: Charter) -> bool:
    """Whether a grant names whatever its system has, and so would grow by itself."""
    return any(grant.actions == (EVERY_ACTION,) for grant in charter.grants)
