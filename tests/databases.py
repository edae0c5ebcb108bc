"""Real databases for tests: `a_database(tmp_path)` is SQLite in a temporary folder; give `url` for another.

    with a_database(tmp_path) as database:
        index = database.write(lambda tx: tx.record(a_draft()))

For stores of your own, pass `make_transaction=lambda frame: YourTransaction(frame, …)`, a subclass of `SqlTransaction`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charter.adapters.database import Database
from charter.adapters.engine import sqlite_url
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
    database: Database[Any] = Database(
        url or sqlite_url(folder / "charter.db"),
        clock=clock or FixedClock(),
        make_transaction=make_transaction,
        **given,
    )
    try:
        yield database
    finally:
        database.close()


def a_draft(kind: EntryKind = EntryKind.VERDICT, *, principal: str | None = "prn_1", **body: Any) -> Draft:
    """Return a draft of an evidence entry."""
    return Draft(kind, principal or "charter", principal, body)
