"""The writer's promises, on SQLite and PostgreSQL: what is answered is durable, in order, and no work harms another."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.database import MAX_WAITING
from charter.core.errors import (
    CharterError,
    ConflictError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    UnavailableError,
)
from charter.core.keys import Ed25519Signer
from charter.evidence.entry import EntryKind
from databases import ORIGIN, SIGNER, a_database, a_draft


def together(database: Any, works: list[Any]) -> list[Any]:
    """Run `works` as one asyncio program, so that they wait together and are grouped."""

    async def run() -> list[Any]:
        return await asyncio.gather(*(database.awrite(work) for work in works), return_exceptions=True)

    return asyncio.run(run())


def record(tx: Any) -> int:
    return int(tx.record(a_draft()))


def test_a_new_log_begins_by_saying_whose_it_is(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        (first,) = database.read_log(lambda log: log.entries(None, 10))
    assert (first.index, first.kind) == (0, EntryKind.LOG_OPENED)
    assert first.to_json()["body"]["origin"] == ORIGIN
    assert first.to_json()["body"]["key_id"] == SIGNER.key_id


def test_an_answered_work_is_there_after_reopening(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        index = database.write(record)
        head = database.head
    with a_database(tmp_path, url=database_url) as database:
        assert (index, database.head) == (1, head)
        assert database.write(record) == 2


def test_works_are_answered_in_the_order_they_were_asked(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        assert together(database, [record] * 600) == list(range(1, 601))


def test_a_patient_work_shares_its_commit_with_the_next_and_is_written_without_one(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charter.adapters.database.PATIENCE_SECONDS", 0.5)
    commits: list[int] = []

    async def run(database: Any) -> None:
        patient = database.awrite(record, patient=True)
        await asyncio.sleep(0.02)
        assert not patient.done()
        assert await database.awrite(record) == 2
        assert await patient == 1
        assert len(commits) == 1
        assert await database.awrite(record, patient=True) == 3

    with a_database(tmp_path, url=database_url) as database:
        sa.event.listen(database._engine, "commit", lambda _connection: commits.append(1))
        asyncio.run(run(database))
        assert len(commits) == 2
    with a_database(tmp_path, url=database_url) as database:
        assert database.head.size == 4


def test_works_of_one_turn_of_a_loop_share_a_commit(tmp_path: Path, database_url: str) -> None:
    commits: list[int] = []
    with a_database(tmp_path, url=database_url) as database:
        sa.event.listen(database._engine, "commit", lambda _connection: commits.append(1))
        assert together(database, [record] * 100) == list(range(1, 101))
    assert len(commits) == 1


def test_a_work_whose_caller_goes_away_in_the_same_turn_is_done_all_the_same(tmp_path: Path, database_url: str) -> None:
    async def run(database: Any) -> None:
        leaving = asyncio.ensure_future(database.awrite(record))
        await asyncio.sleep(0)  # it has begun, and nothing is handed over yet
        leaving.cancel()
        assert await database.awrite(record) == 2

    with a_database(tmp_path, url=database_url) as database:
        asyncio.run(run(database))


def test_threads_and_event_loops_write_side_by_side(tmp_path: Path, database_url: str) -> None:
    seen: list[int] = []
    with a_database(tmp_path, url=database_url) as database:
        threads = [
            threading.Thread(target=lambda: seen.extend(database.write(record) for _ in range(20))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        seen += together(database, [record] * 50)
        for thread in threads:
            thread.join()
    assert sorted(seen) == list(range(1, 131))


def test_a_work_sees_what_the_works_before_it_wrote(tmp_path: Path, database_url: str) -> None:
    def count_up(tx: Any) -> int:
        key = {"principal_id": "prn_1", "key": "k", "window_start": 0}
        used = tx.connection.execute(sa.select(t.limit_usage.c.used)).scalar()
        if used is None:
            tx.connection.execute(t.limit_usage.insert(), key | {"used": 1})
        else:
            tx.connection.execute(t.limit_usage.update(), {"used": used + 1})
        return int(used or 0)

    with a_database(tmp_path, url=database_url) as database:
        assert together(database, [count_up] * 40) == list(range(40))


def test_a_work_that_raises_changes_nothing_and_harms_no_other(tmp_path: Path, database_url: str) -> None:
    def raising(tx: Any) -> None:
        tx.record(a_draft(text="never"))
        tx.changed("principal", "never", actor="charter", reason="never")
        tx.after_commit(lambda: steps.append("never"))
        raise ConflictError(ErrorCode.EXISTS, "mine alone")

    steps: list[str] = []
    with a_database(tmp_path, url=database_url) as database:
        answers = together(database, [raising if i % 3 == 0 else record for i in range(12)])
        feed = database.read(lambda tx: tx.connection.execute(sa.select(t.feed)).all())
        texts = database.read_log(lambda log: b"".join(row.data for row in log.entries(None, 100)))
        assert database.healthy

    assert [a for a in answers if isinstance(a, int)] == list(range(1, 9))
    assert [str(a) for a in answers if isinstance(a, CharterError)] == ["mine alone"] * 4
    assert (feed, steps, b"never" in texts) == ([], [], False)


def test_a_statement_the_database_refuses_is_its_works_conflict(tmp_path: Path, database_url: str) -> None:
    def insert(tx: Any) -> None:
        tx.connection.execute(t.used_assertion.insert(), {"thumbprint": "a", "jti_digest": "b", "expires_at": 1})

    with a_database(tmp_path, url=database_url) as database:
        database.write(insert)
        answers = together(database, [record, insert, record])
    assert isinstance(answers[1], ConflictError)
    assert (answers[0], answers[2]) == (1, 2)


def test_a_bug_in_a_work_reaches_its_caller_alone(tmp_path: Path, database_url: str) -> None:
    def buggy(_: Any) -> None:
        raise ZeroDivisionError

    with a_database(tmp_path, url=database_url) as database:
        answers = together(database, [record, buggy, record])
        with pytest.raises(ZeroDivisionError):
            database.write(buggy)
    assert isinstance(answers[1], ZeroDivisionError)
    assert (answers[0], answers[2]) == (1, 2)


def test_the_next_work_finds_what_after_commit_steps_left(tmp_path: Path, database_url: str) -> None:
    spent: list[str] = []

    def spend(tx: Any) -> bool:
        tx.record(a_draft())
        if spent:
            return False
        tx.after_commit(lambda: spent.append("approval"))
        return True

    def refuse(_: Any) -> None:
        raise ConflictError(ErrorCode.EXISTS, "to make the group run again")

    with a_database(tmp_path, url=database_url) as database:
        plain = together(database, [spend] * 20)
        spent.clear()
        mixed = together(database, [refuse, *[spend] * 20, refuse])
    assert plain.count(True) == 1
    assert mixed.count(True) == 1


def test_what_is_shown_apart_ends_no_group_and_is_shown_before_the_answer(tmp_path: Path, database_url: str) -> None:
    live: list[int] = []
    at_once: set[Any] = set()

    def make(tx: Any) -> int:
        at_once.add(tx)
        index = int(tx.record(a_draft()))
        tx.after_commit(lambda: live.append(index), apart=True)
        return index

    def refuse(tx: Any) -> None:
        tx.after_commit(lambda: live.append(-1))
        raise ConflictError(ErrorCode.EXISTS, "to make the group run again")

    with a_database(tmp_path, url=database_url) as database:
        plain = together(database, [make] * 20)
        assert live == plain
        assert len(at_once) < 20
        mixed = together(database, [make, refuse, make])
    assert live == [*plain, mixed[0], mixed[2]]


def test_an_answer_comes_after_the_steps_of_its_work(tmp_path: Path) -> None:
    live: list[int] = []

    def change(tx: Any) -> int:
        index = int(tx.record(a_draft()))
        tx.after_commit(lambda: live.append(index))
        return index

    with a_database(tmp_path) as database:
        for _ in range(20):
            assert database.write(change) == live[-1]


def test_a_step_that_fails_stops_the_node(tmp_path: Path) -> None:
    def change(tx: Any) -> None:
        tx.after_commit(lambda: {}["no such principal"])

    with a_database(tmp_path) as database:
        with pytest.raises(IntegrityError, match="could not be shown in memory"):
            database.write(change)
        with pytest.raises(IntegrityError, match="this node stopped writing"):
            database.write(record)
        assert not database.healthy


def test_a_bug_in_the_writer_itself_leaves_nobody_waiting(tmp_path: Path) -> None:
    def broken(_: Any) -> Any:
        raise TypeError("made by hand")

    with a_database(tmp_path) as database:
        database._sequencer._make = broken
        with pytest.raises(IntegrityError, match="this node stopped writing: an unexpected TypeError"):
            database.write(record)
        assert not database.healthy


def test_a_feed_row_tells_who_and_why(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        database.write(lambda tx: tx.changed("principal", "prn_1", actor="maria@example.com", reason="leak"))
        rows = database.read(lambda tx: tx.connection.execute(sa.select(t.feed)).all())
    assert [tuple(row)[1:] for row in rows] == [
        ("principal", "prn_1", "2026-11-24T09:30:00.000000Z", "maria@example.com", "leak")
    ]


def test_a_read_changes_nothing(tmp_path: Path, database_url: str) -> None:
    def sneak(tx: Any) -> None:
        tx.connection.execute(t.feed.delete())

    with a_database(tmp_path, url=database_url) as database:
        with pytest.raises(RuntimeError, match="read transaction"):
            database.read(record)
        with pytest.raises(UnavailableError):
            database.read(sneak)


def test_a_transaction_kept_for_later_is_dead(tmp_path: Path) -> None:
    kept: list[Any] = []
    with a_database(tmp_path) as database:
        database.write(kept.append)
        with pytest.raises(RuntimeError):
            kept[0].record(a_draft())


def test_an_entry_that_is_too_large_or_no_json_is_refused(tmp_path: Path) -> None:
    with a_database(tmp_path) as database:
        with pytest.raises(MalformedError, match="an evidence entry of 70") as caught:
            database.write(lambda tx: tx.record(a_draft(text="x" * 70_000)))
        assert caught.value.code is ErrorCode.TOO_LARGE
        with pytest.raises(MalformedError, match="no canonical JSON form"):
            database.write(lambda tx: tx.record(a_draft(text=object())))
        assert database.write(record) == 1


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    begun, gate = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        begun.set()
        gate.wait()

    async def flood() -> list[Any]:
        waiting = [asyncio.ensure_future(database.awrite(hold))]
        await asyncio.to_thread(begun.wait)
        waiting += [asyncio.ensure_future(database.awrite(record)) for _ in range(MAX_WAITING + 5)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    with a_database(tmp_path) as database:
        answers = asyncio.run(flood())
    refused = [a for a in answers if isinstance(a, UnavailableError)]
    assert len(refused) == 5
    assert refused[0].code is ErrorCode.TOO_MANY


def test_a_cancelled_caller_leaves_the_others_their_answers(tmp_path: Path) -> None:
    async def cancel_one() -> Any:
        tasks = [asyncio.ensure_future(database.awrite(record)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with a_database(tmp_path) as database:
        first, cancelled, last = asyncio.run(cancel_one())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert (first, last) == (1, 3)


def test_waiting_inside_a_work_is_a_bug_and_not_a_standstill(tmp_path: Path) -> None:
    with a_database(tmp_path) as database, pytest.raises(RuntimeError, match="cannot wait for another"):
        database.write(lambda _: database.write(record))


def test_a_closed_database_refuses_and_carries_out_what_waited(tmp_path: Path) -> None:
    async def leave() -> list[int]:
        tasks = [asyncio.ensure_future(database.awrite(record)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(database.close)
        return list(await asyncio.gather(*tasks))

    with a_database(tmp_path) as database:
        assert asyncio.run(leave()) == [1, 2, 3, 4, 5]
        with pytest.raises(UnavailableError, match="the database is closed"):
            database.write(record)
        assert not database.healthy


def test_the_evidence_key_can_come_from_the_database_itself(tmp_path: Path, database_url: str) -> None:
    def find_key(connection: sa.Connection) -> Ed25519Signer:
        assert connection.execute(sa.select(t.signing_key)).all() == []
        return SIGNER

    with a_database(tmp_path, url=database_url, signer=find_key) as database:
        assert database.log.signer is SIGNER


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no url", "is no database URL"),
        ("mysql://x/y", "is of the unknown kind `mysql`"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_url_that_names_no_usable_database_is_refused(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(MalformedError, match=said), a_database(tmp_path, url=url):
        pass
