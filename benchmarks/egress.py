"""What the forward proxy adds to a request, and to a tunnel's opening, with 1, 16 and 64 clients.

Charter is the real `charter up`; each connection is decided, and its verdict durable, before anything leaves. Clients
are raw sockets that open a connection for every request, as the proxy takes one a connection; the direct contender does
the same. The host outside is as thin as an HTTP server can be. All contenders take turns.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _served import CALL, PRINCIPAL, charter, fetch, processes, serve, thin_upstream

CLIENTS = (1, 16, 64)
ROUNDS = 3
SYSTEM = """charter: v1
system: web
kind: egress
environment: sandbox
owner: {person: ops@example.com, team: bench}
egress: {plain: [PORT], private: [127.0.0.0/8]}
actions:
  tunnel: {effect: write}
  request: {effect: write}
"""
GRANT = "grants:\n  - {system: web, actions: [tunnel, request], objects: ['127.0.0.1:PORT']}\n"
Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@dataclass(frozen=True)
class Contender:
    """One way to the host outside: where to connect, and what is sent and awaited there."""

    name: str
    port: int
    exchange: Exchange


async def turn(contender: Contender, clients: int, seconds: float) -> list[float]:
    """Return the seconds each took, its connection included."""
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work() -> None:
        while (started := time.perf_counter()) < ends:
            reader, writer = await asyncio.open_connection("127.0.0.1", contender.port)
            try:
                await contender.exchange(reader, writer)
            finally:
                writer.close()
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(work() for _ in range(clients)))
    return took


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as contenders:
        turn_seconds = max(0.2, seconds / (len(CLIENTS) * ROUNDS * len(contenders)))
        for contender in contenders:
            asyncio.run(turn(contender, 4, 0.5))  # warm
        for clients in CLIENTS:
            turns: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in contenders}
            for _ in range(ROUNDS):
                for contender in contenders:
                    started = time.perf_counter()
                    took = sorted(asyncio.run(turn(contender, clients, turn_seconds)))
                    rate = len(took) / (time.perf_counter() - started)
                    turns[contender.name].append((took[len(took) // 2], took[int(len(took) * 0.99)], rate))
            floor = statistics.median(each[0] for each in turns[contenders[0].name])
            rows += [row(name, clients, found, floor) for name, found in turns.items()]
    return {
        "title": "A request through the forward proxy over a direct one",
        "columns": ["contender", "clients", "p50", "p99", "lowest - highest", "per second", "added"],
        "rows": rows,
        "notes": [
            "p50 and p99 in microseconds, medians of the turns; added = p50 over the direct request's",
            "each has a connection of its own; the proxy's verdict is durable before it connects",
            "a tunnel is timed until it is open, without what goes through it",
        ],
    }


def row(name: str, clients: int, turns: list[tuple[float, float, float]], floor: float) -> list[Any]:
    p50, p99, rate = (statistics.median(column) for column in zip(*turns, strict=True))
    middles = [each[0] * 1e6 for each in turns]
    spread = f"{min(middles):.0f} - {max(middles):.0f}"
    return [name, clients, round(p50 * 1e6), round(p99 * 1e6), spread, round(rate), round((p50 - floor) * 1e6)]


@contextmanager
def standing(folder: Path) -> Iterator[list[Contender]]:
    """Give the contenders, all of them up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy = int(free.getsockname()[1])
    os.environ["CHARTER_EGRESS_PORT"] = str(proxy)
    with processes() as started:
        upstream = thin_upstream(started)
        served = serve(started, folder / "estate", upstream, ["agent"])
        port = urllib.parse.urlsplit(upstream).port or 80
        (served.folder / "systems" / "web.yaml").write_text(SYSTEM.replace("PORT", str(port)))
        own = PRINCIPAL.replace("NAME", "agent").replace("grants:\n", GRANT.replace("PORT", str(port)))
        (served.folder / "principals" / "agent.yaml").write_text(own)
        charter(served.folder, "apply", "--yes", "--reason", "it goes out")
        token = fetch(served.agents["agent"], f"{served.issuer}/mcp/web")
        basic = base64.b64encode(f"charter:{token}".encode()).decode()
        host = f"127.0.0.1:{port}"
        yield [
            Contender("direct", port, answered("/mcp", host, "")),
            Contender("proxied", proxy, answered(upstream, host, f"Proxy-Authorization: Basic {basic}\r\n")),
            Contender("tunnel opened", proxy, opened(host, basic)),
        ]


def answered(target: str, host: str, more: str) -> Exchange:
    """Return an exchange of one request, whose answer is checked."""
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
    sent = f"{head}Content-Length: {len(CALL)}\r\nConnection: close\r\n\r\n".encode() + CALL

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        assert b"done" in answer, answer[:500]

    return exchange


def opened(host: str, basic: str) -> Exchange:
    """Return an exchange that has a tunnel opened."""
    sent = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {basic}\r\n\r\n".encode()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]

    return exchange


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
