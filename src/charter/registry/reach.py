"""What a charter reaches: every action that a grant, or the Cedar beside it, names and that its system has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from charter.registry.charter import Charter, Effect
from charter.registry.system import System


@dataclass(frozen=True, slots=True)
class Reached:
    """One action that a charter may do."""

    system: System
    action: str
    at: str  # where the charter says so: `grants.0.actions`, `policy`
    is_asked: bool  # whether a person says yes to every such call

    @property
    def effect(self) -> Effect:
        """What the action does to the world."""
        return self.system.actions[self.action].effect


def reached(charter: Charter, systems: Mapping[str, System]) -> Iterator[Reached]:
    """Yield what `charter` reaches in `systems`; a system that is not among them adds nothing."""
    for index, grant in enumerate(charter.grants):
        system = systems.get(grant.system)
        if system is not None:
            is_asked = grant.approval is not None and not grant.approval.when
            for action in system.granted(grant):
                yield Reached(system, action, f"grants.{index}.actions", is_asked)
    for name, action in charter.policy_actions:
        found = systems.get(name)
        if found is not None and action in found.actions:
            yield Reached(found, action, "policy", is_asked=False)
