"""Erasing that is cut short by kill -9 or a full disk, and any set of erasures in any order."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charter.core.errors import UnavailableError
from erasing_stage import ANN, erase, left_of, put, slow_steps, verified
from houses import Stage, a_house

HERE = Path(__file__).parent.parent
COUNT = 60  # payloads of Ann, four told of by one entry
PEOPLE = [f"{name}@example.com" for name in ("ann", "bob", "carl", "dora", "emil", "fay")]


def orders(stage: Stage) -> list[Any]:
    return list(stage.house.database.read(lambda tx: tx.erasures.orders(stage.house.database.node)))


def there(stage: Stage, indexes: list[int]) -> int:
    rows = stage.house.database.read_log(lambda log: log.chosen(indexes))
    return sum(each.payload is not None for each in rows)


def killed_eraser(folder: Path, elsewhere: dict[str, Any], step: int) -> bytes:
    """Let a process erase Ann, and kill it at its `step`th step; return what it had said."""
    command = [sys.executable, str(HERE / "erasing_stage.py"), str(folder), json.dumps(elsewhere)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE.parent / "src"), str(HERE)))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        said = b""
        while len(said) < step and (found := os.read(child.stdout.fileno(), 1)):
            said += found
        child.send_signal(signal.SIGKILL)
        return said + child.stdout.read()


def test_kill_9_within_an_erasure_leaves_an_order_that_is_carried_out(tmp_path: Path, database_url: str) -> None:
    dice = random.Random(7)  # noqa: S311 - it chooses when to kill
    elsewhere = {"database": database_url} if database_url.startswith("postgresql") else {}
    with a_house(tmp_path, apply=False, **elsewhere) as stage:
        some = put(stage, [ANN] * COUNT)
    said = killed_eraser(tmp_path, elsewhere, dice.randint(3, 10))
    assert b"!" not in said
    with a_house(tmp_path, apply=False, **elsewhere) as stage:
        assert len(orders(stage)) == 1
        assert 0 < there(stage, some) < COUNT
        assert verified(stage).is_verified  # each step is whole, with the entry that tells of it
        stage.house.retaining.tend()
        assert there(stage, some) == 0
        assert orders(stage) == []
        assert sum(each["body"]["count"] for each in stage.entries("evidence.erased")) == COUNT
        assert {each["actor"] for each in stage.entries("evidence.erased")} == {"dpo@example.com"}
        report = verified(stage)
        assert report.is_verified
        assert sorted(report.payloads.erased) == some
        assert left_of(tmp_path, [ANN]) == []


@pytest.fixture
def limited() -> Iterator[Any]:
    """Give what bounds the size of every file of this process, as a full disk does; it is lifted at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_stops_an_erasure_which_goes_on_once_there_is_space(tmp_path: Path, limited: Any) -> None:
    with a_house(tmp_path, apply=False) as stage, slow_steps():
        some = put(stage, [ANN] * COUNT)
        limited(0)
        with pytest.raises(UnavailableError):
            erase(stage, person=ANN)
        limited(None)
        assert there(stage, some) == COUNT  # the order itself could not be kept: nothing happened
        assert orders(stage) == []
        stage.house.database.settle_erasure()
        log = stage.house.folder.file("charter.db-wal")
        limited(log.stat().st_size + 200_000)  # some steps fit
        with pytest.raises(UnavailableError):
            erase(stage, person=ANN)
        limited(None)
        assert 0 < there(stage, some) < COUNT
        assert verified(stage).is_verified
        stage.house.retaining.tend()
        assert there(stage, some) == 0
        assert verified(stage).is_verified
        assert orders(stage) == []


@pytest.fixture(scope="module")
def template() -> Iterator[tuple[Path, dict[str, list[int]]]]:
    """Give the folder of a house whose log tells of six people, sealed too, and where each stands."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with a_house(folder, apply=False) as stage:
            places: dict[str, list[int]] = {person: [] for person in PEOPLE}
            for _ in range(3):
                for person, index in zip(PEOPLE, put(stage, PEOPLE), strict=True):
                    places[person].append(index)
            stage.house.sealing.seal()
        yield folder, places


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, 0, 1, 2])), min_size=2, max_size=4))
def test_any_erasures_in_any_order_leave_a_log_that_verifies_and_nothing_of_them(
    template: tuple[Path, dict[str, list[int]]], order: list[tuple[int, int | None]]
) -> None:
    """Each is of one person whole, or of one entry about them."""
    basis, places = template
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(basis / ".charter", Path(name) / ".charter")
        gone: set[int] = set()
        with a_house(Path(name), apply=False) as stage:
            there_were = verified(stage).payloads.given  # of people, and of the house's own first entries
            for number, which in order:
                person = PEOPLE[number]
                meant = places[person] if which is None else [places[person][which]]
                wanted = {"person": person} if which is None else {"entry": meant[0]}
                assert erase(stage, **wanted)["erased"] == len(set(meant) - gone)
                gone.update(meant)
            report = verified(stage)
            assert report.is_verified
            assert set(report.payloads.erased) == gone
            assert report.payloads.given == there_were - len(gone)
            left = set(left_of(Path(name), PEOPLE))
            assert left == {person for person in PEOPLE if not gone.issuperset(places[person])}
