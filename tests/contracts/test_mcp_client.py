"""The official MCP client, unchanged, through the gateway: both eras on its side, both transports on the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged

from mcp_stage import CLOCK, NOTES, NOTES_TOOLS, Background, Stage, a_record, http, serving, stage, stdio, until
from servers import notes

MODES = ("2026-07-28", "auto", "legacy")


@pytest.fixture(scope="module", params=["stdio", "http"])
def standing(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A gateway in front of the notes server, over either transport."""
    background = Background()
    try:
        upstream = stdio(*NOTES)
        if request.param == "http":
            app = notes.server.streamable_http_app()
            upstream = http(background.enter(serving(app, lifespan="on")) + "/mcp")
        yield background.enter(stage(a_record(upstream)))
    finally:
        background.close()


@pytest.fixture
def gateway(standing: Stage) -> Stage:
    """The gateway, with nothing denied."""
    table = standing.pipeline
    for which in (table.denied, table.held, table.hidden, table.calls, table.outcomes):
        which.clear()
    return standing


@contextlib.asynccontextmanager
async def client(gateway: Stage, mode: str, who: str = "agent", **given: Any) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {gateway.token(who)}"}) as web:
        transport = streamable_http_client(gateway.url(), http_client=web)
        async with Client(transport, mode=mode, read_timeout_seconds=20, **given) as made:
            yield made


def text_of(result: types.CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    return block.text


@pytest.mark.parametrize("mode", MODES)
def test_a_client_lists_and_calls(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent:
            assert agent.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            assert [tool.name for tool in (await agent.list_tools()).tools] == list(NOTES_TOOLS)
            result = await agent.call_tool("read_note", {"id": "welcome"})
            assert result.structured_content == {"id": "welcome", "text": "hello"}
            assert not result.is_error
            assert result.meta is not None
            assert result.meta["charter/verdict"] == "vrd_3"
            assert (await agent.call_tool("write_note", {"id": "x", "text": "ä"})).structured_content == {
                "result": "wrote x"
            }

    asyncio.run(go())
    assert gateway.pipeline.outcomes == ["answered", "answered"]


@pytest.mark.parametrize("mode", MODES)
def test_a_tools_own_error_comes_through(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent:
            result = await agent.call_tool("read_note", {"id": "missing"})
            assert result.is_error
            assert "there is no note missing" in text_of(result)

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_progress_comes_through(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        seen: list[tuple[float, float | None, str | None]] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append((progress, total, message))

        async with client(gateway, mode) as agent:
            result = await agent.call_tool("count", {"upto": 3}, progress_callback=note)
            assert text_of(result) == "counted to 3"
        assert seen == [(1, 3, "at 1"), (2, 3, "at 2"), (3, 3, "at 3")]

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_reaches_the_agent_with_its_reason(gateway: Stage, mode: str) -> None:
    gateway.pipeline.denied.add("drop_note")
    gateway.pipeline.held.add("write_note")

    async def go() -> None:
        async with client(gateway, mode) as agent:
            denied = await agent.call_tool("drop_note", {"id": "welcome"})
            assert denied.is_error
            assert "Charter denied this call: amounts stop at 200 EUR." in text_of(denied)
            assert denied.meta is not None
            assert denied.meta["charter/refusal"]["rule"] == "agent/grant-1"
            held = await agent.call_tool("write_note", {"id": "a", "text": "b"})
            assert held.is_error
            assert held.meta is not None
            assert held.meta["charter/refusal"]["how"] == "charter approvals approve apr_7"
            assert not (await agent.call_tool("read_note", {"id": "welcome"})).is_error

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_tool_is_put_to_the_pipeline_and_refused(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent:
            assert (await agent.call_tool("no_such_tool", {})).is_error

    asyncio.run(go())
    assert [(call.tool, call.tool_pin) for call in gateway.pipeline.calls] == [("no_such_tool", None)]


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_list_says_why(gateway: Stage, mode: str) -> None:
    gateway.pipeline.hidden.update(NOTES_TOOLS)

    async def go() -> None:
        async with client(gateway, mode) as agent:
            listed = await agent.list_tools()
            assert listed.tools == []
            assert listed.meta is not None
            assert listed.meta["charter/why"] == "the charter of `agent` grants nothing on `notes`"

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_offered_is_not_advertised_and_not_found(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent:
            if mode != "2026-07-28":  # a pinned version asks for no capabilities
                assert agent.server_capabilities.tools is not None
                assert agent.server_capabilities.resources is agent.server_capabilities.prompts is None
            with pytest.raises(MCPError, match="not offered here") as caught:
                await agent.list_resources()
            assert caught.value.error.code == -32601

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_gives_up_cancels_the_call(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent:
            call = asyncio.create_task(agent.call_tool("wait", {"seconds": 20}))
            await until(lambda: gateway.pipeline.calls)
            await asyncio.sleep(0.2)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            await until(lambda: gateway.pipeline.outcomes)
            assert not (await agent.call_tool("read_note", {"id": "welcome"})).is_error

    asyncio.run(asyncio.wait_for(go(), 10))
    assert gateway.pipeline.outcomes == ["cancelled", "answered"]


@pytest.mark.parametrize("mode", MODES)
def test_withdrawn_authority_ends_what_is_under_way_and_harms_no_other(gateway: Stage, mode: str) -> None:
    async def go() -> None:
        async with client(gateway, mode) as agent, client(gateway, mode, "other") as other:
            slow = asyncio.create_task(agent.call_tool("wait", {"seconds": 20}))
            others = asyncio.create_task(other.call_tool("wait", {"seconds": 0.5}))
            await until(lambda: len(gateway.pipeline.calls) == 2)
            await asyncio.sleep(0.1)
            gateway.pipeline.streams.close("prn_agent", "`agent` is revoked")
            with pytest.raises(MCPError, match="`agent` is revoked"):
                await slow
            assert text_of(await others) == "waited"

    asyncio.run(asyncio.wait_for(go(), 10))
    assert sorted(gateway.pipeline.outcomes) == ["answered", "withdrawn"]


def test_a_modern_client_hears_that_its_tools_changed_until_its_authority_is_withdrawn(gateway: Stage) -> None:
    async def go() -> None:
        async with client(gateway, "auto") as agent, agent.listen(tools_list_changed=True) as events:
            gateway.live.systems["notes"] = replace(gateway.live.systems["notes"], version=2)
            assert isinstance(await anext(events), ToolsListChanged)
            gateway.pipeline.streams.close("prn_agent", "`agent` is revoked")
            assert [event async for event in events] == []

    asyncio.run(asyncio.wait_for(go(), 10))


def test_an_older_client_hears_that_its_tools_changed(gateway: Stage) -> None:
    async def go() -> None:
        heard = asyncio.Event()

        async def handler(message: Any) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                heard.set()

        async with client(gateway, "legacy", message_handler=handler):
            await until(lambda: gateway.pipeline.streams.count("prn_agent"))
            gateway.live.systems["notes"] = replace(gateway.live.systems["notes"], version=3)
            await asyncio.wait_for(heard.wait(), 5)

    asyncio.run(asyncio.wait_for(go(), 10))


def test_a_listening_stream_ends_with_its_token(gateway: Stage) -> None:
    async def go() -> None:
        gateway.pipeline.expires_at = int(CLOCK.now().timestamp()) + 1
        async with client(gateway, "auto") as agent, agent.listen(tools_list_changed=True) as events:
            assert [event async for event in events] == []

    try:
        asyncio.run(asyncio.wait_for(go(), 10))
    finally:
        gateway.pipeline.expires_at = 4_000_000_000


def test_many_callers_at_once_get_their_own_answers(gateway: Stage) -> None:
    async def go() -> None:
        async with client(gateway, "auto", "a") as a, client(gateway, "legacy", "b") as b:
            calls = [one.call_tool("write_note", {"id": f"{n}", "text": "x"}) for n in range(10) for one in (a, b)]
            results = await asyncio.gather(*calls)
            assert sorted(text_of(result) for result in results) == sorted(
                f"wrote {n}" for n in range(10) for _ in "ab"
            )

    asyncio.run(go())


def test_a_client_without_a_token_is_told_so(gateway: Stage) -> None:
    async def go() -> None:
        async with Client(gateway.url()):
            pass

    with pytest.raises((MCPError, ExceptionGroup)) as caught:
        asyncio.run(go())
    assert "a token is needed" in str(_leaf(caught.value))


def test_the_token_of_one_principal_is_not_passed_on(gateway: Stage) -> None:
    async def go() -> None:
        async with client(gateway, "auto") as agent:
            names = text_of(await agent.call_tool("environment", {}))
            assert "TOKEN" not in names.upper()

    asyncio.run(go())


def _leaf(err: BaseException) -> BaseException:
    return _leaf(err.exceptions[0]) if isinstance(err, BaseExceptionGroup) else err
