"""From a kill to the first refused call, through the front door, with calls and a stream in flight.

Each principal in turn calls without pause over one connection and holds a subscription open over another, while four
others keep working; then it is killed over the control socket, as `charter kill` does. What counts is what its caller
sees: when a call first comes back refused, when its stream ends, and whether anything that was sent after the kill was
answered still went through.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

from _served import CALL, LISTEN, Served, connect, fetch, processes, request, serve, thin_upstream

MOST = 100
FEWEST = 20
SECONDS_EACH = 0.12
OTHERS = 4
UPSTREAM_SECONDS = 0.002  # so that there is always a call in flight


class Worker:
    """One agent that calls without pause."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._bytes = request(url, CALL, f"Authorization: Bearer {token}")
        self.calls: list[tuple[float, float, bool]] = []  # sent, answered, allowed
        self.refused = asyncio.Event()
        self._stop = False

    async def work(self) -> None:
        caller = await connect(self._url)
        try:
            while not self._stop:
                sent = time.perf_counter()
                try:
                    body = await caller.call(self._bytes)
                except ConnectionError:
                    break
                result = json.loads(body).get("result") or {}
                is_allowed = bool(result.get("content")) and not result.get("isError")
                self.calls.append((sent, time.perf_counter(), is_allowed))
                if not is_allowed:
                    self.refused.set()
        finally:
            caller.close()

    def stop(self) -> None:
        self._stop = True


async def stream_ended(url: str, token: str, opened: asyncio.Event) -> float:
    """Open a subscription; return when it ended."""
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request(url, LISTEN, f"Authorization: Bearer {token}", "subscriptions/listen"))
    seen = b""
    while b"\r\n0\r\n\r\n" not in seen:
        piece = await reader.read(65_536)
        if not piece:
            break
        seen += piece
        if b"acknowledged" in seen:
            opened.set()
    ended = time.perf_counter()
    assert opened.is_set(), seen[:600]
    writer.close()
    return ended


async def kill(served: Served, name: str) -> tuple[float, float]:
    """Kill a principal over the control socket; return when that was asked and when it was answered."""
    body = json.dumps({"move": "kill", "reason": "bench", "actor": "ops@example.com"}).encode()
    head = f"POST /v1/principals/{name}/move HTTP/1.1\r\nHost: charter\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_unix_connection(served.socket)
    asked = time.perf_counter()
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"}]")
    answered = time.perf_counter()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    writer.close()
    return asked, answered


async def one(served: Served, name: str) -> dict[str, float]:
    """Let one principal work, kill it, and return what was seen, in milliseconds."""
    token = await asyncio.to_thread(fetch, served.agents[name], served.url)
    worker, opened = Worker(served.url, token), asyncio.Event()
    working = asyncio.create_task(worker.work())
    stream = asyncio.create_task(stream_ended(served.url, token, opened))
    await asyncio.wait_for(opened.wait(), 10)
    await asyncio.sleep(0.03)
    asked, answered = await kill(served, name)
    await asyncio.wait_for(worker.refused.wait(), 10)
    await asyncio.sleep(0.01)
    worker.stop()
    await working
    first = min(at for _, at, is_allowed in worker.calls if not is_allowed)
    return {
        "answered": (answered - asked) * 1e3,
        "refused": (first - asked) * 1e3,
        "stream": (await asyncio.wait_for(stream, 10) - asked) * 1e3,
        "late": sum(sent > answered and is_allowed for sent, _, is_allowed in worker.calls),
        "before": sum(is_allowed for sent, _, is_allowed in worker.calls),
    }


async def measure(served: Served, victims: list[str], others: list[str]) -> tuple[list[dict[str, float]], float, int]:
    """Kill one after the other; return what was seen, the others' median call in ms, and how many were refused."""
    tokens = [await asyncio.to_thread(fetch, served.agents[name], served.url) for name in others]
    workers = [Worker(served.url, token) for token in tokens]
    working = [asyncio.create_task(worker.work()) for worker in workers]
    seen = [await one(served, name) for name in victims]
    for worker in workers:
        worker.stop()
    await asyncio.gather(*working)
    calls = [call for worker in workers for call in worker.calls]
    refused = sum(not is_allowed for _, _, is_allowed in calls)
    return seen, statistics.median(at - sent for sent, at, _ in calls) * 1e3, refused


def run(seconds: float) -> dict[str, Any]:
    """Kill as many principals as fit into `seconds`, but twenty at least; see the module's docstring."""
    count = min(MOST, max(FEWEST, int(seconds / SECONDS_EACH)))
    victims, others = [f"victim-{n}" for n in range(count)], [f"other-{n}" for n in range(OTHERS)]
    with tempfile.TemporaryDirectory() as folder, processes() as started:
        served = serve(started, Path(folder) / "estate", thin_upstream(started, UPSTREAM_SECONDS), victims + others)
        seen, pace, harmed = asyncio.run(measure(served, victims, others))
    late = sum(each["late"] for each in seen)
    labels = {
        "refused": "kill asked → first call refused",
        "stream": "kill asked → open stream ended",
        "answered": "kill asked → kill answered",
    }
    return {
        "title": "Kill to first refused call",
        "columns": ["what", "p50 ms", "p99 ms", "lowest - highest", "x one call"],
        "rows": [row(label, sorted(each[key] for each in seen), pace) for key, label in labels.items()],
        "notes": [
            f"{count} principals killed one by one, each with a call and a stream in flight; {OTHERS} others working",
            f"calls sent after the kill was answered that went through: {late:.0f}; calls of others refused: {harmed}",
            f"one governed call of the others took {pace:.2f} ms meanwhile, 2 ms of it the upstream's",
            "the kill is durable before it is in force: one disk flush, behind the works under way",
        ],
        "late": late,
    }


def row(label: str, took: list[float], pace: float) -> list[Any]:
    middle, high = statistics.median(took), took[int(len(took) * 0.99)]
    return [label, round(middle, 2), round(high, 2), f"{took[0]:.2f} - {took[-1]:.2f}", round(middle / pace, 2)]


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0), indent=1))
