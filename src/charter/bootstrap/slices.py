"""Policy slices, bound when first needed and kept in a bounded cache.

INVARIANT: a slice is used only for the charter version, systems, guardrails and central files it was bound from: it has
the charter's digest, and the cache is emptied whenever one of the others, or teams, change.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from charter.core.clock import Deadline
from charter.core.errors import CharterError, ErrorCode, IntegrityError
from charter.core.values import Source
from charter.policy.binder import Binder, Surroundings
from charter.policy.central import central_guardrails
from charter.policy.engine import Engine
from charter.policy.entitlement import bind_person
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.slice import Authority, Slice, bind_slice
from charter.registry.central import NOTHING, Central
from charter.registry.estate import TextFile
from charter.registry.principal import LiveEstate, Principal
from charter.registry.record import KeptCharter
from charter.registry.system import System
from charter.registry.team import Teams

MAX_AUTHORITIES = 4_000  # at about 60 kB each; those who hold one take 0.3 kB each
MAX_PEOPLE = 4_000
_TEAMS = Source("teams.yaml", 1)
_CEILING = "delegation.ceiling"


class SliceCache:
    """Satisfies gateway.facts.Slices."""

    def __init__(
        self,
        live: LiveEstate,
        engine: Engine,
        *,
        load: Callable[[Principal], KeptCharter],
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
        self._binder = Binder(Surroundings({}, (), engine, NOTHING))
        self._bound: dict[str, Slice] = {}  # by principal id
        self._held: OrderedDict[int, tuple[Authority, list[str]]] = OrderedDict()  # authorities, and who holds them
        self._people: OrderedDict[tuple[str, str, tuple[str, ...]], Slice | None] = OrderedDict()

    def of(self, principal: Principal) -> Slice:
        """Return the slice of the charter version `principal` acts under.

        Raises:
            CharterError: it cannot be bound; nothing is allowed then.
        """
        with self._lock:
            self._follow()
            found = self._bound.get(principal.id)
            if found is None or found.charter != principal.digest:
                found = self._bind(principal, self._load(principal))
            return found

    def prepare(self, kept: Iterable[tuple[str, KeptCharter]], *, deadline: Deadline) -> int:
        """Bind charters before they are asked for, as many as there is time for; return how many.

        One that cannot be bound is left to its first call, which is denied for it.
        """
        count = 0
        for principal_id, charter in kept:
            if deadline.is_past:
                break
            principal = self._live.principals.get(principal_id)
            if principal is None or principal.digest != charter.digest:
                continue
            with self._lock, contextlib.suppress(CharterError):
                self._follow()
                self._bind(principal, charter)
                count += 1
        return count

    def _bind(self, principal: Principal, kept: KeptCharter) -> Slice:
        """Bind and remember; if there are too many authorities, forget the oldest, with those who hold it."""
        if kept.digest != principal.digest:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"the charter kept for `{principal.name}` is not the one it acts under",
                help="charter plan shows what was altered, and charter apply restores it",
            )
        kept = replace(kept, digest=principal.digest)  # one object for what is equal
        found = self._binder.slice(principal.name, principal.owner_team, kept)
        self._bound[principal.id] = found
        _, holders = self._held.setdefault(id(found.authority), (found.authority, []))
        holders.append(principal.id)
        if len(self._held) > MAX_AUTHORITIES:
            _, (authority, holders) = self._held.popitem(last=False)
            self._binder.forget(authority)
            for each in holders:
                if (held := self._bound.get(each)) is not None and held.authority is authority:
                    del self._bound[each]
        return found

    def own_of(self, principal: Principal) -> Slice:
        """Return a principal's slice bound by itself, its grants with their texts; nothing of it is kept.

        Raises:
            CharterError: it cannot be bound.
        """
        kept = self._load(principal)
        with self._lock:
            self._follow()
            return bind_slice(kept.charter, kept.sources, *self._surroundings)

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
            if len(self._people) > MAX_PEOPLE:
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

    @property
    def _surroundings(self) -> tuple[dict[str, System], tuple[Guardrail, ...], Engine, Central]:
        return self._systems, self._guardrails, self._engine, self._central

    def guardrails(self) -> tuple[Guardrail, ...]:
        """Return the guardrails in force, those that central files make first.

        Raises:
            CharterError: a file of theirs cannot be read any more.
        """
        with self._lock:
            self._follow()
            return self._guardrails

    def _follow(self) -> None:
        """Forget everything bound if systems, guardrails or central files changed since."""
        generation = self._live.policy_generation
        if generation == self._generation:
            return
        self._bound.clear()
        self._held.clear()
        self._people.clear()
        self._teams = self._load_teams()
        own = (parse_guardrails(file.path, file.text, self._engine) for file in self._load_guardrails())
        self._central = self._live.central
        self._guardrails = (*central_guardrails(self._central, self._engine), *(each for some in own for each in some))
        self._systems = {name: record.system for name, record in self._live.systems.items()}
        self._binder = Binder(Surroundings(*self._surroundings))
        self._generation = generation
