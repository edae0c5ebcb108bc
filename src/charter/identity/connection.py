"""Connections: people who let Charter act for them at an upstream, each by a refresh token in the vault.

A connection belongs to one person at one system. It is used only for calls that were delegated, in the end, by that
very person; it is made by the person signing in there, and ends when they or an operator say so, or when they leave.

INVARIANT: a seal is bound to system, person, version and destination: rows that are swapped between people, systems or
places do not open.
INVARIANT: a refresh token that the upstream exchanged for another is replaced durably before the new access token is
used; the old one is gone with it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from charter.core.errors import AbsentError, DeniedError, ErrorCode, IntegrityError
from charter.core.values import Secret
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.sealing import Sealer
from charter.registry.destination import destination_of
from charter.registry.directory import fold
from charter.registry.principal import SystemRecord

FEED_KIND = "connection"


@dataclass(frozen=True, slots=True)
class Connection:
    """One person's connection to one system, as it is kept."""

    system: str
    person: str
    sealed: str
    version: int
    destination: str
    scope: str
    created_at: dt.datetime
    changed_at: dt.datetime

    @property
    def id(self) -> str:
        """What it is kept under."""
        return f"{self.system}/{self.person}"

    @property
    def context(self) -> str:
        """What the seal is bound to."""
        return f"charter/connection/{self.id}/{self.version}/{self.destination}"


class ConnectionStore(Protocol):
    """Where connections are kept."""

    def all(self) -> Sequence[Connection]:
        """Return every one."""
        ...

    def put(self, connection: Connection) -> None:
        """Keep it, in place of the one of the same person at the same system."""
        ...

    def remove(self, connection_id: str) -> None:
        """Forget it."""
        ...


class ConnectionWork(Transaction, Protocol):
    """The slice of the work that connections need."""

    @property
    def connections(self) -> ConnectionStore:
        """Where they are kept."""
        ...


@dataclass(frozen=True, slots=True)
class _Open:
    """A connection in memory. `token` is None where it does not open."""

    kept: Connection
    token: Secret | None = field(repr=False)


class Connections:
    """The connections in memory: read once, replaced after each change is durable."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._now: Mapping[str, _Open] = {}

    def open(self, connections: Sequence[Connection]) -> None:
        """Hold exactly `connections`."""
        self._now = {kept.id: _Open(kept, self._opened(kept)) for kept in connections}

    def all(self) -> tuple[Connection, ...]:
        """Return every connection."""
        return tuple(each.kept for each in self._now.values())

    def version(self, system: str, person: str) -> int:
        """Return the version of a person's connection, 0 if there is none."""
        found = self._now.get(f"{system}/{person}")
        return found.kept.version if found else 0

    def kept(self, record: SystemRecord, person: str) -> Connection:
        """Return the connection of `person` to the system of `record`. Raises as `token` does."""
        self.token(record, person)
        return self._now[f"{record.name}/{person}"].kept

    def token(self, record: SystemRecord, person: str) -> Secret:
        """Return the refresh token of `person` at the system of `record`.

        Raises:
            AbsentError: the person is not connected.
            DeniedError: the system leads elsewhere than when the person connected.
            IntegrityError: it was altered where it is kept.
        """
        found = self._now.get(f"{record.name}/{person}")
        mend = f"{person} can connect: charter vault connect {record.name}"
        if found is None:
            text = f"`{person}` did not let Charter act for them at `{record.name}`"
            raise AbsentError(ErrorCode.NOT_CONNECTED, text, help=mend)
        if found.kept.destination != destination_of(record.system):
            text = f"the system `{record.name}` leads elsewhere than when `{person}` connected"
            raise DeniedError(ErrorCode.NOT_BOUND_TO_SYSTEM, text, help=mend)
        if found.token is None:
            text = f"the connection of `{person}` to `{record.name}` was altered where it is kept"
            raise IntegrityError(ErrorCode.KEY_BROKEN, text, help=f"find out who did it; {mend}")
        return found.token

    # --- changing ---

    def connect(
        self, tx: ConnectionWork, record: SystemRecord, person: str, token: Secret, scope: str, *, actor: str
    ) -> Connection:
        """Keep `token`, by which Charter may act for `person` at a system. A work."""
        known = self._now.get(f"{record.name}/{person}")
        fresh = Connection(
            system=record.name,
            person=person,
            sealed="",
            version=known.kept.version + 1 if known else 1,
            destination=destination_of(record.system),
            scope=scope,
            created_at=tx.at,
            changed_at=tx.at,
        )
        _record(tx, fresh, "connected", actor)
        return self._keep(tx, fresh, token)

    def exchanged(self, tx: ConnectionWork, before: Connection, token: Secret) -> Connection:
        """Keep the refresh token that the upstream gave for the one of `before`. A work; nothing to tell."""
        return self._keep(tx, replace(before, version=before.version + 1, changed_at=tx.at), token)

    def end(self, tx: ConnectionWork, system: str, person: str, *, actor: str, why: str) -> Connection:
        """Forget a connection. A work.

        Raises:
            AbsentError: there is none.
        """
        known = self._now.get(f"{system}/{person}")
        if known is None:
            text = f"`{person[:80]}` is not connected to {system[:80]!a}"
            raise AbsentError(ErrorCode.NOT_CONNECTED, text, help="charter vault ls shows who is")
        tx.connections.remove(known.kept.id)
        _record(tx, known.kept, "ended", actor, why)

        def show() -> None:
            self._now = {key: value for key, value in self._now.items() if key != known.kept.id}

        tx.after_commit(show)
        return known.kept

    def end_all_of(self, tx: ConnectionWork, person: str, *, actor: str, why: str) -> None:
        """Forget whatever connects a person anywhere. A work."""
        for kept in self.all():
            if fold(kept.person) == fold(person):
                self.end(tx, kept.system, kept.person, actor=actor, why=why)

    def _opened(self, kept: Connection) -> Secret | None:
        try:
            return self._sealer.unseal(kept.sealed, kept.context)
        except IntegrityError:
            return None

    def _keep(self, tx: ConnectionWork, fresh: Connection, token: Secret) -> Connection:
        kept = replace(fresh, sealed=self._sealer.seal(token, fresh.context))
        tx.connections.put(kept)

        def show() -> None:
            self._now = {**self._now, kept.id: _Open(kept, token)}

        tx.after_commit(show)
        return kept


def _record(tx: ConnectionWork, connection: Connection, what: str, actor: str, why: str = "") -> None:
    body: dict[str, Any] = {
        "what": what,
        "system": connection.system,
        "person": connection.person,
        "destination": connection.destination,
        "scope": connection.scope,
        "reason": why,
    }
    tx.record(Draft(EntryKind.PERSON_CONNECTED, actor, None, body))
    tx.changed(FEED_KIND, connection.id, actor=actor, reason=why or what)
