"""Whom a central rule is for: by kind, environment, team and tier of risk. What is not written does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from charter.registry.charter import Charter, Environment, Kind, Model, TeamName
from charter.registry.risk import Tier

_Some = Field(min_length=1, max_length=100)


class Scope(Model):
    """The principals a rule is for: those that fit all that is written; without anything, everyone."""

    kinds: Annotated[tuple[Kind, ...], _Some] | None = None
    environments: Annotated[tuple[Environment, ...], _Some] | None = None
    teams: Annotated[tuple[TeamName, ...], _Some] | None = None
    tiers: Annotated[tuple[Tier, ...], _Some] | None = None

    def covers(self, charter: Charter, tier: Tier) -> bool:
        """Whether the rule is for the principal of `charter`, whose tier is `tier`."""
        return self.fits(charter.kind, charter.environment, charter.owner.team, lambda: tier)

    def fits(self, kind: Kind, environment: Environment, team: str, tier: Callable[[], Tier]) -> bool:
        """Whether the rule is for a principal that is so; its tier is asked for where it matters."""
        pairs = ((self.kinds, kind), (self.environments, environment), (self.teams, team))
        is_one = all(wanted is None or has in wanted for wanted, has in pairs)
        return is_one and (self.tiers is None or tier() in self.tiers)

    def terms(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (attribute of the principal, values of which it must have one) for all that is written."""
        for attribute, wanted in (
            ("kind", self.kinds),
            ("environment", self.environments),
            ("team", self.teams),
            ("tier", self.tiers),
        ):
            if wanted is not None:
                yield attribute, tuple(str(each) for each in wanted)
