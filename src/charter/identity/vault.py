"""The vault: secrets that Charter holds for upstream systems, so that no agent and no estate file does.

A secret has a name, is sealed, and is bound to the systems it is for and to where each of them leads
(registry/destination.py). It is put in by the operator, read from standard input, and never shown again to anyone.

INVARIANT: a seal is bound to name, version and bindings: rows that are swapped, rolled back apart from their seal, or
given other bindings do not open.
INVARIANT: `use` is the only way a secret leaves, and only for a system it is bound to that leads where it led then.
INVARIANT: no evidence, listing or error holds a secret, or anything computed from one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from charter.core.canonical import digest_of
from charter.core.errors import (
    AbsentError,
    ConflictError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
)
from charter.core.values import Secret, parse_name
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.sealing import Sealer
from charter.registry.destination import destination_of
from charter.registry.principal import LiveEstate, SystemRecord

FEED_KIND = "vault"
MAX_SECRET = 16_384  # bytes
MAX_SECRETS = 10_000
MAX_SYSTEMS = 64


@dataclass(frozen=True, slots=True)
class VaultSecret:
    """One secret as it is kept. `bindings` is system -> the destination it had."""

    name: str
    sealed: str
    version: int
    bindings: Mapping[str, str]
    created_at: dt.datetime
    changed_at: dt.datetime
    changed_by: str

    @property
    def context(self) -> str:
        """What the seal is bound to."""
        return f"charter/vault/{self.name}/{self.version}/{digest_of(dict(self.bindings))}"

    def to_json(self) -> dict[str, Any]:
        """Return what may be told of it."""
        return {
            "name": self.name,
            "version": self.version,
            "systems": dict(self.bindings),
            "changed_by": self.changed_by,
        }


class VaultStore(Protocol):
    """Where the vault's secrets are kept."""

    def all(self) -> Sequence[VaultSecret]:
        """Return every one, by name."""
        ...

    def get(self, name: str) -> VaultSecret | None:
        """Return the one called `name`."""
        ...

    def put(self, secret: VaultSecret) -> None:
        """Keep it, in place of the one of the same name."""
        ...

    def remove(self, name: str) -> None:
        """Forget it."""
        ...

    def count(self) -> int:
        """Return how many there are."""
        ...


class VaultWork(Transaction, Protocol):
    """The slice of the work that the vault needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def vault(self) -> VaultStore:
        """Where secrets are kept."""
        ...


@dataclass(frozen=True, slots=True)
class _Open:
    """One secret in memory, ready to use."""

    kept: VaultSecret
    secret: Secret | None = field(repr=False)  # None: it does not open


class Vault:
    """The vault's secrets in memory: read once, replaced after each change is durable."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._now: Mapping[str, _Open] = {}

    def open(self, secrets: Sequence[VaultSecret]) -> None:
        """Hold exactly `secrets`. One that does not open stops those who need it, and nobody else."""
        self._now = {kept.name: _Open(kept, self._opened(kept)) for kept in secrets}

    def use(self, name: str, record: SystemRecord) -> Secret:
        """Return the secret `name` for the system of `record`.

        Raises:
            AbsentError: there is no such secret.
            DeniedError: it is not for this system, or the system leads elsewhere than when it was bound.
            IntegrityError: it was altered where it is kept.
        """
        return self.kept(name, record)[1]

    def kept(self, name: str, record: SystemRecord) -> tuple[int, Secret]:
        """Return version and value of the secret `name`, for who must know that it changed. Raises as `use` does."""
        found = self._now.get(name)
        if found is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_SECRET,
                f"the vault holds no secret {name[:80]!a}, which the system `{record.name}` needs",
                help=f"put it in: charter vault set {name} --for {record.name}",
            )
        bound = found.kept.bindings.get(record.name)
        if bound is None:
            raise DeniedError(
                ErrorCode.NOT_BOUND_TO_SYSTEM,
                f"the secret `{name}` is not for the system `{record.name}`",
                help=f"whoever answers for it can say so: charter vault bind {name} --for {record.name}",
            )
        if bound != destination_of(record.system):
            raise DeniedError(
                ErrorCode.NOT_BOUND_TO_SYSTEM,
                f"the system `{record.name}` leads elsewhere than when the secret `{name}` was bound to it",
                help=f"check where it leads now, then: charter vault bind {name} --for {record.name}",
            )
        if found.secret is None:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"the secret `{name}` was altered where it is kept, and does not open",
                help=f"find out who did it, then put it in anew: charter vault set {name}",
            )
        return found.kept.version, found.secret

    def generation(self, name: str) -> int:
        """Return the version of the secret `name`, 0 if there is none: what was made with another one is stale."""
        found = self._now.get(name)
        return found.kept.version if found else 0

    # --- changing ---

    def put(self, tx: VaultWork, name: str, secret: Secret, systems: Sequence[str], *, actor: str) -> VaultSecret:
        """Put `secret` in under `name`, for `systems`; without any, for those that it was for before. A work.

        Raises:
            MalformedError: the name, the secret or the systems do not fit.
            AbsentError: a system is not registered.
            ConflictError: the vault is full.
        """
        parse_name(name, "secret's name")
        _check(secret)
        known = tx.vault.get(name)
        if known is None and tx.vault.count() >= MAX_SECRETS:
            raise ConflictError(
                ErrorCode.TOO_MANY, f"the vault holds {MAX_SECRETS} secrets already", help="remove some"
            )
        if known is None and not systems:
            raise MalformedError(
                ErrorCode.BAD_VALUE, "a secret needs a system that it is for", help="name it with --for SYSTEM"
            )
        bindings = _bindings(tx.live, systems) if systems or known is None else known.bindings
        fresh = VaultSecret(
            name=name,
            sealed="",
            version=known.version + 1 if known else 1,
            bindings=bindings,
            created_at=known.created_at if known else tx.at,
            changed_at=tx.at,
            changed_by=actor,
        )
        return self._keep(tx, fresh, secret, "replaced" if known else "added")

    def bind(self, tx: VaultWork, name: str, systems: Sequence[str], *, actor: str) -> VaultSecret:
        """Let the secret `name` be for `systems`, as they lead now, and for no others. A work.

        Raises:
            AbsentError: there is no such secret or system.
        """
        known = _known(tx, name)
        secret = self._sealer.unseal(known.sealed, known.context)
        bindings = _bindings(tx.live, systems)
        fresh = replace(known, bindings=bindings, version=known.version + 1, changed_at=tx.at, changed_by=actor)
        return self._keep(tx, fresh, secret, "bound")

    def remove(self, tx: VaultWork, name: str, *, actor: str, reason: str) -> VaultSecret:
        """Forget the secret `name`. A work.

        Raises:
            AbsentError: there is none.
        """
        known = _known(tx, name)
        tx.vault.remove(name)
        _record(tx, known, "removed", actor, reason)

        def show() -> None:
            self._now = {key: value for key, value in self._now.items() if key != name}

        tx.after_commit(show)
        return known

    def _opened(self, kept: VaultSecret) -> Secret | None:
        try:
            return self._sealer.unseal(kept.sealed, kept.context)
        except IntegrityError:
            return None

    def _keep(self, tx: VaultWork, fresh: VaultSecret, secret: Secret, what: str) -> VaultSecret:
        kept = replace(fresh, sealed=self._sealer.seal(secret, fresh.context))
        tx.vault.put(kept)
        _record(tx, kept, what, kept.changed_by, what)

        def show() -> None:
            self._now = {**self._now, kept.name: _Open(kept, secret)}

        tx.after_commit(show)
        return kept


def _check(secret: Secret) -> None:
    size = len(secret.reveal())
    if not 1 <= size <= MAX_SECRET:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"a secret is 1 to {MAX_SECRET} bytes long", help="send it on standard input"
        )


def _bindings(live: LiveEstate, systems: Sequence[str]) -> dict[str, str]:
    """Return where each of `systems` leads now."""
    if len(systems) > MAX_SYSTEMS:
        raise MalformedError(ErrorCode.BAD_VALUE, f"a secret is for at most {MAX_SYSTEMS} systems")
    found: dict[str, str] = {}
    for name in systems:
        record = live.systems.get(name)
        if record is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_SYSTEM,
                f"there is no system {name[:80]!a}",
                help="apply its file first: charter apply",
            )
        found[name] = destination_of(record.system)
        if not found[name]:
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"the system `{name}` leads nowhere", help="write `upstream` into its file"
            )
    return found


def _known(tx: VaultWork, name: str) -> VaultSecret:
    known = tx.vault.get(name)
    if known is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_SECRET, f"the vault holds no secret {name[:80]!a}", help="charter vault ls shows them"
        )
    return known


def _record(tx: VaultWork, kept: VaultSecret, what: str, actor: str, reason: str) -> None:
    body = {
        "secret": kept.name,
        "what": what,
        "version": kept.version,
        "systems": dict(kept.bindings),
        "reason": reason,
    }
    tx.record(Draft(EntryKind.VAULT_CHANGED, actor, None, body))
    tx.changed(FEED_KIND, kept.name, actor=actor, reason=reason)
