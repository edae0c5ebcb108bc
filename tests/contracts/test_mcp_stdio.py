"""`charter mcp` between a host that speaks MCP on pipes and the real house: both eras, its bounds, what fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from charter.bootstrap import authority
from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.mcp_bridge import MAX_UNDER_WAY, Bridge
from charter.cli.mcp_endpoint import Endpoint
from charter.cli.mcp_pipes import Lines, Output, lines_of
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.lifecycle.emergency import Move
from doors import META, Doors, open_doors, run
from mcp_stage import until
from served import served
from servers.rogue_http import RogueHttp, event, stream, text
from terminal import ROOT

MOST = 100_000
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a host", "version": "1"}}


@dataclass
class Host:
    """What stands at the other end of the pipes."""

    bridge: Bridge
    tokens: AgentTokens
    said: list[dict[str, Any]] = field(default_factory=list)

    async def line(self, text: bytes) -> None:
        self.said.append(json.loads(text))

    async def send(self, message: dict[str, Any] | bytes | None) -> None:
        await self.bridge.take(json.dumps(message).encode() if isinstance(message, dict) else message)

    async def ask(self, number: int | str, method: str, *, modern: bool = True, **params: Any) -> dict[str, Any]:
        given = params | ({"_meta": META} if modern else {})
        await self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": given})
        return await self.answer(number)

    async def answer(self, number: int | str) -> dict[str, Any]:
        await until(lambda: any(each.get("id") == number for each in self.said))
        return next(each for each in self.said if each.get("id") == number)

    async def open(self) -> dict[str, Any]:
        answer = await self.ask("init", "initialize", modern=False, **INITIALIZE)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer


@asynccontextmanager
async def host_of(doors: Doors, name: str = "refund-agent", path: str = "/mcp/payments") -> AsyncIterator[Host]:
    principal = doors.house.principal(name)
    key = agent_key(doors.house.settings.estate / "keys", doors.issuer, name)
    await authority.register_key(doors.house, name, key.jwk, actor="test@example.com", reason="a test")
    tokens = AgentTokens(key, doors.issuer, principal.id, SystemClock(), SystemEntropy())
    host = Host(cast("Any", None), tokens)
    host.bridge = Bridge(Endpoint(doors.issuer + path, tokens, doors.web, {"charter-session": "a-run"}), host.line)
    try:
        yield host
    finally:
        await host.bridge.close()


def with_host(tmp_path: Path, use: Callable[[Doors, Host], Awaitable[None]], upstream: RogueHttp | None = None) -> None:
    async def go() -> None:
        async with open_doors(tmp_path, upstream=upstream) as doors, host_of(doors) as host:
            await use(doors, host)

    run(go())


def test_a_host_of_either_era_lists_and_calls(tmp_path: Path) -> None:
    async def use(doors: Doors, host: Host) -> None:
        modern = await host.ask(1, "tools/call", name="get_charge", arguments={"charge_id": "c1"})
        assert modern["result"]["resultType"] == "complete"
        opened = await host.open()
        assert opened["result"]["protocolVersion"] == "2025-11-25"
        listed = await host.ask(2, "tools/list", modern=False)
        assert [tool["name"] for tool in listed["result"]["tools"]] == ["get_charge", "create_refund"]
        called = await host.ask(3, "tools/call", modern=False, name="get_charge", arguments={"charge_id": "c2"})
        assert not called["result"].get("isError")
        assert [entry["body"]["verdict"] for entry in doors.entries("verdict")] == ["allow"] * 2

    with_host(tmp_path, use)


def test_refusals_and_holds_come_through_as_they_are(tmp_path: Path) -> None:
    async def use(doors: Doors, host: Host) -> None:
        held = {"charge_id": "c1", "amount": 150, "currency": "EUR"}
        answer = await host.ask(1, "tools/call", name="create_refund", arguments=held)
        refusal = answer["result"]["_meta"]["charter/refusal"]
        assert refusal["verdict"] == "escalate"
        await doors.approve(refusal["approval"])
        again = await host.ask(2, "tools/call", name="create_refund", arguments=held)
        assert not again["result"].get("isError")

    with_host(tmp_path, use)


@pytest.mark.parametrize("modern", [True, False])
def test_a_host_that_can_open_addresses_is_sent_to_held_calls(tmp_path: Path, *, modern: bool) -> None:
    async def use(doors: Doors, host: Host) -> None:
        can, held = {"elicitation": {"url": {}}}, {"charge_id": "c1", "amount": 150, "currency": "EUR"}
        params: dict[str, Any] = {"name": "create_refund", "arguments": held}
        if modern:
            meta = META | {"io.modelcontextprotocol/clientCapabilities": can}
            asked = await host.ask(1, "tools/call", modern=False, **params, _meta=meta)
            (key,) = asked["result"]["inputRequests"]
            params |= {"_meta": meta, "inputResponses": {key: {"action": "accept"}}}
        else:
            await host.ask(0, "initialize", modern=False, **(INITIALIZE | {"capabilities": can}))
        await host.send({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        if not modern:
            await until(lambda: host.said[-1].get("method") == "elicitation/create")
            await host.send({"jsonrpc": "2.0", "id": host.said[-1]["id"], "result": {"action": "accept"}})
        await asyncio.sleep(0.3)
        await doors.approve(next(iter(doors.house.live.approvals.values())).id)
        assert not (await host.answer(2))["result"].get("isError")

    with_host(tmp_path, use)


async def progress(message: dict[str, Any], send: Any) -> None:
    await stream(send)
    for number in (1, 2):
        params = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": number}
        await event(send, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    await event(send, {"jsonrpc": "2.0", "id": message["id"], "result": text("done")}, more=False)


def test_what_is_told_on_the_way_comes_before_the_answer(tmp_path: Path) -> None:
    async def use(_: Doors, host: Host) -> None:
        meta = META | {"progressToken": "p"}
        await host.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "get_charge", "arguments": {"charge_id": "c1"}, "_meta": meta},
            }
        )
        await host.answer(1)
        assert [each.get("params", {}).get("progress") for each in host.said] == [1, 2, None]

    with_host(tmp_path, use, RogueHttp(progress, modern=True))


@pytest.mark.parametrize("modern", [True, False])
def test_a_cancelled_request_is_cancelled_upstream_and_never_answered(tmp_path: Path, *, modern: bool) -> None:
    ended: list[str] = []

    async def hang(message: dict[str, Any], send: Any) -> None:
        await stream(send)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(message["params"]["name"])

    upstream = RogueHttp(hang, modern=True)

    async def use(_: Doors, host: Host) -> None:
        if not modern:
            await host.open()
        params = {"name": "get_charge", "arguments": {"charge_id": "c1"}} | ({"_meta": META} if modern else {})
        await host.send({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
        await until(upstream.calls)
        cancelled = {"requestId": 7, "reason": "enough"}
        await host.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        await until(lambda: ended)
        await until(lambda: not host.bridge._under_way)
        assert all(each.get("id") != 7 for each in host.said)

    with_host(tmp_path, use, upstream)


def test_a_listening_host_is_told_of_changes_and_ends_by_its_word(tmp_path: Path) -> None:
    async def use(doors: Doors, host: Host) -> None:
        params = {"notifications": {"toolsListChanged": True}, "_meta": META}
        await host.send({"jsonrpc": "2.0", "id": "sub", "method": "subscriptions/listen", "params": params})
        await until(lambda: host.said)
        assert host.said[0]["method"] == "notifications/subscriptions/acknowledged"
        charter = json.loads(doors.files["principals/refund-agent.yaml"])
        charter["grants"] = charter["grants"][:1]
        await doors.apply(doors.files | {"principals/refund-agent.yaml": json.dumps(charter)})
        await until(lambda: len(host.said) > 1)
        assert host.said[1]["method"] == "notifications/tools/list_changed"
        await host.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "sub"}})
        await until(lambda: not host.bridge._under_way)

    with_host(tmp_path, use)


def test_a_session_that_the_gateway_lost_is_opened_again(tmp_path: Path) -> None:
    async def use(_: Doors, host: Host) -> None:
        await host.open()
        first = host.bridge._session
        async with host.bridge._endpoint.ask("DELETE", host.bridge._of_session()) as ended:
            assert ended.status == 204
        both = await asyncio.gather(*(host.ask(number, "tools/list", modern=False) for number in (1, 2)))
        assert all(len(each["result"]["tools"]) == 2 for each in both)
        assert host.bridge._session not in (None, first)

    with_host(tmp_path, use)


def test_arguments_that_travel_as_headers_need_no_list_before(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"charge_id": {"type": "string", "x-mcp-header": "Charge"}}}
    upstream = RogueHttp(modern=True)

    async def go() -> None:
        async with open_doors(tmp_path, upstream=upstream) as doors:
            upstream.tool = upstream.tool | {"inputSchema": schema}
            from charter.gateway.pins import parse_tool

            system = json.loads(doors.files["systems/payments.yaml"])
            system["actions"]["charge.read"]["pin"] = parse_tool(upstream.tool).digest
            await doors.apply(doors.files | {"systems/payments.yaml": json.dumps(system)})
            async with host_of(doors) as host:
                answer = await host.ask(1, "tools/call", name="get_charge", arguments={"charge_id": "ü"})
                assert not answer["result"].get("isError"), answer

    run(go())


def test_what_is_no_message_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    lines: list[tuple[bytes | None, int]] = [
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b"[" * 10_000, -32700),
        (b"[]", -32600),
        (b'"x"', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (None, -32600),
    ]

    async def use(_: Doors, host: Host) -> None:
        for number, (line, code) in enumerate(lines):
            await host.send(line)
            assert host.said[number]["error"]["code"] == code
            assert host.said[number]["id"] is None
        assert "tools" in (await host.ask("ok", "tools/list"))["result"]
        smuggled = {"_meta": META | {"io.modelcontextprotocol/protocolVersion": "2026-07-28\r\nX-Evil: 1"}}
        await host.send({"jsonrpc": "2.0", "id": "crlf", "method": "tools/list\r\nX: 1", "params": smuggled})
        assert (await host.answer("crlf"))["error"]

    with_host(tmp_path, use)


def test_a_flood_is_refused_beyond_its_bound(tmp_path: Path) -> None:
    async def hang(_: dict[str, Any], send: Any) -> None:
        await stream(send)
        await asyncio.sleep(60)

    async def use(_: Doors, host: Host) -> None:
        params = {"notifications": {}, "_meta": META}
        for number in range(MAX_UNDER_WAY + 5):
            await host.send({"jsonrpc": "2.0", "id": number, "method": "subscriptions/listen", "params": params})
        refused = [each for each in host.said if each.get("error", {}).get("code") == -31014]
        assert [each["id"] for each in refused] == list(range(MAX_UNDER_WAY, MAX_UNDER_WAY + 5))
        await host.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}})
        assert host.said[-1]["error"]["message"] == "a request of this id is under way"

    with_host(tmp_path, use, RogueHttp(hang, modern=True))


def test_a_refused_token_is_a_clean_error(tmp_path: Path) -> None:
    async def use(doors: Doors, host: Host) -> None:
        await host.ask(1, "tools/list")
        await authority.move(doors.house, "refund-agent", Move.KILL, actor="op@example.com", reason="a test")
        error = (await host.ask(2, "tools/list"))["error"]
        assert error["code"] in (-31001, -31011)
        assert "refund-agent" in error["message"] or "revoked" in error["message"]

    with_host(tmp_path, use)


def test_a_server_that_is_away_is_a_clean_error(tmp_path: Path) -> None:
    async def go() -> None:
        said: list[dict[str, Any]] = []

        async def line(text: bytes) -> None:
            said.append(json.loads(text))

        key = agent_key(tmp_path / "keys", "http://127.0.0.1:9", "refund-agent")
        tokens = AgentTokens(key, "http://127.0.0.1:9", "prn_1", SystemClock(), SystemEntropy())
        async with aiohttp.ClientSession() as web:
            bridge = Bridge(Endpoint("http://127.0.0.1:9/mcp", tokens, web, {}), line)
            await bridge.take(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode())
            await bridge.settle()
            await bridge.close()
        assert said[0]["error"]["code"] == -31015
        assert "charter up" in said[0]["error"]["message"]

    run(go())


# --- the pipes ---


@given(st.lists(st.binary(max_size=12).filter(lambda each: b"\n" not in each), max_size=8), st.integers(1, 9))
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], step: int) -> None:
    wire = b"".join(line + b"\n" for line in lines)
    whole, pieces = Lines(8), Lines(8)
    expected = whole.feed(wire)
    assert [each for i in range(0, len(wire), step) for each in pieces.feed(wire[i : i + step])] == expected
    assert all(each is None or 0 < len(each) <= 8 for each in expected)


def test_a_line_without_an_end_is_not_kept() -> None:
    lines = Lines(1000)
    for _ in range(100):
        assert lines.feed(b"x" * 900) == []
    assert len(lines._kept) <= 1000
    assert lines.feed(b"\nok\n") == [None, b"ok"]


def test_files_and_pipes_are_read_and_written(tmp_path: Path) -> None:
    async def through(source: BinaryIO, target: BinaryIO) -> None:
        output = await Output.to(target)
        async for line in lines_of(source, MOST):
            await output.line(line or b"too long")

    (tmp_path / "in").write_bytes(b"one\r\n\n" + b"x" * (MOST + 1) + b"\ntwo\n")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        run(through(source, target))
    assert (tmp_path / "out").read_bytes() == b"one\ntoo long\ntwo\n"
    reads, writes = os.pipe()
    os.write(writes, b"three\n")
    os.close(writes)
    with os.fdopen(reads, "rb") as source, (tmp_path / "out").open("wb") as target:
        run(through(source, target))
    assert (tmp_path / "out").read_bytes() == b"three\n"


def test_a_reader_that_is_gone_makes_nobody_wait() -> None:
    async def go() -> None:
        reads, writes = os.pipe()
        os.close(reads)
        output = await Output.to(os.fdopen(writes, "wb"))
        for _ in range(100):
            await output.line(b"x" * 10_000)
        assert output.gone

    run(go())


# --- the command, started by the official client ---


@pytest.mark.slow
def test_the_official_stdio_client_starts_the_command(tmp_path: Path) -> None:
    with served(tmp_path / "estate", PYTHONPATH=str(ROOT / "src")) as estate, estate.terminal.up():

        async def go(mode: Any, tool: str, *words: str) -> None:
            command = estate.terminal._command("mcp", "refund-agent", *words)
            parameters = StdioServerParameters(
                command=command[0], args=command[1:], env=dict(estate.terminal.environment), cwd=estate.terminal.folder
            )
            async with Client(stdio_client(parameters, sys.stderr), mode=mode, read_timeout_seconds=20) as client:
                assert tool in [each.name for each in (await client.list_tools()).tools]
                several = await asyncio.gather(*(client.call_tool(tool, {"charge_id": f"c{n}"}) for n in range(20)))
                assert not any(each.is_error for each in several)

        run(go("2026-07-28", "get_charge", "payments"))
        run(go("legacy", "payments__get_charge"))
        assert not estate.terminal.charter("mcp", "nobody", expect=4).out
        assert not estate.terminal.charter("mcp", "refund-agent", "no-such-system", expect=4).out
    assert not estate.terminal.charter("mcp", "refund-agent", expect=6).out
