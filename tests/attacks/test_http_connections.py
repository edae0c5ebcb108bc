"""Deeds against the TCP door below any request: endless, slow, broken, too many. Nothing of it stops a proper call."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.server import connection, one_write
from doors import Agent, Doors, open_doors, run
from mcp_stage import Background, serving
from served import served
from serving import let_go

MOST = 4 * 1024 * 1024  # bytes an attacker tries to send


async def unharmed(agent: Agent) -> None:
    assert (await agent.call("get_charge", charge_id="ch_1")).passed


async def talk(doors: Doors, first: bytes, endless: bytes = b"", *, pause: float = 0.0) -> tuple[bytes, int]:
    """Send `first`, then `endless` over and over; return the answer, and how many bytes went before the line ended."""
    reader, writer = await asyncio.open_connection(*doors.address)
    answer = asyncio.create_task(read_all(reader))
    sent = 0
    with contextlib.suppress(ConnectionError):
        writer.write(first)
        while endless and sent < MOST and not answer.done():
            writer.write(endless)
            await writer.drain()
            sent += len(endless)
            await asyncio.sleep(pause)
    try:
        return await asyncio.wait_for(answer, 20), sent
    finally:
        writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            pieces.append(piece)
    return b"".join(pieces)


ENDLESS = {
    "header value": (b"GET / HTTP/1.1\r\nX-Fill: ", b"a" * 4096),
    "headers": (b"GET / HTTP/1.1\r\n", b"X-Fill: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 64),
    "address": (b"GET /", b"a" * 4096),
    "method": (b"", b"A" * 4096),
    "empty lines": (b"", b"\r\n" * 2048),
    "trailers": (
        (
            b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n1\r\na\r\n0\r\n"
        ),
        b"X-Fill: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 64,
    ),
    "chunk extension": (
        (
            b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n1;"
        ),
        b"a" * 4096,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_head_is_cut_off_before_it_fills_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 1.0)
    first, endless = ENDLESS[name]

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            answer, sent = await talk(doors, first, endless)
            assert sent < MOST
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
            await unharmed(agent)

    run(go())


BODY = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/x-www-form-urlencoded\r\n%b\r\n\r\n"


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked", b"Content-Length: 999999999999"])
@pytest.mark.parametrize("path", [b"/oauth/token", b"/sign-in/x", b"/mcp/payments"])
def test_a_body_that_never_ends_is_answered_and_not_read_on(
    tmp_path: Path, path: bytes, length: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.2)

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            head = BODY % (path, doors.issuer.removeprefix("http://").encode(), length)
            piece = b"x" * 1024
            framed = b"400\r\n" + piece + b"\r\n" if b"chunked" in length else piece
            answer, _ = await talk(doors, head, framed, pause=0.005)
            assert 400 <= int(answer.split(b" ", 2)[1]) < 500
            await unharmed(agent)

    run(go())


@pytest.mark.parametrize(
    "begun", [b"", b"\r\n", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: a"]
)
def test_a_head_that_does_not_come_is_not_waited_for(
    tmp_path: Path, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            assert await talk(doors, begun) == (b"", 0)
            await unharmed(agent)

    run(go())


def test_a_second_head_that_comes_drop_by_drop_is_not_waited_for_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            host = doors.issuer.removeprefix("http://").encode()
            whole = b"GET /oauth/jwks HTTP/1.1\r\nHost: %b\r\n\r\n" % host
            answer, sent = await talk(doors, whole + b"GET / HTTP/1.1\r\nX-Drop: ", b"a", pause=0.05)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert sent < 100

    run(go())


def test_nobody_takes_every_connection(tmp_path: Path) -> None:
    """Beyond the bound new ones end at once; those there are go on, and places become free again."""

    async def go() -> None:
        async with open_doors(tmp_path, most=20) as doors:
            agent = await doors.agent()
            await unharmed(agent)  # on a connection that is kept
            lines = [await asyncio.open_connection(*doors.address) for _ in range(30)]
            try:
                refused = await asyncio.wait_for(asyncio.gather(*(read_all(reader) for reader, _ in lines[20:])), 5)
                assert refused == [b""] * 10
                await unharmed(agent)
            finally:
                for _, writer in lines:
                    writer.close()
            await asyncio.sleep(0.1)
            host = doors.issuer.removeprefix("http://").encode()
            answer, _ = await talk(doors, b"GET /oauth/jwks HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host)
            assert answer.startswith(b"HTTP/1.1 200 OK")

    run(go())


def test_strangers_leave_descriptors_for_the_operator(tmp_path: Path) -> None:
    """With few descriptors, strangers who take every connection there is do not keep a principal alive.

    Nor does what they send fill the server's log: its lines stay those that are written at its start.
    """
    with served(tmp_path / "estate") as scene, scene.terminal.but(before=("prlimit", "--nofile=160")).up() as server:
        _, _, port = server.url.rpartition(":")
        strangers = [socket.create_connection(("127.0.0.1", int(port)), 5) for _ in range(400)]
        try:
            for stranger in strangers:
                with contextlib.suppress(OSError):
                    stranger.send(b"GET ")
            killed = {"move": "kill", "reason": "3 a.m.", "actor": "a@example.com"}
            assert scene.asked("POST", "/v1/principals/charge-reader/move", killed)["after"] == "revoked"
        finally:
            for stranger in strangers:
                stranger.close()
        assert httpx.get(f"{server.url}/oauth/jwks").status_code == 200
        before = server.log.read_bytes()
        for sent in (b"\x16\x03\x01\r\n\r\n", UPGRADE % (b"/", server.url.removeprefix("http://").encode())):
            with socket.create_connection(("127.0.0.1", int(port)), 5) as stranger:
                stranger.sendall(sent)
                assert stranger.recv(4096).startswith(b"HTTP/1.1 ")
        assert server.log.read_bytes() == before


UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://evil.example/healthz", b"400"),
        (b"http://us@evil.example/healthz", b"400"),
        (b"http:/healthz", b"400"),
        (b"http://HOST/nothing-here", b"404"),
        (b"/nothing-here", b"404"),
    ],
)
def test_a_request_names_one_server(target: bytes, status: bytes) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def go() -> bytes:
        async with serving(app) as url:
            host = url.removeprefix("http://").encode()
            reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
            head = b"GET " + target.replace(b"HOST", host.upper()) + b" HTTP/1.1\r\nHost: " + host
            writer.write(head + b"\r\nConnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer

    assert asyncio.run(go()).split()[1] == status


@pytest.mark.parametrize("path", [b"/mcp/payments", b"/oauth/token", b"/.well-known/x", b"/", b"/verdicts/new"])
def test_asking_for_a_websocket_is_no_way_in_and_breaks_nothing(tmp_path: Path, path: bytes) -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            answer, _ = await talk(doors, UPGRADE % (path, doors.issuer.removeprefix("http://").encode()))
            assert 300 <= int(answer.split(b" ", 2)[1]) < 500

    run(go())


# --- who takes nothing ---


@pytest.mark.parametrize("is_whole", [False, True])
def test_who_takes_nothing_is_let_go_of(*, is_whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stream once nothing was taken for a while; of an answer that is whole, once its connection was closed."""
    monkeypatch.setattr(*((one_write, "CLOSE_SECONDS") if is_whole else (connection, "STUCK_SECONDS")), 0.3)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        gone = asyncio.ensure_future(receive())
        while not is_whole and not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 60_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"x" * 16_000_000})
        gone.cancel()

    async def go() -> None:
        async with serving(app) as url:
            host, _, port = url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), 5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await asyncio.to_thread(client.recv, 1)  # so it was accepted
                assert await asyncio.to_thread(let_go, client)

    asyncio.run(go())


@pytest.mark.parametrize("is_slow", [False, True])
def test_who_sends_no_more_gets_an_answer_that_comes_soon(*, is_slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts as gone if it does not: a client that has left looks the same."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.3 if is_slow else 15.0)
    left = threading.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if is_slow:
            assert (await receive())["type"] == "http.disconnect"
            left.set()
            return
        await asyncio.sleep(0.1)  # so that the end of its side has come
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def go() -> bytes:
        async with serving(app) as url:
            reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return answer

    answer = asyncio.run(go())
    assert left.is_set() == is_slow
    assert answer.endswith(b"ok") != is_slow


def test_an_answer_that_is_there_at_once_is_had_by_who_sends_no_more() -> None:
    """The end of its side comes in the very turn in which the answer waits for the end of the turn."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def go() -> list[bytes]:
        async with serving(app) as url:
            host = url.removeprefix("http://").split(":")
            return [await once(*host) for _ in range(30)]

    async def once(host: str, port: str) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer[-2:]

    assert asyncio.run(go()) == [b"ok"] * 30


# --- any bytes at all ---


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Background, Doors]]:
    background = Background()
    try:
        yield background, background.enter(open_doors(tmp_path_factory.mktemp("doors")))
    finally:
        background.close()


TOKEN = b"POST /oauth/token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SEEDS = (
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: h\r\n\r\n",
    TOKEN + b"Content-Length: 3\r\n\r\na=b",
    TOKEN + b"Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",
    b"POST /mcp/payments HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /mcp/payments HTTP/1.1\r\nHost: h\r\nAuthorization: DPoP x\r\nDPoP: y\r\n\r\n",
)
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\0",
        b"\xff\xfe",
        b"\xc2\xb2",
        b": ",
        b" HTTP/1.1\r\n",
        b"HTTP/9.9",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: \xb2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"ffffffffffffffff\r\n",
        b"%00%2e%2e/",
        b"http://[::1/",
        b"*",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A proper request with some of it replaced, and perhaps another behind it."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(PIECES | st.binary(max_size=12)) + text[end:]
    return text + draw(st.sampled_from((b"", *SEEDS)))


async def whole(doors: Doors, data: bytes) -> bytes:
    """Send bytes and the end of them; return what comes back until the line ends or is idle."""
    reader, writer = await asyncio.open_connection(*doors.address)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            writer.write_eof()
        return await asyncio.wait_for(read_all(reader), 20)
    finally:
        writer.close()


@settings(max_examples=150)
@given(data=mangled() | st.binary(max_size=200))
def test_no_bytes_break_the_door(standing: tuple[Background, Doors], data: bytes) -> None:
    background, doors = standing
    answer = background.run(whole(doors, data))
    for line in answer.split(b"\r\n"):
        if line.startswith(b"HTTP/1.1 "):
            assert line[9:10] in b"1234", answer
    assert b"Traceback" not in answer
