"""The risk tier of a principal: an addition anyone can do by hand, from its charter and what that charter reaches.

    changes state      2   it may do something that writes
    irreversibly       2   … and that cannot be undone
    data               0-3 the highest level among the classes it touches: public, internal, confidential, restricted
    environment        0-3 sandbox 0, staging 1, production 3
    autonomy           0-3 how much its kind does without a person; 1 less if a person says yes to each change it makes
    untrusted content  3   it reads what strangers wrote: a system marked `untrusted`, or the open web

    low 0-4    medium 5-8    high 9-13    critical 14-16

Pure: the same charter, systems and classes give the same points. `docs/estate.md` shows the table to its readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.registry import prose
from charter.registry.charter import Charter, Effect, Environment, Kind
from charter.registry.data_class import DataClasses, Level
from charter.registry.reach import reached
from charter.registry.system import System


class Tier(StrEnum):
    """How much harm a principal could do, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


CHANGES = 2
IRREVERSIBLE = 2
UNTRUSTED = 3
DATA = {Level.PUBLIC: 0, Level.INTERNAL: 1, Level.CONFIDENTIAL: 2, Level.RESTRICTED: 3}
ENVIRONMENT = {Environment.SANDBOX: 0, Environment.STAGING: 1, Environment.PRODUCTION: 3}
AUTONOMY = {
    Kind.COPILOT: 0,
    Kind.SAAS_FEATURE: 1,
    Kind.MODEL_INTEGRATION: 1,
    Kind.DEVELOPER_ASSISTANT: 1,
    Kind.WORKFLOW: 2,
    Kind.AGENT: 3,
    Kind.BROWSER_AGENT: 3,
}
FROM = {Tier.CRITICAL: 14, Tier.HIGH: 9, Tier.MEDIUM: 5, Tier.LOW: 0}


@dataclass(frozen=True, slots=True)
class Factor:
    """One term of the sum."""

    name: str
    points: int
    why: str


@dataclass(frozen=True, slots=True)
class Risk:
    """A principal's tier, and the sum it comes from."""

    factors: tuple[Factor, ...]

    @property
    def points(self) -> int:
        """The sum."""
        return sum(factor.points for factor in self.factors)

    @property
    def tier(self) -> Tier:
        """The tier that the sum falls into."""
        points = self.points
        return next(tier for tier, least in FROM.items() if points >= least)

    @property
    def sentence(self) -> str:
        """The sum in one line: `high: 13 = 2 changes state + 2 irreversibly + …`; terms of nothing are left out."""
        return prose.risk(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in answers and plans."""
        factors = [{"name": f.name, "points": f.points, "why": f.why} for f in self.factors]
        return {"tier": self.tier.value, "points": self.points, "factors": factors}


def risk_of(charter: Charter, systems: Mapping[str, System], classes: DataClasses) -> Risk:
    """Return the risk of `charter` among `systems`; a grant on a system that is not there reaches nothing."""
    return Risk(tuple(_factors(charter, systems, classes)))


def _factors(charter: Charter, systems: Mapping[str, System], classes: DataClasses) -> Iterator[Factor]:
    found = list(reached(charter, systems))
    effects = {each.effect for each in found}
    changes = effects - {Effect.READ}
    yield Factor("changes state", CHANGES if changes else 0, "an action it may do writes" if changes else "it reads")
    final = Effect.IRREVERSIBLE in effects
    why = "an action it may do cannot be undone" if final else "what it does can be undone"
    yield Factor("irreversibly", IRREVERSIBLE if final else 0, why)
    yield _data(sorted({name for each in found for name in each.system.data_of(each.action)}), classes)
    yield Factor("environment", ENVIRONMENT[charter.environment], f"it runs in {charter.environment.value}")
    asks = bool(changes) and all(each.is_asked for each in found if each.effect is not Effect.READ)
    yield _autonomy(charter.kind, asks=asks)
    yield _exposure(charter.kind, sorted({each.system.system for each in found if each.system.untrusted}))


def _data(names: list[str], classes: DataClasses) -> Factor:
    if not names:
        return Factor("data", 0, "it touches no class of data")
    worst = max(names, key=lambda name: DATA[classes.level_of(name)])
    level = classes.level_of(worst)
    known = "" if worst in classes.classes else ", since data.yaml does not say"
    return Factor("data", DATA[level], f"`{worst}` is {level.value}{known}")


def _autonomy(kind: Kind, *, asks: bool) -> Factor:
    points = AUTONOMY[kind]
    told = f"its kind is {kind.value}"
    if asks and points:
        return Factor("autonomy", points - 1, f"{told}, but a person says yes to each change")
    return Factor("autonomy", points, told)


def _exposure(kind: Kind, systems: list[str]) -> Factor:
    if systems:
        shown = ", ".join(f"`{name}`" for name in systems)
        return Factor("untrusted content", UNTRUSTED, f"strangers write what it reads in {shown}")
    if kind is Kind.BROWSER_AGENT:
        return Factor("untrusted content", UNTRUSTED, "it reads the open web")
    return Factor("untrusted content", 0, "it reads nothing that strangers wrote, as far as systems say")
