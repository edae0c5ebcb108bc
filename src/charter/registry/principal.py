"""Principals, systems and credentials as the registry keeps them, and the estate in memory that decisions read."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from charter.registry.approval import Approval
from charter.registry.central import NOTHING, Central
from charter.registry.charter import Environment, Kind
from charter.registry.composed import Composed
from charter.registry.delegation_book import DelegationBook
from charter.registry.directory import Directory
from charter.registry.hold import Held
from charter.registry.issuer import Issuers
from charter.registry.registered_client import RegisteredClient
from charter.registry.repeat import Repeat
from charter.registry.standing import Standing, Subject
from charter.registry.system import System
from charter.registry.terms import Terms


@dataclass(frozen=True, slots=True)
class Principal:
    """A registered principal: its permanent identity and the charter version it acts under."""

    id: str  # prn_…
    name: str
    spiffe_id: str
    kind: Kind
    environment: Environment
    owner_person: str
    owner_team: str
    standing: Standing
    epoch: int  # rises when authority is withdrawn; tokens from an earlier epoch are dead
    version: int  # of its charter, from 1
    digest: str  # of that version
    expires: dt.date  # the charter holds to the end of this day, UTC
    terms: Terms  # what the charter says of its credential
    held: Held | None = None  # where findings hold its standing down

    @property
    def chosen(self) -> Standing:
        """The standing that people chose; what counts is `standing`, which findings may hold down."""
        return self.held.chosen if self.held else self.standing

    def holding(self, held: Held) -> Principal:
        """Return the principal with these holds, and the standing that they leave."""
        is_held = bool(held.floors) and held.standing not in (Standing.REVOKED, Standing.RETIRED)
        return replace(self, standing=held.standing, held=held if is_held else None)

    def chosen_to_be(self, standing: Standing) -> Principal:
        """Return the principal once people chose another standing for it."""
        return self.holding(Held(standing, self.held.floors if self.held else {}))

    @property
    def subject(self) -> Subject:
        """The principal as `may_act` asks about it."""
        is_held = self.standing is Standing.SUSPENDED and self.chosen is not Standing.SUSPENDED
        return Subject(self.name, self.standing, _end_of(self.expires), self.epoch, is_held)


@lru_cache(maxsize=4096)
def _end_of(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A registered public key of exactly one principal. `thumbprint` is RFC 7638, SHA-256, base64url."""

    id: str  # crd_…
    principal_id: str
    thumbprint: str
    jwk: dict[str, str]  # public members only
    standing: Standing
    registered_at: dt.datetime
    certificate: str | None = None  # DER in base64, where it was registered with one (RFC 8705 section 2.2)
    ends_at: dt.datetime | None = None  # when it counts no more, because another took its place (identity/rotation.py)
    replaced_by: str | None = None  # thumbprint of that other one
    due_at: dt.datetime | None = None  # when a person wants it replaced, earlier than its charter does


@dataclass(frozen=True, slots=True)
class SystemRecord:
    """A registered system at one version."""

    name: str
    version: int
    digest: str
    standing: Standing
    system: System

    @property
    def subject(self) -> Subject:
        """The system as `may_act` asks about it."""
        return Subject(self.name, self.standing)


@dataclass(slots=True)
class LiveEstate:
    """The estate in memory: what decisions read. Only the database writer changes it, after its commit.

    Records are immutable and replaced whole, so a reader that holds one holds one consistent reading of it.
    """

    principals: dict[str, Principal] = field(default_factory=dict)  # by id
    ids: dict[str, str] = field(default_factory=dict)  # name -> id
    keys: dict[str, ClientKey] = field(default_factory=dict)  # by thumbprint
    thumbprints: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of a principal's keys, by its id
    public_clients: dict[str, ClientKey] = field(default_factory=dict)  # those of public clients, by thumbprint
    registered_clients: dict[str, RegisteredClient] = field(default_factory=dict)  # by client id
    spiffe_holders: dict[str, str] = field(default_factory=dict)  # another trust domain's SPIFFE ID -> who it proves
    asked: dict[str, None] = field(default_factory=dict)  # principals with keys that a person once wanted replaced
    ending: dict[str, dt.datetime] = field(default_factory=dict)  # when keys count no more, by thumbprint
    certificates: dict[str, None] = field(default_factory=dict)  # those registered, DER in base64; none is taken out
    workloads: dict[str, list[str]] = field(default_factory=dict)  # thumbprints of workloads, by `selector_key`
    revoked_tokens: dict[str, int] = field(default_factory=dict)  # token id -> when it expires, seconds since 1970
    systems: dict[str, SystemRecord] = field(default_factory=dict)  # by name
    compositions: dict[str, Composed] = field(default_factory=dict)  # those that are pinned, by principal id
    tools_pinned: dict[str, set[str]] = field(default_factory=dict)  # whose composition holds tools of a system
    central: Central = NOTHING
    issuers: Issuers = field(default_factory=lambda: Issuers(charter="v1"))
    approvals: dict[tuple[str, str], Approval] = field(default_factory=dict)  # open ones, by principal id, call digest
    repeats: dict[str, tuple[Repeat, ...]] = field(default_factory=dict)  # yeses to further calls, by principal id
    delegations: DelegationBook = field(default_factory=DelegationBook)
    directory: Directory = field(default_factory=Directory)
    policy_generation: int = 0  # rises whenever systems, guardrails, rules or teams change: bound slices are stale
    sequence: int = 0  # of the last change seen

    def put_key(self, key: ClientKey) -> None:
        """Show a client key, new or changed."""
        if key.due_at is not None:
            self.asked[key.principal_id] = None
        known = self.thumbprints.get(key.principal_id, ())
        is_new = key.thumbprint not in known
        self.keys[key.thumbprint] = key
        if is_new:
            self.thumbprints[key.principal_id] = (*known, key.thumbprint)
            self._index_workload(key)
        if key.ends_at is not None and key.standing is Standing.ACTIVE:
            self.ending[key.thumbprint] = key.ends_at
        else:
            self.ending.pop(key.thumbprint, None)
        if key.certificate is not None:
            self.certificates[key.certificate] = None
        if key.jwk.get("kty") == "public-client":
            self.public_clients[key.thumbprint] = key
        if key.jwk.get("kty") == "spiffe" and "id" in key.jwk:
            self._hold(key.jwk["id"], key)

    def _index_workload(self, key: ClientKey) -> None:
        """Let a process find the workload's selectors by the one that tells it best from others."""
        if "selectors" not in key.jwk:
            return
        conditions: dict[str, str | int] = json.loads(key.jwk["selectors"])
        name = next(each for each in _TELLING if each in conditions)
        self.workloads.setdefault(selector_key(conditions, name, conditions[name]), []).append(key.thumbprint)

    def _hold(self, spiffe_id: str, key: ClientKey) -> None:
        if key.standing is Standing.ACTIVE:
            self.spiffe_holders[spiffe_id] = key.principal_id
        elif self.spiffe_holders.get(spiffe_id) == key.principal_id:
            del self.spiffe_holders[spiffe_id]

    def put_composition(self, composed: Composed) -> None:
        """Show a pinned composition, new or changed."""
        self.drop_composition(composed.principal_id)
        self.compositions[composed.principal_id] = composed
        for system in composed.systems:
            self.tools_pinned.setdefault(system, set()).add(composed.principal_id)

    def drop_composition(self, principal_id: str) -> None:
        """Show that nothing is pinned any more."""
        known = self.compositions.pop(principal_id, None)
        for system in known.systems if known else ():
            self.tools_pinned[system].discard(principal_id)

    def keys_of(self, principal_id: str) -> tuple[ClientKey, ...]:
        """Return a principal's keys, whatever their standing, in the order they were registered."""
        return tuple(self.keys[each] for each in self.thumbprints.get(principal_id, ()))

    def principal_named(self, name: str) -> Principal | None:
        """Return the principal called `name`, if there is one."""
        found = self.ids.get(name)
        return self.principals.get(found) if found else None


def show_repeats(live: LiveEstate, principal_id: str, *, put: Repeat | None = None, drop: str = "") -> None:
    """Show one yes to further calls, new or changed, or no longer the one called `drop`."""
    gone = put.id if put is not None else drop
    left = tuple(each for each in live.repeats.get(principal_id, ()) if each.id != gone)
    live.repeats[principal_id] = (*left, put) if put is not None else left


_TELLING = ("unit", "path", "uid", "gid")


def selector_key(conditions: Mapping[str, str | int], name: str, value: str | int) -> str:
    """Return where selectors are found that say `value` for `name`, on the node that `conditions` names."""
    return f"{conditions['node']} {name} {value}"
