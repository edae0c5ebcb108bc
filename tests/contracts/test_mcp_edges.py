"""The gateway's quieter duties: pages, keep-alives, failures of its own, what an upstream asks or lists oddly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from charter.adapters.upstream import connect
from charter.adapters.upstream_child import ChildLimits
from charter.adapters.upstream_http import HttpServer
from charter.core.errors import ErrorCode, IntegrityError, ThrottledError, UnavailableError
from charter.gateway.pins import UpstreamError
from charter.server import gateway_http
from mcp_stage import (
    NOTES,
    Stage,
    a_call,
    a_record,
    deadline,
    http,
    rogue,
    serving,
    settings_of,
    stage,
    stdio,
    until,
)
from servers.rogue_http import TOOL, RogueHttp, Send, event, respond, stream, text

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
OnCall = Callable[[dict[str, Any], Send], Any]


@asynccontextmanager
async def before(rogue_server: RogueHttp) -> AsyncIterator[Stage]:
    """Give a gateway in front of a rogue."""
    async with serving(rogue_server) as url, stage(a_record(http(url), ["act"])) as gateway:
        yield gateway


async def post(gateway: Stage, method: str, params: dict[str, Any] | None = None) -> tuple[int, Any, str]:
    """Send one modern request; return status, headers and text."""
    named = params or {}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named | {"_meta": META | named.get("_meta", {})}}
    headers = {
        "Authorization": f"Bearer {gateway.token()}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": named["name"]} if "name" in named else {}),
    }
    async with aiohttp.ClientSession() as web, web.post(gateway.url(), json=message, headers=headers) as answer:
        return answer.status, answer.headers, await answer.text()


async def result(gateway: Stage, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await post(gateway, method, params))[2])["result"]
    return found


async def error(gateway: Stage, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await post(gateway, method, params))[2])["error"]
    return found


def test_a_long_list_comes_in_pages_that_belong_together() -> None:
    async def go() -> None:
        async with stage(a_record(stdio(*NOTES))) as gateway:
            gateway.app._methods.page_tools = 4
            first = await result(gateway, "tools/list")
            second = await result(gateway, "tools/list", {"cursor": first["nextCursor"]})
            assert [len(page["tools"]) for page in (first, second)] == [4, 2]
            assert "nextCursor" not in second
            assert (first["cacheScope"], first["resultType"]) == ("private", "complete")
            gateway.pipeline.hidden.add("count")
            for cursor in (first["nextCursor"], "0", "", 7, "-1.x", "99999." + "0" * 16, None):
                if cursor is None:
                    continue
                refused = await error(gateway, "tools/list", {"cursor": cursor})
                assert refused["code"] == -32602

    asyncio.run(go())


def test_whoever_asks_what_is_here_is_told_why_there_is_nothing() -> None:
    async def go() -> None:
        async with before(RogueHttp(modern=True)) as gateway:
            assert "No tool" not in (await result(gateway, "server/discover"))["instructions"]
            gateway.pipeline.hidden.add("act")
            await result(gateway, "tools/list")
            told = await result(gateway, "server/discover")
            assert told["instructions"].endswith(
                "No tool is to be seen now: the charter of `agent` grants nothing on `notes`."
            )
            assert told["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18"]
            assert told["capabilities"] == {"tools": {"listChanged": True}, "logging": {}}

    asyncio.run(go())


def test_a_long_call_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_http, "KEEPALIVE_SECONDS", 0.1)

    async def slow(message: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(0.5)
        await respond(send, message, text("done"))

    async def go() -> None:
        async with before(RogueHttp(slow, modern=True)) as gateway:
            status, headers, body = await post(gateway, "tools/call", {"name": "act", "arguments": {}})
            assert (status, headers["Content-Type"], headers["X-Accel-Buffering"]) == (200, "text/event-stream", "no")
            assert body.startswith(": still here\n\n")
            last = json.loads(body.rpartition("data: ")[2])
            assert last["result"]["content"][0]["text"] == "done"

    asyncio.run(go())


def test_an_error_after_progress_comes_as_the_streams_last_event() -> None:
    async def breaks(message: dict[str, Any], send: Send) -> None:
        await stream(send)
        params = {"progressToken": message["id"], "progress": 1}
        await event(send, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await send({"type": "http.response.body"})

    async def go() -> None:
        async with before(RogueHttp(breaks, modern=True)) as gateway:
            meta = {"_meta": {"progressToken": "mine"}}
            _, _, body = await post(gateway, "tools/call", {"name": "act", "arguments": {}} | meta)
            told = [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data")]
            assert told[0]["params"]["progressToken"] == "mine"
            assert (told[1]["error"]["code"], told[1]["id"]) == (-31015, 1)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (UnavailableError(ErrorCode.STALE, "the feed is stale", retry_after_seconds=5), 503, -31015),
        (ThrottledError(ErrorCode.TOO_MANY, "too much", retry_after_seconds=7), 429, -31014),
        (IntegrityError(ErrorCode.KEY_BROKEN, "a key is broken"), 500, -32603),
        (RuntimeError("a secret detail"), 500, -32603),
    ],
)
def test_what_fails_before_a_message_is_understood_has_its_status(fault: Exception, status: int, code: int) -> None:
    async def go() -> None:
        async with before(RogueHttp(modern=True)) as gateway:

            def fails(*_: object, **__: object) -> Any:
                raise fault

            gateway.pipeline.authenticate = fails  # type: ignore[method-assign]  # bends one answer
            got, headers, body = await post(gateway, "tools/list")
            assert (got, json.loads(body)["error"]["code"]) == (status, code)
            assert "secret" not in body
            assert headers.get("Retry-After") == {503: "5", 429: "7"}.get(status)

    asyncio.run(go())


def test_an_admitted_call_that_ends_without_an_answer_is_an_error() -> None:
    async def go() -> None:
        async with before(RogueHttp(modern=True)) as gateway:

            async def nothing(*_: object) -> AsyncIterator[dict[str, Any]]:
                for never in ():
                    yield never

            gateway.pipeline._forward = nothing  # type: ignore[method-assign]  # bends one answer
            refused = await error(gateway, "tools/call", {"name": "act"})
            assert refused["message"] == "the upstream gave no answer"

    asyncio.run(go())


def test_listening_for_nothing_in_particular_is_refused() -> None:
    async def go() -> None:
        async with before(RogueHttp(modern=True)) as gateway:
            assert (await error(gateway, "subscriptions/listen", {"notifications": []}))["code"] == -32602

    asyncio.run(go())


def test_an_upstream_without_tools_has_none() -> None:
    async def go() -> None:
        record = a_record(rogue("modern"))
        async with stage(record) as gateway:
            server = gateway.upstream._reach(record).server
            _, peer = await server.ready(deadline())  # type: ignore[misc]  # a stdio server gives both
            server._peer = type(peer)(
                peer.version, peer.modern, has_tools=False, tells_changes=False, offered=peer.offered
            )  # type: ignore[attr-defined]
            assert (await result(gateway, "tools/list"))["tools"] == []

    asyncio.run(go())


async def met(made: HttpServer) -> list[dict[str, Any]]:
    return [m async for m in made.call(a_call("act"), None, deadline())]


def test_what_an_older_http_server_asks_is_declined_save_for_ping() -> None:
    async def asks(message: dict[str, Any], send: Send) -> None:
        await stream(send)
        for question, method in (("q1", "ping"), ("q2", "elicitation/create")):
            await event(send, {"jsonrpc": "2.0", "id": question, "method": method, "params": {}})
        await asyncio.sleep(0.1)
        await event(send, {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await event(send, {"jsonrpc": "2.0", "id": message["id"], "result": text("done")}, more=False)

    async def go() -> None:
        changed: list[int] = []
        server = RogueHttp(asks)
        async with serving(server) as url:
            config = a_record(http(url)).system.upstream
            assert config is not None
            made = connect(config, settings_of(), lambda: changed.append(1))
            assert isinstance(made, HttpServer)
            try:
                assert len(await met(made)) == 1
                told = {m["id"]: m for _, _, m in server.seen if m and str(m.get("id", "")).startswith("q")}
                assert told["q1"]["result"] == {}
                assert told["q2"]["error"]["code"] == -32601
                assert len(changed) == 2
            finally:
                await made.aclose()
        assert server.seen[-1][0] == "DELETE"

    asyncio.run(go())


def listing(*pages: Any) -> RogueHttp:
    """Return a server whose `tools/list` answers these results in turn."""
    server, left = RogueHttp(modern=True), list(pages)
    original = server._post

    async def bent(headers: dict[str, str], message: dict[str, Any], send: Send, on_call: OnCall) -> None:
        if message.get("method") == "tools/list":
            await respond(send, message, left.pop(0) if len(left) > 1 else left[0])
        else:
            await original(headers, message, send, on_call)

    server._post = bent  # type: ignore[method-assign]  # bends one answer
    return server


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ([{"tools": [TOOL], "nextCursor": "again"}], "more than 100 pages"),
        ([{"tools": "none"}], "no list of tools"),
        ([{}], "no list of tools"),
        ([{"tools": [TOOL], "nextCursor": "2"}, {"tools": [TOOL]}], "two tools called 'act'"),
    ],
)
def test_a_list_that_is_none_is_an_error(pages: list[Any], words: str) -> None:
    async def go() -> None:
        async with before(listing(*pages)) as gateway:
            refused = await error(gateway, "tools/list")
            assert words in refused["message"]
            assert refused["data"]["sent"] is False

    asyncio.run(go())


def test_an_upstreams_pages_are_read_to_their_end_and_faulty_tools_held_back() -> None:
    async def go() -> None:
        second = {"tools": [TOOL | {"name": "other"}, {"name": "no schema"}]}
        async with before(listing({"tools": [TOOL], "nextCursor": "2"}, second)) as gateway:
            assert [tool["name"] for tool in (await result(gateway, "tools/list"))["tools"]] == ["act", "other"]
            reached = gateway.upstream._reached["notes"].tools
            assert reached is not None
            assert len(reached.faults) == 1

    asyncio.run(go())


def test_closing_while_a_child_still_starts_ends_it() -> None:
    async def go() -> None:
        config = a_record(rogue("mute")).system.upstream
        assert config is not None
        made = connect(config, settings_of(ChildLimits(start_seconds=30)), lambda: None)
        asking = asyncio.create_task(made.ready(deadline()))
        await until(lambda: made._child is not None)  # type: ignore[attr-defined]
        child = made._child  # type: ignore[attr-defined]
        await made.aclose()
        await asyncio.gather(asking, return_exceptions=True)
        assert child.exited.is_set()

    asyncio.run(asyncio.wait_for(go(), 15))


def test_calls_under_way_end_before_a_changed_upstream_is_closed() -> None:
    async def slow(message: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(0.3)
        await respond(send, message, text("done"))

    async def go() -> None:
        async with before(RogueHttp(slow, modern=True)) as gateway:
            call = asyncio.create_task(result(gateway, "tools/call", {"name": "act"}))
            await until(lambda: gateway.pipeline.calls)
            await asyncio.sleep(0.05)
            changed = a_record(rogue("legacy"), ["act"])
            gateway.live.systems["notes"] = changed
            assert await result(gateway, "tools/list")
            assert (await call)["content"][0]["text"] == "done"

    asyncio.run(go())


def test_a_system_that_vanished_between_decision_and_call_is_not_called() -> None:
    async def go() -> None:
        async with before(RogueHttp(modern=True)) as gateway:
            call = a_call("act")
            permit = gateway.pipeline.permits.issue(verdict_id="vrd_1", principal_id="prn_1", call=call)
            gateway.live.systems.clear()
            with pytest.raises(UpstreamError, match="no system `notes` any more") as caught:
                await anext(gateway.upstream.call(permit, call, deadline()))
            assert not caught.value.sent

    asyncio.run(go())
