"""Deeds of an upstream at the level of HTTP: what is no proper response is refused, and never mixed with the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charter.adapters.upstream_address import public_addresses, usual_addresses
from charter.adapters.upstream_line import Line, LineError
from charter.adapters.upstream_wire import HttpLimits, HttpWire, Place
from charter.gateway.pins import UpstreamError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
JSON = b'{"jsonrpc":"2.0","id":1,"result":{}}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(JSON), JSON)


async def _token() -> dict[str, str]:
    return {"Authorization": "Bearer token"}


@contextlib.asynccontextmanager
async def serving(*answers: bytes, then: Serve | None = None) -> AsyncIterator[tuple[HttpWire, list[bytes]]]:
    """Serve exact bytes: the first request of each connection gets the next of `answers`, later ones the last."""
    heads: list[bytes] = []
    left = list(answers)
    serving_now: set[Any] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving_now.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                size = next((int(h[16:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length: ")), 0)
                await reader.readexactly(size)
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
                if then is not None:
                    await then(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = HttpLimits(answer_bytes=100_000, connect_seconds=1)
    wire = HttpWire(f"http://127.0.0.1:{port}/mcp?x=1", _token, limits=limits)
    try:
        yield wire, heads
    finally:
        wire.close_all()
        server.close()
        for task in serving_now:
            task.cancel()
        await asyncio.gather(*serving_now, return_exceptions=True)
        await asyncio.sleep(0.01)


async def ask(wire: HttpWire, seconds: float = 5) -> Any:
    line = await wire.open("POST", b"{}", {}, seconds)
    try:
        return await wire.message(line)
    finally:
        wire.close(line)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def test_a_connection_is_kept_and_the_request_is_exactly_this() -> None:
    async def go() -> None:
        async with serving(GOOD) as (wire, heads):
            for _ in range(3):
                assert (await ask(wire))["id"] == 1
            assert len(wire._idle) == 1
            lines = heads[0].decode().split("\r\n")
            assert lines[0] == "POST /mcp?x=1 HTTP/1.1"
            assert "Authorization: Bearer token" in lines
            assert [line.partition(":")[0] for line in lines[1:-2]] == [
                *("Host", "User-Agent", "Accept", "Accept-Encoding", "Authorization", "Content-Type", "Content-Length")
            ]

    asyncio.run(go())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (JSON[:5], len(JSON) - 5, JSON[5:]),
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(JSON), JSON),
    ],
)
def test_what_http_allows_is_read(answer: bytes) -> None:
    async def go() -> None:
        async with serving(answer) as (wire, _):
            assert (await ask(wire))["id"] == 1
            assert (await ask(wire))["id"] == 1

    asyncio.run(go())


def test_a_body_that_ends_with_the_connection_is_read() -> None:
    async def go() -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + JSON
        async with serving(answer, then=hang_up) as (wire, _):
            assert (await ask(wire))["id"] == 1
            assert wire._idle == []

    asyncio.run(go())


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_proper_response_is_an_error_after_which_nothing_is_kept(answer: bytes) -> None:
    async def go() -> None:
        async with serving(answer, GOOD) as (wire, _):
            with pytest.raises(UpstreamError, match="the connection to the upstream broke") as caught:
                await ask(wire)
            assert caught.value.sent
            assert wire._idle == []
            assert (await ask(wire))["id"] == 1

    asyncio.run(go())


@pytest.mark.parametrize("extra", [GOOD, b"x", b"HTTP/1.1 200 OK\r\n"])
def test_what_comes_after_a_response_never_answers_the_next_request(extra: bytes) -> None:
    async def go() -> None:
        poisoned = GOOD.replace(b'"id":1', b'"id":1') + extra.replace(b'"id":1', b'"id":9')
        async with serving(poisoned, GOOD) as (wire, _):
            assert (await ask(wire))["id"] == 1
            assert wire._idle == []
            assert (await ask(wire))["id"] == 1

    asyncio.run(go())


def test_what_comes_unasked_on_an_idle_connection_closes_it() -> None:
    async def go() -> None:
        async def speak_later(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.05)
            writer.write(GOOD.replace(b'"id":1', b'"id":9'))

        async with serving(GOOD, then=speak_later) as (wire, heads):
            assert (await ask(wire))["id"] == 1
            await asyncio.sleep(0.2)
            assert (await ask(wire))["id"] == 1
            assert len(heads) == 2

    asyncio.run(go())


def test_a_connection_that_broke_midway_is_an_error_and_the_call_is_not_repeated() -> None:
    async def go() -> None:
        async with serving(GOOD[:-5], then=hang_up) as (wire, heads):
            with pytest.raises(UpstreamError) as caught:
                await ask(wire)
            assert caught.value.sent
            assert len(heads) == 1

    asyncio.run(go())


def test_time_bounds_the_whole_exchange_also_drop_by_drop() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.02)

    async def go() -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n\r\n"
        async with serving(head, then=drip) as (wire, _):
            with pytest.raises(UpstreamError, match="in time"):
                await ask(wire, seconds=0.2)

    asyncio.run(go())


def test_a_server_that_sends_faster_than_it_is_read_has_to_wait() -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"%x\r\n%s\r\n" % (10_000, b":" * 9_999 + b"\n"))
                await writer.drain()
                sent += 10_000

    async def go() -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving(head, then=flood) as (wire, _):
            line = await wire.open("POST", b"{}", {}, None)
            await asyncio.sleep(0.5)
            before = sent
            await asyncio.sleep(0.2)
            assert sent == before
            assert line._unread < 1_000_000
            taken = 0
            async with contextlib.aclosing(line.pieces()) as pieces:
                async for piece in pieces:
                    taken += len(piece)
                    if taken > 5_000_000:
                        break
            wire.close(line)

    asyncio.run(asyncio.wait_for(go(), 20))


def test_no_more_connections_are_opened_than_allowed() -> None:
    async def go() -> None:
        async with serving(b"") as (wire, _):
            wire.limits = HttpLimits(connections=2)
            waiting = [asyncio.create_task(ask(wire)) for _ in range(2)]
            await asyncio.sleep(0.1)
            with pytest.raises(UpstreamError, match="2 requests under way already") as caught:
                await ask(wire)
            assert not caught.value.sent
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert wire._busy == set()

    asyncio.run(go())


@pytest.mark.parametrize("token", [b"a\r\nX-Evil: 1", b"a\nb", b"\xff", b"a\x00"])
def test_a_token_cannot_begin_another_header(token: bytes) -> None:
    async def bearing() -> dict[str, str]:
        return {"Authorization": f"Bearer {token.decode('latin-1')}"}

    async def go() -> None:
        async with serving(GOOD) as (wire, heads):
            wire.credential = bearing
            with pytest.raises(UpstreamError, match="characters that headers may not") as caught:
                await ask(wire)
            assert not caught.value.sent
            assert token not in str(caught.value).encode()
            assert heads == []

    asyncio.run(go())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http://",
        "http://user:pass@example.com/",
        "http://example.com/#x",
        "http://exämple.com/",
        "http://example.com:99999/",
        "http://[::1",
        "//example.com",
        "http://example.com/a\r\nb",
    ],
)
def test_a_url_that_says_more_or_less_than_where_is_refused(url: str) -> None:
    with pytest.raises(UpstreamError, match="no plain http or https URL"):
        Place.of(url)


def test_a_url_is_taken_apart_once() -> None:
    place = Place.of("https://Example.com/a b?c=d e")
    assert (place.host, place.port, place.is_tls, place.target) == ("example.com", 443, True, "/a%20b?c=d%20e")
    assert place.fixed.startswith("Host: example.com\r\n")


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    async def go() -> None:
        async with serving(GOOD) as (wire, heads):
            wire.url = wire.url.replace("http://", "https://")
            with pytest.raises(UpstreamError, match="cannot be reached") as caught:
                await ask(wire)
            assert not caught.value.sent
            assert heads == []

    asyncio.run(go())


def test_which_addresses_upstreams_may_have() -> None:
    import ipaddress

    def may(rule: Any, text: str) -> bool:
        return bool(rule(ipaddress.ip_address(text)))

    assert may(usual_addresses, "127.0.0.1")
    assert may(usual_addresses, "10.0.0.1")
    assert not may(usual_addresses, "169.254.169.254")
    assert not may(usual_addresses, "::ffff:169.254.169.254")
    assert not may(usual_addresses, "64:ff9b::a9fe:a9fe")  # as NAT64 would send it to 169.254.169.254
    for public in ("93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "2002:5db8:d822::1"):
        assert may(public_addresses, public)
    for private in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "100.64.0.1", "::ffff:10.0.0.1"):
        assert not may(public_addresses, private)
    for translated in ("64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b:1::1", "fec0::1"):
        assert not may(public_addresses, translated)


class _NoTransport(asyncio.Transport):
    """Takes everything and does nothing."""

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@given(
    pieces=st.lists(st.binary(max_size=60) | st.sampled_from([GOOD, GOOD[:30], GOOD[30:], b"0\r\n\r\n"]), max_size=8)
)
@example([GOOD + GOOD])
@example([b"HTTP/1.1 200 OK\r\n\r\n", b"x"])
@settings(max_examples=150)
def test_whatever_comes_a_line_gives_one_response_or_an_error(pieces: list[bytes]) -> None:
    async def go() -> None:
        line = Line()
        line.connection_made(_NoTransport())
        asking = asyncio.create_task(line.exchange(b"", None))
        await asyncio.sleep(0)
        for piece in pieces:
            line.data_received(piece)
        line.connection_lost(None)
        try:
            await asking
            body = await line.body(1_000_000)
        except LineError:
            return
        assert body is not None
        assert body in b"".join(pieces)
        assert not line.finish()

    asyncio.run(go())
