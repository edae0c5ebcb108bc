"""Consent codes, refresh tokens and registered clients: rows <-> values."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.identity.consent import ConsentCode, RefreshState, RefreshToken
from charter.registry.registered_client import RegisteredClient


class SqlConsents:
    """What consents are picked up with, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_code(self, code: ConsentCode) -> None:
        """Keep a new code."""
        self._connection.execute(t.consent_code.insert(), _code_row(code))

    def code(self, digest: str) -> ConsentCode | None:
        """Return the code of that digest."""
        row = self._connection.execute(sa.select(t.consent_code).where(t.consent_code.c.digest == digest)).first()
        return ConsentCode(**row._mapping) if row else None  # noqa: SLF001 - SQLAlchemy's public name for it

    def use_code(self, digest: str) -> None:
        """Mark a code as taken."""
        self._connection.execute(t.consent_code.update().where(t.consent_code.c.digest == digest).values(is_used=True))

    def add_refresh(self, token: RefreshToken) -> None:
        """Keep a new refresh token."""
        self._connection.execute(t.refresh_token.insert(), _refresh_row(token))

    def refresh(self, digest: str) -> RefreshToken | None:
        """Return the refresh token of that digest."""
        row = self._connection.execute(sa.select(t.refresh_token).where(t.refresh_token.c.digest == digest)).first()
        return _refresh(row) if row else None

    def set_refresh(self, digest: str, state: RefreshState) -> None:
        """Change what became of one."""
        c = t.refresh_token.c
        self._connection.execute(t.refresh_token.update().where(c.digest == digest).values(state=state.value))

    def revoke_family(self, family: str) -> int:
        """Revoke what is active of a family; return how many that were."""
        c = t.refresh_token.c
        active = sa.and_(c.family == family, c.state == RefreshState.ACTIVE.value)
        statement = t.refresh_token.update().where(active).values(state=RefreshState.REVOKED.value)
        return int(self._connection.execute(statement).rowcount)

    def forget_expired(self, before: int) -> int:
        """Forget codes and refresh tokens that expired before `before`; return how many."""
        codes = t.consent_code.delete().where(t.consent_code.c.expires_at < before)
        tokens = t.refresh_token.delete().where(t.refresh_token.c.expires_at < before)
        return sum(int(self._connection.execute(each).rowcount) for each in (codes, tokens))

    def add_client(self, client: RegisteredClient) -> None:
        """Keep a new registration."""
        row = {
            "client_id": client.client_id,
            "principal_id": client.principal_id,
            "name": client.name,
            "redirects": canonical(list(client.redirects)).decode(),
            "registered_at": client.registered_at,
        }
        self._connection.execute(t.registered_client.insert(), row)

    def count_clients(self, principal_id: str) -> int:
        """Return how many registrations of a principal there are."""
        c = t.registered_client.c
        query = sa.select(sa.func.count()).select_from(t.registered_client).where(c.principal_id == principal_id)
        return int(self._connection.execute(query).scalar_one())

    def clients(self) -> list[RegisteredClient]:
        """Return all registrations."""
        return [_client(row) for row in self._connection.execute(sa.select(t.registered_client))]


def _code_row(code: ConsentCode) -> dict[str, object]:
    return {name: getattr(code, name) for name in ConsentCode.__slots__}


def _refresh_row(token: RefreshToken) -> dict[str, object]:
    return {name: getattr(token, name) for name in RefreshToken.__slots__} | {"state": token.state.value}


def _refresh(row: sa.Row[Any]) -> RefreshToken:
    return RefreshToken(**dict(row._mapping) | {"state": RefreshState(row.state)})  # noqa: SLF001 - as above


def _client(row: sa.Row[Any]) -> RegisteredClient:
    return RegisteredClient(
        row.client_id, row.principal_id, row.name, tuple(json.loads(row.redirects)), row.registered_at
    )
