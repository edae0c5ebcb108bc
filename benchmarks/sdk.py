"""Decisions of a program by the SDK: within itself, and asked of Charter; beside the bare disk they stand on.

    python benchmarks/sdk.py SECONDS

A program under `charter up`, with the policies pushed to it (docs/sdk.md). *In the program*: `Charter.check` of a read
that is plainly allowed: decided by the compiled policies, one line on the disk with `fdatasync` before it is returned,
reported to Charter meanwhile. *Asked*: the same read, with in-process decisions off: a request and a commit. *Bare
line*: the same bytes appended and synced by a loop of its own, which
is the floor. Contenders take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from _served import TEAMS, charter, fetch, processes, up

from charter.identity.resource import decisions_of
from charter.sdk import Charter

THREADS = (1, 8)
SYSTEM = """charter: v1
system: records
kind: http
environment: sandbox
owner: {person: ops@example.com, team: bench}
actions: {read: {effect: read}}
enforcement: {points: [assistant], vouching: allowed}
"""
PRINCIPAL = """charter: v1
principal: assistant
kind: agent
environment: sandbox
owner: {person: ops@example.com, team: bench}
purpose: Read records
model: {provider: anthropic, name: claude-*}
approved: {by: alex@example.com, role: bench-approver, on: 2026-11-02}
credential: {type: private-key-jwt, bearer: allowed}
grants:
  - {system: records, actions: [read], objects: ["record-*"]}
review: 90d
expires: 2035-11-02
"""


def a_program(started: list[Any], folder: Path) -> tuple[str, str]:
    """Start Charter with one principal that enforces itself; return the decision API's address and its token."""
    files = {"teams.yaml": TEAMS, "systems/records.yaml": SYSTEM, "principals/assistant.yaml": PRINCIPAL}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    charter(folder, "apply", "--yes")
    served = up(started, folder, ["assistant"])
    address = decisions_of(served.issuer)
    return address, fetch(served.agents["assistant"], address)


class Contenders:
    """One program that decides within itself, one that asks, and the floors below them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        address, token = a_program(stack.enter_context(processes()), folder / "estate")
        proof = {"authorization": f"Bearer {token}"}
        told: dict[str, Any] = {"principal": "assistant", "headers": lambda _method, _url: proof}
        spool = folder / "spool"
        self.own = stack.enter_context(Charter(address, in_process=spool, **told))
        self.asking = stack.enter_context(Charter(address, **told))
        while not self.own.decides_in_process:
            time.sleep(0.01)
        self.went_out = 0  # reads that were asked although they could be decided within the program
        self.own._client.event_hooks["request"] = [self._asks]  # noqa: SLF001 - to count them
        self.line: dict[str, Any] = {
            "id": "vrd_" + "0" * 26,
            "at": "2026-11-24T09:30:00.000000Z",
            "policies": "sha256:" + "0" * 64,
        }
        self.line |= {"system": "records", "action": "read", "object": "record-1", "arguments": {}}
        self.bare = stack.enter_context((folder / "bare").open("ab", buffering=0))
        self.by_name: dict[str, Callable[[int], None]] = {
            "in the program": self.decided,
            "asked of Charter": self.asked,
            "bare line, synced": self.synced,
        }

    def _asks(self, _request: object) -> None:
        self.went_out += 1

    def decided(self, number: int) -> None:
        """Decide within the program; it asks by itself once too much waits to be reported."""
        self.own.check("records", "read", f"record-{number}")

    def asked(self, number: int) -> None:
        self.asking.check("records", "read", f"record-{number}")

    def synced(self, _number: int) -> None:
        self.bare.write(json.dumps(self.line, separators=(",", ":")).encode() + b"\n")
        os.fdatasync(self.bare.fileno())


def turn(once: Callable[[int], None], threads: int, seconds: float) -> tuple[list[float], float]:
    """Return the seconds that each took, and how many a second."""
    took: list[list[float]] = [[] for _ in range(threads)]
    ends = time.perf_counter() + seconds

    def work(place: int) -> None:
        number = place
        while (started := time.perf_counter()) < ends:
            once(number)
            took[place].append(time.perf_counter() - started)
            number += threads

    began = time.perf_counter()
    crowd = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    every = sorted(each for one in took for each in one)
    return every, len(every) / (time.perf_counter() - began)


def run(seconds: float) -> dict[str, Any]:
    """Measure in rounds until `seconds` have passed, two at least."""
    with tempfile.TemporaryDirectory() as named, ExitStack() as stack:
        contenders = Contenders(stack, Path(named))
        times: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
        started, rounds = time.perf_counter(), 0
        while rounds < 2 or time.perf_counter() - started < seconds:
            for threads in THREADS:
                for name, once in contenders.by_name.items():
                    took, rate = turn(once, threads, max(0.2, seconds / 12))
                    figures = (1e6 * statistics.median(took), 1e6 * took[int(0.99 * (len(took) - 1))], rate)
                    times.setdefault((threads, name), []).append(figures)
            rounds += 1
        went_out = contenders.went_out
        asked = {threads: _median(times[threads, "asked of Charter"]) for threads in THREADS}
    rows = []
    for (threads, name), found in times.items():
        p50, p99, rate = _median(found)
        rows.append([threads, name, round(p50), round(p99), round(rate), round(asked[threads][0] / p50, 1)])
    return {
        "title": "sdk: one read that policies plainly allow, within the program and asked",
        "columns": ["threads", "what", "p50 us", "p99 us", "decisions/s", "x asked"],
        "rows": rows,
        "notes": [
            f"medians of {rounds} rounds; with 10,000 unreported, or one for 30 s, a program asks instead",
            f"{went_out} of those in the program were asked: nothing heard for a second, or too much unreported",
            "what is decided in the program is reported meanwhile, by the same machine's processor",
        ],
    }


def _median(found: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    p50, p99, rate = (statistics.median(column) for column in zip(*found, strict=True))
    return p50, p99, rate


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 10)))
