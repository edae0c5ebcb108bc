"""Answers leave in one write, and nothing is lost or reordered by that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_stage import serving


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    kind = scope["path"]
    if kind == "/large":
        for number in range(200):
            await send({"type": "http.response.body", "body": b"%03d" % number * 1000, "more_body": True})
    elif kind == "/stream":
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": b"end"})


async def first_read(path: str) -> tuple[bytes, bytes]:
    """Return what one read gives once the answer begins, and the rest."""
    async with serving(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return await reader.read(1_000_000), await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


def test_head_and_body_come_together() -> None:
    first, rest = asyncio.run(first_read("/small"))
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"3\r\nend\r\n0\r\n\r\n")
    assert rest == b""


@pytest.mark.parametrize("path", ["/large", "/stream"])
def test_a_longer_answer_comes_whole_and_in_order(path: str) -> None:
    first, rest = asyncio.run(first_read(path))
    body = (first + rest).partition(b"\r\n\r\n")[2]
    pieces = [line for line in body.split(b"\r\n")[1::2] if line]
    wanted = [b"%03d" % n * 1000 for n in range(200)] if path == "/large" else [b"0", b"1", b"2"]
    assert pieces == [*wanted, b"end"]
