"""uvicorn's HTTP protocol with one difference: what is sent in one turn of the event loop leaves in one write.

An ASGI answer is a head and a body, sent one after the other; uvicorn writes each to the socket at once, and the client
is woken twice. Together they cost one system call and one wake-up. `Connection` (connection.py) is built on it.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLOSE_SECONDS = 15.0
MOST = 64 * 1024  # bytes that may wait for the end of the turn, so that flow control sees the rest in time


class _Gathering:
    """A transport that gathers writes until the end of the turn; all else is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send `data` at the end of the turn."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > MOST:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close; what the other side does not take soon it does not get."""
        self.flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a gathering transport."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast("asyncio.Transport", _Gathering(transport)))

    @override
    def eof_received(self) -> bool | None:  # type: ignore[override]  # as asyncio has it
        cast("_Gathering", self.transport).flush()  # before the transport closes itself
        return super().eof_received()
