"""Servers, agents and callers for the benchmarks that go through the front door.

Everything is the product's own: an estate applied by `charter apply`, the server started by `charter up`, keys
registered over the control socket, tokens from the token endpoint. The upstream is as thin as an MCP server can be.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from charter.cli.agent_keys import AgentTokens, agent_key
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
PARAMS = {"name": "act", "arguments": {"charge_id": "ch_3PqL", "amount": "12.50", "currency": "EUR"}, "_meta": META}
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": PARAMS}).encode()
LISTEN = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "subscriptions/listen",
        "params": {"notifications": {"toolsListChanged": True}, "_meta": META},
    }
).encode()
UPSTREAM = """
import asyncio, json, sys, uvicorn
async def app(scope, receive, send):
    message = json.loads((await receive()).get("body") or b"{}")
    method = message.get("method")
    if "id" not in message:
        await send({"type": "http.response.start", "status": 202 if method else 405, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    if method == "tools/call":
        if delay:
            await asyncio.sleep(delay)
        result = {"resultType": "complete", "content": [{"type": "text", "text": "done"}], "isError": False}
    elif method == "tools/list":
        tool = {"name": "act", "description": "Act.", "inputSchema": {"type": "object"}}
        result = {"resultType": "complete", "tools": [tool], "ttlMs": 60000, "cacheScope": "public"}
    elif method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "thin", "version": "1"}}
    else:
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                  "ttlMs": 60000, "cacheScope": "public"}
    body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
delay = float(sys.argv[1])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
"""
TEAMS = """charter: v1
teams:
  bench: {lead: ops@example.com, members: [ops@example.com, alex@example.com]}
roles:
  bench-approver: [alex@example.com]
"""
PRINCIPAL = """charter: v1
principal: NAME
kind: agent
environment: sandbox
owner: {person: ops@example.com, team: bench}
purpose: Measure the gateway
model: {provider: anthropic, name: claude-*}
approved: {by: alex@example.com, role: bench-approver, on: 2026-11-02}
credential: {type: private-key-jwt, bearer: allowed}
grants:
  - {system: bench, actions: [act]}
review: 90d
expires: 2035-11-02
"""


@dataclass(frozen=True)
class Served:
    """A running Charter with some agents whose keys are registered."""

    folder: Path
    issuer: str
    agents: dict[str, AgentTokens]  # by name

    @property
    def url(self) -> str:
        """The governed endpoint."""
        return f"{self.issuer}/mcp/bench"

    @property
    def all_url(self) -> str:
        """The endpoint where all systems are together."""
        return f"{self.issuer}/mcp"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.folder / ".charter" / "control.sock"


@contextmanager
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Give a list of started processes; end them all."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


def serve(
    started: list[subprocess.Popen[bytes]],
    folder: Path,
    upstream: str,
    names: Sequence[str],
    *,
    program: Sequence[str] = (),
) -> Served:
    """Start `charter up` (or `program`, which takes its arguments) over an estate with these agents."""
    (folder / "systems").mkdir(parents=True)
    (folder / "teams.yaml").write_text(TEAMS)
    charter(folder, "systems", "import", "bench", "--url", upstream, "--owner", "ops@example.com", "--team", "bench")
    (folder / "principals").mkdir(exist_ok=True)  # their system is not there before the import
    for name in names:
        (folder / "principals" / f"{name}.yaml").write_text(PRINCIPAL.replace("NAME", name))
    charter(folder, "apply", "--yes")
    return up(started, folder, names, program)


def up(
    started: list[subprocess.Popen[bytes]], folder: Path, names: Sequence[str], program: Sequence[str] = ()
) -> Served:
    """Start `charter up` (or `program`) over an estate that was applied; register a key for each of its principals."""
    port = start(started, [*(program or command(folder)), "up", "--port"])
    issuer = f"http://127.0.0.1:{port}"
    agents: dict[str, AgentTokens] = {}
    control_socket = folder / ".charter" / "control.sock"
    while not control_socket.exists():  # it opens a moment after the port does
        assert started[-1].poll() is None, "charter up ended"
        time.sleep(0.05)
    with control_of(control_socket) as control:
        ids = {each["name"]: each["id"] for each in control.get("/v1/principals").json()["principals"]}
        for name in names:
            key = agent_key(folder / "keys", issuer, name)
            body = {"jwk": key.jwk, "actor": "ops@example.com", "reason": "bench"}
            answer = control.post(f"/v1/principals/{name}/keys", json=body)
            assert answer.status_code == 200, answer.text
            agents[name] = AgentTokens(key, issuer, ids[name], SystemClock(), SystemEntropy())
    return Served(folder, issuer, agents)


def control_of(path: Path) -> httpx.Client:
    """Return a client of the control API."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://charter", timeout=30)


def thin_upstream(started: list[subprocess.Popen[bytes]], delay: float = 0.0) -> str:
    """Start the upstream, each call of which takes `delay` seconds; return its address."""
    return f"http://127.0.0.1:{start(started, [sys.executable, '-c', UPSTREAM, str(delay)])}/mcp"


class Caller(asyncio.Protocol):
    """One connection that sends a call and waits for its answer."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: Any = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length and len(body) >= int(length) and self._answer is not None:
            self._received = b""
            self._answer.set_result(body)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))

    async def call(self, request: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


async def connect(url: str) -> Caller:
    """Return a connection to where `url` points."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname
    _, caller = await asyncio.get_running_loop().create_connection(Caller, parts.hostname, parts.port or 80)
    return caller


def request(
    url: str, body: bytes, headers: str, method: str = "tools/call", tool: str = "act", version: str = VERSION
) -> bytes:
    """Return one POST as it goes over the wire. `headers`: further lines."""
    parts = urllib.parse.urlsplit(url)
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {version}",
        f"Mcp-Method: {method}",
        *([f"Mcp-Name: {tool}"] if method == "tools/call" else []),
        f"Content-Length: {len(body)}",
        *headers.split("\n"),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def fetch(tokens: AgentTokens, resource: str) -> str:
    """Return a token that is bound to no key: what a stock MCP client gets."""
    form = {
        "grant_type": "client_credentials",
        "resource": resource,
        "client_id": tokens.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": tokens.assertion(),
    }
    data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(f"{tokens.issuer}/oauth/token", data)  # noqa: S310 - our own server
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


def start(started: list[subprocess.Popen[bytes]], words: list[str], *, last: str = "{}", **more: Any) -> int:
    """Start a server whose last argument is its port (in `last`); return the port once it listens.

    `more` is handed to `Popen`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    started.append(subprocess.Popen([*words, last.format(port)], stdout=subprocess.DEVNULL, **more))
    for _ in range(1200):
        assert started[-1].poll() is None, f"{words[:3]} ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return port
    raise TimeoutError(f"{words[:3]} does not listen")
