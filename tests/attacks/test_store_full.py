"""A disk with no space left, or that turned read-only, under a whole Charter.

It says so, allows nothing that it cannot record, breaks nothing it holds, and goes on once there is space.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from charter.adapters.engine import open_engines, sqlite_url
from served import Served, served
from terminal import Server, Terminal

STORE_FAILED = -31015
# Sizes in bytes that end in the midst of each thing that a first start writes: the lock, the keys, the database.
LEVELS = (0, 1, 10, 40, 64, 512, 4_096, 50_000, 200_000, 400_000)
FIRST_STARTS = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from charter.bootstrap.building import build
from charter.config import Settings
from charter.core.errors import CharterError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)


def start(estate):
    try:
        house = build(Settings(estate=estate))
    except CharterError as error:
        return [type(error).__name__, error.code.value, error.detail]
    asyncio.run(house.aclose())
    return []


for level in json.loads(sys.argv[2]):
    estate = Path(sys.argv[1]) / str(level)
    estate.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (level, hard))
    full = start(estate)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(json.dumps([level, full, start(estate), sorted(each.name for each in (estate / ".charter").iterdir())]))
"""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "estate") as scene:
        yield scene


def fill(server: Server, *, full: bool) -> None:
    """Let the server write no byte to any file any more, or again as much as it likes."""
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))


async def two_calls(scene: Served, server: Server, web: aiohttp.ClientSession, token: str) -> list[int]:
    numbers = [scene.next(), scene.next()]
    await scene.call(server, web, token, "get_charge", numbers[0])
    await scene.call(server, web, token, "create_refund", numbers[1])
    return numbers


async def through_a_full_disk(scene: Served, server: Server) -> None:
    async with aiohttp.ClientSession() as web:
        token = await scene.fetch(server, web)
        assert token is not None
        await two_calls(scene, server, web, token)
        assert len(scene.told.passed) == len(scene.told.refused) == len(scene.upstream.calls()) == 1

        fill(server, full=True)
        for number in await two_calls(scene, server, web, token):
            assert scene.told.failed[number]["code"] == STORE_FAILED
        assert await scene.fetch(server, web) is None
        answer = await asyncio.to_thread(
            scene.control, "POST", "/v1/principals/charge-reader/move", {"move": "suspend", "actor": "a", "reason": "r"}
        )
        assert answer.status_code == 503
        assert answer.json()["code"] == "store_failed"
        assert len(scene.upstream.calls()) == 1

        fill(server, full=False)
        await two_calls(scene, server, web, token)
        assert len(scene.told.passed) == len(scene.told.refused) == len(scene.upstream.calls()) == 2
        assert await scene.fetch(server, web) is not None


def test_with_no_space_left_nothing_is_allowed_and_with_space_it_goes_on(scene: Served) -> None:
    with scene.terminal.up() as server:
        scene.enrol()
        scene.background.run(through_a_full_disk(scene, server))
        assert scene.asked("GET", "/v1/principals/charge-reader")["standing"] == "active"
        assert scene.asked("POST", "/v1/evidence/verify")["ok"]
        assert server.stop() == 0
    told = server.log.read_text(encoding="utf-8")
    assert "Traceback" not in told
    assert told.count("usable again") == 1


def test_a_first_start_on_a_disk_full_at_any_byte_says_so_and_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_STARTS, str(tmp_path), json.dumps(LEVELS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    starts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [level for level, *_ in starts] == list(LEVELS)
    for level, full, then, holds in starts:
        assert full[:2] == ["UnavailableError", "store_failed"], level
        assert "cannot be used" in full[2], level
        assert then == [], level
        assert holds == [".gitignore", "charter.db", "lock", "master.key", "node"], level


# --- a disk of its own ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 3 MB, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def full(disk: Path) -> Path:
    """Fill a disk to its last byte; return the file that does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(1_000))
        except OSError:
            return ballast


def refused(terminal: Terminal, *words: str) -> str:
    error: dict[str, Any] = terminal.refused(*words, expect=6)
    assert error["error"] == "store_failed"
    return str(error["detail"])


def test_a_command_that_cannot_write_its_file_says_so_and_leaves_no_half_of_it(small_disk: Path) -> None:
    estate = small_disk / "estate"
    Terminal.at(small_disk.parent / "elsewhere").charter("init", str(estate))
    terminal = Terminal.at(small_disk.parent / "elsewhere").but("-C", str(estate))
    new = ["new", "coding-agent", "principal=docs-bot", "owner=rita@example.com", "branch=docs-bot"]
    before = sorted(estate.rglob("*"))
    ballast = full(small_disk)
    assert "no space left" in refused(terminal, *new)
    assert "no space left" in refused(terminal, "init", str(small_disk / "second")).lower()
    assert sorted(estate.rglob("*")) == before
    ballast.unlink()
    terminal.charter(*new)


def test_a_read_only_disk_is_said_by_each_command_that_writes(small_disk: Path) -> None:
    terminal = Terminal.at(small_disk / "estate", HOME=str(small_disk.parent))
    terminal.charter("init", ".")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for words in (["up"], ["apply", "--yes"], ["scan", "."]):
        assert "read-only" in refused(terminal, *words), words


def test_the_write_ahead_log_gives_its_room_back_on_a_small_disk(small_disk: Path) -> None:
    """A row that is written again and again needs the room of one, however long the log of it would become."""
    writer, reader = open_engines(sqlite_url(small_disk / "charter.db"))
    with writer.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (body BLOB)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (:body)"), {"body": bytes(8_000)})
    for turn in range(1_000):
        with writer.begin() as connection:
            connection.execute(sa.text("UPDATE kept SET body = :body"), {"body": bytes([turn % 256]) * 8_000})
    assert (small_disk / "charter.db-wal").stat().st_size < 2_000_000
    writer.dispose()
    reader.dispose()
