"""Durable evidence entries per second, with 1, 16 and 64 producers that each wait for their own entry.

Charter's writer (canonical JSON, Merkle tree, signed checkpoint, indexes, one transaction a group) stands beside what
bounds it on the same disk: the same bytes appended to a file with one fdatasync each, a plain SQLite table with one
commit each, and a *sketch*: one thread that encodes, hashes into a Merkle tree and inserts what waits into a table of
two columns, with the tree's edge, a transaction a group. The sketch signs nothing, indexes nothing and checks nothing.
*Apart*: what can be erased of an entry is encrypted under a key of its own, as the server has it (ADR 0039). All take
turns, so that a noisy disk is noisy for all of them. The entry is a verdict of about 750 bytes.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from charter.adapters.database import MAX_GROUP, Database
from charter.adapters.engine import sqlite_url
from charter.adapters.payloads import Payloads
from charter.adapters.transaction import SqlTransaction
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.keys import Ed25519Signer
from charter.core.values import Secret
from charter.evidence.check import check_log
from charter.evidence.entry import Draft, EntryKind, place
from charter.evidence.tree import Frontier, leaf_hash

PRODUCERS = (1, 16, 64)
ROUNDS = 5
FLOOR = "fdatasync of the same bytes"
JOURNAL = 16_384 * 4_096  # bytes SQLite's journal grows to
SIGNER = Ed25519Signer.from_seed(bytes(32))
Turn = tuple[float, list[float], float]  # entries per second, seconds each entry waited, processor seconds of all


def a_verdict(number: int) -> Draft:
    """Return a verdict as the gateway records it; a hundred principals take turns."""
    principal = f"prn_01k2{number % 100:022d}"
    return Draft(
        EntryKind.VERDICT,
        principal,
        principal,
        {
            "verdict_id": f"vrd_01k2{number:022d}",
            "verdict": "allow",
            "system": "payments",
            "tool": "create_refund",
            "action": "refund.create",
            "effect": "irreversible",
            "object": "charge/ch_3PqL",
            "call_digest": "sha256:" + "ab" * 32,
            "charter": {"version": 3, "digest": "sha256:" + "cd" * 32},
            "token": "tok_01k2v9",
            "door": "mcp",
            "sensitive": True,
            "reasons": [
                {"layer": "charter", "rule": "refund-agent/grant-1", "text": "granted", "link": "refund-agent"}
            ],
            "timing_us": {"decide": 41},
        },
    )


class Unsealed:
    """Keeps the evidence key as it is: one seal a start is not what is measured."""

    def seal(self, secret: Secret, _context: str) -> str:
        return secret.reveal().hex()

    def unseal(self, sealed: str, _context: str) -> Secret:
        return Secret(bytes.fromhex(sealed))


class Sketch:
    """The least that is durable and hashed: one thread, one transaction for all that wait."""

    def __init__(self, path: Path) -> None:
        self.path, self.frontier = path, Frontier()
        self.waiting: queue.SimpleQueue[tuple[Draft, asyncio.Future[int]] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.drain, daemon=True)
        self.thread.start()

    async def record(self, draft: Draft) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.put((draft, future))
        return await future

    def drain(self) -> None:
        connection = opened(self.path)
        connection.execute("CREATE TABLE head (size INTEGER, edge BLOB)")
        while (job := self.waiting.get()) is not None:
            group = [job]
            while len(group) < MAX_GROUP and not self.waiting.empty():
                job = self.waiting.get()
                if job is None:
                    self.waiting.put(None)  # read again once these are answered
                    break
                group.append(job)
            self.commit(connection, [draft for draft, _ in group])
            futures = [future for _, future in group]
            futures[0].get_loop().call_soon_threadsafe(settle, futures)
        connection.close()

    def commit(self, connection: sqlite3.Connection, drafts: list[Draft]) -> None:
        rows = [(msgspec.json.encode(draft.body | {"principal": draft.principal}),) for draft in drafts]
        self.frontier, _ = self.frontier.extend([leaf_hash(data) for (data,) in rows], 8)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO entry (data) VALUES (?)", rows)
        connection.execute("DELETE FROM head")
        connection.execute("INSERT INTO head VALUES (?, ?)", (self.frontier.size, b"".join(self.frontier.roots)))
        connection.execute("COMMIT")

    def close(self) -> None:
        self.waiting.put(None)
        self.thread.join()


def opened(path: Path) -> sqlite3.Connection:
    """Return a SQLite database, as durable as Charter's, with one table."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=16384"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE entry (n INTEGER PRIMARY KEY, data BLOB)")
    return connection


def settle(futures: list[asyncio.Future[int]]) -> None:
    for number, future in enumerate(futures):
        future.set_result(number)


class Bench:
    """The contenders, each on files of its own in one folder."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.data = place(a_verdict(1), node="nod_" + "0" * 26, index=1_000, at=clock.now()).data
        self.file = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.plain = opened(folder / "plain.db")
        self.sketch = Sketch(folder / "sketch.db")
        self.whole = opened_log(folder / "charter.db", None)
        self.apart = opened_log(folder / "apart.db", Payloads(Unsealed(), SystemEntropy()))

    def bare(self, seconds: float) -> Turn:
        """Append the entry's bytes and wait for the disk, over and over."""

        def once() -> None:
            os.write(self.file, self.data)
            os.fdatasync(self.file)

        return repeated(once, seconds)

    def sqlite(self, seconds: float) -> Turn:
        """Insert the entry's bytes, one commit each."""
        return repeated(lambda: self.plain.execute("INSERT INTO entry (data) VALUES (?)", (self.data,)), seconds)

    def charter(self, database: Database[SqlTransaction], producers: int, seconds: float) -> Turn:
        """Record verdicts from `producers` coroutines."""
        return asyncio.run(produced(lambda draft: database.awrite(recording(draft)), producers, seconds))

    def sketched(self, producers: int, seconds: float) -> Turn:
        """The same, by the sketch."""
        return asyncio.run(produced(self.sketch.record, producers, seconds))

    def close(self) -> None:
        """Verify that what was counted is there, and let all go."""
        for database in (self.whole, self.apart):
            report = database.read_log(lambda log: check_log(log, SIGNER.public))
            assert report.is_verified, report.faults
            database.close()
        self.sketch.close()
        self.plain.close()
        os.close(self.file)


def opened_log(path: Path, payloads: Payloads | None) -> Database[SqlTransaction]:
    clock = SystemClock()

    def signer(connection: sa.Connection) -> Ed25519Signer:
        if payloads is not None:
            payloads.begin(connection, clock.now())
        return SIGNER

    return Database(
        sqlite_url(path),
        clock=clock,
        entropy=SystemEntropy(),
        signer=signer,
        make_transaction=SqlTransaction,
        node_origin="bench.example/log",
        payloads=payloads,
    )


async def produced(record: Callable[[Draft], Awaitable[int]], producers: int, seconds: float) -> Turn:
    """Record verdicts from `producers` coroutines, each of which waits for its own to be durable."""
    waited: list[float] = []
    started, busy = time.perf_counter(), time.process_time()
    until = started + seconds

    async def produce(number: int) -> None:
        now = time.perf_counter()
        while now < until:
            await record(a_verdict(number))
            number += producers
            then, now = now, time.perf_counter()
            waited.append(now - then)

    await asyncio.gather(*(produce(number) for number in range(producers)))
    return len(waited) / (time.perf_counter() - started), waited, time.process_time() - busy


def recording(draft: Draft) -> Callable[[SqlTransaction], int]:
    return lambda tx: tx.record(draft)


def recording_all(drafts: list[Draft], tx: SqlTransaction) -> None:
    for draft in drafts:
        tx.record(draft)


def repeated(once: Callable[[], Any], seconds: float) -> Turn:
    waited = []
    busy, started = time.process_time(), time.perf_counter()
    now = started
    while now < started + seconds:
        once()
        then, now = now, time.perf_counter()
        waited.append(now - then)
    return len(waited) / (now - started), waited, time.process_time() - busy


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; return rows of medians over the rounds, with spread."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:  # a real disk, no tmpfs
        bench = Bench(Path(folder))
        warm_up(bench)
        contenders: dict[str, Callable[[float], Turn]] = {
            FLOOR: bench.bare,
            "plain SQLite insert": bench.sqlite,
        }
        for count in PRODUCERS:
            callers = f"{count} producer{'s' * (count > 1)}"
            contenders[f"sketch, {callers}"] = partial(bench.sketched, count)
            contenders[f"Charter, {callers}"] = partial(bench.charter, bench.whole, count)
            contenders[f"Charter, apart, {callers}"] = partial(bench.charter, bench.apart, count)
        turns: dict[str, list[Turn]] = {name: [] for name in contenders}
        slot = seconds / (ROUNDS * len(contenders))
        for _ in range(ROUNDS):
            for name, measure in contenders.items():
                turns[name].append(measure(slot))
        bench.close()
        floor = statistics.median(rate for rate, _, _ in turns[FLOOR])
    return {
        "title": "Durable evidence entries",
        "columns": ["what", "entries/s", "lowest - highest", "p50 ms", "p99 ms", "processor us", "x fdatasync"],
        "rows": [row(name, measured, floor) for name, measured in turns.items()],
        "notes": [
            f"one entry is {len(bench.data)} bytes; every answer waited for the disk; {ROUNDS} rounds, taking turns",
            "one producer is bound by one disk flush per entry; many share it, and are bound by Python's own work",
            "the whole log was verified afterwards",
        ],
    }


def warm_up(bench: Bench) -> None:
    """Fill the journals once: a file that still grows costs the file system more than one that is written over."""
    bench.plain.execute("BEGIN")
    bench.plain.executemany("INSERT INTO entry (data) VALUES (?)", ((bench.data,) for _ in range(JOURNAL // 800)))
    bench.plain.execute("COMMIT")
    for start in range(0, JOURNAL // 1_000, 1_000):
        drafts = [a_verdict(number) for number in range(start, start + 1_000)]
        for database in (bench.whole, bench.apart):
            database.write(partial(recording_all, drafts))


def row(name: str, turns: list[Turn], floor: float) -> list[Any]:
    rates = [rate for rate, _, _ in turns]
    waited = sorted(1000 * second for _, seconds, _ in turns for second in seconds)
    return [
        name,
        round(statistics.median(rates)),
        f"{min(rates):.0f} - {max(rates):.0f}",
        round(waited[len(waited) // 2], 2),
        round(waited[int(len(waited) * 0.99)], 2),
        round(1e6 * sum(busy for _, _, busy in turns) / len(waited), 1),
        round(statistics.median(rates) / floor, 2),
    ]


if __name__ == "__main__":
    import json

    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
