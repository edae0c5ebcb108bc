"""One connection at the TCP door or the control socket: what it may cost before a request is understood.

uvicorn bounds bodies (it stops reading while nobody takes them) and idle connections, but neither how long a head may
take to arrive nor how large it may grow, so that a stranger could hold connections, or memory, without end.

INVARIANT: a head arrives whole within 15 seconds and 64 KiB, or the connection ends; so does one whose framing (chunk
sizes, extensions, trailers) outgrows what it frames.
INVARIANT: a request names one server: a target with a server of its own names that of `Host` (RFC 9112 section 3.2.2
lets the target win; what stands before us may go by either).
INVARIANT: a connection whose request was answered before it was read ends soon after, instead of reading on.
INVARIANT: a connection whose other side takes nothing for a minute ends: it would hold what it is sent, and where that
comes from, for as long as it likes.
INVARIANT: a client that ends its side gets an answer that comes within two seconds, and counts as gone then.
INVARIANT: beyond a number of connections, new ones end at once, so that descriptors are left for the operator, the
store and the upstreams.
"""

from __future__ import annotations

import asyncio
import re

from typing_extensions import override

from charter.server.gateway_http import CUT
from charter.server.one_write import OneWriteProtocol

HEAD_SECONDS = 15.0
STUCK_SECONDS = 60.0  # for some of what waits to be taken
LINGER_SECONDS = 2.0  # for an answer to be read by someone who is still sending, or sends no more
MAX_FRAMING = 64 * 1024  # bytes of a message that are no body: its head, chunk sizes, trailers
FRAMING_PER_BYTE = 8  # … and this many more for each byte of body: a chunk of one byte takes five
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(OneWriteProtocol):
    """uvicorn's protocol within bounds. Give it to `uvicorn.Config(http=Connection)`."""

    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None  # while nothing is taken
    _awaits_head = True
    _in_message = False
    _unanswered = 0  # requests
    _framing = 0  # bytes of the message at hand, or before it, that are no body
    _body = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # At the bound itself uvicorn would answer 503 to everyone, those who were here before included.
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self.transport.abort()
        else:
            self._end_after(HEAD_SECONDS)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._keep()
        self._unstick()
        super().connection_lost(exc)

    @override
    def eof_received(self) -> bool | None:  # type: ignore[override]  # as asyncio has it
        """Let a request that is whole be answered soon: who has sent it may send no more and wait, or have gone."""
        if self.scheme == "https" or not self._unanswered or not self._awaits_head:
            return super().eof_received()
        self._end_after(LINGER_SECONDS)
        return True

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._unstick()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        self._unstick()
        super().resume_writing()

    @override
    def data_received(self, data: bytes) -> None:
        self._framing += len(data)
        super().data_received(data)
        if self._awaits_head and self._framing and self._timer is None:  # a part of a head has come, and no more
            self._end_after(HEAD_SECONDS)
        if self._framing > MAX_FRAMING + FRAMING_PER_BYTE * self._body and not self.transport.is_closing():
            if self._awaits_head and not self._unanswered:
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    @override
    def on_message_begin(self) -> None:
        self._in_message, self._framing, self._body = True, 0, 0
        super().on_message_begin()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[dict-item]  # one of our own

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self._awaits_head:  # what comes after a body is no head: trailers are let go
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        if self.url[:1] not in (b"/", b"*") and [self._named_by_target()] != self._named_by_host():
            raise ValueError("the target names another server than the head")  # answered 400, as what is no HTTP is
        self._awaits_head = False
        self._unanswered += 1
        self._keep()
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        self._body += len(body)
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._awaits_head, self._in_message, self._framing = True, False, 0
        self._keep()
        super().on_message_complete()
        if self.cycle.response_complete:  # it was answered before it was read, so uvicorn waits for nothing any more
            self._end_after(HEAD_SECONDS)

    @override
    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._in_message and not self._awaits_head and not self.pipeline and not self.transport.is_closing():
            self._end_after(LINGER_SECONDS)

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _named_by_target(self) -> bytes:
        _, _, rest = self.url.partition(b"://")
        return re.split(rb"[/?#]", rest, maxsplit=1)[0].lower()

    def _named_by_host(self) -> list[bytes]:
        return [value.strip().lower() for name, value in self.headers if name == b"host"]

    def _end_after(self, seconds: float) -> None:
        self._keep()
        self._timer = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _keep(self) -> None:
        """End the connection no more at some set time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
