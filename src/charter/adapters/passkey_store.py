"""Passkeys: rows <-> values."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.registry.passkey import Passkey
from charter.registry.standing import Standing


class SqlPasskeys:
    """The passkeys kept, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, passkey: Passkey) -> None:
        """Keep a new one."""
        self._connection.execute(t.passkey.insert(), _row(passkey))

    def update(self, passkey: Passkey) -> None:
        """Replace the one with the same id."""
        row = _row(passkey)
        self._connection.execute(t.passkey.update().where(t.passkey.c.id == row.pop("id")), row)

    def all(self) -> list[Passkey]:
        """Return all there ever were, oldest first."""
        query = sa.select(t.passkey).order_by(t.passkey.c.added_at, t.passkey.c.id)
        return [_passkey(row) for row in self._connection.execute(query)]


def _row(passkey: Passkey) -> dict[str, object]:
    return {
        "id": passkey.id,
        "person": passkey.person,
        "host": passkey.host,
        "credential_id": passkey.credential_id,
        "public_key": passkey.public_key,
        "sign_count": passkey.sign_count,
        "name": passkey.name,
        "standing": passkey.standing.value,
        "added_at": passkey.added_at,
        "used_at": passkey.used_at,
    }


def _passkey(row: sa.Row[Any]) -> Passkey:
    return Passkey(
        id=row.id,
        person=row.person,
        host=row.host,
        credential_id=row.credential_id,
        public_key=row.public_key,
        sign_count=row.sign_count,
        name=row.name,
        standing=Standing(row.standing),
        added_at=row.added_at,
        used_at=row.used_at,
    )
