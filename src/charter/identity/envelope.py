"""Envelope encryption: secrets are sealed under data keys, and data keys are wrapped under a master key.

The master key may live in a file, the environment, a token or a cloud; it is asked when Charter starts and when keys
are rotated, never for a call. A seal is text: `v2.<id of the data key>.<base64url of nonce and ciphertext>`.

A data key is `active` (new seals are made under it), `superseded` (what it sealed still opens) and `retired` (no seal
rests on it; its wrapped form is gone). Exactly one is active.

INVARIANT: a data key is wrapped durably before anything is sealed under it, and its wrapped form is given up only in
the transaction that finds no seal resting on it. So whatever instant the power fails, every seal opens afterwards.
INVARIANT: a master that is not the one that wrapped the data keys is told by its name before anything is tried; a
wrapped key that does not open under the right master was altered.
INVARIANT: a seal names its data key and is bound to it and to its context: moved elsewhere, it does not open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, ErrorCode, IntegrityError
from charter.core.values import Secret
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.sealing import KEY_BYTES, SealBrokenError, Sealer, SealingKey

FEED_KIND = "data-key"
_FORM = "v2"
_OLD_FORM = "v1"  # sealed with the master key itself, before there were data keys


class DataKeyState(StrEnum):
    """How far a data key's life has come."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DataKey:
    """One data key as it is kept. `wrapped` is empty once it is retired."""

    id: str  # dek_…
    master: str  # the name of the master key that wrapped it
    wrapped: str
    state: DataKeyState
    created_at: dt.datetime
    wrapped_at: dt.datetime

    @property
    def context(self) -> str:
        """What the wrapping is bound to."""
        return f"charter/data-key/{self.id}"


class Master(Protocol):
    """One master key, wherever it lives."""

    @property
    def kind(self) -> str:
        """Where it lives: file, environment, systemd, pkcs11 or aws-kms."""
        ...

    @property
    def where(self) -> str:
        """Its place, for people; no secret."""
        ...

    @property
    def name(self) -> str:
        """What tells this key from every other: no secret; it stands in rows, errors and evidence."""
        ...

    def wrap(self, key: Secret, context: str) -> str:
        """Return `key` wrapped, bound to `context`. Raises UnavailableError if the master cannot be reached."""
        ...

    def unwrap(self, wrapped: str, context: str) -> Secret:
        """Return what was wrapped for `context`.

        Raises:
            SealBrokenError: it was altered, or wrapped for something else.
            UnavailableError: the master cannot be reached.
        """
        ...


class Custody(Protocol):
    """The masters this node was told of."""

    def named(self, name: str) -> Master:
        """Return the master called `name`.

        Raises:
            IntegrityError: there is none here: it was lost or exchanged.
            UnavailableError: it cannot be reached.
        """
        ...

    def first(self, *, make: bool) -> Master:
        """Return the master that new data keys are wrapped under; `make` it if it may be made here and is not there.

        Raises:
            IntegrityError: it is missing, or no fit key.
            UnavailableError: it cannot be reached.
        """
        ...

    def settle(self, name: str) -> None:
        """Take note that all data keys are under `name`: finish, or forget, a change of master that was under way."""
        ...

    def old_seals(self) -> Sealer | None:
        """Return what opens seals of the form v1, if this node holds it."""
        ...


class DataKeyStore(Protocol):
    """Where data keys are kept."""

    def all(self) -> Sequence[DataKey]:
        """Return every data key, oldest first."""
        ...

    def add(self, key: DataKey) -> None:
        """Keep a new one."""
        ...

    def update(self, key: DataKey) -> None:
        """Replace the one with the same id."""
        ...


@dataclass(frozen=True, slots=True)
class Seal:
    """One sealed value where it is kept. `place` means something to its store alone."""

    place: tuple[str, ...]
    context: str
    sealed: str


class SealStore(Protocol):
    """Every sealed value there is, in whichever table."""

    def counts(self) -> Mapping[str, int]:
        """Return how many seals rest on each data key, by its id; `v1` stands for seals of that form."""
        ...

    def not_under(self, key_id: str, limit: int) -> Sequence[Seal]:
        """Return up to `limit` seals that rest on another key than `key_id`."""
        ...

    def after(self, place: tuple[str, ...] | None, limit: int) -> Sequence[Seal]:
        """Return up to `limit` seals after `place`, in a fixed order."""
        ...

    def exchange(self, seal: Seal, sealed: str) -> bool:
        """Put `sealed` in the place of `seal` if that is still there; return whether it was."""
        ...


class SealWork(Transaction, Protocol):
    """The slice of the work that envelopes need."""

    @property
    def data_keys(self) -> DataKeyStore:
        """Where data keys are kept."""
        ...

    @property
    def seals(self) -> SealStore:
        """Every sealed value."""
        ...


@dataclass(frozen=True, slots=True)
class Fresh:
    """A data key that was made and wrapped, and is not kept yet."""

    key: DataKey
    secret: Secret


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the envelope holds at one moment."""

    master: Master | None = None
    keys: Mapping[str, DataKey] = field(default_factory=dict)  # not retired, oldest first
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    sealing: Mapping[str, SealingKey] = field(default_factory=dict, repr=False)
    active: str = ""


class Envelope:
    """The data keys in memory. Satisfies identity.sealing.Sealer."""

    def __init__(self, custody: Custody, entropy: Entropy) -> None:
        self._custody = custody
        self._entropy = entropy
        self._old: Sealer | None = None
        self._untold: DataKey | None = None
        self._now = _Reading()

    # --- sealing ---

    def seal(self, secret: Secret, context: str) -> str:
        """Return `secret` sealed under the active data key, bound to `context`."""
        now = self._now
        return f"{_FORM}.{now.active}.{now.sealing[now.active].close(secret, _bound(now.active, context))}"

    def unseal(self, sealed: str, context: str) -> Secret:
        """Return what was sealed for `context`.

        Raises:
            IntegrityError: it was sealed under a key that is not here, for another context, or altered.
        """
        form, _, rest = sealed.partition(".")
        if form == _OLD_FORM:
            return self._unseal_old(sealed, context)
        key_id, _, text = rest.partition(".")
        key = self._now.sealing.get(key_id)
        if form != _FORM or (key is None and not key_id.startswith("dek_")):
            raise _broken(f"`{context}` is not sealed in a form this Charter knows", "restore the newest backup")
        if key is None:
            raise _broken(
                f"`{context}` is sealed under the data key {key_id[:40]!a}, which is not kept here",
                "the table data_key was altered, or belongs to another backup than this one: restore both together",
            )
        try:
            return key.open(text, _bound(key_id, context))
        except SealBrokenError as err:
            raise _altered(context) from err

    def _unseal_old(self, sealed: str, context: str) -> Secret:
        if self._old is None:
            raise _broken(
                f"`{context}` was sealed before there were data keys, under a master key in a file, and there is none",
                "start once with CHARTER_MASTER=file and the data folder's master.key in place, then rotate the master",
            )
        return self._old.unseal(sealed, context)

    # --- what there is ---

    @property
    def keys(self) -> tuple[DataKey, ...]:
        """The data keys that are not retired, oldest first."""
        return tuple(self._now.keys.values())

    @property
    def active(self) -> DataKey:
        """The data key that new seals are made under."""
        return self._now.keys[self._now.active]

    @property
    def master(self) -> Master:
        """The master key that wraps them.

        Raises:
            IntegrityError: none was opened.
        """
        if self._now.master is None:
            raise _broken("no master key was opened", "run charter doctor")
        return self._now.master

    # --- making and changing ---

    def begin(self, keys: DataKeyStore, seals: SealStore, at: dt.datetime) -> None:
        """Open what `keys` keeps; make the first data key if there is none. Before there is a log to record it in.

        Raises:
            IntegrityError: the master is not the one that wrapped them, or one was altered.
            UnavailableError: the master cannot be reached.
        """
        self._old = self._custody.old_seals()
        kept = [key for key in keys.all() if key.state is not DataKeyState.RETIRED]
        if not kept:
            counted = seals.counts()
            if lost := sorted(key_id for key_id in counted if key_id != _OLD_FORM):
                raise _broken(
                    f"{sum(counted.values())} sealed values rest on the data key {lost[0][:40]!a}, and none is kept",
                    "the table data_key was emptied: restore the newest backup",
                )
            first = self._made(self._custody.first(make=not counted), at)
            keys.add(first.key)
            self._untold = first.key
            kept = [first.key]
        self.show(kept)
        self._custody.settle(self.master.name)

    def show(self, keys: Sequence[DataKey]) -> None:
        """Hold exactly `keys`, those of them that are not retired.

        Raises:
            IntegrityError: the master is not the one that wrapped them, or one was altered.
            UnavailableError: the master cannot be reached.
        """
        kept = [key for key in keys if key.state is not DataKeyState.RETIRED]
        names = {key.master for key in kept}
        active = [key.id for key in kept if key.state is DataKeyState.ACTIVE]
        if len(names) != 1 or len(active) != 1:
            raise _broken(
                f"there are {len(active)} active data keys, under {len(names)} masters, where one of each must be",
                "the table data_key was altered: restore the newest backup",
            )
        known = self._now
        name = names.pop()
        master = known.master if known.master and known.master.name == name else self._custody.named(name)
        secrets = {key.id: known.secrets.get(key.id) or _unwrapped(master, key) for key in kept}
        self._now = self._reading(master, {key.id: key for key in kept}, secrets)

    def ensure(self, tx: SealWork) -> None:
        """Record the first data key, if `begin` made it. A work."""
        key, self._untold = self._untold, None
        if key is not None:
            tx.record(_told("data-key", "charter", None, key.id, "the first of its use", {"master": key.master}))
            tx.changed(FEED_KIND, key.id, actor="charter", reason="the first data key")

    def fresh(self, at: dt.datetime) -> Fresh:
        """Make and wrap another data key, for `rotate`. Asks the master, so it is done before the work.

        Raises:
            UnavailableError: the master cannot be reached.
        """
        return self._made(self.master, at)

    def rotate(self, tx: SealWork, fresh: Fresh, *, actor: str, reason: str) -> DataKey:
        """Make new seals under `fresh` from now on. What others sealed opens until `reseal` has moved it. A work.

        Raises:
            ConflictError: the master was changed since `fresh` was made.
        """
        if fresh.key.master != self.master.name:
            raise _moved()
        before = self.active
        old = replace(before, state=DataKeyState.SUPERSEDED)
        tx.data_keys.update(old)
        tx.data_keys.add(fresh.key)
        tx.record(_told("data-key", actor, before.id, fresh.key.id, reason, {"master": fresh.key.master}))
        tx.changed(FEED_KIND, fresh.key.id, actor=actor, reason=reason)
        keys = dict(self._now.keys) | {old.id: old, fresh.key.id: fresh.key}
        self._show_after(tx, self.master, keys, dict(self._now.secrets) | {fresh.key.id: fresh.secret})
        return fresh.key

    def wrapped_under(self, master: Master) -> dict[str, str]:
        """Return every data key wrapped under `master`, by id, for `rewrap`. Asks the master.

        Raises:
            UnavailableError: the master cannot be reached.
            IntegrityError: what it wraps it does not give back.
        """
        wrapped = {}
        for key in self.keys:
            secret = self._now.secrets[key.id]
            wrapped[key.id] = master.wrap(secret, key.context)
            if _unwrapped(master, replace(key, wrapped=wrapped[key.id])) != secret:
                raise _broken(f"the master `{master.name}` does not give back what it wrapped", "use another one")
        return wrapped

    def rewrap(self, tx: SealWork, master: Master, wrapped: Mapping[str, str], *, actor: str, reason: str) -> int:
        """Keep the data keys wrapped under `master` from now on; return how many. No seal changes. A work.

        Raises:
            ConflictError: there are other data keys now than were wrapped.
        """
        if set(wrapped) != set(self._now.keys):
            raise _moved()
        before = self.master.name
        keys = {
            key.id: replace(key, master=master.name, wrapped=wrapped[key.id], wrapped_at=tx.at) for key in self.keys
        }
        for key in keys.values():
            tx.data_keys.update(key)
        tx.record(_told("master", actor, before, master.name, reason, {"data_keys": len(keys)}))
        tx.changed(FEED_KIND, master.name, actor=actor, reason=reason)
        self._show_after(tx, master, keys, self._now.secrets)
        return len(keys)

    def reseal(self, tx: SealWork, limit: int) -> int:
        """Seal up to `limit` values anew under the active data key; return how many are left. A work.

        A data key that nothing rests on any more is retired.

        Raises:
            IntegrityError: a value cannot be opened.
        """
        for seal in tx.seals.not_under(self._now.active, limit):
            tx.seals.exchange(seal, self.seal(self.unseal(seal.sealed, seal.context), seal.context))
        counted = tx.seals.counts()
        self._retire(tx, counted)
        return sum(number for key_id, number in counted.items() if key_id != self._now.active)

    # --- within ---

    def _retire(self, tx: SealWork, counted: Mapping[str, int]) -> None:
        idle = [k for k in self.keys if k.state is DataKeyState.SUPERSEDED and not counted.get(k.id)]
        for key in idle:
            tx.data_keys.update(replace(key, state=DataKeyState.RETIRED, wrapped=""))
            tx.changed(FEED_KIND, key.id, actor="charter", reason="no seal rests on it any more")
        if idle:
            gone = {key.id for key in idle}
            keys = {key.id: key for key in self.keys if key.id not in gone}
            self._show_after(tx, self.master, keys, self._now.secrets)

    def _made(self, master: Master, at: dt.datetime) -> Fresh:
        secret = Secret(self._entropy.bytes(KEY_BYTES))
        key = DataKey(self._entropy.identifier("dek"), master.name, "", DataKeyState.ACTIVE, at, at)
        return Fresh(replace(key, wrapped=master.wrap(secret, key.context)), secret)

    def _reading(self, master: Master, keys: Mapping[str, DataKey], secrets: Mapping[str, Secret]) -> _Reading:
        kept = {key_id: secrets[key_id] for key_id in keys}
        sealing = {key_id: SealingKey.of(secret, self._entropy) for key_id, secret in kept.items()}
        (active,) = (key.id for key in keys.values() if key.state is DataKeyState.ACTIVE)
        return _Reading(master, keys, kept, sealing, active)

    def _show_after(
        self, tx: SealWork, master: Master, keys: Mapping[str, DataKey], secrets: Mapping[str, Secret]
    ) -> None:
        reading = self._reading(master, keys, secrets)

        def show() -> None:
            self._now = reading

        tx.after_commit(show)


@dataclass(frozen=True, slots=True)
class SealHealth:
    """Whether every sealed value opens."""

    opened: int
    broken: tuple[str, ...]  # what is wrong with those that do not, at most `MAX_TOLD`


MAX_TOLD = 20
_PAGE = 500


def check_seals(sealer: Sealer, read: Callable[[tuple[str, ...] | None, int], Sequence[Seal]]) -> SealHealth:
    """Open every sealed value, page by page; return how many do, and what is wrong with those that do not."""
    opened, broken = 0, []
    place: tuple[str, ...] | None = None
    while page := read(place, _PAGE):
        for seal in page:
            try:
                sealer.unseal(seal.sealed, seal.context)
                opened += 1
            except IntegrityError as err:
                broken.append(err.detail)
        place = page[-1].place
    return SealHealth(opened, tuple(broken[:MAX_TOLD]))


def _bound(key_id: str, context: str) -> str:
    return f"{_FORM}\x00{key_id}\x00{context}"


def _unwrapped(master: Master, key: DataKey) -> Secret:
    try:
        return master.unwrap(key.wrapped, key.context)
    except SealBrokenError as err:
        raise _broken(
            f"the data key `{key.id}` does not open under `{master.name}`, which wrapped it: it was altered",
            "the table data_key was tampered with: find out who did it, and restore the newest backup",
        ) from err


def _told(use: str, actor: str, before: str | None, after: str, reason: str, more: dict[str, Any]) -> Draft:
    body = {"use": use, "before": before, "after": after, "reason": reason} | more
    return Draft(EntryKind.KEY_ROTATED, actor, None, body)


def _altered(context: str) -> IntegrityError:
    return _broken(f"the sealed value of `{context}` was altered, or belongs elsewhere", "restore the newest backup")


def _broken(detail: str, mend: str) -> IntegrityError:
    return IntegrityError(ErrorCode.KEY_BROKEN, detail, help=mend)


def _moved() -> ConflictError:
    return ConflictError(ErrorCode.STALE, "the data keys changed while this was made ready", help="try again")
