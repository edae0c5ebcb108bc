"""The vault's secrets and people's connections: rows <-> values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.identity.connection import Connection
from charter.identity.vault import VaultSecret


@dataclass(frozen=True, slots=True)
class SqlVault:
    """The vault, on one connection. Satisfies identity.vault.VaultStore."""

    connection: sa.Connection

    def all(self) -> Sequence[VaultSecret]:
        """Return every secret, by name."""
        rows = self.connection.execute(sa.select(t.vault_secret).order_by(t.vault_secret.c.name))
        return [vault_secret_of(row) for row in rows]

    def get(self, name: str) -> VaultSecret | None:
        """Return the one called `name`."""
        row = self.connection.execute(sa.select(t.vault_secret).where(t.vault_secret.c.name == name)).first()
        return vault_secret_of(row) if row else None

    def put(self, secret: VaultSecret) -> None:
        """Keep it, in place of the one of the same name."""
        self.remove(secret.name)
        self.connection.execute(t.vault_secret.insert(), _row(secret))

    def remove(self, name: str) -> None:
        """Forget it."""
        self.connection.execute(t.vault_secret.delete().where(t.vault_secret.c.name == name))

    def count(self) -> int:
        """Return how many there are."""
        return int(self.connection.execute(sa.select(sa.func.count()).select_from(t.vault_secret)).scalar_one())


@dataclass(frozen=True, slots=True)
class SqlConnections:
    """People's connections, on one database connection. Satisfies identity.connection.ConnectionStore."""

    connection: sa.Connection

    def all(self) -> Sequence[Connection]:
        """Return every one."""
        rows = self.connection.execute(sa.select(t.person_connection).order_by(t.person_connection.c.id))
        return [connection_of(row) for row in rows]

    def put(self, connection: Connection) -> None:
        """Keep it, in place of the one of the same person at the same system."""
        self.remove(connection.id)
        self.connection.execute(t.person_connection.insert(), _connection_row(connection))

    def remove(self, connection_id: str) -> None:
        """Forget it."""
        self.connection.execute(t.person_connection.delete().where(t.person_connection.c.id == connection_id))


def _row(secret: VaultSecret) -> dict[str, object]:
    return {
        "name": secret.name,
        "sealed": secret.sealed,
        "version": secret.version,
        "bindings": canonical(dict(secret.bindings)).decode(),
        "created_at": rfc3339(secret.created_at),
        "changed_at": rfc3339(secret.changed_at),
        "changed_by": secret.changed_by,
    }


def vault_secret_of(row: sa.Row[Any]) -> VaultSecret:
    """Return the secret that a row is."""
    return VaultSecret(
        name=row.name,
        sealed=row.sealed,
        version=row.version,
        bindings=json.loads(row.bindings),
        created_at=parse_rfc3339(row.created_at),
        changed_at=parse_rfc3339(row.changed_at),
        changed_by=row.changed_by,
    )


def _connection_row(connection: Connection) -> dict[str, object]:
    return {
        "id": connection.id,
        "system": connection.system,
        "person": connection.person,
        "sealed": connection.sealed,
        "version": connection.version,
        "destination": connection.destination,
        "scope": connection.scope,
        "created_at": rfc3339(connection.created_at),
        "changed_at": rfc3339(connection.changed_at),
    }


def connection_of(row: sa.Row[Any]) -> Connection:
    """Return the connection that a row is."""
    return Connection(
        system=row.system,
        person=row.person,
        sealed=row.sealed,
        version=row.version,
        destination=row.destination,
        scope=row.scope,
        created_at=parse_rfc3339(row.created_at),
        changed_at=parse_rfc3339(row.changed_at),
    )
