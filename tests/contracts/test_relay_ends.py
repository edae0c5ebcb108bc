"""How answers through the relay of `charter run` end when Charter breaks off, and requests that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest

from charter.cli.relay import Relay, relaying

SECRET = "s3cret"


@asynccontextmanager
async def a_relay(answer: bytes) -> AsyncIterator[str]:
    """Yield the address of a relay before a Charter that says `answer`, and ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def proof(*_: object) -> Mapping[str, str]:
        return {"authorization": "DPoP x"}

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        relay = Relay({"payments": upstream}, SECRET, proof, forget=print, learn=lambda _: False)
        async with relaying(relay) as base:
            yield base


async def asked(base: str, head: str) -> bytes:
    """Return all that comes back."""
    reader, writer = await asyncio.open_connection(*base.removeprefix("http://").split(":"))
    writer.write(f"POST /{SECRET}/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{head}\r\n".encode())
    found = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return found


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello",
    ],
)
def test_an_answer_that_breaks_off_breaks_off_here_too(begun: bytes) -> None:
    """It has no end that it did not have, and no second answer within it."""

    async def go() -> bytes:
        async with a_relay(begun) as base:
            return await asked(base, "")

    found = asyncio.run(go())
    assert b"hello" in found
    assert found.count(b"HTTP/1.1") == 1
    assert b"502" not in found
    assert not found.endswith(b"0\r\n\r\n")


def test_a_charter_that_goes_before_it_answers_is_told_as_unreachable() -> None:
    async def go() -> int:
        async with (
            a_relay(b"") as base,
            aiohttp.ClientSession() as client,
            client.post(f"{base}/{SECRET}/payments") as got,
        ):
            return got.status

    assert asyncio.run(go()) == 502


def test_what_is_no_request_is_answered_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """As of a tool with a very long name, which the official client sends in a header."""

    async def go() -> bytes:
        async with a_relay(b"") as base:
            return await asked(base, f"Mcp-Name: {'x' * 20_000}\r\n")

    assert asyncio.run(go()).split()[1] == b"400"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
