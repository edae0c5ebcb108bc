"""Systems and files as they held, on SQLite and PostgreSQL: by the index in this node's log, by the time of others."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from charter.adapters import tables as t
from charter.core.canonical import digest
from charter.core.errors import IntegrityError
from charter.registry.history import SYSTEM, Succession
from estates import Registry, a_registry

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def keep(house: Registry, body: str | None, index: int, at: dt.datetime = AT, node: str = "nod_1") -> None:
    kept = Succession(SYSTEM, "payments", digest(body.encode()) if body else "", body)
    house.database.write(lambda tx: tx.registry.keep_history([kept], (node, index), at))


def held(house: Registry, index: int, at: dt.datetime = AT, node: str = "nod_1") -> list[str]:
    return [each.body for each in house.database.read(lambda tx: tx.registry.held_at(node, index, at))]


def test_what_held_at_an_entry_is_what_came_before_it_and_had_not_ceased(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        keep(house, "one", 5)
        keep(house, "two", 10)
        keep(house, None, 20)
        assert [held(house, index) for index in (5, 6, 10, 11, 20, 21)] == [[], ["one"], ["one"], ["two"], ["two"], []]
        assert house.database.read(lambda tx: tx.registry.moves_of("nod_1")) == [5, 10, 20]
        assert house.database.read(lambda tx: tx.registry.moves_of("nod_2")) == []


def test_what_another_nodes_log_tells_of_is_placed_by_its_time(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        keep(house, "one", 500, AT, node="nod_2")
        keep(house, "two", 7, AT + 2 * HOUR)
        assert held(house, 3, AT - HOUR) == []
        assert held(house, 3, AT + HOUR) == ["one"]
        assert held(house, 8, AT + 3 * HOUR) == ["two"]


def test_what_was_altered_is_not_what_held(tmp_path: Path, database_url: str) -> None:
    with a_registry(tmp_path, database_url) as house:
        keep(house, "one", 5)
        house.sql(t.estate_history.update().values(body="other"))
        with pytest.raises(IntegrityError, match="as it held then is not what its digest says"):
            held(house, 6)
