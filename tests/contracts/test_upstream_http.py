"""Upstreams by streamable HTTP: met in their era, called over kept connections, bounded, never followed elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from charter.adapters.upstream import connect
from charter.adapters.upstream_http import HttpServer
from charter.adapters.upstream_wire import HttpLimits
from charter.gateway.pins import UpstreamError, parse_tool
from mcp_stage import a_call, a_record, deadline, http, serving, settings_of, until
from servers.rogue_http import RogueHttp, Send, event, plain, raw, respond, stream, text

SMALL = HttpLimits(answer_bytes=50_000, connect_seconds=1, negotiate_seconds=3)
OnCall = Callable[[dict[str, Any], Send], Awaitable[None]]


@contextlib.asynccontextmanager
async def reach(url: str, limits: HttpLimits = SMALL, **given: str) -> AsyncIterator[HttpServer]:
    upstream = http(url, token_env="NOTES_TOKEN") if "NOTES_TOKEN" in given else http(url)
    config = a_record(upstream).system.upstream
    assert config is not None
    made = connect(config, settings_of(None, limits, given), lambda: None)
    assert isinstance(made, HttpServer)
    try:
        yield made
    finally:
        await made.aclose()


async def answers(made: HttpServer, seconds: float = 10, **changed: Any) -> list[dict[str, Any]]:
    return [m async for m in made.call(a_call("act", {"a": 1}, **changed), None, deadline(seconds))]


def run(
    on_call: OnCall | None, check: Callable[[RogueHttp, HttpServer], Awaitable[None]], *, modern: bool = True
) -> None:
    """Serve a rogue and let `check` reach it."""

    async def go() -> None:
        rogue = RogueHttp(on_call, modern=modern)
        async with serving(rogue) as url, reach(url) as made:
            await check(rogue, made)

    asyncio.run(asyncio.wait_for(go(), 30))


@pytest.mark.parametrize("modern", [True, False])
def test_a_server_of_either_era_is_met_once_and_called(modern: bool) -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        for _ in range(3):
            [answer] = await answers(made)
            assert answer["result"]["content"][0]["text"] == '{"a": 1}'
        opening = [m["method"] for _, _, m in rogue.seen if m and m.get("method") in ("server/discover", "initialize")]
        assert opening == (["server/discover"] if modern else ["server/discover", "initialize"])
        assert len(rogue.calls()) == 3

    run(None, check, modern=modern)


def test_a_modern_call_carries_its_version_method_and_name() -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        async for _ in made.call(a_call("größe", {"a": 1}), None, deadline()):
            pass
        headers = rogue.headers_of_call()
        assert headers["mcp-protocol-version"] == "2026-07-28"
        assert headers["mcp-method"] == "tools/call"
        assert headers["mcp-name"] == "=?base64?Z3LDtsOfZQ==?="
        assert rogue.calls()[0]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}

    run(None, check)


def test_arguments_that_a_tool_declares_travel_as_headers_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "x-mcp-header": "Size"}}}
    tool = parse_tool({"name": "act", "inputSchema": schema})

    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        async for _ in made.call(a_call("act", {"a": 1}), tool, deadline()):
            pass
        assert rogue.headers_of_call()["mcp-param-size"] == "1"

    run(None, check)


def test_an_event_stream_gives_progress_and_then_the_answer() -> None:
    async def on_call(message: dict[str, Any], send: Send) -> None:
        await stream(send)
        await send({"type": "http.response.body", "body": b": hello\n\nid: 1\ndata:\n\n", "more_body": True})
        for token in (message["id"], 999):
            params = {"progressToken": token, "progress": 1}
            await event(send, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await event(send, {"jsonrpc": "2.0", "id": message["id"], "result": text("done")}, more=False)

    async def check(_: RogueHttp, made: HttpServer) -> None:
        got = await answers(made, wants_progress=True)
        assert ["method" in message for message in got] == [True, False]

    run(on_call, check)


def test_the_upstreams_own_token_is_sent_and_nothing_of_the_callers() -> None:
    async def go() -> None:
        rogue = RogueHttp(modern=True)
        async with serving(rogue) as url, reach(url, NOTES_TOKEN="of-the-upstream") as made:
            await answers(made)
        headers = rogue.headers_of_call()
        assert headers["authorization"] == "Bearer of-the-upstream"
        assert set(headers) == {
            *("host", "authorization", "accept", "accept-encoding", "content-type", "content-length", "user-agent"),
            *("mcp-protocol-version", "mcp-method", "mcp-name"),
        }

    asyncio.run(go())


def test_a_missing_token_is_named_and_nothing_is_sent() -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        async with reach(made.wire.url, NOTES_TOKEN="") as other:
            with pytest.raises(
                UpstreamError, match="`NOTES_TOKEN`, which holds the upstream's token, is not set"
            ) as caught:
                await answers(other)
            assert not caught.value.sent
        assert rogue.seen == []

    run(None, check)


def test_a_session_that_ended_is_opened_anew_and_the_call_made_once() -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        await answers(made)
        rogue.ended.add("session-1")
        assert await answers(made)
        taken = [h["mcp-session-id"] for _, h, m in rogue.seen if m and m.get("method") == "tools/call"]
        assert taken == ["session-1", "session-1", "session-2"]

    run(None, check, modern=False)


def test_a_server_that_ends_every_session_is_not_tried_for_ever() -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        await answers(made)
        rogue.ended.update(f"session-{n}" for n in range(10))
        with pytest.raises(UpstreamError, match="HTTP status 404"):
            await answers(made)
        assert len(rogue.calls()) == 3

    run(None, check, modern=False)


def test_a_connection_that_breaks_after_sending_is_not_tried_again() -> None:
    async def on_call(_: dict[str, Any], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{"})

    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        with pytest.raises(UpstreamError) as caught:
            await answers(made)
        assert caught.value.sent
        assert len(rogue.calls()) == 1

    run(on_call, check)


def test_nobody_listening_means_surely_not_sent() -> None:
    async def go() -> None:
        async with reach("http://127.0.0.1:9/mcp") as made:
            with pytest.raises(UpstreamError, match="cannot be reached") as caught:
                await answers(made)
            assert not caught.value.sent

    asyncio.run(go())


def json_answer(**message: Any) -> OnCall:
    async def on_call(asked: dict[str, Any], send: Send) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"]} | message).encode()
        await raw(send, 200, body, b"application/json")

    return on_call


def status(code: int, *headers: tuple[bytes, bytes]) -> OnCall:
    async def on_call(_: dict[str, Any], send: Send) -> None:
        await plain(send, code, *headers)

    return on_call


async def hangs(_: dict[str, Any], send: Send) -> None:  # noqa: ARG001
    await asyncio.sleep(60)


async def streams_for_ever(_: dict[str, Any], send: Send) -> None:
    await stream(send)
    while True:
        await event(send, {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 1000}})
        await asyncio.sleep(0)


async def one_endless_event(_: dict[str, Any], send: Send) -> None:
    await stream(send)
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await asyncio.sleep(0)


async def ends_without_answer(_: dict[str, Any], send: Send) -> None:
    await stream(send)
    await send({"type": "http.response.body"})


async def compressed(_: dict[str, Any], send: Send) -> None:
    await raw(send, 200, b"\x1f\x8b", b"application/json", (b"content-encoding", b"gzip"))


async def garbage(_: dict[str, Any], send: Send) -> None:
    await raw(send, 200, b"<html>", b"application/json")


async def a_web_page(_: dict[str, Any], send: Send) -> None:
    await raw(send, 200, b"<html>", b"text/html")


@pytest.mark.parametrize(
    ("on_call", "words", "sent"),
    [
        (json_answer(id=999, result={}), "a request that was not made", True),
        (json_answer(id="1", result={}), "a request that was not made", True),
        (json_answer(id=None, result={}), "a request that was not made", True),
        (json_answer(), "neither a result nor an error", True),
        (json_answer(result={"a": "x" * 60_000}), "more than 50000 bytes", True),
        (garbage, "no JSON", True),
        (a_web_page, "200 text/html", True),
        (compressed, "compressed", True),
        (status(202), "202", True),
        (status(500), "HTTP status 500", True),
        (status(429), "HTTP status 429", False),
        (status(401), "refuses Charter's credential", False),
        (status(307, (b"location", b"http://127.0.0.1:9/")), "redirects, which is not followed", False),
        (status(302, (b"location", b"/")), "redirects", False),
        (streams_for_ever, "a stream of more than 50000 bytes", True),
        (one_endless_event, "more than 50000 bytes", True),
        (ends_without_answer, "ended before the response", True),
        (hangs, "in time", True),
    ],
)
def test_a_bad_answer_is_an_error_that_says_whether_the_call_may_have_happened(
    on_call: OnCall, words: str, sent: bool
) -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        with pytest.raises(UpstreamError, match=words) as caught:
            await answers(made, seconds=0.7 if on_call is hangs else 10)
        assert caught.value.sent is sent
        assert len(rogue.calls()) == 1

    run(on_call, check)


@pytest.mark.parametrize("made_up", [None, "server-error"])
def test_a_json_rpc_error_with_an_http_error_is_the_answer(made_up: str | None) -> None:
    async def on_call(_: dict[str, Any], send: Send) -> None:
        error = {"code": -32602, "message": "no such charge"}
        await raw(
            send, 400, json.dumps({"jsonrpc": "2.0", "id": made_up, "error": error}).encode(), b"application/json"
        )

    async def check(_: RogueHttp, made: HttpServer) -> None:
        assert await answers(made) == [{"error": {"code": -32602, "message": "no such charge"}}]

    run(on_call, check)


def test_a_server_that_was_exchanged_for_an_older_one_is_met_anew() -> None:
    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        await answers(made)
        rogue.modern = False
        with pytest.raises(UpstreamError, match="HTTP status 400") as caught:
            await answers(made)
        assert not caught.value.sent
        assert (await answers(made))[0]["result"]
        assert rogue.sessions == 1

    run(None, check)


def test_giving_up_a_call_closes_its_connection() -> None:
    gone: list[bool] = []

    async def on_call(_: dict[str, Any], send: Send) -> None:  # noqa: ARG001
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            gone.append(True)
            raise

    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        call = asyncio.create_task(answers(made))
        await until(rogue.calls)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await until(lambda: gone)
        assert made.busy == 0
        assert await made.list_tools(deadline())

    run(on_call, check)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("seconds", [0.5, 30])
def test_a_legacy_server_is_told_that_a_call_was_given_up(*, streamed: bool, seconds: float) -> None:
    """Whether the caller went away or time ran out: before 2026-07-28, a connection that ends is no cancellation."""

    async def on_call(_: dict[str, Any], send: Send) -> None:
        if streamed:
            await stream(send)
            await send({"type": "http.response.body", "body": b": wait\n\n", "more_body": True})
        await asyncio.sleep(30)

    async def check(rogue: RogueHttp, made: HttpServer) -> None:
        call = asyncio.create_task(answers(made, seconds))
        await until(rogue.calls)
        if seconds > 1:
            call.cancel()
        with contextlib.suppress(asyncio.CancelledError, UpstreamError):
            await call

        def told() -> list[Any]:
            return [m for _, _, m in rogue.seen if m and m.get("method") == "notifications/cancelled"]

        await until(told)
        assert [each["params"]["requestId"] for each in told()] == [rogue.calls()[0]["id"]]

    run(on_call, check, modern=False)


@pytest.mark.parametrize("modern", [True, False])
def test_a_change_that_the_server_tells_of_is_heard(modern: bool) -> None:
    async def go() -> None:
        told = asyncio.Event()
        rogue = RogueHttp(modern=modern)
        async with serving(rogue) as url, reach(url) as made:
            await made.list_tools(deadline())
            await until(lambda: rogue.listeners)
            made.changed = told.set
            rogue.listeners[0].put_nowait("notifications/tools/list_changed")
            await asyncio.wait_for(told.wait(), 5)

    asyncio.run(go())


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::]", "224.0.0.1", "[::ffff:169.254.169.254]"])
def test_addresses_that_upstreams_may_not_have_are_not_connected_to(host: str) -> None:
    async def go() -> None:
        async with reach(f"http://{host}/latest/meta-data") as made:
            with pytest.raises(UpstreamError, match="may not have") as caught:
                await answers(made)
            assert not caught.value.sent

    asyncio.run(go())


def test_a_name_that_resolves_to_a_refused_address_is_not_connected_to() -> None:
    async def check(_: RogueHttp, made: HttpServer) -> None:
        port = made.wire.url.rpartition(":")[2]
        async with reach(f"http://localhost:{port}") as other:
            other.wire.rule = lambda address: not address.is_loopback
            with pytest.raises(UpstreamError, match="`localhost` has an address that upstreams may not have"):
                await answers(other)

    run(None, check)


def test_a_session_id_that_is_none_is_refused() -> None:
    async def go() -> None:
        rogue = RogueHttp()
        original = rogue._post

        async def post(headers: dict[str, str], message: dict[str, Any], send: Send, on_call: OnCall) -> None:
            if message.get("method") == "initialize":
                result = {"protocolVersion": "2025-11-25", "capabilities": {}}
                await respond(send, message, result, session="two words")
            else:
                await original(headers, message, send, on_call)

        rogue._post = post  # type: ignore[method-assign]  # bends one answer
        async with serving(rogue) as url, reach(url) as made:
            with pytest.raises(UpstreamError, match="session id that is none"):
                await answers(made)

    asyncio.run(go())
