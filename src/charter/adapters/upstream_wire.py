"""HTTP towards one upstream, within bounds: kept connections, one request at a time, JSON or an event stream back.

INVARIANT: what leaves is the message, Charter's own credential for this upstream, and nothing of a caller's.
INVARIANT: redirects are not followed: an upstream could send a call, or the credential, elsewhere.
INVARIANT: answers are bounded in size and time, and come uncompressed: a small one cannot unfold into a large one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from charter.adapters.upstream_address import AddressRule, resolve, usual_addresses
from charter.adapters.upstream_line import Line, LineError
from charter.adapters.upstream_rpc import CLIENT_INFO, Message, nonsense, read_message, too_slow
from charter.adapters.upstream_sse import SseReader
from charter.core.errors import ErrorCode
from charter.gateway.pins import UpstreamError

OK, ACCEPTED, REDIRECTS, BAD, UNAUTHENTICATED = 200, 202, range(300, 400), 400, 401
IDLE_SECONDS = 30.0  # a connection that was not used for so long is not used again
_NOT_TAKEN = frozenset({*REDIRECTS, 400, 401, 403, 404, 405, 406, 413, 415, 421, 429})
_UNKNOWN_HERE = frozenset({400, 404, 405, 406})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What an upstream may take."""

    answer_bytes: int = 16 * 1024 * 1024
    connect_seconds: float = 10.0
    negotiate_seconds: float = 15.0
    connections: int = 256
    drain_seconds: float = 0.2  # for a stream to end after its last message, so that the connection can be kept


Proving = dict[str, str] | Awaitable[Mapping[str, str]]  # headers, or what obtains them
Credential = Callable[[], Proving]


def anonymous() -> dict[str, str]:
    """Return no headers: the server asks for none."""
    return {}


class NotTakenError(Exception):
    """The server said, without a JSON-RPC message, that it knows nothing of what was asked here."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: parsed once, and refused if it says more than where."""

    host: str
    port: int
    is_tls: bool
    target: str  # path and query
    fixed: str  # the headers that every request has

    @classmethod
    def of(cls, url: str) -> Place:
        """Return the place of `url`.

        Raises:
            UpstreamError: it is no http or https URL, or holds a user or a fragment.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            host, port, parts = "", 0, urlsplit("")
        is_plain = url.isascii() and url.isprintable() and host and parts.username is None and not parts.fragment
        if not is_plain:
            raise UpstreamError(
                ErrorCode.UPSTREAM_FAILED,
                "the upstream's `url` is no plain http or https URL",
                sent=False,
                help="write scheme, host, port and path; a token goes into the vault",
            )
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
        fixed = [
            f"Host: {parts.netloc.lower()}",
            f"User-Agent: charter/{CLIENT_INFO['version']}",
            "Accept: application/json, text/event-stream",
            "Accept-Encoding: identity",
        ]
        return cls(host, port, parts.scheme == "https", target + query, "\r\n".join(fixed))


@dataclass(slots=True)
class HttpWire:
    """The connections to one upstream. Belongs to the event loop it is used on."""

    url: str
    credential: Credential = anonymous  # the headers that prove Charter; asked at each use, so a new one is found
    refused: Callable[[], None] = lambda: None  # told when the server did not take them
    limits: HttpLimits = field(default_factory=HttpLimits)
    rule: AddressRule = usual_addresses
    _place: Place | None = None
    _idle: list[Line] = field(default_factory=list)
    _busy: set[Line] = field(default_factory=set)
    _tls: ssl.SSLContext | None = None

    async def open(self, method: str, data: bytes | None, headers: dict[str, str], seconds: float | None) -> Line:
        """Send one HTTP request; return the line its response is on, the body unread. `seconds` bounds all of it.

        The line must be given back by `close`.

        Raises:
            UpstreamError: the server cannot be reached, breaks off, or takes too long.
        """
        if seconds is not None and seconds <= 0:
            raise too_slow(sent=False)
        proving = self.credential()
        proof = proving if isinstance(proving, dict) else await _obtained(proving, seconds)
        head = self._head(method, data, {**headers, **proof})
        line = await self._line()
        self._busy.add(line)
        try:
            await line.exchange(head if data is None else head + data, seconds)
        except (TimeoutError, LineError) as err:
            self.close(line)
            raise broken(err) from err
        except asyncio.CancelledError:
            self.close(line)
            raise
        if line.status == UNAUTHENTICATED:
            self.refused()
        return line

    def close(self, line: Line) -> None:
        """Give a line back: it is kept if its response ended as it should."""
        self._busy.discard(line)
        if line.finish():
            line.idle_since = asyncio.get_running_loop().time()
            self._idle.append(line)

    async def message(self, line: Line) -> Message | None:
        """Return the one JSON-RPC message that a response holds; None if it is an event stream, which holds several.

        Raises:
            UpstreamError: it holds none, or too much.
            NotTakenError: the status says that nothing was done, and no message says more.
        """
        if line.headers.get("content-encoding", "identity").lower() != "identity":
            raise nonsense("compressed, which was not asked for", sent=True)
        status, kind = line.status, content_type(line)
        if status == OK and kind == "application/json":
            return read_message(await self._body(line), sent=True)
        if status == OK and kind == "text/event-stream":
            return None
        if status in (OK, ACCEPTED):
            raise nonsense(f"a request with `{status} {kind[:80]}`", sent=True)
        return await self._rpc_error(line)

    async def events(self, line: Line, *, endless: bool = False) -> AsyncGenerator[Message]:
        """Yield the messages of an event stream; `endless` ones are bounded event by event alone."""
        reader, size = SseReader(self.limits.answer_bytes), 0
        try:
            async for piece in line.pieces():
                size += len(piece)
                if size > self.limits.answer_bytes and not endless:
                    raise nonsense(f"a stream of more than {self.limits.answer_bytes} bytes", sent=True)
                for event in reader.feed(piece):
                    yield read_message(event, sent=True)
        except (TimeoutError, LineError) as err:
            raise broken(err) from err

    async def drain(self, line: Line) -> None:
        """Give a stream a moment to end by itself; one that does not loses its connection."""
        if line.has_ended:
            return
        with contextlib.suppress(TimeoutError, LineError):
            async with asyncio.timeout(self.limits.drain_seconds):
                await line.body(self.limits.answer_bytes)

    def close_all(self) -> None:
        """Close all connections."""
        for line in (*self._idle, *self._busy):
            line.close()
        self._idle.clear()

    async def _line(self) -> Line:
        """Return a connection that carries nothing: a kept one, or a new one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()
            if line.is_open and now - line.idle_since < IDLE_SECONDS:
                return line
            line.close()
        if len(self._busy) >= self.limits.connections:
            raise UpstreamError(
                ErrorCode.TOO_MANY, f"the upstream has {self.limits.connections} requests under way already", sent=False
            )
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                return await self._connect()
        except TimeoutError:
            raise UpstreamError(
                ErrorCode.UPSTREAM_TIMEOUT, "the upstream cannot be reached in time", sent=False
            ) from None

    async def _connect(self) -> Line:
        place = self._where()
        loop = asyncio.get_running_loop()
        tls = self._context() if place.is_tls else None
        fault: OSError | None = None
        for address in await resolve(place.host, place.port, self.rule):
            try:
                _, line = await loop.create_connection(
                    Line, address, place.port, ssl=tls, server_hostname=place.host if tls else None
                )
            except OSError as err:
                fault = err
            else:
                return line
        why = "its certificate does not verify" if isinstance(fault, ssl.SSLCertVerificationError) else "nobody answers"
        raise UpstreamError(ErrorCode.UPSTREAM_FAILED, f"the upstream cannot be reached: {why}", sent=False) from fault

    async def _rpc_error(self, line: Line) -> Message:
        """Return the JSON-RPC error in a response that is no success.

        Raises:
            UpstreamError, NotTakenError: there is none; the status decides.
        """
        if line.status >= BAD and content_type(line) == "application/json":
            with contextlib.suppress(UpstreamError):
                message = read_message(await self._body(line), sent=True)
                if isinstance(message.get("error"), dict):
                    return message
        if line.status in _UNKNOWN_HERE:
            raise NotTakenError(line.status)
        raise status_error(line.status)

    async def _body(self, line: Line) -> bytes:
        try:
            body = await line.body(self.limits.answer_bytes)
        except (TimeoutError, LineError) as err:
            raise broken(err) from err
        if body is None:
            raise nonsense(f"more than {self.limits.answer_bytes} bytes", sent=True)
        return body

    def _head(self, method: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        """Return the bytes of a request up to its body."""
        place = self._where()
        values = "".join(headers.values())
        if not values.isascii() or not values.isprintable():  # a line end would begin another header
            raise UpstreamError(
                ErrorCode.UPSTREAM_FAILED,
                "a header for the upstream holds characters that headers may not",
                sent=False,
                help="check `credential` in the system's file",
            )
        lines = [f"{method} {place.target} HTTP/1.1", place.fixed, *map(": ".join, headers.items())]
        if data is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def _where(self) -> Place:
        if self._place is None:
            self._place = Place.of(self.url)
        return self._place

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


async def _obtained(proof: Awaitable[Mapping[str, str]], seconds: float | None) -> Mapping[str, str]:
    """Return the headers that prove Charter, once they are obtained."""
    try:
        async with asyncio.timeout(seconds):
            return await proof
    except TimeoutError:
        raise too_slow(sent=False) from None


def content_type(line: Line) -> str:
    """Return the kind of a response's body, without parameters."""
    return line.headers.get("content-type", "").partition(";")[0].strip().lower()


def broken(err: Exception) -> UpstreamError:
    """Return the error for an exchange that ended before its end."""
    if isinstance(err, TimeoutError):
        return too_slow(sent=True)
    return UpstreamError(ErrorCode.UPSTREAM_FAILED, f"the connection to the upstream broke: {err}", sent=True)


def status_error(status: int) -> UpstreamError:
    """Return the error for an HTTP status that came without a JSON-RPC message."""
    if status in REDIRECTS:
        return UpstreamError(
            ErrorCode.UPSTREAM_FAILED,
            "the upstream redirects, which is not followed",
            sent=False,
            help="write the URL it redirects to into the system's file, if that is the server meant",
        )
    if status in (401, 403):
        return UpstreamError(
            ErrorCode.UPSTREAM_FAILED,
            f"the upstream refuses Charter's credential ({status})",
            sent=False,
            help="check `credential` in the system's file",
        )
    detail = f"the upstream answered with HTTP status {status}"
    return UpstreamError(ErrorCode.UPSTREAM_FAILED, detail, sent=status not in _NOT_TAKEN)
