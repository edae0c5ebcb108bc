"""PostgreSQL roles made per lease: exactly the granted verbs on exactly the granted tables, until they are dropped.

The name of a role is that of its lease, so it is known before the role is, and belongs to nothing else. Tables and
verbs are looked up and quoted, never pasted. The password is random; the server gets its SCRAM verifier (RFC 5802),
so that no log of statements holds it.

INVARIANT: a role that could do more than it was to is not made: what PUBLIC may do, it may do too, so its rights are
asked for in the transaction that makes it, and any excess rolls that back.
INVARIANT: a role that is gone is gone whole: it cannot sign in, its sessions are ended, what it owns belongs to the
role that makes leases, its rights are revoked, in every database that knows it; then it is dropped.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from charter.adapters.postgres_excess import excess_of, public_extras
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, DeniedError, ErrorCode
from charter.core.values import Secret
from charter.gateway.broker import Credential, Gone, ProviderError
from charter.registry.lease import Lease, Right
from charter.registry.leasing import PostgresPlace
from charter.registry.principal import SystemRecord

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS, LOCK_MILLISECONDS = 15_000, 10_000
CONNECTIONS = 20  # that a lease's role may have at once
END_SECONDS = 10.0  # for sessions to end once they are told to
_LOCK = 0x6368_6C65_6173  # leases change rights in one database one at a time: concurrent GRANTs fail each other
_TRIES = 3
_PREFIX = "charter_"
_PAUSE = 0.02
_CONCURRENT = ("XX000", "40001", "40P01")  # tuple concurrently updated, serialization failure, deadlock
SecretOf = Callable[[SystemRecord, str], Secret]
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class PostgresLeases:
    """Satisfies gateway.broker.Provider for systems of the kind postgres."""

    secret_of: SecretOf
    entropy: Entropy

    def handle(self, lease_id: str, record: SystemRecord) -> Mapping[str, str]:
        """Return the name of the role that will be made."""
        place = _place(record)
        return {"role": _PREFIX + lease_id, "database": place.database, "host": place.host}

    def issue(self, record: SystemRecord, lease: Lease) -> Credential:
        """Make the role of a recorded lease."""
        place, role, password = _place(record), lease.handle["role"], self.entropy.token(32)
        with self._connected(record, perhaps_made=False) as connection:
            extras = _made(connection, role, password, lease)
        return Credential("postgres", _variables(place, role, password), lease.expires_at, {"public": extras})

    def renew(self, record: SystemRecord, lease: Lease, at: dt.datetime, until: dt.datetime) -> Credential:
        """Let the role's password be good until `until`; nothing else of it changes."""
        del at
        with self._connected(record, perhaps_made=True) as connection, _told(perhaps_made=True):
            connection.execute(
                sql.SQL("ALTER ROLE {} VALID UNTIL {}").format(
                    sql.Identifier(lease.handle["role"]), sql.Literal(until.isoformat())
                )
            )
        return Credential("postgres", {}, until)

    def revoke(self, record: SystemRecord, lease: Lease) -> Gone:
        """End the role: sign-in, sessions, belongings, rights, the role itself."""
        role = lease.handle["role"]
        with self._connected(record, perhaps_made=True) as connection, _told(perhaps_made=True):
            oid = _oid_of(connection, role)
            if oid is None:
                return Gone.MISSING
            _shut(connection, role, oid)
            here = connection.info.dbname
            for database in [name for name in _databases_of(connection, oid) if name != here]:
                with self._connected(record, perhaps_made=True, database=database) as other:
                    _strip(other, role)
            _strip(connection, role)
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        return Gone.REMOVED

    def tidy_after(self, lease: Lease) -> dt.datetime | None:
        """Return None: a dropped role leaves nothing."""
        del lease
        return None

    def tidy(self, record: SystemRecord, lease: Lease) -> None:
        """Clear away nothing."""

    @contextmanager
    def _connected(
        self, record: SystemRecord, *, perhaps_made: bool, database: str | None = None
    ) -> Iterator[Connection]:
        """Give a connection as the role that makes leases; statements are transactions of their own."""
        place = _place(record)
        try:
            password = self.secret_of(record, place.password).reveal().decode() if place.password else None
        except CharterError as err:
            raise ProviderError(err.detail, perhaps_made=perhaps_made, help=err.help) from err
        given: dict[str, Any] = {
            "host": place.host,
            "port": place.port,
            "dbname": database or place.database,
            "user": place.user,
            "password": password,
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "charter",
            "options": f"-c statement_timeout={STATEMENT_MILLISECONDS} -c lock_timeout={LOCK_MILLISECONDS}"
            " -c search_path=pg_catalog",
        }
        if not place.host.startswith("/"):
            given |= {"sslmode": place.tls}
            given |= {"sslrootcert": place.ca or "system"} if place.tls == "verify-full" else {}
        try:
            connection = psycopg.connect(autocommit=True, **given)
        except psycopg.Error as err:
            raise _failed("the database cannot be reached", err, perhaps_made=perhaps_made) from err
        try:
            yield connection
        finally:
            connection.close()


def _place(record: SystemRecord) -> PostgresPlace:
    place = record.system.postgres
    if place is None:
        raise RuntimeError("a lease of the kind postgres is for a system of that kind")
    return place


def _made(connection: Connection, role: str, password: str, lease: Lease) -> str:
    """Make the role, in a transaction; whoever changes rights at the same moment makes it try again."""
    for is_last in (*(False,) * (_TRIES - 1), True):
        is_ready = False
        try:
            with connection.transaction():
                extras = _make(connection, role, password, lease)
                is_ready = True  # from here on the commit may have happened, whatever is heard of it
        except psycopg.Error as err:
            if is_ready and connection.broken:
                raise _failed("the connection broke while the role was made", err, perhaps_made=True) from err
            if is_last or err.sqlstate not in _CONCURRENT:
                raise _failed(f"the role could not be made: {_said(err)}", err, perhaps_made=False) from err
        else:
            return extras
    raise RuntimeError("the last try raises")


def _make(connection: Connection, role: str, password: str, lease: Lease) -> str:
    """Make the role with its rights, inside a transaction; return what PUBLIC lets it do besides, for people.

    Raises:
        DeniedError: it could do more than it was to, or less.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    make = sql.SQL(
        "CREATE ROLE {} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        " CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {}"
    )
    limit, until = sql.Literal(CONNECTIONS), sql.Literal(lease.expires_at.isoformat())
    connection.execute(make.format(sql.Identifier(role), limit, sql.Literal(verifier), until))
    what = f"made by Charter for {lease.holder.principal_name}, lease {lease.id}"
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(what)))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            sql.Identifier(connection.info.dbname), sql.Identifier(role)
        )
    )
    granted: dict[int, set[str]] = {}
    for table, rights in _by_table(lease.rights).items():
        granted[_grant(connection, role, table, rights)] = {verb.upper() for verb in rights}
    found = excess_of(connection, role, granted)
    if found:
        raise DeniedError(
            ErrorCode.EXCESS_PRIVILEGE,
            f"a role made now could do more than it was granted: {'; '.join(found[:5])}",
            help="everyone may do that: REVOKE it FROM PUBLIC, then ask again (docs/leases.md)",
        )
    return public_extras(connection, role)


def _grant(connection: Connection, role: str, table: str, verbs: list[str]) -> int:
    """Grant `verbs` on one table, and what inserting needs of its sequences; return the table's oid."""
    schema, _, name = table.partition(".")
    row = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        [schema, name],
    ).fetchone()
    if row is None:
        raise DeniedError(
            ErrorCode.BAD_VALUE, f"the database has no table `{table}`", help="check `on` in the system's file"
        )
    whom = sql.Identifier(role)
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), whom))
    words = sql.SQL(", ").join(sql.SQL(_WORDS[verb]) for verb in verbs)
    connection.execute(sql.SQL("GRANT {} ON TABLE {} TO {}").format(words, sql.Identifier(schema, name), whom))
    if "insert" in verbs:
        for sequence_schema, sequence in connection.execute(_SEQUENCES, [row[0]]).fetchall():
            connection.execute(
                sql.SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(sql.Identifier(sequence_schema, sequence), whom)
            )
    missing = [verb for verb in verbs if not _may(connection, role, int(row[0]), verb)]
    if missing:  # GRANT by who may not grant is a warning, no error
        raise DeniedError(
            ErrorCode.EXCESS_PRIVILEGE,
            f"the role that makes leases may not grant {', '.join(missing)} on `{table}`",
            help=f"let it own the table, or: GRANT {', '.join(missing)} ON {table} TO … WITH GRANT OPTION",
        )
    return int(row[0])


_WORDS = {"select": "SELECT", "insert": "INSERT", "update": "UPDATE", "delete": "DELETE"}
_SEQUENCES = (  # that columns of the table take their defaults from: serial, not identity, which needs no right
    "SELECT n.nspname, s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'"
    " JOIN pg_namespace n ON n.oid = s.relnamespace"
    " WHERE d.refobjid = %s AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass"
    " AND d.deptype = 'a'"
)


def _may(connection: Connection, role: str, table: int, verb: str) -> bool:
    row = connection.execute(
        "SELECT has_table_privilege(%s::name, %s::oid, %s)", [role, table, _WORDS[verb]]
    ).fetchone()
    return row is not None and row[0] is True


def _by_table(rights: tuple[Right, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for right in rights:
        verbs = found.setdefault(right.on, [])
        verbs += [verb for verb in right.verbs if verb not in verbs]
    return found


def _oid_of(connection: Connection, role: str) -> int | None:
    row = connection.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    return int(row[0]) if row else None


def _shut(connection: Connection, role: str, oid: int) -> None:
    """Let the role sign in no more, and end its sessions, in whichever database."""
    name = sql.Identifier(role)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN CONNECTION LIMIT 0 PASSWORD NULL").format(name))
        if not _is_superuser(connection):  # to end its sessions and take over what it owns, one must be a member
            modern = connection.info.server_version >= 160_000  # noqa: PLR2004 - PostgreSQL 16
            options = " WITH INHERIT TRUE, SET TRUE" if modern else ""
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER" + options).format(name))
    until = time.monotonic() + END_SECONDS
    while True:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = %s", [oid]
        ).fetchall()
        if not ended:
            return
        if time.monotonic() >= until:
            raise ProviderError(f"{len(ended)} sessions of the role do not end", perhaps_made=True)
        time.sleep(_PAUSE)


def _is_superuser(connection: Connection) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER").fetchone()
    return row is not None and row[0] is True


def _databases_of(connection: Connection, oid: int) -> list[str]:
    """Return the databases in which something belongs to the role, or is granted to it."""
    rows = connection.execute(
        "SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid"
        " WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s",
        [oid],
    ).fetchall()
    return [str(row[0]) for row in rows]


def _strip(connection: Connection, role: str) -> None:
    """Take over what the role owns in this database, and revoke all it was granted here and on shared objects."""
    name = sql.Identifier(role)
    for attempt in range(_TRIES):
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(name))
                connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
        except psycopg.Error as err:
            if err.sqlstate not in _CONCURRENT or attempt + 1 == _TRIES:
                raise
        else:
            return


def _variables(place: PostgresPlace, role: str, password: str) -> dict[str, Secret]:
    """Return what libpq and every client built on it reads, and the same as one URL."""
    is_socket = place.host.startswith("/")
    tls = {"sslmode": place.tls, **({"sslrootcert": place.ca} if place.ca else {})}
    query = {"host": place.host, "port": str(place.port)} if is_socket else tls
    where = "" if is_socket else f"{f'[{place.host}]' if ':' in place.host else place.host}:{place.port}"
    url = f"postgresql://{role}:{quote(password, safe='')}@{where}/{quote(place.database, safe='')}?{urlencode(query)}"
    plain = {
        "DATABASE_URL": url,
        "PGHOST": place.host,
        "PGPORT": str(place.port),
        "PGDATABASE": place.database,
        "PGUSER": role,
        "PGPASSWORD": password,
    } | ({} if is_socket else {"PGSSLMODE": place.tls} | ({"PGSSLROOTCERT": place.ca} if place.ca else {}))
    return {name: Secret(value.encode()) for name, value in plain.items()}


@contextmanager
def _told(*, perhaps_made: bool) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as err:
        raise _failed(_said(err), err, perhaps_made=perhaps_made) from err


def _said(err: psycopg.Error) -> str:
    """Return what the server says is wrong, and no statement or value that it repeats."""
    return (err.diag.message_primary or type(err).__name__)[:200]


def _failed(text: str, err: psycopg.Error, *, perhaps_made: bool) -> ProviderError:
    code = f" ({err.sqlstate})" if err.sqlstate else f" ({type(err).__name__})"
    return ProviderError(text + code, perhaps_made=perhaps_made, help="check the system's `postgres` and its database")
