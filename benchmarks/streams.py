"""A thousand answers streamed at once: how late each event is, what memory they take, and how soon a kill ends them.

Four agents hold 250 streams each through the model gateway of a real `charter up`; the provider says something on each
stream once a second, with the time. Then one agent is killed while all are open. The same streams straight from the
provider stand beside.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _served import PRINCIPAL, Served, charter, control_of, fetch, processes, serve, start, thin_upstream
from models import GRANT, SYSTEM

AGENTS = tuple(f"agent-{number}" for number in range(4))
EACH = 250
BODY = json.dumps(
    {"model": "small-1", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 16, "stream": True}
).encode()
PROVIDER = """
import asyncio, json, sys, time
async def talk(reader, writer):
    try:
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\n")
        writer.write(b"transfer-encoding: chunked\\r\\n\\r\\n")
        while True:
            delta = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
            said = {"id": "c", "model": "small-1", "choices": [delta], "at": time.time()}
            piece = b"data: " + json.dumps(said).encode() + b"\\n\\n"
            writer.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(1)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass
class Told:
    """What the readers of one contender's streams saw."""

    late: list[float] = field(default_factory=list)  # seconds from an event's making to its reading
    ended: dict[str, list[float]] = field(default_factory=dict)  # by agent: when each of its streams ended


@dataclass(frozen=True)
class Contender:
    name: str
    port: int
    path: str
    tokens: dict[str, str]
    server: subprocess.Popen[bytes] | None = None
    served: Served | None = None

    def request(self, agent: str) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.tokens[agent]}"
            f"\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        return head.encode() + BODY

    def memory(self) -> float | None:
        """Return the server's resident megabytes."""
        if self.server is None:
            return None
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def read(contender: Contender, agent: str, told: Told, opened: asyncio.Semaphore) -> None:
    """Hold one stream until it ends."""
    async with opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", contender.port)
        writer.write(contender.request(agent))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise SystemExit(f"{contender.name} answered {head[:200]!r}")
    try:
        while (line := await reader.readline()) not in (b"", b"0\r\n"):  # the last chunk
            if line.startswith(b"data: ") and b'"at"' in line:
                told.late.append(time.time() - json.loads(line[6:])["at"])
    except OSError:
        pass
    finally:
        told.ended.setdefault(agent, []).append(time.perf_counter())
        writer.close()


async def hold(contender: Contender, seconds: float) -> list[Any]:
    """Open all streams, keep them for `seconds`, kill one agent, and end them; return the row."""
    told, opened = Told(), asyncio.Semaphore(64)
    before = contender.memory()
    tasks = [asyncio.ensure_future(read(contender, agent, told, opened)) for agent in AGENTS for _ in range(EACH)]
    while len(told.late) < len(tasks):
        await asyncio.sleep(0.1)
        for task in tasks:
            if task.done():
                task.result()
    await asyncio.sleep(1)
    told.late.clear()
    await asyncio.sleep(seconds)
    late, during = sorted(told.late), contender.memory()
    killed: float | None = None
    if contender.served is not None:
        asked = time.perf_counter()
        await asyncio.to_thread(kill, contender.served, AGENTS[0])
        await asyncio.gather(*tasks[:EACH])
        killed = max(told.ended[AGENTS[0]]) - asked
        await asyncio.sleep(1)
        assert set(told.ended) == {AGENTS[0]}, "another agent's streams ended with it"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    grown = (during - before) * 1024 / len(tasks) if during is not None and before is not None else None
    return [
        contender.name,
        len(tasks),
        round(statistics.median(late) * 1e3, 1),
        round(late[int(len(late) * 0.99)] * 1e3, 1),
        round(len(late) / seconds),
        round(during) if during is not None else None,
        round(grown) if grown is not None else None,
        round(killed * 1e3) if killed is not None else None,
    ]


def kill(served: Served, agent: str) -> None:
    with control_of(served.socket) as control:
        body = {"move": "kill", "actor": "ops@example.com", "reason": "the benchmark"}
        answer = control.post(f"/v1/principals/{agent}/move", json=body)
        assert answer.status_code == 200, answer.text


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as contenders:
        rows = [asyncio.run(hold(each, max(2.0, seconds / 2 - 5))) for each in contenders]
    return {
        "title": "A thousand streams of a model's answers at once",
        "columns": [
            "contender",
            "streams",
            "late p50 ms",
            "late p99 ms",
            "events/s",
            "MB resident",
            "kB a stream",
            "kill to the last of 250 ended, ms",
        ],
        "rows": rows,
        "notes": ["late: from the provider's making of an event to the client's reading of it, one process for all"],
    }


@contextmanager
def standing(folder: Path) -> Iterator[list[Contender]]:
    """Give the contenders, all of them up."""
    with processes() as started:
        provider = start(started, [sys.executable, "-c", PROVIDER])
        served = serve(started, folder / "estate", thin_upstream(started), list(AGENTS))
        server = started[-1]
        (served.folder / "systems" / "models.yaml").write_text(SYSTEM.replace("PORT", str(provider)))
        for name in AGENTS:
            own = PRINCIPAL.replace("NAME", name).replace("grants:\n", GRANT)
            (served.folder / "principals" / f"{name}.yaml").write_text(own)
        charter(served.folder, "apply", "--yes", "--reason", "they ask models")
        tokens = {name: fetch(tokens, f"{served.issuer}/mcp/models") for name, tokens in served.agents.items()}
        port = urllib.parse.urlsplit(served.issuer).port or 80
        yield [
            Contender("direct", provider, "/v1/chat/completions", dict.fromkeys(AGENTS, "x")),
            Contender("Charter", port, "/model/models/v1/chat/completions", tokens, server, served),
        ]


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
