"""A house that gives leases on a real PostgreSQL, and what tests do with it.

with a_lease_house(tmp_path, orders) as stage:
    given = stage.lease("order-agent")
    stage.connect(given).execute("SELECT * FROM public.orders")
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import os
import stat
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from builders import REFUND_CHARTER
from charter.bootstrap import authority, lease_keeping, leasing, vault
from charter.bootstrap.house import House
from charter.bootstrap.leasing import Given, NotGiven
from charter.core.canonical import canonical
from charter.core.values import Secret
from charter.gateway.call import Bearer
from charter.registry.lease import Lease
from charter.registry.standing import Move
from houses import TEAMS, Stage, a_house

T = TypeVar("T")
WHO = "operator@example.com"
PASSWORD = "the-brokers-own-password"
SCHEMA = """
CREATE TABLE public.orders (id serial PRIMARY KEY, customer text NOT NULL, amount numeric NOT NULL DEFAULT 0);
CREATE TABLE public.items (order_id int, what text);
CREATE TABLE public.secrets (what text);
CREATE SCHEMA sales;
CREATE TABLE sales.leads (id int GENERATED ALWAYS AS IDENTITY, name text);
INSERT INTO public.orders (customer, amount) VALUES ('ada', 10), ('bob', 20);
INSERT INTO public.secrets VALUES ('the recipe');
"""
_numbers = itertools.count()


@dataclass
class Orders:
    """A database with tables, and a role of no great power that owns them and makes leases."""

    url: str  # as its superuser
    broker: str
    dbname: str
    host: str

    def run(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a query gives, asked as the superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return list(connection.execute(query.encode(), values or None).fetchall())

    def roles(self) -> list[str]:
        """Return the roles of leases of this database's broker."""
        return sorted(str(row[0]) for row in self.ask(_OWN_ROLES, self.broker))


_OWN_ROLES = """
SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_auth_members m ON m.roleid = r.oid JOIN pg_roles b ON b.oid = m.member
WHERE b.rolname = %s AND r.rolname LIKE 'charter\\_lea\\_%%'
"""


def _replace(file: Path, text: str) -> None:
    """Write a file that a server, and another worker of this run, may read at any moment: it is whole at all times."""
    kept, fresh = file.stat(), file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    os.chown(fresh, kept.st_uid, kept.st_gid)
    fresh.chmod(stat.S_IMODE(kept.st_mode))
    fresh.replace(file)


@contextmanager
def an_orders_database(url: str) -> Iterator[Orders]:
    """Fill the empty database at `url`; lease roles and their maker sign in with passwords alone."""
    broker = f"charter_broker_{next(_numbers)}_{abs(hash(url)) % 10_000}"
    parts = conninfo_to_dict(url)
    with psycopg.connect(url, autocommit=True) as connection:
        (hba,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        rules = Path(hba).read_text(encoding="utf-8")
        if "charter_lea_" not in rules:
            line = "local all /^charter_(lea|broker)_ scram-sha-256\n"
            _replace(Path(hba), line + rules)
            connection.execute("SELECT pg_reload_conf()")
        name, dbname = sql.Identifier(broker), sql.Identifier(str(parts["dbname"]))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(name, sql.Literal(PASSWORD)))
        connection.execute(SCHEMA.encode())
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(dbname, name))
        for table in ("public.orders", "public.items", "public.secrets", "sales.leads"):
            connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(*table.split(".")), name))
        connection.execute(sql.SQL("ALTER SCHEMA sales OWNER TO {}").format(name))
    orders = Orders(url, broker, str(parts["dbname"]), str(parts["host"]))
    try:
        yield orders
    finally:
        orders.run(f'REASSIGN OWNED BY "{broker}" TO CURRENT_USER', f'DROP OWNED BY "{broker}"')
        for role in [str(row[0]) for row in orders.ask(_OWN_ROLES, broker)]:
            orders.run(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
        orders.run(f'DROP ROLE "{broker}"')


def orders_system(orders: Orders, **changed: Any) -> dict[str, Any]:
    """Return the system's file."""
    place = {"host": orders.host, "database": orders.dbname, "user": orders.broker, "password": "vault:orders"}
    given: dict[str, Any] = {
        "charter": "v1",
        "system": "orders-db",
        "kind": "postgres",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "data": ["customer-pii"],
        "postgres": place,
        "lease": {"ttl": "15m", "max": "1h"},
        "actions": {
            "read": {"effect": "read", "verbs": ["select"], "on": ["public.orders", "public.items", "sales.leads"]},
            "write": {"effect": "write", "verbs": ["insert", "update"], "on": ["public.orders", "sales.leads"]},
        },
    }
    return given | changed


READ_ORDERS = {"system": "orders-db", "actions": ["read"], "objects": ["public.orders"]}
READ_AND_WRITE = {"system": "orders-db", "actions": ["read", "write"]}


def lease_files(system: Mapping[str, Any], grants: Sequence[Mapping[str, Any]] = (READ_ORDERS,)) -> dict[str, str]:
    """Return an estate of one agent on one leased system, and another agent."""
    agent = REFUND_CHARTER | {"principal": "order-agent", "grants": list(grants)}
    other = REFUND_CHARTER | {"principal": "other-agent", "grants": [dict(READ_ORDERS, system=system["system"])]}
    return {
        "teams.yaml": canonical(TEAMS).decode(),
        f"systems/{system['system']}.yaml": canonical(dict(system)).decode(),
        "principals/order-agent.yaml": canonical(agent).decode(),
        "principals/other-agent.yaml": canonical(other).decode(),
    }


@dataclass
class LeaseStage:
    """A house that gives leases."""

    inner: Stage
    system: str = "orders-db"
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    @property
    def house(self) -> House:
        return self.inner.house

    def run(self, deed: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine: all of them in one event loop, as in a server."""
        return self.runner.run(deed)

    def bearer(self, name: str = "order-agent") -> Bearer:
        return self.inner.bearer(name)

    def ask(self, name: str = "order-agent", wanted: Any = None, ttl: int | None = None) -> Given | NotGiven:
        return self.run(leasing.request(self.house.leasing, self.bearer(name), self.system, wanted, ttl))

    def lease(self, name: str = "order-agent", wanted: Any = None, ttl: int | None = None) -> Given:
        given = self.ask(name, wanted, ttl)
        assert isinstance(given, Given), given
        return given

    def renew(self, lease: Lease, name: str | None = "order-agent") -> Given | NotGiven:
        bearer = self.bearer(name) if name else None
        return self.run(leasing.renew(self.house.leasing, lease.id, bearer))

    def renew_after(self, lease: Lease, minutes: float = 5) -> Given | NotGiven:
        self.inner.clock.advance(minutes=minutes)
        return self.renew(lease)

    def move(self, to: Move, name: str = "order-agent") -> list[str]:
        """Change a standing; return the steps that were told."""
        answer = self.run(authority.move(self.house, name, to, actor=WHO, reason="a test"))
        return [step["what"] for step in answer["steps"]]

    def look(self) -> None:
        """Do what the keeper does every second, once and to the end."""

        async def once() -> None:
            room = self.house.leasing
            await lease_keeping.end_due(room)
            for lease in lease_keeping.to_revoke(room):
                await lease_keeping.revoke(room, lease)

        self.run(once())

    def kept(self, lease: Lease) -> Lease:
        return self.house.database.read(lambda tx: tx.leases.get(lease.id))

    def connect(self, given: Given, **changed: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the holder of a lease does: by its DATABASE_URL."""
        url = given.credential.variables["DATABASE_URL"].reveal().decode()
        return psycopg.connect(url, autocommit=True, connect_timeout=5, **changed)


@contextmanager
def a_lease_house(
    folder: Path, orders: Orders, grants: Sequence[Mapping[str, Any]] = (READ_ORDERS,), **changed: Any
) -> Iterator[LeaseStage]:
    """Build a house with the orders database, its broker's password in the vault."""
    folder.mkdir(exist_ok=True)
    with a_house(folder, files=lease_files(orders_system(orders, **changed), grants)) as inner:
        inner.clock.at = dt.datetime.now(dt.UTC)  # the database has a clock of its own
        inner.house.pipeline.upstream = inner.house.reach
        stage = LeaseStage(inner)
        if not inner.house.database.read(lambda tx: tx.vault.get("orders")):
            stage.run(vault.put(inner.house, "orders", Secret(PASSWORD.encode()), ["orders-db"], actor=WHO))
        try:
            yield stage
        finally:
            stage.run(inner.house.pipeline.settled())
            stage.runner.close()
