"""Client keys, used assertions, revoked tokens and signing keys: rows <-> values."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from charter.adapters import registry_rows as rows
from charter.adapters import tables as t
from charter.adapters.driver_sql import Compiled, batch
from charter.adapters.upsert import insertion
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.identity.keys import KeyState, KeyUse, SigningKey
from charter.registry.principal import ClientKey


class SqlIdentity:
    """What the identity floor keeps, on one connection. Satisfies identity.work.IdentityStore."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # --- client keys ---

    def add_key(self, key: ClientKey) -> None:
        """Keep a new client key."""
        self._connection.execute(t.client_key.insert(), rows.key_row(key))

    def update_key(self, key: ClientKey) -> None:
        """Replace the one with the same id."""
        row = rows.key_row(key)
        self._connection.execute(t.client_key.update().where(t.client_key.c.id == row.pop("id")), row)

    def key_by_thumbprint(self, thumbprint: str) -> ClientKey | None:
        """Return the key of that thumbprint, whoever's it is."""
        query = sa.select(t.client_key).where(t.client_key.c.thumbprint == thumbprint)
        row = self._connection.execute(query).first()
        return rows.key_of(row) if row else None

    # --- what must not be accepted again ---

    def remember_assertion(self, thumbprint: str, jti_digest: str, expires_at: int) -> bool:
        """Remember a client assertion until `expires_at`; return False if it is remembered already."""
        row = {"thumbprint": thumbprint, "jti_digest": jti_digest, "expires_at": expires_at}
        return self._insert_new(t.used_assertion, row)

    def revoke_token(self, token_id: str, principal_id: str, expires_at: int) -> bool:
        """Keep a token as revoked until it would have expired; return False if it is already."""
        row = {"id": token_id, "principal_id": principal_id, "expires_at": expires_at}
        return self._insert_new(t.revoked_token, row)

    def forget_expired(self, before: int) -> int:
        """Forget assertions and revoked tokens that expired before `before`; return how many."""
        used = t.used_assertion.delete().where(t.used_assertion.c.expires_at < before)
        revoked = t.revoked_token.delete().where(t.revoked_token.c.expires_at < before)
        return sum(self._connection.execute(statement).rowcount for statement in (used, revoked))

    # --- signing keys ---

    def signing_keys(self) -> list[SigningKey]:
        """Return every signing key, oldest first."""
        query = sa.select(t.signing_key).order_by(t.signing_key.c.created_at, t.signing_key.c.id)
        return [signing_key_of(row) for row in self._connection.execute(query)]

    def add_signing_key(self, key: SigningKey) -> None:
        """Keep a new signing key."""
        self._connection.execute(t.signing_key.insert(), _signing_key_row(key))

    def update_signing_key(self, key: SigningKey) -> None:
        """Replace the one with the same id."""
        row = _signing_key_row(key)
        self._connection.execute(t.signing_key.update().where(t.signing_key.c.id == row.pop("id")), row)

    def _insert_new(self, table: sa.Table, row: dict[str, object]) -> bool:
        """Insert a row unless its key is there; a statement that failed would send the whole group round again."""
        with batch(self._connection) as new_cursor:
            cursor = new_cursor()
            _insertion(table.name, self._connection.dialect).one(cursor, row)
        return int(cursor.rowcount) == 1


@lru_cache(maxsize=8)
def _insertion(table: str, dialect: sa.Dialect) -> Compiled:
    """Return the statement that inserts into `table` what is not there. Every token takes one, so it is built once."""
    insert = insertion(dialect)
    return Compiled(insert(t.metadata.tables[table]).on_conflict_do_nothing(), dialect)


def _signing_key_row(key: SigningKey) -> dict[str, object]:
    return {
        "id": key.id,
        "use": key.use.value,
        "origin": key.origin,
        "public": canonical(key.public).decode(),
        "sealed": key.sealed,
        "state": key.state.value,
        "created_at": rfc3339(key.created_at),
        "retire_after": rfc3339(key.retire_after) if key.retire_after else None,
    }


def signing_key_of(row: sa.Row[Any]) -> SigningKey:
    """Return the signing key that a row is."""
    return SigningKey(
        id=row.id,
        use=KeyUse(row.use),
        origin=row.origin,
        public=json.loads(row.public),
        sealed=row.sealed,
        state=KeyState(row.state),
        created_at=parse_rfc3339(row.created_at),
        retire_after=parse_rfc3339(row.retire_after) if row.retire_after else None,
    )
