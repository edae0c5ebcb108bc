"""What the model gateway adds to a chat completion, beside LiteLLM's proxy if it is there.

Charter is the real `charter up`; each call is decided, and its verdict durable, before it leaves. The provider is as
thin as an HTTP server can be. Clients are raw keep-alive sockets; every answer's body is checked. All take turns.
LiteLLM's proxy (`.venv-litellm`, see requirements/litellm.in) runs with a master key and no database.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _served import PRINCIPAL, charter, fetch, processes, serve, start, thin_upstream

CLIENTS = (1, 16, 64)
ROUNDS = 3
LITELLM = Path(__file__).resolve().parent.parent / ".venv-litellm" / "bin" / "litellm"
MASTER = "sk-a-key-for-the-benchmark"
PEER = """model_list:
  - model_name: small-1
    litellm_params: {model: openai/small-1, api_base: "http://127.0.0.1:PORT/v1", api_key: x}
general_settings: {master_key: sk-a-key-for-the-benchmark}
litellm_settings: {telemetry: false}
"""
BODY = json.dumps(
    {"model": "small-1", "messages": [{"role": "user", "content": "say hello"}], "max_tokens": 16}
).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()
SYSTEM = """charter: v1
system: models
kind: model
provider: openai
environment: sandbox
owner: {person: ops@example.com, team: bench}
upstream: {transport: http, url: "http://127.0.0.1:PORT/v1"}
actions:
  chat: {tool: chat.completions, effect: read}
"""
GRANT = "grants:\n  - {system: models, actions: [chat], objects: ['model/small-*']}\n"


@dataclass(frozen=True)
class Contender:
    name: str
    port: int
    path: str
    token: str

    def request(self) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        return head.encode() + BODY


async def answered(reader: asyncio.StreamReader) -> bytes:
    """Return the body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head.split(b" ", 2)[1]
    if b"transfer-encoding: chunked" in head:
        body = b""
        while (size := int(await reader.readline(), 16)) > 0:
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    if status != b"200" or b'"hello"' not in body:
        raise SystemExit(f"a contender answered {status!r}: {body[:300]!r}")
    return body


async def turn(contender: Contender, clients: int, seconds: float) -> list[float]:
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", contender.port)
        request = contender.request()
        while (started := time.perf_counter()) < ends:
            writer.write(request)
            await answered(reader)
            took.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return took


PROVIDER = """
import asyncio, sys
ANSWER = sys.argv[1].encode()
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(ANSWER)
class Thin(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.left = transport, b""
    def data_received(self, data):
        self.left += data
        while (end := self.left.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.left[:end].lower()
            size = int(head.split(b"content-length:")[1].split(b"\\r\\n")[0]) if b"content-length:" in head else 0
            if len(self.left) < end + 4 + size:
                return
            self.left = self.left[end + 4 + size:]
            self.transport.write(HEAD + ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Thin, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()
asyncio.run(main())
"""


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as contenders:
        turn_seconds = max(0.3, seconds / (len(CLIENTS) * ROUNDS * len(contenders)))
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
    notes = ["p50 and p99 in microseconds, medians of the turns; added = p50 over the direct call's"]
    if not LITELLM.exists():
        notes.append("LiteLLM is not installed: python3 tools/prepare.py bench")
    return {
        "title": "A chat completion through the model gateway over a direct one",
        "columns": ["contender", "clients", "p50", "p99", "lowest - highest", "per second", "added"],
        "rows": rows,
        "notes": notes,
    }


def row(name: str, clients: int, turns: list[tuple[float, float, float]], floor: float) -> list[Any]:
    p50, p99, rate = (statistics.median(column) for column in zip(*turns, strict=True))
    middles = [each[0] * 1e6 for each in turns]
    spread = f"{min(middles):.0f} - {max(middles):.0f}"
    return [name, clients, round(p50 * 1e6), round(p99 * 1e6), spread, round(rate), round((p50 - floor) * 1e6)]


@contextmanager
def standing(folder: Path) -> Iterator[list[Contender]]:
    """Give the contenders, all of them up."""
    with processes() as started:
        provider = start(started, [sys.executable, "-c", PROVIDER, ANSWER.decode()])
        served = serve(started, folder / "estate", thin_upstream(started), ["agent"])
        (served.folder / "systems" / "models.yaml").write_text(SYSTEM.replace("PORT", str(provider)))
        own = PRINCIPAL.replace("NAME", "agent").replace("grants:\n", GRANT)
        (served.folder / "principals" / "agent.yaml").write_text(own)
        charter(served.folder, "apply", "--yes", "--reason", "it asks models")
        token = fetch(served.agents["agent"], f"{served.issuer}/mcp/models")
        port = urllib.parse.urlsplit(served.issuer).port or 80
        found = [
            Contender("direct", provider, "/v1/chat/completions", "x"),
            Contender("Charter", port, "/model/models/v1/chat/completions", token),
        ]
        if LITELLM.exists():
            config = folder / "litellm.yaml"
            config.write_text(PEER.replace("PORT", str(provider)))
            command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port"]
            found.append(Contender("LiteLLM's proxy", start(started, command), "/v1/chat/completions", MASTER))
        yield found


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
