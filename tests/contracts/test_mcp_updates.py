"""Servers that speak 2025-11-25, made with the SDK of then: what they tell of their resources, and what they log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.upstream_watch import INTEREST_SECONDS, MAX_WATCHED, Watching
from charter.core.errors import ThrottledError
from doors import run
from fakes import FixedClock
from mcp_stage import SERVERS, Stage, a_call, a_record, deadline, http, stage, stdio, until

PYTHON = str(Path(__file__).parents[2] / ".venv-servers-v1" / "bin" / "python")
GARDEN = str(SERVERS / "garden_v1.py")
ROSES = "bed://roses"


@contextlib.asynccontextmanager
async def a_garden(transport: str) -> AsyncIterator[dict[str, Any]]:
    """Give an upstream that speaks 2025-11-25."""
    if transport == "stdio":
        yield stdio(PYTHON, GARDEN, "stdio")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(PYTHON, GARDEN, str(port), stderr=asyncio.subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield http(f"http://127.0.0.1:{port}/mcp")
    finally:
        process.kill()
        await process.wait()


async def grow(there: Stage, logs: str | None = None, who: str = "p") -> list[dict[str, Any]]:
    """Have the roses grow; return what was said meanwhile."""
    record = there.live.systems["notes"]
    pin = next(tool.digest for tool in await there.upstream.tools(record, deadline()) if tool.name == "grow")
    call = a_call("grow", {"uri": ROSES}, tool_pin=pin, logs=logs)
    permit = there.pipeline.permits.issue(verdict_id="v", principal_id=who, call=call)
    return [message async for message in there.upstream.call(permit, call, deadline())]


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_changes_are_told_by_servers_of_the_handshake(transport: str) -> None:
    async def go() -> None:
        async with a_garden(transport) as upstream, stage(a_record(upstream, ("grow",))) as there:
            record = there.live.systems["notes"]
            assert await there.upstream.watch(record, None, [ROSES], deadline())
            before = there.upstream.updates(record, None, ROSES)
            await grow(there)
            await until(lambda: there.upstream.updates(record, None, ROSES) > before)
            heard = await grow(there, logs="debug")
            told = [each["params"]["data"] for each in heard if "method" in each]
            assert told == [f"{ROSES} grows"]
            heard = await grow(there, logs="debug", who="another")  # over stdio, nothing says whose it is
            told = [each["params"]["data"] for each in heard if "method" in each]
            assert told == ([f"{ROSES} grows"] if transport == "http" else [])

    run(go())


def test_what_nobody_asks_about_is_forgotten_and_never_counted() -> None:
    clock = FixedClock()
    watching = Watching(clock)
    watching.ask(["a://1", "b://2"])
    for uri in ("a://1", "a://1/part", "a://11", "c://3"):
        watching.heard(uri)
    assert (watching.count("a://1"), watching.count("b://2"), watching.count("c://3")) == (2, 0, 0)
    watching.heard(None)
    assert (watching.count("a://1"), watching.count("b://2")) == (3, 1)
    clock.advance(seconds=INTEREST_SECONDS - 1)
    watching.ask(["b://2"])
    clock.advance(seconds=1)
    assert watching.wanted == {"b://2"}
    with pytest.raises(ThrottledError):
        watching.ask([f"d://{n}" for n in range(MAX_WATCHED)])
    assert watching.wanted == {"b://2"}
