"""The real `charter up` in a process of its own, an upstream that counts what reaches it, and callers that remember.

An agent may read charges within a limit, and refund once someone says yes. What callers were told is kept, so that it
can be held against the log of a server that was killed, or whose disk was full.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from charter.core.canonical import canonical
from charter.server.oauth import ASSERTION_TYPE
from doors import ACCEPT, META, READ, REFUND, door_files
from identity_stage import ClientKeyPair
from mcp_stage import Background, serving
from servers.rogue_http import RogueHttp
from terminal import Server, Terminal

DAILY = 100_000
ACTOR = "a@example.com"
_NOBODY = "x"


@dataclass
class Told:
    """What callers were told, by the number of their call."""

    passed: dict[int, str] = field(default_factory=dict)  # the verdict's id
    refused: dict[int, str] = field(default_factory=dict)
    failed: dict[int, dict[str, Any]] = field(default_factory=dict)  # the error
    tokens: int = 0


@dataclass
class Served:
    """An estate, what is around it, and what its callers were told."""

    terminal: Terminal
    background: Background
    upstream: RogueHttp
    pair: ClientKeyPair = field(default_factory=lambda: ClientKeyPair.fresh(_NOBODY))
    told: Told = field(default_factory=Told)
    number: int = 0

    def next(self) -> int:
        """Return a number for a call."""
        self.number += 1
        return self.number

    def control(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask the control API."""
        transport = httpx.HTTPTransport(uds=str(self.terminal.folder / ".charter" / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://charter", timeout=30) as client:
            return client.request(method, path, json=body)

    def asked(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask the control API for what it has to say yes to."""
        answer = self.control(method, path, body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def enrol(self) -> None:
        """Register the agent's key, the first time."""
        if self.pair.client_id == _NOBODY:
            self.pair.client_id = self.asked("GET", "/v1/principals/refund-agent")["id"]
            self.asked("POST", "/v1/principals/refund-agent/keys", {"jwk": self.pair.jwk, "actor": ACTOR})

    async def fetch(self, server: Server, web: aiohttp.ClientSession) -> str | None:
        """Return an access token, or None where there is none to be had."""
        assertion = self.pair.assertion(
            dt.datetime.now(dt.UTC), aud=f"{server.url}/oauth/token", jti=f"j-{self.next()}"
        )
        form = {
            "grant_type": "client_credentials",
            "resource": f"{server.url}/mcp/payments",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with web.post(f"{server.url}/oauth/token", data=form) as answer:
                body = await answer.json()
                if answer.status == httpx.codes.OK:
                    self.told.tokens += 1
                    return str(body["access_token"])
        return None

    async def call(self, server: Server, web: aiohttp.ClientSession, token: str, tool: str, number: int) -> bool:
        """Make one call; note what was told of it; return whether the server is still there."""
        try:
            told = await post_call(server, web, token, tool, number)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False
        result = told.get("result")
        if result is None:
            self.told.failed[number] = told["error"]
        else:
            kept = self.told.refused if result.get("isError") else self.told.passed
            kept[number] = result["_meta"]["charter/verdict"]
        return True

    async def hold(self, server: Server, number: int) -> str:
        """Let a refund be held; return the approval's id."""
        async with aiohttp.ClientSession() as web:
            token = await self.fetch(server, web)
            assert token is not None
            told = await post_call(server, web, token, "create_refund", number)
            return str(told["result"]["_meta"]["charter/refusal"]["approval"])


async def post_call(server: Server, web: aiohttp.ClientSession, token: str, tool: str, number: int) -> dict[str, Any]:
    """Call `tool` and return the JSON-RPC answer."""
    params = {"name": tool, "arguments": arguments(number), "_meta": META}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, "MCP-Protocol-Version": "2026-07-28"}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
    async with web.post(f"{server.url}/mcp/payments", json=body, headers=headers) as answer:
        return dict(await answer.json())


def arguments(number: int) -> dict[str, Any]:
    """Return the arguments of the call with this number, which no other call has."""
    return {"charge_id": f"ch_{number}", "amount": number, "currency": "EUR"}


@contextlib.contextmanager
def served(folder: Path, **environment: str) -> Iterator[Served]:
    """Give an estate in `folder` that is applied and not yet served."""
    background = Background()
    upstream = RogueHttp(modern=True)
    upstream.tool, upstream.others = READ, [REFUND]
    try:
        url = background.enter(serving(upstream))
        terminal = Terminal.at(folder, **environment)
        for path, text in _files(f"{url}/mcp").items():
            file = terminal.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        terminal.charter("apply", "--yes", "--reason", "a test")
        yield Served(terminal, background, upstream)
    finally:
        background.close()


def _files(url: str) -> dict[str, str]:
    files = door_files(url)
    charter = json.loads(files["principals/refund-agent.yaml"])
    charter["grants"] = [
        {"system": "payments", "actions": ["charge.read"], "limit": [{"count": DAILY, "per": "day"}]},
        {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
    ]
    return files | {"principals/refund-agent.yaml": canonical(charter).decode()}
