"""What one governed MCP call costs over a direct one to the same upstream, with 1, 16 and 64 callers.

Everything is the product's own: an estate applied by `charter apply`, the server started by `charter up`, tokens from
its token endpoint; policy decides each call, and its verdict is durable before it is forwarded. The upstream is as thin
as an MCP server can be, so that the difference is the gateway's. Callers are raw sockets that check every answer. All
contenders take turns, so that a noisy machine is noisy for all of them.

Set BENCH_FASTMCP to a Python interpreter that has fastmcp to let its proxy take turns too.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter.cli.agent_keys import AgentTokens, agent_key
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy

CALLERS = (1, 16, 64)
ROUNDS = 3
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
PARAMS = {"name": "act", "arguments": {"charge_id": "ch_3PqL", "amount": "12.50", "currency": "EUR"}, "_meta": META}
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": PARAMS}).encode()
UPSTREAM = """
import json, sys, uvicorn
async def app(scope, receive, send):
    message = json.loads((await receive())["body"] or b"{}")
    method = message.get("method")
    if method == "tools/call":
        result = {"resultType": "complete", "content": [{"type": "text", "text": "done"}], "isError": False}
    elif method == "tools/list":
        tool = {"name": "act", "description": "Act.", "inputSchema": {"type": "object"}}
        result = {"resultType": "complete", "tools": [tool], "ttlMs": 60000, "cacheScope": "public"}
    else:
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                  "ttlMs": 60000, "cacheScope": "public"}
    body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""
PEER = """
import sys
from fastmcp.server import create_proxy
create_proxy(sys.argv[1]).run(transport="http", host="127.0.0.1", port=int(sys.argv[2]), path="/mcp",
                              stateless_http=True, json_response=True, show_banner=False, log_level="ERROR")
"""
ESTATE = {
    "teams.yaml": """charter: v1
teams:
  bench: {lead: ops@example.com, members: [ops@example.com, alex@example.com]}
roles:
  bench-approver: [alex@example.com]
""",
    "principals/bench-agent.yaml": """charter: v1
principal: bench-agent
kind: agent
environment: sandbox
owner: {person: ops@example.com, team: bench}
purpose: Measure the gateway
model: {provider: anthropic, name: claude-*}
approved: {by: alex@example.com, role: bench-approver, on: 2026-11-02}
credential: {type: private-key-jwt}
grants:
  - {system: bench, actions: [act]}
review: 90d
expires: 2035-11-02
""",
}


@dataclass(frozen=True)
class Contender:
    """Where to send calls, and with which headers: a fresh list for each turn, used in order."""

    name: str
    url: str
    headers: Callable[[int], list[str]]


class Caller(asyncio.Protocol):
    """One connection that sends a call and waits for its answer."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length and len(body) >= int(length) and self._answer is not None:
            self._received = b""
            self._answer.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))

    async def call(self, request: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


def requests_to(contender: Contender, count: int) -> list[bytes]:
    """Return `count` requests, ready to be sent."""
    parts = urllib.parse.urlsplit(contender.url)
    fixed = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        "Mcp-Name: act",
        f"Content-Length: {len(CALL)}",
    ]
    return ["\r\n".join([*fixed, *more.split("\n"), "", ""]).encode() + CALL for more in contender.headers(count)]


async def turn(contender: Contender, callers: int, seconds: float, most: int) -> list[float]:
    """Return the seconds each call took, in one turn of at most `seconds` and `most` calls."""
    parts = urllib.parse.urlsplit(contender.url)
    requests = iter(requests_to(contender, most))
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work() -> None:
        _, caller = await asyncio.get_running_loop().create_connection(Caller, parts.hostname, parts.port)
        try:
            while (started := time.perf_counter()) < ends and (request := next(requests, None)) is not None:
                body = await caller.call(request)
                took.append(time.perf_counter() - started)
                result = json.loads(body).get("result", {})
                assert result.get("content"), body
                assert not result.get("isError"), body
        finally:
            caller.close()

    await asyncio.gather(*(work() for _ in range(callers)))
    return took


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; see the module's docstring."""
    notes = ["p50 and p99 in microseconds, medians of the turns; added = p50 over the direct call's"]
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder), notes) as contenders:
        turn_seconds = max(0.2, seconds / (len(CALLERS) * ROUNDS * len(contenders)))
        for contender in contenders:
            asyncio.run(turn(contender, 4, 0.5, 400))  # warm
        rows: list[list[Any]] = []
        for callers in CALLERS:
            turns: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in contenders}
            for _ in range(ROUNDS):
                for contender in contenders:
                    started = time.perf_counter()
                    took = sorted(asyncio.run(turn(contender, callers, turn_seconds, 20_000)))
                    rate = len(took) / (time.perf_counter() - started)
                    turns[contender.name].append((took[len(took) // 2], took[int(len(took) * 0.99)], rate))
            rows += [row(name, callers, found, turns[contenders[0].name]) for name, found in turns.items()]
    columns = ["contender", "callers", "p50", "p99", "calls/s", "added", "of direct"]
    return {"title": "One governed MCP call over a direct one", "columns": columns, "rows": rows, "notes": notes}


def row(
    name: str, callers: int, turns: list[tuple[float, float, float]], direct: list[tuple[float, float, float]]
) -> list[Any]:
    p50, p99, rate = (statistics.median(column) for column in zip(*turns, strict=True))
    floor = statistics.median(each[0] for each in direct)
    added = "" if turns is direct else round((p50 - floor) * 1e6)
    return [name, callers, round(p50 * 1e6), round(p99 * 1e6), round(rate), added, f"{p50 / floor:.1f}x"]


@contextmanager
def standing(folder: Path, notes: list[str]) -> Iterator[list[Contender]]:
    """Give the contenders, all of them up."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        upstream = f"http://127.0.0.1:{start(started, [sys.executable, '-c', UPSTREAM])}/mcp"
        contenders = [Contender("direct", upstream, lambda count: ["X-Nothing: 1"] * count)]
        contenders += governed(started, folder, upstream)
        peer = os.environ.get("BENCH_FASTMCP")
        if peer:
            port = start(started, [peer, "-c", PEER, upstream])
            contenders.append(Contender("fastmcp proxy", f"http://127.0.0.1:{port}/mcp", contenders[0].headers))
        else:
            notes.append("no peer: BENCH_FASTMCP names no interpreter with fastmcp")
        yield contenders
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


def governed(started: list[subprocess.Popen[bytes]], folder: Path, upstream: str) -> list[Contender]:
    """Return Charter's own contenders: with a plain bearer token, and with a token bound to the agent's key."""
    for path, content in ESTATE.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)
    (folder / "systems").mkdir()
    principal = folder / "principals" / "bench-agent.yaml"
    principal.rename(folder / "aside")  # its system is not there before the import
    charter(folder, "systems", "import", "bench", "--url", upstream, "--owner", "ops@example.com", "--team", "bench")
    (folder / "aside").rename(principal)
    charter(folder, "apply", "--yes")
    keys = folder / "keys"
    environment = os.environ | {"CHARTER_KEYS": str(keys)}
    port = start(started, [*command(folder), "up", "--port"], environment)
    issuer = f"http://127.0.0.1:{port}"
    charter(folder, "token", "bench-agent", "bench", CHARTER_KEYS=str(keys), CHARTER_PORT=str(port))
    client_id = json.loads(charter(folder, "show", "bench-agent", "--json"))["id"]
    tokens = AgentTokens(agent_key(keys, issuer, "bench-agent"), issuer, client_id, SystemClock(), SystemEntropy())
    url = f"{issuer}/mcp/bench"

    def plain(count: int) -> list[str]:
        return [f"Authorization: Bearer {fetch(tokens, url)}"] * count

    def bound(count: int) -> list[str]:
        token = fetch(tokens, url, tokens.proof("POST", f"{issuer}/oauth/token"))
        return [
            f"Authorization: DPoP {token}\nDPoP: {tokens.proof('POST', url, token)}" for _ in range(min(count, 4000))
        ]

    return [Contender("governed, bearer", url, plain), Contender("governed, DPoP", url, bound)]


def fetch(tokens: AgentTokens, resource: str, proof: str | None = None) -> str:
    """Return a token; without a proof it is bound to no key: what a stock MCP client gets."""
    form = {
        "grant_type": "client_credentials",
        "resource": resource,
        "client_id": tokens.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": tokens.assertion(),
    }
    data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(f"{tokens.issuer}/oauth/token", data, {"DPoP": proof} if proof else {})  # noqa: S310 - our own server
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(json.load(answer)["access_token"])


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "charter.cli.main", "-C", str(folder)]


def charter(folder: Path, *words: str, **environment: str) -> str:
    """Run one command of the CLI; return what it printed."""
    words = (*command(folder), *words)
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(started: list[subprocess.Popen[bytes]], words: list[str], environment: dict[str, str] | None = None) -> int:
    """Start a server whose last argument is its port; return the port once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started.append(subprocess.Popen([*words, str(port)], stdout=subprocess.DEVNULL, env=environment))
    for _ in range(600):
        assert started[-1].poll() is None, f"{words[:3]} ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return port
    raise TimeoutError(f"{words[:3]} does not listen")
