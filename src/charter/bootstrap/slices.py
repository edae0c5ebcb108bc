"""Policy slices, bound when first needed and kept in a bounded cache.

INVARIANT: a slice is used only for the charter version, systems, guardrails and central files it was bound from; the
cache is keyed by the charter's digest and emptied whenever one of the others changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from charter.policy.central import central_guardrails
from charter.policy.engine import Engine
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.slice import Slice, bind_slice
from charter.registry.central import NOTHING, Central
from charter.registry.estate import TextFile
from charter.registry.principal import LiveEstate, Principal
from charter.registry.record import CharterVersion
from charter.registry.system import System

MAX_BOUND = 4_000  # at about 50 kB each


class SliceCache:
    """Satisfies gateway.facts.Slices."""

    def __init__(
        self,
        live: LiveEstate,
        engine: Engine,
        *,
        load: Callable[[Principal], CharterVersion],
        guardrails: Callable[[], Sequence[TextFile]],
    ) -> None:
        self._live = live
        self._engine = engine
        self._load = load
        self._load_guardrails = guardrails
        self._lock = threading.Lock()
        self._generation = -1
        self._guardrails: tuple[Guardrail, ...] = ()
        self._central: Central = NOTHING
        self._systems: dict[str, System] = {}
        self._bound: OrderedDict[tuple[str, str], Slice] = OrderedDict()

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

    def _follow(self) -> None:
        """Forget everything bound if systems, guardrails or central files changed since."""
        generation = self._live.policy_generation
        if generation == self._generation:
            return
        self._bound.clear()
        own = (parse_guardrails(file.path, file.text, self._engine) for file in self._load_guardrails())
        self._central = self._live.central
        self._guardrails = (*central_guardrails(self._central, self._engine), *(each for some in own for each in some))
        self._systems = {name: record.system for name, record in self._live.systems.items()}
        self._generation = generation
