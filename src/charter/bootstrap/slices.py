"""Policy slices, bound when first needed and kept in a bounded cache.

INVARIANT: a slice is used only for the charter version, systems, guardrails and central files it was bound from; the
cache is keyed by the charter's digest and emptied whenever one of the others, or teams, change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from charter.core.values import Source
from charter.policy.central import central_guardrails
from charter.policy.engine import Engine
from charter.policy.entitlement import bind_person
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.slice import Slice, bind_slice
from charter.registry.central import NOTHING, Central
from charter.registry.estate import TextFile
from charter.registry.principal import LiveEstate, Principal
from charter.registry.record import CharterVersion
from charter.registry.system import System, Teams

MAX_BOUND = 4_000  # at about 50 kB each
_TEAMS = Source("teams.yaml", 1)
_CEILING = "delegation.ceiling"


class SliceCache:
    """Satisfies gateway.facts.Slices."""

    def __init__(
        self,
        live: LiveEstate,
        engine: Engine,
        *,
        load: Callable[[Principal], CharterVersion],
        guardrails: Callable[[], Sequence[TextFile]],
        teams: Callable[[], Teams],
    ) -> None:
        self._live = live
        self._engine = engine
        self._load = load
        self._load_guardrails = guardrails
        self._load_teams = teams
        self._lock = threading.Lock()
        self._generation = -1
        self._guardrails: tuple[Guardrail, ...] = ()
        self._central: Central = NOTHING
        self._systems: dict[str, System] = {}
        self._teams = Teams(charter="v1")
        self._bound: OrderedDict[tuple[str, str], Slice] = OrderedDict()
        self._people: OrderedDict[tuple[str, str, tuple[str, ...]], Slice | None] = OrderedDict()

    def of(self, principal: Principal) -> Slice:
        """Return the slice of the charter version `principal` acts under.

        Raises:
            CharterError: it cannot be bound; nothing is allowed then.
        """
        key = (principal.id, principal.digest)
        with self._lock:
            self._follow()
            found = self._bound.get(key)
            if found is None:
                version = self._load(principal)
                surroundings = (self._systems, self._guardrails, self._engine, self._central)
                found = bind_slice(version.charter, version.sources, *surroundings)
                self._bound[key] = found
                if len(self._bound) > MAX_BOUND:
                    self._bound.popitem(last=False)
            else:
                self._bound.move_to_end(key)
            return found

    def of_person(self, person: str, borrower: Principal) -> Slice | None:
        """Return the slice of what a person may do when `borrower` acts for them; None if nothing is said of that.

        That is what their teams and roles are entitled to, where teams.yaml speaks of entitlements at all, and else the
        ceiling of the borrower's charter.

        Raises:
            CharterError: it cannot be bound; nothing is allowed then.
        """
        with self._lock:
            self._follow()
            held = self._teams.entitling(person, self._groups_of(person))
            key = (person, borrower.digest if held is None else "", held or ())
            if key in self._people:
                self._people.move_to_end(key)
                return self._people[key]
            found = self._of_ceiling(person, borrower) if held is None else self._of_entitlements(person, held)
            self._people[key] = found
            if len(self._people) > MAX_BOUND:
                self._people.popitem(last=False)
            return found

    def _groups_of(self, person: str) -> list[str]:
        directory = self._live.directory
        known = directory.with_email(person)
        return [group.display_name for group in directory.groups_of(known.id)] if known else []

    def _of_entitlements(self, person: str, held: Iterable[str]) -> Slice:
        entitlements = self._teams.entitlements or {}
        grants = [grant for name in held for grant in entitlements[name]]
        return bind_person(person, grants, {"grants": _TEAMS}, self._systems, self._engine, self._central)

    def _of_ceiling(self, person: str, borrower: Principal) -> Slice | None:
        version = self._load(borrower)
        terms = version.charter.delegation
        if terms is None or terms.ceiling is None:
            return None
        sources = {
            dotted.replace(_CEILING, "grants", 1): source
            for dotted, source in version.sources.items()
            if dotted.startswith(_CEILING)
        }
        return bind_person(person, terms.ceiling, sources, self._systems, self._engine, self._central)

    def roles_of(self, person: str) -> frozenset[str]:
        """Return the human roles that a person holds."""
        with self._lock:
            self._follow()
            return self._teams.roles_of(person)

    def _follow(self) -> None:
        """Forget everything bound if systems, guardrails or central files changed since."""
        generation = self._live.policy_generation
        if generation == self._generation:
            return
        self._bound.clear()
        self._people.clear()
        self._teams = self._load_teams()
        own = (parse_guardrails(file.path, file.text, self._engine) for file in self._load_guardrails())
        self._central = self._live.central
        self._guardrails = (*central_guardrails(self._central, self._engine), *(each for some in own for each in some))
        self._systems = {name: record.system for name, record in self._live.systems.items()}
        self._generation = generation
