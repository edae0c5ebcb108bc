"""What a charter reaches, derived from its grants and the systems they name: never written by hand, so never stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter.registry.charter import Charter, Effect
from charter.registry.reach import reached
from charter.registry.system import System


@dataclass(frozen=True, slots=True)
class Inventory:
    """The derived inventory fields of one principal."""

    systems: tuple[str, ...]  # downstream systems, in the order the grants name them
    data: tuple[str, ...]  # classes of data that granted actions touch, sorted
    is_state_changing: bool
    is_irreversible: bool  # at least one granted action cannot be undone
    sensitive: tuple[str, ...]  # those of the systems that are sensitive

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in plans, answers and evidence."""
        return {
            "systems": list(self.systems),
            "data": list(self.data),
            "state_changing": self.is_state_changing,
            "irreversible": self.is_irreversible,
            "sensitive": list(self.sensitive),
        }

    def lines(self) -> tuple[str, ...]:
        """Return it in words, a line for each thing worth knowing."""
        changes = "irreversibly" if self.is_irreversible else "yes" if self.is_state_changing else "no"
        systems = (f"{name} (sensitive)" if name in self.sensitive else name for name in self.systems)
        return (
            f"systems: {', '.join(systems) or 'none'}",
            f"data: {', '.join(self.data) or 'none'}",
            f"changes state: {changes}",
        )


def inventory_of(charter: Charter, systems: Mapping[str, System]) -> Inventory:
    """Return what `charter` reaches in `systems`; a system that is not among them adds its name alone."""
    found = list(reached(charter, systems))
    effects = {each.effect for each in found}
    data = {name for each in found for name in each.system.data_of(each.action)}
    return Inventory(
        systems=charter.systems,
        data=tuple(sorted(data)),
        is_state_changing=bool(effects - {Effect.READ}),
        is_irreversible=Effect.IRREVERSIBLE in effects,
        sensitive=tuple(name for name in charter.systems if name in systems and systems[name].sensitive),
    )
