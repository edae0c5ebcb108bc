"""One request to the forward proxy, over one connection: its head within bounds, its answer, or its body passed on.

Parsing is h11's, strictly: one request a connection, so that nothing can follow it to another place (RFC 9112).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h11

from charter.adapters.egress import Wire, hold_nothing
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.egress import Destination

BUFFER = 64 * 1024
MAX_HEAD = 32 * 1024
MAX_REASON = 300  # characters of the words beside a status
HEAD_SECONDS = 15.0
BROKEN_OFF = "broken off by the host", "the host broke off, or what it answered is no answer to a request"
TOO_MUCH = "too much", "this is more than one connection may take (`egress.megabytes` in the system's file)"
ANSWER_SECONDS = 60.0  # for a client to take an answer of ours
Headers = list[tuple[bytes, bytes]]
# What speaks of one hop only (RFC 9110 section 7.6.1), or is for us.
_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"host", b"expect", b"dpop"}
    | {b"proxy-authorization", b"proxy-connection", b"proxy-authenticate", b"proxy-authentication-info"}
    | {b"charter-session", b"charter-request"}
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(slots=True)
class Client:
    """The client's side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection

    @classmethod
    def of(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Client:
        """Return the side of a new connection."""
        hold_nothing(writer)
        return cls(reader, writer, h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD))

    async def request(self) -> h11.Request | None:
        """Return the one request, or None if there comes none.

        Raises:
            MalformedError: what came is no HTTP/1.1 request, or its head is too long or too slow.
        """
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                event = await next_event(self.http, self.reader)
        except (h11.RemoteProtocolError, TimeoutError) as err:
            raise MalformedError(ErrorCode.BAD_REQUEST, "this is no request to a proxy", help="use HTTP/1.1") from err
        return event if isinstance(event, h11.Request) else None

    async def answer(self, status: int, body: dict[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with JSON, and let nothing follow. The status says why too: many programs show that line alone."""
        data = json.dumps(body, ensure_ascii=False).encode()
        more: Headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return  # too late: something was answered already
        why = "".join(ch for ch in str(body.get("detail", "")) if " " <= ch <= "~")[:MAX_REASON].strip().encode()
        head = h11.Response(status_code=status, headers=[*headers, *more, (b"connection", b"close")], reason=why)
        async with asyncio.timeout(ANSWER_SECONDS):
            for event in (head, h11.Data(data=data), h11.EndOfMessage()):
                await self.send(event)

    async def send(self, event: h11.Event) -> None:
        """Send a part of the answer."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()


async def next_event(http: h11.Connection, reader: asyncio.StreamReader) -> Any:  # noqa: ANN401 - h11's events
    """Return the next event of one side.

    Raises:
        h11.RemoteProtocolError: it does not keep to the protocol.
    """
    while True:
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event
        http.receive_data(await reader.read(BUFFER))


class Exchange:
    """One request in the clear passed on to its host, and the answer back; counted, and bounded, by the wire."""

    def __init__(self, client: Client, wire: Wire) -> None:
        self._client = client
        self._wire = wire
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    async def run(self, request: h11.Request, to: Destination, path: str) -> str:
        """Pass `request` on; return how it ended."""
        host = to.authority.removesuffix(":80").encode()
        headers = passed_on(request.headers)
        head = h11.Request(
            method=request.method,
            target=path.encode(),
            headers=[(b"host", host), *headers, (b"connection", b"close")],
        )
        await self._send(head)
        if self._client.http.they_are_waiting_for_100_continue:
            await self._client.send(h11.InformationalResponse(status_code=100, headers=[]))
        sending = asyncio.create_task(self._body())
        try:
            is_whole = await self._answer()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if is_whole:
            return "closed"
        ended, detail = TOO_MUCH if self._wire.is_full else BROKEN_OFF
        await self._client.answer(502, {"detail": detail, "help": None})
        return ended

    async def _body(self) -> None:
        while True:
            event = await next_event(self._client.http, self._client.reader)
            if isinstance(event, h11.Data):
                self._wire.sent += len(event.data)
                if self._wire.is_full:
                    self._wire.writer.close()
                    return
                await self._send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self._send(h11.EndOfMessage())
                return
            else:
                return

    async def _answer(self) -> bool:
        """Return whether the answer was passed on to its end."""
        while True:
            try:
                event = await next_event(self._http, self._wire.reader)
            except (h11.RemoteProtocolError, OSError):
                return False
            if isinstance(event, h11.Response):
                if event.status_code == 407:  # noqa: PLR2004 - a proxy's word: who hears it would ask us again
                    return False
                headers = passed_on(event.headers)
                told = h11.Response(
                    status_code=event.status_code, headers=[*headers, (b"connection", b"close")], reason=event.reason
                )
                await self._client.send(told)
            elif isinstance(event, h11.Data):
                self._wire.received += len(event.data)
                if self._wire.is_full:
                    return False
                await self._client.send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self._client.send(h11.EndOfMessage())
                return True
            elif not isinstance(event, h11.InformationalResponse):
                return False

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._wire.writer.write(data)
            await self._wire.writer.drain()


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return what of a message's headers the next hop gets; a length beside a transfer coding would be a second one."""
    found = [(bytes(name), bytes(value)) for name, value in headers]
    named = {part.strip().lower() for name, value in found if name == b"connection" for part in value.split(b",")}
    is_chunked = any(name == b"transfer-encoding" for name, _ in found)
    left_out = _HOP | (named - _FRAMING) | ({b"content-length"} if is_chunked else set())
    return [(name, value) for name, value in found if name not in left_out]
