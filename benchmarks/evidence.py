"""Durable evidence entries per second, with 1, 16 and 64 producers that each wait for their own entry.

Charter's writer (canonical JSON, Merkle tree, signed checkpoint, indexes, one transaction a group) stands beside what
bounds it on the same disk: the same bytes appended to a file with one fdatasync each, and a plain SQLite table with one
commit each. All take turns, so that a noisy disk is noisy for all of them. The entry is a verdict of about 650 bytes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from charter.adapters.database import Database
from charter.adapters.engine import sqlite_url
from charter.adapters.transaction import SqlTransaction
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.keys import Ed25519Signer
from charter.evidence.check import check_log
from charter.evidence.entry import Draft, EntryKind, place

PRODUCERS = (1, 16, 64)
ROUNDS = 5
JOURNAL = 16_384 * 4_096  # bytes SQLite's journal grows to
SIGNER = Ed25519Signer.from_seed(bytes(32))
Turn = tuple[float, list[float]]  # entries per second, seconds each entry waited


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


class Bench:
    """The contenders, each on files of its own in one folder."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.data = place(a_verdict(1), node="nod_" + "0" * 26, index=1_000, at=clock.now()).data
        self.file = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.plain = sqlite3.connect(folder / "plain.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=16384"):
            self.plain.execute(f"PRAGMA {pragma}")
        self.plain.execute("CREATE TABLE entry (n INTEGER PRIMARY KEY, data BLOB)")
        self.database: Database[SqlTransaction] = Database(
            sqlite_url(folder / "charter.db"),
            clock=clock,
            entropy=SystemEntropy(),
            signer=SIGNER,
            make_transaction=SqlTransaction,
            node_origin="bench.example/log",
        )

    def bare(self, seconds: float) -> Turn:
        """Append the entry's bytes and wait for the disk, over and over."""

        def once() -> None:
            os.write(self.file, self.data)
            os.fdatasync(self.file)

        return repeated(once, seconds)

    def sqlite(self, seconds: float) -> Turn:
        """Insert the entry's bytes, one commit each."""
        return repeated(lambda: self.plain.execute("INSERT INTO entry (data) VALUES (?)", (self.data,)), seconds)

    def charter(self, producers: int, seconds: float) -> Turn:
        """Record verdicts from `producers` coroutines."""
        return asyncio.run(self._charter(producers, seconds))

    async def _charter(self, producers: int, seconds: float) -> Turn:
        waited: list[float] = []
        started = time.perf_counter()
        until = started + seconds

        async def produce(number: int) -> None:
            now = time.perf_counter()
            while now < until:
                await self.database.awrite(recording(a_verdict(number)))
                number += producers
                then, now = now, time.perf_counter()
                waited.append(now - then)

        await asyncio.gather(*(produce(number) for number in range(producers)))
        return len(waited) / (time.perf_counter() - started), waited

    def close(self) -> None:
        """Verify that what was counted is there, and let all go."""
        report = self.database.read_log(lambda log: check_log(log, SIGNER.public))
        assert report.is_verified, report.faults
        self.database.close()
        self.plain.close()
        os.close(self.file)


def recording(draft: Draft) -> Callable[[SqlTransaction], int]:
    return lambda tx: tx.record(draft)


def recording_all(drafts: list[Draft], tx: SqlTransaction) -> None:
    for draft in drafts:
        tx.record(draft)


def repeated(once: Callable[[], Any], seconds: float) -> Turn:
    waited = []
    started = now = time.perf_counter()
    while now < started + seconds:
        once()
        then, now = now, time.perf_counter()
        waited.append(now - then)
    return len(waited) / (now - started), waited


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; return rows of medians over the rounds, with spread."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:  # a real disk, no tmpfs
        bench = Bench(Path(folder))
        warm_up(bench)
        contenders: dict[str, Callable[[float], Turn]] = {
            "fdatasync of the same bytes": bench.bare,
            "plain SQLite insert": bench.sqlite,
        }
        for count in PRODUCERS:
            contenders[f"Charter, {count} producer{'s' * (count > 1)}"] = partial(bench.charter, count)
        turns: dict[str, list[Turn]] = {name: [] for name in contenders}
        slot = seconds / (ROUNDS * len(contenders))
        for _ in range(ROUNDS):
            for name, measure in contenders.items():
                turns[name].append(measure(slot))
        bench.close()
        floor = statistics.median(rate for rate, _ in turns["fdatasync of the same bytes"])
    return {
        "title": "Durable evidence entries",
        "columns": ["what", "entries/s", "lowest - highest", "p50 ms", "p99 ms", "x fdatasync"],
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
        bench.database.write(partial(recording_all, drafts))


def row(name: str, turns: list[Turn], floor: float) -> list[Any]:
    rates = [rate for rate, _ in turns]
    waited = sorted(1000 * second for _, seconds in turns for second in seconds)
    return [
        name,
        round(statistics.median(rates)),
        f"{min(rates):.0f} - {max(rates):.0f}",
        round(waited[len(waited) // 2], 2),
        round(waited[int(len(waited) * 0.99)], 2),
        round(statistics.median(rates) / floor, 2),
    ]


if __name__ == "__main__":
    import json

    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
