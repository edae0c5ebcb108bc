"""Kill -9, a full or read-only disk, a lost connection, a torn file: nothing answered is lost, nothing is half done."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from charter.adapters.datafolder import DataFolder
from charter.core.errors import CharterError, ConflictError, ErrorCode, IntegrityError, UnavailableError
from charter.evidence.check import check_log
from databases import SIGNER, a_database, a_draft
from fakes import CountingEntropy

HERE = Path(__file__).parent.parent

# Writes from eight coroutines and says each index only after it was answered.
WRITER = """
import asyncio, os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from databases import a_database, a_draft

async def write_on(database):
    while True:
        index = await database.awrite(lambda tx: tx.record(a_draft(text="x" * 400)))
        os.write(1, b"%d\\n" % index)

async def main():
    with a_database(Path(sys.argv[1]), url=os.environ.get("DATABASE")) as database:
        await asyncio.gather(*(write_on(database) for _ in range(8)))

asyncio.run(main())
"""


def killed_writer(folder: Path, seconds: float, url: str | None) -> list[int]:
    """Return the indexes that a writer was given before it was killed in the middle of its work."""
    environment = os.environ | ({"DATABASE": url} if url else {})
    command = [sys.executable, "-c", WRITER, str(folder), str(HERE.parent / "src"), str(HERE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    return [int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")]


def test_kill_9_at_any_instant_loses_nothing_that_was_answered(tmp_path: Path, database_url: str) -> None:
    dice = random.Random(41)  # noqa: S311 - it chooses when to kill
    answered: list[int] = []
    url = database_url if database_url.startswith("postgresql") else None
    for _ in range(4):
        answered += killed_writer(tmp_path, dice.uniform(0.02, 0.4), url)
        with a_database(tmp_path, url=url) as database:
            report = database.read_log(lambda log: check_log(log, SIGNER.public))
            assert report.faults == ()
            assert report.entries > max(answered)
    assert len(answered) == len(set(answered)) > 100


def record(tx: Any) -> int:
    return int(tx.record(a_draft(text="x" * 4_000)))


def fill_up(database: Any) -> UnavailableError:
    """Write until the disk is full; return what the last work was told."""
    for _ in range(3_000):
        try:
            database.write(record)
        except UnavailableError as err:
            return err
    raise AssertionError("the disk never got full")


def test_a_full_disk_is_said_and_the_node_goes_on_once_there_is_space(tmp_path: Path) -> None:
    """The child may write files of at most 2 MB; raising the limit again is the space that was freed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _run_out_of_space(tmp_path)
            code = 0
        except BaseException as err:  # noqa: BLE001 - the child's edge: its report goes to the parent
            (tmp_path / "failure").write_text(repr(err))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, (tmp_path / "failure").read_text()
    with a_database(tmp_path) as database:
        assert database.read_log(lambda log: check_log(log, SIGNER.public)).faults == ()


def _run_out_of_space(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with a_database(folder) as database:
        database.write(record)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
        told = fill_up(database)
        size = database.head.size
        assert told.code is ErrorCode.STORE_FAILED, told
        assert "the database cannot be used: its disk" in told.detail, told
        assert not database.healthy
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert database.write(record) == size
        assert database.healthy


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
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_is_said(small_disk: Path) -> None:
    with a_database(small_disk) as database:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        told = fill_up(database)
        assert told.detail == "the database cannot be used: its disk is full"
        ballast.unlink()
        assert database.write(record) == database.head.size - 1
        assert database.read_log(lambda log: check_log(log, SIGNER.public)).faults == ()


def test_a_disk_that_turned_read_only_is_said(small_disk: Path) -> None:
    with a_database(small_disk) as database:
        database.write(record)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UnavailableError, match="the database cannot be used: it"), a_database(small_disk):
        pass
    with pytest.raises(UnavailableError, match="cannot be used: read-only file system"):
        DataFolder.open(small_disk)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the test above covers it")
def test_a_folder_one_may_not_write_to_is_said(tmp_path: Path) -> None:
    with a_database(tmp_path) as database:
        database.write(record)
    for path in tmp_path.iterdir():
        path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UnavailableError, match="the database cannot be used: it"), a_database(tmp_path):
            pass
        with pytest.raises(UnavailableError, match="cannot be used: permission denied"):
            DataFolder.open(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="its file cannot be opened"), a_database(tmp_path / "nowhere"):
        pass


def open_and_verify(folder: Path) -> None:
    with a_database(folder) as database:
        report = database.read_log(lambda log: check_log(log, SIGNER.public))
    if not report.is_verified:
        raise IntegrityError(ErrorCode.EVIDENCE_BROKEN, report.faults[0].text, help="named by the check")


@pytest.mark.parametrize("damage", [b"", b"x" * 4_096, None])
def test_a_torn_file_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    with a_database(tmp_path) as database:
        for _ in range(50):
            database.write(record)
    path = tmp_path / "charter.db"
    data = path.read_bytes()
    if damage is None:
        path.write_bytes(data[: len(data) // 2])
    elif damage:
        path.write_bytes(damage + data[4_096:])
    else:
        middle = len(data) // 2 // 4_096 * 4_096
        path.write_bytes(data[:middle] + bytes(40 * 4_096) + data[middle + 40 * 4_096 :])
    with pytest.raises((UnavailableError, IntegrityError)) as caught:
        open_and_verify(tmp_path)
    assert caught.value.help


def test_a_torn_last_write_of_the_journal_costs_only_what_was_not_answered(tmp_path: Path) -> None:
    """What a power cut leaves: the journal up to some byte. Each answer was given after its bytes were on the disk."""
    answered: list[tuple[int, int]] = []
    copy = tmp_path / "copy"
    copy.mkdir()
    with a_database(tmp_path) as database:
        for _ in range(12):
            index = database.write(record)
            answered.append((index, (tmp_path / "charter.db-wal").stat().st_size))
        shutil.copy(tmp_path / "charter.db", copy)
        journal = (tmp_path / "charter.db-wal").read_bytes()
    for cut in (answered[2][1], answered[2][1] + 1_000, answered[7][1] + 4_000, len(journal) - 1):
        for leftover in copy.glob("charter.db-*"):
            leftover.unlink()
        (copy / "charter.db-wal").write_bytes(journal[:cut])
        with a_database(copy) as database:
            report = database.read_log(lambda log: check_log(log, SIGNER.public))
        assert report.faults == ()
        assert report.entries > max(index for index, size in answered if size <= cut)


def test_a_second_process_on_the_same_log_in_postgresql_is_refused(tmp_path: Path, postgres_url: str) -> None:
    with a_database(tmp_path, url=postgres_url) as database:
        said = "another Charter process writes this node's log"
        with pytest.raises(ConflictError, match=said), a_database(tmp_path, url=postgres_url):
            pass
        assert database.write(record) == 1


def test_two_nodes_share_one_postgresql_each_with_a_log_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    dice = CountingEntropy()
    with (
        a_database(tmp_path, url=postgres_url, entropy=dice, node_origin="charter.example/one") as one,
        a_database(tmp_path, url=postgres_url, entropy=dice, node_origin="charter.example/two") as two,
    ):
        assert [one.write(record), two.write(record), one.write(record)] == [1, 1, 2]
        for node in (one, two):
            assert node.read_log(lambda log: check_log(log, SIGNER.public)).faults == ()
        assert one.node != two.node


def test_a_new_node_goes_by_the_name_that_its_log_bears_unless_another_has_it(tmp_path: Path) -> None:
    name, dice = "nod_01m8gz6qcf7r9bcn66hv0aj5k5", CountingEntropy()
    with (
        a_database(tmp_path, entropy=dice, node_origin=f"one.example/log/{name}") as one,
        a_database(tmp_path, entropy=dice, node_origin=f"two.example/log/{name}") as two,
        a_database(tmp_path, entropy=dice, node_origin="three.example/log/7") as three,
    ):
        assert one.node == name
        assert len({one.node, two.node, three.node}) == 3
    with a_database(tmp_path, entropy=dice, node_origin=f"two.example/log/{name}") as again:
        assert again.node == two.node


@pytest.mark.parametrize(("asked", "kept"), [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")])
def test_a_commit_in_postgresql_is_waited_for_whatever_the_database_is_set_to(
    tmp_path: Path, postgres_url: str, asked: str, kept: str
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{other.info.dbname}" SET synchronous_commit = {asked}'.encode())
    with a_database(tmp_path, url=postgres_url) as database:
        shown = database.write(lambda tx: tx.connection.execute(sa.text("SHOW synchronous_commit")).scalar_one())
    assert shown == kept


def end_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_lost_connection_costs_no_answered_entry_and_mends_itself(tmp_path: Path, postgres_url: str) -> None:
    answered: list[int] = []
    with a_database(tmp_path, url=postgres_url) as database:
        for i in range(30):
            if i % 10 == 5:
                end_sessions(postgres_url)
            with suppress(UnavailableError):
                answered.append(database.write(record))
        report = database.read_log(lambda log: check_log(log, SIGNER.public))
    assert len(answered) >= 24
    assert report.faults == ()
    assert answered == list(range(1, report.entries))


def test_a_commit_whose_answer_was_lost_is_settled_by_the_log_itself(tmp_path: Path, postgres_url: str) -> None:
    """The connection dies after COMMIT was carried out and before the node heard of it: its steps still run."""
    steps: list[str] = []

    def change(tx: Any) -> int:
        tx.after_commit(lambda: steps.append("ran"))
        return int(tx.record(a_draft()))

    with a_database(tmp_path, url=postgres_url) as database:
        sequencer = database._sequencer
        engine = sequencer._engine
        real = engine.dialect.do_commit

        def commit_and_die(connection: Any) -> None:
            real(connection)
            engine.dialect.do_commit = real
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        engine.dialect.do_commit = commit_and_die
        assert database.write(change) == 1
        assert steps == ["ran"]
        assert database.write(change) == 2
        assert database.read_log(lambda log: check_log(log, SIGNER.public)).faults == ()


def test_a_server_that_is_gone_is_an_error_at_once_and_for_all(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(CharterError) as caught, a_database(tmp_path, url=f"postgresql:///x?host={tmp_path}"):
        pass
    assert isinstance(caught.value, UnavailableError)
    assert time.monotonic() - started < 10
