"""The counters of limits on SQLite and PostgreSQL: a sliding limit reserved, given back, and forgotten."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.gateway_store import SqlLimits
from charter.gateway.reserve import give_back, reserve
from charter.policy.verdict import Deny, LimitDue, LinkLimits
from charter.registry.window import Window
from databases import a_database

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LIMIT = LimitDue("a/grant-1/limit-1", Window(seconds=3600), 1, 2, "2 calls within 1h")


def ask(tx: Any, at: dt.datetime) -> Any:
    return reserve(SqlLimits(tx.connection), [LinkLimits("prn_1", "a", ((LIMIT,),))], "payments", at)


def test_a_sliding_limit_is_counted_and_given_back(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        first = database.write(lambda tx: ask(tx, NOON))
        assert not isinstance(database.write(lambda tx: ask(tx, NOON + dt.timedelta(minutes=30))), Deny)
        assert isinstance(database.write(lambda tx: ask(tx, NOON + dt.timedelta(minutes=59))), Deny)
        database.write(lambda tx: give_back(SqlLimits(tx.connection), first))
        assert not isinstance(database.write(lambda tx: ask(tx, NOON + dt.timedelta(minutes=59))), Deny)
        assert isinstance(database.write(lambda tx: ask(tx, NOON + dt.timedelta(minutes=80))), Deny)
        assert not isinstance(database.write(lambda tx: ask(tx, NOON + dt.timedelta(minutes=92))), Deny)


def test_counters_that_no_window_reaches_are_forgotten(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        for hour in range(3):
            database.write(lambda tx, hour=hour: ask(tx, NOON + dt.timedelta(hours=hour)))
        database.write(lambda tx: SqlLimits(tx.connection).forget(int((NOON + dt.timedelta(hours=1)).timestamp())))
        kept = database.read(lambda tx: tx.connection.execute(sa.select(t.limit_usage.c.window_start)).scalars().all())
        assert sorted(kept) == [int((NOON + dt.timedelta(hours=hour)).timestamp()) for hour in (1, 2)]
