"""Two processes on one store: what one of them knows of the estate must never be out of date."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from charter.bootstrap import authority
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.config import Settings, settings_from
from charter.core.errors import CharterError, ConflictError, IntegrityError, MalformedError
from charter.registry.standing import Move
from databases import a_database, a_draft
from fakes import CountingEntropy
from houses import a_house

FOLDER = Path(__file__).parent.parent


def one(folder: Path) -> Path:
    """Return the folder of the first node's estate."""
    (folder / "one").mkdir(exist_ok=True)
    return folder / "one"


def another(folder: Path, url: str) -> House:
    """Build the house of a second node, which has the first one's master key."""
    data = folder / "two" / ".charter"
    data.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "one" / ".charter" / "master.key", data)
    return build(Settings(estate=folder / "two", database=url))


def close(house: House) -> None:
    asyncio.run(house.aclose())


def test_a_second_process_on_one_data_folder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from charter.config import *\n"
    program += "from charter.bootstrap.building import build\n"
    program += "build(Settings(estate=Path(sys.argv[1])))"
    with a_house(tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(FOLDER.parent / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert f"ConflictError: process {os.getpid()} is using the data folder" in second.stderr


def test_a_second_house_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with a_house(tmp_path), pytest.raises(ConflictError, match="is using the data folder"):
        build(Settings(estate=tmp_path))


def test_a_second_node_on_one_postgresql_is_refused(tmp_path: Path, postgres_url: str) -> None:
    """Each would decide from a memory of its own: a kill at one would not be seen at the other."""
    with (
        a_house(one(tmp_path), database=postgres_url) as stage,
        pytest.raises(ConflictError, match="another Charter node serves this database"),
    ):
        another(tmp_path, postgres_url)
    assert stage.upstream.calls == []
    close(another(tmp_path, postgres_url))


def test_a_node_that_lost_its_database_to_another_stops_deciding(tmp_path: Path, postgres_url: str) -> None:
    """The first node's connections die; a second one starts, kills a principal and stops. The first must not go on."""
    with a_house(one(tmp_path), database=postgres_url) as stage:
        bearer = stage.bearer("charge-reader")
        call = stage.make("get_charge", {"charge_id": "ch_1"})
        end_sessions(postgres_url)
        other = another(tmp_path, postgres_url)
        moved = authority.move(other, "charge-reader", Move.KILL, actor="pia@example.com", reason="3 a.m.")
        assert asyncio.run(moved)["after"] == "revoked"
        close(other)
        for _ in range(3):
            with pytest.raises(CharterError) as refused:
                stage.submit(bearer, call)
        assert "another node wrote to the database" in refused.value.detail
        assert stage.upstream.calls == []


def test_a_node_that_lost_its_database_for_a_moment_goes_on(tmp_path: Path, postgres_url: str) -> None:
    with a_house(one(tmp_path), database=postgres_url) as stage:
        bearer = stage.bearer("charge-reader")
        call = stage.make("get_charge", {"charge_id": "ch_1"})
        end_sessions(postgres_url)
        for _ in range(3):
            try:
                stage.submit(bearer, call)
            except CharterError:
                continue
        assert stage.upstream.calls


def end_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("url", ["sqlite:////tmp/elsewhere.db", "sqlite://", "mysql://x/y", "x", ""])
def test_a_database_that_no_lock_guards_is_refused(url: str) -> None:
    with pytest.raises(MalformedError, match="must begin with postgresql://"):
        settings_from({"CHARTER_DATABASE": url})


@pytest.mark.parametrize("kept", ["", "\n", "nod_", "nod_" + "0" * 25, "../other", "\x00", "nod_" + "0" * 26 + "/x"])
def test_a_damaged_name_of_the_node_begins_no_other_log(tmp_path: Path, kept: str) -> None:
    with a_house(tmp_path) as stage:
        origin = stage.house.database.origin
    file = tmp_path / ".charter" / "node"
    name = file.read_text()
    file.write_text(kept)
    with pytest.raises(IntegrityError, match="does not hold this node's name"):
        build(Settings(estate=tmp_path))
    file.write_text(name)
    house = build(Settings(estate=tmp_path))
    assert house.database.origin == origin
    close(house)


def test_two_writers_of_one_log_find_each_other_out(tmp_path: Path) -> None:
    """Without any lock, the head itself tells: it is moved on only from the size it was read with."""

    def record(tx: Any) -> int:
        return int(tx.record(a_draft()))

    with a_database(tmp_path) as one, a_database(tmp_path, entropy=CountingEntropy()) as two:
        assert one.write(record) == 1
        with pytest.raises(IntegrityError):
            two.write(record)
        assert one.write(record) == 2
