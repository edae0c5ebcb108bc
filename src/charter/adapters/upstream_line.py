"""One HTTP/1.1 connection to an upstream: a request out, a response in, then the next. Parsed by llhttp (httptools).

A general client costs about as much as all the rest of a governed call (aiohttp: 140 us, this: 60), and does a lot that
must not happen here: redirects, cookies, compression, retries, proxies.

INVARIANT: a line carries one exchange at a time, and the next only if the last one ended where it said it would.
Anything that comes unasked, or after the end, closes it.
INVARIANT: what has been read and not yet taken is bounded: a server that sends faster than its caller reads waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import cast

import httptools
from typing_extensions import override

MAX_HEAD_BYTES = 64 * 1024
MAX_UNREAD = 256 * 1024  # bytes of a body that wait for their reader, before the server has to
_INFORMATIONAL = range(100, 200)


class LineError(Exception):
    """The connection broke, or what came over it is no HTTP."""


class Line(asyncio.Protocol):
    """A connection, and the response that is being read from it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case; of a repeated one the last
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._fault: Exception | None = None
        self._body: deque[bytes] = deque()
        self._unread = self._head_bytes = 0
        self._is_paused = False
        self._has_head = self._has_end = self._keeps = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether another exchange can begin."""
        return self._fault is None and self._transport is not None and not self._transport.is_closing()

    @property
    def has_ended(self) -> bool:
        """Whether the whole response has come."""
        return self._has_end

    async def exchange(self, request: bytes, seconds: float | None) -> None:
        """Send a request and wait for the head of its response; `seconds` bounds the exchange to its end.

        Raises:
            LineError: the connection broke, or what came is no HTTP.
            TimeoutError: time ran out.
        """
        assert self._transport is not None  # noqa: S101 - a line is used once it is connected
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, {}
        self._head_bytes = self._unread = 0
        self._has_head = self._has_end = self._keeps = False
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._fail, TimeoutError())
        self._transport.write(request)
        while not self._has_head:
            await self._more()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes.

        Raises:
            LineError: it broke off.
            TimeoutError: time ran out.
        """
        while True:
            while self._body:
                yield self._take()
            if self._has_end:
                return
            await self._more()

    async def body(self, limit: int) -> bytes | None:
        """Return the whole body, None if it is longer than `limit`.

        Raises:
            LineError: it broke off.
            TimeoutError: time ran out.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            while self._body:
                pieces.append(self._take())
                size += len(pieces[-1])
            if size > limit:
                return None
            if self._has_end:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            await self._more()

    def finish(self) -> bool:
        """End the exchange; return whether the line can carry another. One whose response has not ended is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reusable = self.is_open and self._has_end and self._keeps and not self._body
        self._parser = None
        if not reusable:
            self.close()
        return reusable

    def close(self) -> None:
        """Close the connection at once: what was sent may never arrive, and what was not read never will."""
        if self._transport is not None:
            self._transport.abort()
        self._fault = self._fault or LineError("the line is closed")

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._has_end:
            self.close()  # nobody asked for this
            return
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                self._fail(LineError("the head of the response is too large"))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(LineError("what came is no HTTP"))  # if it came after a whole response, that one stays good
        self._hold_back()
        self._wake()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        is_whole = self._has_head and not {"content-length", "transfer-encoding"} & self.headers.keys()
        self._has_end = self._has_end or is_whole  # such a body ends with the connection (RFC 9112 section 6.3)
        self._fault = self._fault or LineError("the connection broke")
        self._wake()

    def on_message_begin(self) -> None:
        """Called by the parser at the start of a response, which must not follow another."""
        if self._has_end:
            raise LineError("a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser at the end of the head."""
        assert self._parser is not None  # noqa: S101 - it is the caller
        self.status = self._parser.get_status_code()
        if self.status in _INFORMATIONAL:
            self.headers = {}
            return
        self._has_head = True

    def on_body(self, piece: bytes) -> None:
        """Called by the parser for each piece of the body."""
        self._body.append(piece)
        self._unread += len(piece)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the response."""
        if self._has_head and self._parser is not None:
            self._has_end = True
            self._keeps = self._parser.should_keep_alive()

    def _take(self) -> bytes:
        piece = self._body.popleft()
        self._unread -= len(piece)
        if self._is_paused and self._unread <= MAX_UNREAD and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    async def _more(self) -> None:
        """Wait until something has come."""
        if self._fault is not None:
            raise self._fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _hold_back(self) -> None:
        if self._unread > MAX_UNREAD and not self._has_end and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        if self._transport is not None:
            self._transport.abort()
        self._wake()
