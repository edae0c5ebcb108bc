"""The spool of a program: on the disk before it counts, one process a file, nothing lost and nothing half."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from charter.adapters import spool as spools
from charter.adapters.spool import Spool, SpoolFullError
from charter.cli.main import app
from charter.core.clock import SystemClock, rfc3339
from charter.core.entropy import SystemEntropy
from fakes import FixedClock
from houses import a_house


def a_spool(folder: Path) -> Spool:
    folder.chmod(0o700)
    return Spool(folder, SystemEntropy())


def leave(spool: Spool) -> None:
    """End its process, as a kill does: the lock goes, the file stays."""
    spool._file.close()


def lines(spool: Spool) -> list[Any]:
    found = spool.waiting(100)
    return [line["n"] for line in found[2]] if found else []


def test_what_is_added_stands_in_the_file_and_waits_until_it_is_reported(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    assert [spool.add({"n": n}) for n in range(3)] == [1, 2, 3]
    (path,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.waiting(2) == (spool.id, 1, [{"n": 0}, {"n": 1}])
    spool.reported(spool.id, 2)
    assert spool.waiting(2) == (spool.id, 3, [{"n": 2}])
    spool.reported(spool.id, 3)
    assert spool.waiting(2) is None
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_left_is_reported_first_from_where_it_was(tmp_path: Path) -> None:
    left = a_spool(tmp_path)
    for n in range(4):
        left.add({"n": n})
    left.reported(left.id, 1)
    leave(left)
    spool = a_spool(tmp_path)
    spool.add({"n": 9})
    assert spool.waiting(100) == (left.id, 2, [{"n": 1}, {"n": 2}, {"n": 3}])
    spool.reported(left.id, 4)
    assert lines(spool) == [9]
    assert not (tmp_path / f"{left.id}.jsonl").exists()
    spool.close()


def test_a_file_whose_process_runs_is_left_alone(tmp_path: Path) -> None:
    one = a_spool(tmp_path)
    one.add({"n": 1})
    other = a_spool(tmp_path)
    assert other.waiting(10) is None
    other.close()
    assert lines(one) == [1]
    one.close()
    assert (tmp_path / f"{one.id}.jsonl").exists()  # what waits stays


@pytest.mark.parametrize("torn", [b'{"n": 7', b'{"n": 7}', b"\xff\xfe\n", b"\x00" * 40 + b"\n"])
def test_a_line_that_is_not_whole_was_never_acted_on(tmp_path: Path, torn: bytes) -> None:
    left = a_spool(tmp_path)
    left.add({"n": 1})
    leave(left)
    path = tmp_path / f"{left.id}.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    spool = a_spool(tmp_path)
    assert lines(spool) == [1]
    spool.close()


def test_a_place_that_was_lost_has_everything_reported_again(tmp_path: Path) -> None:
    left = a_spool(tmp_path)
    left.add({"n": 1})
    left.reported(left.id, 1)
    leave(left)
    (tmp_path / f"{left.id}.through").write_text("nonsense")
    spool = a_spool(tmp_path)
    assert lines(spool) == [1]
    spool.close()


def test_a_folder_that_others_may_use_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with pytest.raises(PermissionError, match="chmod 700"):
        Spool(tmp_path, SystemEntropy())


def test_there_is_an_end_to_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_WAITING", 3)
    spool = a_spool(tmp_path)
    for n in range(3):
        spool.add({"n": n})
    with pytest.raises(SpoolFullError):
        spool.add({"n": 4})
    spool.reported(spool.id, 1)
    assert spool.add({"n": 4}) == 4
    spool.close()


def test_a_long_file_is_let_go_of_once_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "ROTATED_AT", 2)
    spool = a_spool(tmp_path)
    first = spool.id
    for n in range(2):
        spool.add({"n": n})
    spool.reported(first, 2)
    assert spool.add({"n": 5}) == 1
    assert spool.id != first
    assert [each.name for each in tmp_path.glob("*.jsonl")] == [f"{spool.id}.jsonl"]
    spool.close()


def test_a_full_disk_is_said_before_anything_counts(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    full = os.open("/dev/full", os.O_WRONLY)
    kept, spool._file = spool._file, os.fdopen(full, "wb", 0)
    with pytest.raises(OSError, match="No space left"):
        spool.add({"n": 1})
    spool._file.close()
    spool._file = kept
    assert spool.waiting(10) is None
    spool.close()


def test_many_threads_share_a_file(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.extend(spool.add({"n": n}) for n in range(50))) for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(numbers) == list(range(1, 401))
    (path,) = tmp_path.glob("*.jsonl")
    assert len(path.read_text().splitlines()) == 400
    spool.close()


def test_a_person_takes_in_what_was_left_and_then_the_folder_is_empty(tmp_path: Path) -> None:
    """With the command, on the machine of the program; nothing is lost if the first attempt fails."""
    estate = tmp_path / "estate"
    estate.mkdir()
    with a_house(estate, clock=FixedClock(SystemClock().now())) as stage:
        at = rfc3339(stage.clock.now())
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    left = a_spool(folder)
    deed = {"system": "payments", "action": "charge.read", "object": "charge/1"}
    for _ in range(3):
        line = {"id": SystemEntropy().identifier("vrd"), "at": at, "policies": "sha256:" + "0" * 64}
        left.add(line | deed | {"arguments": {}})
    leave(left)

    def take(name: str) -> Result:
        words = ["-C", str(estate), "evidence", "take-spool", name, str(folder), "--json"]
        return CliRunner().invoke(app, words)

    assert take("refund-agnt").exit_code != 0
    assert [path.name for path in folder.glob("*.jsonl")] == [f"{left.id}.jsonl"]
    told = json.loads(take("refund-agent").output)
    assert (told["spools"], told["decisions"]) == ([left.id], 3)
    assert list(folder.iterdir()) == []
    found = CliRunner().invoke(
        app, ["-C", str(tmp_path / "estate"), "evidence", "query", "--kind", "verdict", "--json"]
    )
    told_by = [each["body"]["in_process"]["taken_by"] for each in json.loads(found.output)["entries"]]
    assert len(told_by) == 3
