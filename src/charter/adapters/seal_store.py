"""Data keys, and every sealed value in whichever table: rows <-> values.

INVARIANT: each column called `sealed` stands in `SEALED`; a test holds the tables to it. Otherwise a rotation would
pass over its values, and retire the key that they rest on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.identity_store import signing_key_of
from charter.adapters.payloads import key_context
from charter.adapters.trust_store import authority_of
from charter.adapters.vault_store import connection_of, vault_secret_of
from charter.core.clock import parse_rfc3339, rfc3339
from charter.identity.envelope import DataKey, DataKeyState, Seal

_PREFIX = "v2."
_ID_LENGTH = len("dek_") + 26  # of an identifier from core.entropy
_OLD_FORM = "v1"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One table whose rows hold a sealed value. `context` says what a row's seal is bound to."""

    table: sa.Table
    context: Callable[[sa.Row[Any]], str]

    @property
    def key(self) -> sa.Column[Any]:
        """The column that names the row."""
        (column,) = self.table.primary_key.columns
        return column


SEALED: tuple[Sealed, ...] = (
    Sealed(t.signing_key, lambda row: signing_key_of(row).context),
    Sealed(t.x509_authority, lambda row: authority_of(row).context),
    Sealed(t.vault_secret, lambda row: vault_secret_of(row).context),
    Sealed(t.person_connection, lambda row: connection_of(row).context),
    Sealed(t.evidence_key, lambda row: key_context(row.id)),
)


@dataclass(frozen=True, slots=True)
class SqlDataKeys:
    """The data keys, on one connection. Satisfies identity.envelope.DataKeyStore."""

    connection: sa.Connection

    def all(self) -> Sequence[DataKey]:
        """Return every data key, oldest first."""
        query = sa.select(t.data_key).order_by(t.data_key.c.created_at, t.data_key.c.id)
        return [_data_key(row) for row in self.connection.execute(query)]

    def add(self, key: DataKey) -> None:
        """Keep a new one."""
        self.connection.execute(t.data_key.insert(), _row(key))

    def update(self, key: DataKey) -> None:
        """Replace the one with the same id."""
        row = _row(key)
        self.connection.execute(t.data_key.update().where(t.data_key.c.id == row.pop("id")), row)


@dataclass(frozen=True, slots=True)
class SqlSeals:
    """Every sealed value, on one connection. Satisfies identity.envelope.SealStore."""

    connection: sa.Connection
    sealed: tuple[Sealed, ...] = SEALED

    def counts(self) -> Mapping[str, int]:
        """Return how many seals rest on each data key; `v1` stands for seals of that form."""
        counted: Counter[str] = Counter()
        for each in self.sealed:
            column = each.table.c.sealed
            key_id = sa.case(
                (column.startswith(_PREFIX, autoescape=True), sa.func.substr(column, len(_PREFIX) + 1, _ID_LENGTH)),
                else_=_OLD_FORM,
            )
            query = sa.select(key_id, sa.func.count()).where(column != "").group_by(key_id)
            for found, number in self.connection.execute(query):
                counted[str(found)] += int(number)
        return counted

    def not_under(self, key_id: str, limit: int) -> Sequence[Seal]:
        """Return up to `limit` seals that rest on another key than `key_id`."""
        found: list[Seal] = []
        for number, each in enumerate(self.sealed):
            column = each.table.c.sealed
            under = column.startswith(f"{_PREFIX}{key_id}.", autoescape=True)
            query = sa.select(each.table).where(column != "", sa.not_(under)).order_by(each.key)
            found += self._seals(number, query.limit(limit - len(found)))
        return found

    def after(self, place: tuple[str, ...] | None, limit: int) -> Sequence[Seal]:
        """Return up to `limit` seals after `place`, table by table."""
        found: list[Seal] = []
        table, key = (int(place[0]), place[1]) if place else (0, None)
        for number, each in enumerate(self.sealed[table:], table):
            query = sa.select(each.table).where(each.table.c.sealed != "").order_by(each.key)
            if number == table and key is not None:
                query = query.where(each.key > key)
            found += self._seals(number, query.limit(limit - len(found)))
        return found

    def exchange(self, seal: Seal, sealed: str) -> bool:
        """Put `sealed` in the place of `seal` if that is still there; return whether it was."""
        each = self.sealed[int(seal.place[0])]
        statement = each.table.update().where(each.key == seal.place[1], each.table.c.sealed == seal.sealed)
        return self.connection.execute(statement.values(sealed=sealed)).rowcount == 1

    def _seals(self, number: int, query: sa.Select[Any]) -> list[Seal]:
        each = self.sealed[number]
        rows = self.connection.execute(query)
        return [Seal((str(number), getattr(row, each.key.name)), each.context(row), row.sealed) for row in rows]


def _row(key: DataKey) -> dict[str, object]:
    return {
        "id": key.id,
        "master": key.master,
        "wrapped": key.wrapped,
        "state": key.state.value,
        "created_at": rfc3339(key.created_at),
        "wrapped_at": rfc3339(key.wrapped_at),
    }


def _data_key(row: sa.Row[Any]) -> DataKey:
    return DataKey(
        id=row.id,
        master=row.master,
        wrapped=row.wrapped,
        state=DataKeyState(row.state),
        created_at=parse_rfc3339(row.created_at),
        wrapped_at=parse_rfc3339(row.wrapped_at),
    )
