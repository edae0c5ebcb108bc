"""Kill -9 of a serving process with calls under way: nothing it answered is lost, nothing it allowed is unrecorded.

The server is the real `charter up`, killed at random instants while agents call through it, and started again on what
it left. What its upstream saw, and what its callers were told, is held against the log afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import sqlalchemy as sa

from charter.adapters.tables import limit_usage
from charter.bootstrap import build, evidence
from charter.bootstrap.house import House
from charter.config import Settings
from charter.core.canonical import canonical, digest_of
from charter.registry.standing import Standing
from charter.server.oauth import ASSERTION_TYPE
from doors import ACCEPT, META, READ, REFUND, door_files
from identity_stage import ClientKeyPair
from mcp_stage import Background, serving
from servers.rogue_http import RogueHttp
from terminal import Server, Terminal

AGENTS = 8
DAILY = 100_000


@dataclass
class Told:
    """What callers were told, by the number of their call."""

    passed: dict[int, str] = field(default_factory=dict)  # the verdict's id
    refused: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    killed: bool = False  # an operator was told that the other principal is


@dataclass
class Scene:
    """An estate whose server can be killed, and what is around it."""

    terminal: Terminal
    background: Background
    upstream: RogueHttp
    pair: ClientKeyPair
    told: Told = field(default_factory=Told)
    number: int = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def control(self, method: str, path: str, body: Any = None) -> Any:
        transport = httpx.HTTPTransport(uds=str(self.terminal.folder / ".charter" / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://charter", timeout=30) as client:
            answer = client.request(method, path, json=body)
            assert answer.is_success, answer.text
            return answer.json()

    def assertion(self, issuer: str) -> str:
        return self.pair.assertion(dt.datetime.now(dt.UTC), aud=f"{issuer}/oauth/token", jti=f"jti-{self.next()}")


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    background = Background()
    upstream = RogueHttp(modern=True)
    upstream.tool, upstream.others = READ, [REFUND]
    try:
        url = background.enter(serving(upstream))
        on_postgres = {"CHARTER_DATABASE": database_url} if database_url.startswith("postgres") else {}
        terminal = Terminal.at(tmp_path / "estate", **on_postgres)
        for path, text in crash_files(f"{url}/mcp").items():
            file = terminal.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        terminal.charter("apply", "--yes", "--reason", "a test")
        yield Scene(terminal, background, upstream, ClientKeyPair.fresh("x"))
    finally:
        background.close()


def crash_files(url: str) -> dict[str, str]:
    """Return an estate whose agent may read within a limit, and refund once someone says yes."""
    files = door_files(url)
    charter = json.loads(files["principals/refund-agent.yaml"])
    charter["grants"] = [
        {"system": "payments", "actions": ["charge.read"], "limit": [{"count": DAILY, "per": "day"}]},
        {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
    ]
    return files | {"principals/refund-agent.yaml": canonical(charter).decode()}


# --- what the callers do until the server is gone ---


async def work(scene: Scene, server: Server, approved: list[int]) -> None:
    """Call as fast as it goes, from several callers at once, until the server does not answer any more."""
    async with aiohttp.ClientSession() as web:
        token = await fetch(scene, server, web)
        if token is None:
            return
        spenders = [call(scene, server, web, token, "create_refund", number) for number in approved for _ in range(3)]
        readers = [read_on(scene, server, web, token) for _ in range(AGENTS)]
        await asyncio.gather(*spenders, *readers, authenticate_on(scene, server, web))


async def fetch(scene: Scene, server: Server, web: aiohttp.ClientSession) -> str | None:
    form = {
        "grant_type": "client_credentials",
        "resource": f"{server.url}/mcp/payments",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": scene.assertion(server.url),
    }
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with web.post(f"{server.url}/oauth/token", data=form) as answer:
            body = await answer.json()
            if answer.status == 200:
                scene.told.tokens += 1
                return str(body["access_token"])
    return None


async def authenticate_on(scene: Scene, server: Server, web: aiohttp.ClientSession) -> None:
    while await fetch(scene, server, web) is not None:
        pass


async def read_on(scene: Scene, server: Server, web: aiohttp.ClientSession, token: str) -> None:
    while await call(scene, server, web, token, "get_charge", scene.next()):
        pass


async def call(scene: Scene, server: Server, web: aiohttp.ClientSession, token: str, tool: str, number: int) -> bool:
    """Make one call; note what was told of it; return whether the server is still there."""
    params = {"name": tool, "arguments": arguments(number), "_meta": META}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, "MCP-Protocol-Version": "2026-07-28"}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
    try:
        async with web.post(f"{server.url}/mcp/payments", json=body, headers=headers) as answer:
            told = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False
    result = told.get("result")
    if result is not None:
        kept = scene.told.refused if result.get("isError") else scene.told.passed
        kept[number] = result["_meta"]["charter/verdict"]
    return True


def arguments(number: int) -> dict[str, Any]:
    return {"charge_id": f"ch_{number}", "amount": number, "currency": "EUR"}


async def hold(scene: Scene, server: Server, number: int) -> str:
    """Let a refund be held; return the approval's id."""
    async with aiohttp.ClientSession() as web:
        token = await fetch(scene, server, web)
        assert token is not None
        params = {"name": "create_refund", "arguments": arguments(number), "_meta": META}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, "MCP-Protocol-Version": "2026-07-28"}
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "create_refund"}
        async with web.post(f"{server.url}/mcp/payments", json=body, headers=headers) as answer:
            told = await answer.json()
            return str(told["result"]["_meta"]["charter/refusal"]["approval"])


def crash(scene: Scene, seconds: float) -> None:
    """Start the server, let the callers work, and kill it in the middle of that."""
    with scene.terminal.up() as server:
        if scene.pair.client_id == "x":
            found = scene.control("GET", "/v1/principals/refund-agent")
            scene.pair.client_id = found["id"]
            scene.control("POST", "/v1/principals/refund-agent/keys", {"jwk": scene.pair.jwk, "actor": "a@example.com"})
        approved = [scene.next() for _ in range(2)]
        for number in approved:
            approval = scene.background.run(hold(scene, server, number))
            scene.control("POST", f"/v1/approvals/{approval}/approve", {"person": "lena@example.com", "reason": "seen"})
        working = asyncio.run_coroutine_threadsafe(work(scene, server, approved), scene.background._loop)
        scene.background.run(asyncio.sleep(seconds))
        if not scene.told.killed:
            body = {"move": "kill", "reason": "3 a.m.", "actor": "a@example.com"}
            assert scene.control("POST", "/v1/principals/charge-reader/move", body)["after"] == "revoked"
            scene.told.killed = True
        server.process.kill()
        server.process.wait(30)
        working.result(60)


# --- what must be true of what it left ---


def hold_against_the_log(scene: Scene) -> int:
    """Check all that was seen and told against the log; return how many calls reached the upstream."""
    environment = scene.terminal.environment
    house = build(Settings(estate=scene.terminal.folder, database=environment.get("CHARTER_DATABASE")))
    try:
        report = asyncio.run(evidence.verify(house))
        assert report["ok"], report["problems"]
        entries = everything(house)
        check_calls(scene, entries)
        check_standing(scene, house, entries)
        check_limits(scene, house, entries)
        issued = [e for e in entries if e["kind"] == "authentication" and e["body"]["outcome"] == "issued"]
        assert len(issued) >= scene.told.tokens
    finally:
        asyncio.run(house.aclose())
    return len(scene.upstream.calls())


def everything(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = -1
    while page := evidence.listing(house, {}, after=after, newest=None, limit=1000)["entries"]:
        found += page
        after = page[-1]["index"]
    assert [entry["index"] for entry in found] == list(range(len(found)))
    return found


def check_calls(scene: Scene, entries: list[dict[str, Any]]) -> None:
    verdicts = {e["body"]["verdict_id"]: e["body"] for e in entries if e["kind"] == "verdict"}
    allowed = Counter(body["call_digest"] for body in verdicts.values() if body["verdict"] == "allow")
    for message in scene.upstream.calls():
        params = message["params"]
        assert allowed[digest(params["name"], params["arguments"])] == 1, "the upstream was called without a verdict"
    for number, verdict in scene.told.passed.items():
        assert verdicts[verdict]["verdict"] == "allow", number
    for number, verdict in scene.told.refused.items():
        assert verdicts[verdict]["verdict"] in ("deny", "escalate"), number
    refunds = Counter(
        m["params"]["arguments"]["amount"] for m in scene.upstream.calls() if m["params"]["name"] != "get_charge"
    )
    assert set(refunds.values()) <= {1}, "an approval was spent twice"


def digest(tool: str, given: dict[str, Any]) -> str:
    return digest_of({"system": "payments", "tool": tool, "arguments": given})


def check_standing(scene: Scene, house: House, entries: list[dict[str, Any]]) -> None:
    moves = [entry["body"]["move"] for entry in entries if entry["kind"] == "standing.changed"]
    assert moves == (["kill"] if scene.told.killed else [])
    expected = Standing.REVOKED if scene.told.killed else Standing.ACTIVE
    assert house.principal("charge-reader").standing is expected


def check_limits(scene: Scene, house: House, entries: list[dict[str, Any]]) -> None:
    """What is counted is exactly what was allowed, less what surely did not happen."""
    reads = [e["body"] for e in entries if e["kind"] == "verdict" and e["body"]["tool"] == "get_charge"]
    allowed = sum(body["verdict"] == "allow" for body in reads)
    ended = [e["body"] for e in entries if e["kind"] == "outcome" and e["body"]["tool"] == "get_charge"]
    given_back = sum(not body["sent"] for body in ended)
    used = house.database.read(lambda tx: tx.connection.execute(sa.select(sa.func.sum(limit_usage.c.used))).scalar())
    assert int(used or 0) == allowed - given_back
    assert allowed >= len([m for m in scene.upstream.calls() if m["params"]["name"] == "get_charge"])


def test_a_server_killed_at_any_instant_loses_nothing_it_answered(scene: Scene) -> None:
    dice = random.Random(7)  # noqa: S311 - it chooses when to kill
    for _ in range(2):
        crash(scene, dice.uniform(0.2, 0.8))
    assert hold_against_the_log(scene) > 10
    assert len(scene.told.passed) > 10


@pytest.mark.slow
def test_a_server_killed_many_times_loses_nothing_it_answered(scene: Scene) -> None:
    dice = random.Random()  # noqa: S311 - another instant each time
    for _ in range(12):
        crash(scene, dice.uniform(0.0, 1.5))
        hold_against_the_log(scene)
