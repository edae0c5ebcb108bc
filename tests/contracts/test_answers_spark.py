"""The five answers on Spark (local, real): the same rows as DuckDB gives, from the same sealed Parquet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from charter.adapters import analytics
from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked
from charter.adapters.sealed import SealedLog
from charter.core.errors import UnavailableError
from charter.reports.permissions import Aspect, Permission, Reach
from charter.reports.reach import ranges
from review_entries import UNTIL, a_permission, a_refusal, a_verdict, an_outcome, placed

SINCE = dt.datetime(2026, 11, 3, 8, 45, tzinfo=dt.UTC)  # within a day: some is summed by DuckDB, the rest read by Spark
JOB = {"parties": [{"name": "ana@example.com"}, {"name": "planner"}, {"name": "refund-agent"}], "purpose": "disputes"}
ODD = "charge/Zoë's\n\\d+ (a|b)_%.*$"
PATTERNS = ("charge/*", "refund/*", "*'s*", "charge/*\\d+*(a|b)*", "*Zoë*_%*$", "book/1", "charge/ch_")


def days() -> Iterator[bytes]:
    """Yield a month and a half of what makes engines differ: odd texts, edges of days, ties, missing values."""
    for month, day in [*((10, day) for day in range(1, 32)), *((11, day) for day in range(1, 23))]:
        yield a_verdict(f"2026-{month}-{day:02}T08:30")
        yield a_verdict(f"2026-{month}-{day:02}T23:59:59.999999", object=ODD, data=["pii", "card"])
        yield an_outcome(f"2026-{month}-{day:02}T00:00", bytes=2**40)
    yield from (
        a_verdict(f"2026-11-09T03:{minute:02}", system="ledger", object="book/1", data=[]) for minute in range(50)
    )
    yield from (a_refusal(f"2026-11-0{n}T10:00", rule=rule, principal="other") for n in range(1, 6) for rule in "bca")
    yield from (a_verdict(f"2026-11-0{n}T10:00", team=None, kind=None, principal="zoë") for n in range(1, 6))
    yield a_verdict("2026-11-10T09:00", chain=JOB)
    yield an_outcome("2026-11-10T09:00", outcome="tool-error")


def permissions() -> Iterator[Permission]:
    """Yield permissions of every aspect."""
    yield from (a_permission(action) for action in ("charge.read", "refund.create"))
    for system in ("payments", "ledger"):
        for reach in ranges(system, PATTERNS, ("book",), {"both": ("refund/*", "charge/*")}):
            yield a_permission("", system=system, reach=reach)
    yield from (a_permission("", reach=Reach(Aspect.HOURS, "payments", hour=hour)) for hour in range(24))
    yield from (a_permission("", system="", reach=Reach(Aspect.DATA, what=name)) for name in ("card", "pii", "health"))
    yield a_permission("", system="", reach=Reach(Aspect.DELEGATION, what="planner", pattern="for"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")  # Spark's and its gateway's own
@pytest.mark.parametrize("narrowed", [{}, {"system": "payments", "team": "payments-ops"}], ids=["all", "narrowed"])
def test_spark_answers_as_duckdb_does(tmp_path: Path, narrowed: dict[str, str | None]) -> None:
    pytest.importorskip("pyspark", reason="make test-all installs it")
    log, entries = SealedLog(tmp_path / "sealed"), placed(list(days()))
    log.seal(entries[:-40])
    log.compact(dt.date(2026, 11, 24))
    tail = [each.data for each in entries[-40:]]
    asked = Asked(SINCE, UNTIL, narrowed)

    ours = analytics.answers(asked, tail, table_of(permissions()), log)
    theirs = analytics.answers(asked, tail, table_of(permissions()), log, spark="local[2]")

    for one, other in zip(ours, theirs, strict=True):
        assert one.rows, one.name
        assert (one.columns, one.rows, one.total) == (other.columns, other.rows, other.total), one.name


def test_without_spark_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyspark", None)
    monkeypatch.setitem(__import__("sys").modules, "pyspark.sql", None)
    monkeypatch.setitem(__import__("sys").modules, "pyspark.errors", None)

    with pytest.raises(UnavailableError, match="Spark is not installed") as told:
        analytics.answers(Asked(SINCE, UNTIL, {}), (), None, SealedLog(tmp_path), spark="local")
    assert "charter[spark]" in str(told.value.help)
