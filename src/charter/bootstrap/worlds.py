"""Estates to put calls to: as registered now, as some files say, and as it stood when an entry of the log was made.

Each binds policies as the gateway does (slices.py), by an engine of its own, so that asking what would be never touches
what is. What decides and is of no estate stays as it is now: the directory's groups, and the delegations that are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from charter.adapters.cedar import CedarEngine
from charter.bootstrap.slices import SliceCache
from charter.core.canonical import canonical
from charter.core.errors import AbsentError, ErrorCode, IntegrityError
from charter.gateway.recorded import RecordedCall
from charter.gateway.replay import Case, World, case_of
from charter.policy.shadow import CompiledEngine, Disagreement
from charter.registry.central import Central, read_central
from charter.registry.charter import Charter
from charter.registry.delegation import Chain
from charter.registry.directory import Directory
from charter.registry.estate import Estate, TextFile
from charter.registry.history import SYSTEM, Held
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.record import KeptCharter, PartKind
from charter.registry.standing import Standing
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.terms import terms_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

Load = Callable[[Principal], KeptCharter]


def engine() -> CompiledEngine:
    """Return an engine of its own."""
    return CompiledEngine(CedarEngine(), _disagreed)


def _disagreed(found: Disagreement) -> None:
    raise IntegrityError(
        ErrorCode.BAD_ESTATE, f"the compiled policies of `{found.principal}` and Cedar do not agree on `{found.action}`"
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything of an estate that decides, but its charters."""

    systems: dict[str, System]
    guardrails: tuple[TextFile, ...]
    central: Central
    teams: Teams


def world(
    principals: Sequence[Principal], around: Surroundings, load: Load, by: CompiledEngine, people: Directory
) -> World:
    """Return the world that these make."""
    live = LiveEstate(central=around.central, directory=people)
    for name, system in around.systems.items():
        live.systems[name] = SystemRecord(name, 1, "", Standing.ACTIVE, system)
    for principal in principals:
        live.principals[principal.id] = principal
        live.ids[principal.name] = principal.id
    slices = SliceCache(live, by, load=load, guardrails=lambda: around.guardrails, teams=lambda: around.teams)
    return World(live.principals, live.ids, around.systems, slices, by)


def of_files(estate: Estate, by: CompiledEngine, house: House | None = None) -> World:
    """Return the world that an estate's files make. Who is registered in `house` keeps its id, and people theirs."""
    known = house.live.ids if house else {}
    charters = {known.get(name, f"file:{name}"): part for name, part in estate.charters.items()}
    principals = [principal_of(each, part.value) for each, part in charters.items()]

    def load(principal: Principal) -> KeptCharter:
        part = charters[principal.id]
        return KeptCharter(principal.digest, canonical(part.value.to_json()).decode(), part.sources)

    systems = {name: part.value for name, part in estate.systems.items()}
    around = Surroundings(systems, estate.guardrails, estate.central, estate.teams.value)
    return world(principals, around, load, by, house.live.directory if house else Directory())


def principal_of(id: str, charter: Charter) -> Principal:  # noqa: A002 - the identity's own word
    """Return the principal that a charter describes, under an id."""
    return Principal(
        id=id,
        name=charter.principal,
        spiffe_id="",
        kind=charter.kind,
        environment=charter.environment,
        owner_person=charter.owner.person,
        owner_team=charter.owner.team,
        standing=Standing.ACTIVE,
        epoch=0,
        version=0,
        digest=charter.digest,
        expires=charter.expires,
        terms=terms_of(charter.credential),
    )


def registered(house: House, by: CompiledEngine, instead: Charter | None = None) -> World:
    """Return the world that is registered now, one charter replaced by `instead`; who is retired is not in it."""

    def read(tx: HouseTransaction) -> tuple[tuple[TextFile, ...], Teams]:
        return tx.registry.guardrails(), tx.registry.teams()

    guardrails, teams = house.database.read(read)
    live = house.live
    systems = {name: each.system for name, each in live.systems.items() if each.standing is Standing.ACTIVE}
    around = Surroundings(systems, guardrails, live.central, teams)
    principals = [each for each in live.principals.values() if each.standing is not Standing.RETIRED]
    if instead is None:
        return world(principals, around, _loader(house), by, live.directory)
    principals = [
        replace(each, digest=instead.digest) if each.name == instead.principal else each for each in principals
    ]
    return world(principals, around, _loader(house, instead), by, live.directory)


def _loader(house: House, instead: Charter | None = None) -> Load:
    def load(principal: Principal) -> KeptCharter:
        if instead is not None and principal.name == instead.principal:
            return KeptCharter(instead.digest, canonical(instead.to_json()).decode(), {})
        return house.database.read(lambda tx: tx.registry.kept_charter(principal.id, principal.version))

    return load


@dataclass(slots=True)
class Past:
    """The estate as it stood at entries of this node's log, as far back as it is kept."""

    house: House
    by: CompiledEngine
    _moves: list[int] = field(default_factory=list)  # indices at which something came to hold or ceased
    _known: dict[int, World | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        node = self.house.database.node
        self._moves = self.house.database.read(lambda tx: tx.registry.moves_of(node))

    def case(self, call: RecordedCall, chain: Chain | None) -> Case | None:
        """Return a recorded call before the policies that held then; None if they are not kept."""
        around = self._around(call)
        if around is None:
            return None
        versions = dict(call.asked.parties) or {call.principal: call.version}
        try:
            parties = [self._party(name, version) for name, version in versions.items()]
        except (AbsentError, IntegrityError):
            return None
        people = {each.id: each for each in parties}
        then = replace(around, principals=people, ids={each.name: each.id for each in parties})
        found = case_of(call, then, chain)
        return found if isinstance(found, Case) else None

    def _party(self, name: str, version: int) -> Principal:
        principal = self.house.principal(name)
        kept = self.house.database.read(lambda tx: tx.registry.kept_charter(principal.id, version))
        charter = kept.charter
        return replace(principal, version=version, digest=kept.digest, owner_team=charter.owner.team)

    def _around(self, call: RecordedCall) -> World | None:
        """Return what held around the charters then, without principals; None if it is not kept."""
        state = bisect_right(self._moves, call.index)
        if state not in self._known:
            self._known[state] = self._read(call)
        return self._known[state]

    def _read(self, call: RecordedCall) -> World | None:
        node = self.house.database.node
        held = self.house.database.read(lambda tx: tx.registry.held_at(node, call.index, call.at))
        if not any(each.kind == PartKind.TEAMS.value for each in held):  # each estate has one: the past is not kept
            return None
        return world((), _surroundings(held), _loader(self.house), self.by, self.house.live.directory)


def _surroundings(held: Sequence[Held]) -> Surroundings:
    def files(kind: PartKind) -> tuple[TextFile, ...]:
        return tuple(TextFile(each.name, each.body) for each in held if each.kind == kind.value)

    systems = {each.name: System.model_validate_json(each.body) for each in held if each.kind == SYSTEM}
    (teams,) = (Teams.model_validate_json(each.text) for each in files(PartKind.TEAMS))
    return Surroundings(systems, files(PartKind.GUARDRAIL), read_central(files(PartKind.RULES)), teams)
