"""Real databases for tests: `a_database(tmp_path)` is SQLite in a temporary folder; give `url` for another.

    with a_database(tmp_path) as database:
        index = database.write(lambda tx: tx.record(a_draft()))

Charter's tables are there already, copied from a file that the migrations made once for all tests of a process: to run
them takes longer than most tests. `houses.put_tables_of` does this for a house. What migrations do is shown by
tests/contracts/test_database_migrations.py, and by all journeys. For the same reason `share_statements`.

For stores of your own, pass `make_transaction=lambda frame: YourTransaction(frame, …)`, a subclass of `SqlTransaction`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from charter.adapters.database import Database
from charter.adapters.engine import open_engines, sqlite_url
from charter.adapters.migrations import migrate
from charter.adapters.transaction import Frame, SqlTransaction
from charter.core.clock import Clock
from charter.core.keys import Ed25519Signer
from charter.evidence.entry import Draft, EntryKind
from fakes import CountingEntropy, FixedClock

ORIGIN = "charter.example/log"
SIGNER = Ed25519Signer.from_seed(bytes(range(32)))


@contextmanager
def a_database(
    folder: Path,
    *,
    url: str | None = None,
    clock: Clock | None = None,
    make_transaction: Callable[[Frame], Any] = SqlTransaction,
    **changed: Any,
) -> Iterator[Database[Any]]:
    """Open a database in `folder`, or at `url`; close it at the end."""
    given = {"entropy": CountingEntropy(), "signer": SIGNER, "node_origin": ORIGIN} | changed
    if url is None:
        url = sqlite_url(put_tables(folder / "charter.db"))
    database: Database[Any] = Database(
        url,
        clock=clock or FixedClock(),
        make_transaction=make_transaction,
        **given,
    )
    try:
        yield database
    finally:
        database.close()


def put_tables(file: Path) -> Path:
    """Make `file`, where there is none, a SQLite database with Charter's tables and nothing in them; return it."""
    if file.parent.is_dir() and not file.exists():
        file.write_bytes(_tables())
    return file


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "charter.db")
        writer, _ = open_engines(sqlite_url(file))
        migrate(writer)
        writer.dispose()
        return file.read_bytes()


def share_statements() -> None:
    """Let all SQLite databases of this process share what SQLAlchemy compiled: else each test compiles it all again."""
    create = sa.create_engine
    first: Any = create("sqlite://")
    first.connect().close()  # the dialect learns what this SQLite can do

    def create_sharing(url: str | sa.URL, **given: Any) -> sa.Engine:
        engine: Any = create(url, **given)
        if engine.dialect.name == "sqlite":
            engine.dialect = engine.pool._dialect = first.dialect
            engine._compiled_cache = first._compiled_cache
        return engine

    sa.create_engine = create_sharing


def a_draft(kind: EntryKind = EntryKind.VERDICT, *, principal: str | None = "prn_1", **body: Any) -> Draft:
    """Return a draft of an evidence entry."""
    return Draft(kind, principal or "charter", principal, body)
