"""Apply: make the registry what an estate says, in one transaction, all of it or nothing.

`apply` is one work of the writer (core/work.py): it may run twice, so all it does goes through its transaction, and
memory changes only after the commit. Each applied charter is a new immutable version with its digest and a signed
envelope, and an evidence entry says who applied it, why, and what differs.

INVARIANT: what is applied is the plan that was looked at. If what is registered moved since, nothing is.
INVARIANT: applying the same estate again plans nothing, changes nothing and records nothing.
INVARIANT: a name that was withdrawn is retired for good; its tokens die with it (its epoch rises).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from charter.core.canonical import canonical
from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, ErrorCode
from charter.core.keys import Signer
from charter.core.values import Source, SpiffeId
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.registry.charter import Charter
from charter.registry.declared import Declared, declare
from charter.registry.dsse import seal_charter
from charter.registry.estate import Estate
from charter.registry.history import SYSTEM, Succession
from charter.registry.plan import Change, ChangeKind, Plan, What, parts_of
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.record import CharterVersion, EstatePart, ManagedBy
from charter.registry.standing import Move, Standing, moved
from charter.registry.terms import terms_of

_DECIDING = (What.TEAMS, What.RULES, What.GUARDRAIL)  # files that decisions rest on
_DIFFERENCES_KEPT = 20  # in one evidence entry; the digests before and after tell the rest


class Registry(Protocol):
    """What applying asks of the registry's store."""

    def state_digest(self) -> str:
        """Return the digest of what is registered now."""
        ...

    def principals_named(self, names: Sequence[str]) -> dict[str, Principal]:
        """Return those of the named principals that there are."""
        ...

    def add_principals(self, principals: Sequence[Principal], managed_by: ManagedBy, at: dt.datetime) -> None:
        """Keep new principals."""
        ...

    def update_principals(self, principals: Sequence[Principal], managed_by: ManagedBy | None = None) -> None:
        """Replace principals."""
        ...

    def put_declared(self, declared: Declared) -> None:
        """Keep declared credentials, new and changed."""
        ...

    def add_versions(self, versions: Sequence[CharterVersion]) -> None:
        """Keep new charter versions."""
        ...

    def system_heads(self) -> dict[str, tuple[int, Standing]]:
        """Return each system's newest version and its standing."""
        ...

    def put_system(
        self, record: SystemRecord, sources: Mapping[str, Source], managed_by: ManagedBy, at: dt.datetime
    ) -> None:
        """Keep a system's newest version."""
        ...

    def retire_system(self, name: str) -> None:
        """Withdraw a system."""
        ...

    def put_part(self, part: EstatePart, at: dt.datetime) -> None:
        """Keep another file of the estate."""
        ...

    def drop_part(self, path: str) -> None:
        """Forget one."""
        ...

    def keep_history(self, successions: Sequence[Succession], place: tuple[str, int], at: dt.datetime) -> None:
        """Keep what came to hold, and what ceased, at the entry `place` (node, index) of a log."""
        ...


class RegistryWork(Transaction, Protocol):
    """The slice of the work that applying needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def registry(self) -> Registry:
        """The registry's store."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply did: for each change its kind, what, name, version (0 for files, which have none) and digest."""

    plan: str  # its digest
    changes: tuple[tuple[Change, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "plan": self.plan,
            "applied": [
                {
                    "change": change.change.value,
                    "what": change.what.value,
                    "name": change.name,
                    "version": version,
                    "digest": change.after or change.before,
                }
                for change, version in self.changes
            ],
        }


def apply(  # noqa: PLR0913 - each is decided by the caller, and named there
    plan: Plan,
    estate: Estate,
    tx: RegistryWork,
    *,
    signer: Signer,
    entropy: Entropy,
    trust_domain: str,
    actor: str,
    reason: str,
    reviews: Mapping[str, dict[str, Any]] | None = None,
) -> Applied:
    """Carry out `plan`, which was made from `estate`; return what was done.

    `reviews`: by principal, what evidence says of who looked at its change.

    Raises:
        ConflictError: the files or what is registered moved since the plan was made; nothing is applied.
    """
    if plan.estate != estate.digest:
        raise ConflictError(ErrorCode.STALE, "the files changed since this was planned", help="plan again")
    if plan.base != tx.registry.state_digest():
        raise ConflictError(
            ErrorCode.STALE, "what is registered changed since this was planned", help="look at a new plan"
        )
    applying = _Applying(plan, estate, tx, signer, entropy, trust_domain, actor, reason, reviews or {})
    applying.run()
    return Applied(plan.digest, tuple(applying.done))


_KINDS = {
    What.TEAMS: (EntryKind.TEAMS_APPLIED, "teams"),
    What.ISSUERS: (EntryKind.ISSUERS_APPLIED, "issuers"),
    What.RULES: (EntryKind.RULES_APPLIED, "rules"),
    What.SYSTEM: (EntryKind.SYSTEM_APPLIED, "system"),
    What.GUARDRAIL: (EntryKind.GUARDRAILS_APPLIED, "guardrails"),
    What.PATTERN: (EntryKind.PATTERN_APPLIED, "pattern"),
    What.PRINCIPAL: (EntryKind.CHARTER_APPLIED, "principal"),
}


@dataclass(slots=True)
class _Applying:
    """One apply under way: gathers rows and writes them together, so that large estates take few statements."""

    plan: Plan
    estate: Estate
    tx: RegistryWork
    signer: Signer
    entropy: Entropy
    trust_domain: str
    actor: str
    reason: str
    reviews: Mapping[str, dict[str, Any]]
    done: list[tuple[Change, int]] = field(default_factory=list)
    added: list[Principal] = field(default_factory=list)
    changed: list[Principal] = field(default_factory=list)
    retired: list[Principal] = field(default_factory=list)
    versions: list[CharterVersion] = field(default_factory=list)
    declared: list[Declared] = field(default_factory=list)
    systems: list[SystemRecord] = field(default_factory=list)
    withdrawn_systems: list[str] = field(default_factory=list)
    successions: list[Succession] = field(default_factory=list)

    def run(self) -> None:
        """Carry out every change, write the rows, and arrange what memory shows after the commit."""
        if not self.plan.changes:
            return
        place = self.tx.place
        parts, heads = parts_of(self.estate), self.tx.registry.system_heads()
        names = [change.name for change in self.plan.changes if change.what is What.PRINCIPAL]
        known = self.tx.registry.principals_named(names)
        for change in self.plan.changes:
            match change.what:
                case What.PRINCIPAL:
                    self._principal(change, known.get(change.name))
                case What.SYSTEM:
                    self._system(change, *heads.get(change.name, (0, Standing.ACTIVE)))
                case What.TEAMS | What.ISSUERS | What.RULES | What.GUARDRAIL | What.PATTERN:
                    self._part(change, parts.get(change.name))
        self._write(place)
        self.tx.after_commit(self._show)

    # --- principals ---

    def _principal(self, change: Change, known: Principal | None) -> None:
        if change.change is ChangeKind.WITHDRAW:
            self._withdraw(change, _there(known, change))
            return
        part = self.estate.charters[change.name]
        if known is None:
            principal = self._new(part.value, change)
            self.added.append(principal)
        else:
            principal = next_version(known, part.value)
            self.changed.append(principal)
        version = CharterVersion(
            principal_id=principal.id,
            version=principal.version,
            digest=principal.digest,
            charter=part.value,
            sources=part.sources,
            envelope=seal_charter(part.value, self.signer),
            applied_at=self.tx.at,
            applied_by=self.actor,
            reason=self.reason,
        )
        self.versions.append(version)
        self._tell(change, principal.version, principal)
        by = (self.actor, self.reason)
        declared = declare(self.tx, principal, part.value, change.differences, entropy=self.entropy, by=by)
        self.declared.append(declared)

    def _new(self, charter: Charter, change: Change) -> Principal:
        spiffe = SpiffeId.of_principal(
            self.trust_domain, charter.environment.value, charter.kind.value, charter.principal
        )
        return Principal(
            id=self.entropy.identifier("prn"),
            name=charter.principal,
            spiffe_id=str(spiffe),
            kind=charter.kind,
            environment=charter.environment,
            owner_person=charter.owner.person,
            owner_team=charter.owner.team,
            standing=Standing.ACTIVE,
            epoch=1,
            version=1,
            digest=change.after or charter.digest,
            expires=charter.expires,
            terms=terms_of(charter.credential),
        )

    def _withdraw(self, change: Change, known: Principal) -> None:
        standing = moved(known.standing, Move.RETIRE, known.name)
        retired = replace(known.chosen_to_be(standing), epoch=known.epoch + 1)
        self.retired.append(retired)
        self._tell(change, known.version, retired)

    # --- systems and the other files ---

    def _system(self, change: Change, version: int, standing: Standing) -> None:
        if change.change is ChangeKind.WITHDRAW:
            self.tx.registry.retire_system(change.name)
            self.withdrawn_systems.append(change.name)
            self.successions.append(Succession(SYSTEM, change.name))
            self._tell(change, version)
            return
        part = self.estate.systems[change.name]
        stays = Standing.ACTIVE if standing is Standing.RETIRED else standing
        record = SystemRecord(change.name, version + 1, change.after or part.value.digest, stays, part.value)
        self.tx.registry.put_system(record, part.sources, ManagedBy.GIT, self.tx.at)
        self.systems.append(record)
        body = canonical(part.value.to_json()).decode()
        self.successions.append(Succession(SYSTEM, record.name, record.digest, body))
        self._tell(change, record.version)

    def _part(self, change: Change, part: EstatePart | None) -> None:
        if part is None:
            self.tx.registry.drop_part(change.name)
        else:
            self.tx.registry.put_part(part, self.tx.at)
        if change.what in _DECIDING:
            kept = (part.digest, part.body) if part else ("", None)
            self.successions.append(Succession(change.what.value, change.name, *kept))
        self._tell(change, 0)

    # --- evidence, rows, memory ---

    def _tell(self, change: Change, version: int, principal: Principal | None = None) -> None:
        """Record one change as evidence, put it into the feed, and remember it for the answer."""
        kind, fed = _KINDS[change.what]
        if principal is not None and change.change is ChangeKind.WITHDRAW:
            kind = EntryKind.CHARTER_WITHDRAWN
        body = told(change, version, principal) | {"plan": self.plan.digest, "reason": self.reason}
        if change.what is What.PRINCIPAL and change.name in self.reviews:
            body["review"] = self.reviews[change.name]
        self.tx.record(Draft(kind, self.actor, principal.id if principal else None, body))
        subject = principal.id if principal else change.name
        self.tx.changed(fed, subject, actor=self.actor, reason=self.reason)
        self.done.append((change, version))

    def _write(self, place: tuple[str, int]) -> None:
        registry = self.tx.registry
        registry.keep_history(self.successions, place, self.tx.at)
        registry.add_principals(self.added, ManagedBy.GIT, self.tx.at)
        registry.update_principals(self.changed, ManagedBy.GIT)
        registry.update_principals(self.retired)
        registry.add_versions(self.versions)
        registry.put_declared(
            Declared(
                tuple(key for each in self.declared for key in each.added),
                tuple(key for each in self.declared for key in each.changed),
            )
        )

    def _show(self) -> None:
        """Let memory show what is durable now."""
        live = self.tx.live
        for principal in (*self.added, *self.changed, *self.retired):
            live.principals[principal.id] = principal
            live.ids[principal.name] = principal.id
        for declared in self.declared:
            for key in declared.keys:
                live.put_key(key)
        for record in self.systems:
            live.systems[record.name] = record
        for name in self.withdrawn_systems:
            found = live.systems.get(name)
            if found is not None:
                live.systems[name] = replace(found, standing=Standing.RETIRED)
        if any(change.what is What.ISSUERS for change, _ in self.done):
            live.issuers = self.estate.issuers.value
        if any(change.what is What.RULES for change, _ in self.done):
            live.central = self.estate.central
        if any(change.what in (What.SYSTEM, What.GUARDRAIL, What.RULES, What.TEAMS) for change, _ in self.done):
            live.policy_generation += 1


def next_version(known: Principal, charter: Charter) -> Principal:
    """Return `known` under its next charter. Identity, standing and epoch stay."""
    return replace(
        known,
        owner_person=charter.owner.person,
        owner_team=charter.owner.team,
        version=known.version + 1,
        digest=charter.digest,
        expires=charter.expires,
        terms=terms_of(charter.credential),
    )


def told(change: Change, version: int, principal: Principal | None) -> dict[str, Any]:
    """Return what evidence says of one change."""
    body: dict[str, Any] = {
        "name": change.name,
        "change": change.change.value,
        "version": version,
        "digest": change.after,
        "before": change.before,
        "differences": [each.for_evidence() for each in change.differences[:_DIFFERENCES_KEPT]],
        "differences_in_all": len(change.differences),
    }
    if principal is not None:
        body |= {"spiffe_id": principal.spiffe_id, "standing": principal.standing.value, "epoch": principal.epoch}
    return body


def _there(known: Principal | None, change: Change) -> Principal:
    """Return the principal that the plan's base had; the base was compared, so it is there."""
    if known is None:
        raise RuntimeError(f"the plan withdraws {change.name}, which is not registered")
    return known
