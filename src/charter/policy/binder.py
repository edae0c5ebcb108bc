"""Binds charters one after the other, and each pattern of them once.

Two charters that differ only in what policy never reads (name, owner, purpose, approval, dates) come to the same
authority. It is bound for nobody when the first of them is met, and held by all. So binding one more principal costs
microseconds, and an estate's policies take memory by its patterns, not by its principals.

INVARIANT: what tells charters apart is everything that stands in them but OWN: a field that is added to charters counts
until it is named there.
INVARIANT: a principal that a guardrail names is bound by itself, for the guardrail may concern it alone; so is one with
Cedar of its own beside its charter, which is written for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from charter.core.errors import CharterError
from charter.policy.engine import Engine
from charter.policy.grant import Sources
from charter.policy.guardrail import Guardrail
from charter.policy.held import EVERYWHERE, NOBODY
from charter.policy.slice import Authority, Slice, bind_authority, bind_slice
from charter.registry.central import Central
from charter.registry.charter import Charter
from charter.registry.system import System

OWN = frozenset({"principal", "owner", "purpose", "approved", "credential", "review", "expires"})
_CEDAR = "policy"  # where a charter is kept with the Cedar that stands beside it
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Kept(Protocol):
    """A charter as it is kept: its canonical JSON, read only where it must be."""

    @property
    def body(self) -> str:
        """The canonical JSON."""
        ...

    @property
    def digest(self) -> str:
        """Its digest."""
        ...

    @property
    def charter(self) -> Charter:
        """The charter, read from it."""
        ...

    @property
    def sources(self) -> Sources:
        """Where its parts stand."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What charters are bound among."""

    systems: Mapping[str, System]
    guardrails: Sequence[Guardrail]
    engine: Engine
    central: Central


class Binder:
    """Binds charters among the same surroundings; remembers the authorities it has shared until told to forget."""

    def __init__(self, among: Surroundings) -> None:
        self._among = (among.systems, among.guardrails, among.engine, among.central)
        named = (each.mentions.entities for each in among.guardrails)
        self._named = {name for entities in named for kind, name in entities if kind == "Charter::Principal"}
        self._shared: dict[bytes, Authority] = {}
        self._keys: dict[int, bytes] = {}  # of an authority, by its identity

    def slice(self, principal: str, team: str, kept: Kept) -> Slice:
        """Return the slice of a principal of a team, whose charter is kept so.

        Raises:
            CharterError: it cannot be bound.
        """
        key = self.shared_key(principal, kept.body)
        if key is None:
            return bind_slice(kept.charter, kept.sources, *self._among)
        authority = self._shared.get(key)
        if authority is None:
            try:
                nobodys = kept.charter.model_copy(update={"principal": NOBODY})
                authority = bind_authority(nobodys, EVERYWHERE, *self._among)
            except CharterError:  # told again, with the places in its own file
                return bind_slice(kept.charter, kept.sources, *self._among)
            self._shared[key] = authority
            self._keys[id(authority)] = key
        return Slice(principal, team, kept.digest, authority, kept.sources)

    def shared_key(self, principal: str, body: str) -> bytes | None:
        """Return what a charter, as canonical JSON, shares with all of the same authority; None: with none."""
        members = _members(body)
        return None if principal in self._named or _CEDAR in members else _key(members)

    def forget(self, authority: Authority) -> None:
        """Share `authority` no more."""
        key = self._keys.pop(id(authority), None)
        if key is not None:
            del self._shared[key]


def _key(members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return what two charters have in common exactly if they come to the same authority."""
    return b"\n".join([name.encode() + b":" + bytes(raw) for name, raw in members.items() if name not in OWN])
