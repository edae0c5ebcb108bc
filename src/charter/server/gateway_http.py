"""HTTP at the gateway's edge, in plain ASGI: heads and bodies within bounds, answers as JSON or as an event stream.

INVARIANT: nothing of a request is believed before its head is in order: one value for each header that matters, a host
and an origin that are ours, a body that is JSON and no longer than allowed, within a time.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Message = dict[str, Any]

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_LENGTH_DIGITS = 19  # of a Content-Length
BODY_SECONDS = 15.0
WATCH_SECONDS = 0.05  # most calls are done by then and need no watching
KEEPALIVE_SECONDS = 15.0
_SINGLE = frozenset(
    {
        "authorization",
        "dpop",
        "host",
        "origin",
        "content-type",
        "content-length",
        "content-encoding",
        "accept",
        "client-cert",
        "client-cert-chain",
    }
)
_JSON = (b"content-type", b"application/json")
_STREAM = ((b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"))
_NO_STORE = (b"cache-control", b"no-store")
CERTIFICATE = "charter.client_certificate"  # where `extensions` hold a proved certificate, and those sent along
CUT = "charter.cut"  # where they hold what ends the connection at once
encode = msgspec.json.Encoder().encode


class HttpRefusal(Exception):  # noqa: N818 - an answer rather than an accident
    """A request that is answered before it is understood."""

    def __init__(
        self, status: int, detail: str, *, headers: Iterable[tuple[bytes, bytes]] = (), rpc_code: int = -32600
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = tuple(headers)
        self.rpc_code = rpc_code


class Head(msgspec.Struct, frozen=True):
    """The head of a request. Header names are in lower case; a repeated one that matters was refused."""

    method: str
    path: str
    query: bytes
    headers: dict[str, str]
    source: str  # the address it came from
    certificate: bytes | None = None  # the client's, DER, where the connection's TLS proved that it holds its key
    intermediates: tuple[bytes, ...] = ()  # what the client sent along with it


def read_head(scope: Scope) -> Head:
    """Return the head of a request.

    Raises:
        HttpRefusal: it is too large, or says something twice that must be said once.
    """
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    headers: dict[str, str] = {}
    size = 0
    for name_bytes, value in raw:
        size += len(name_bytes) + len(value)
        name = name_bytes.decode("latin-1")
        if name in headers and (name in _SINGLE or name.startswith("mcp-")):
            raise HttpRefusal(400, f"the header `{name[:40]}` appears more than once")
        headers[name] = value.decode("latin-1").strip(" \t")  # white space around it is none of it (RFC 9110, 5.5)
    if len(raw) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise HttpRefusal(431, f"the headers exceed {MAX_HEADERS} or {MAX_HEADER_BYTES} bytes")
    if b"%" in scope.get("raw_path", b""):  # two spellings of one path are one too many
        raise HttpRefusal(404, "there is nothing here")
    client, extensions = scope.get("client"), scope.get("extensions")
    source = client[0] if client else "?"
    chain = extensions.get(CERTIFICATE) if extensions else None
    certificate, sent_along = (chain[0], chain[1:]) if chain else (None, ())
    return Head(scope["method"], scope["path"], scope["query_string"], headers, source, certificate, sent_along)


def cut_of(scope: Scope) -> Callable[[], None] | None:
    """Return what ends the connection of a request at once, whatever its client has not taken yet."""
    found: Callable[[], None] | None = (scope.get("extensions") or {}).get(CUT)
    return found


def check_json(head: Head) -> None:
    """Check that a body is announced as plain JSON, and that both kinds of answer are acceptable.

    Raises:
        HttpRefusal: they are not.
    """
    if not _is_json(head.headers.get("content-type", "")):
        raise HttpRefusal(415, "the body must be `application/json` in UTF-8")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpRefusal(415, "the body must not be compressed")
    if not (accepts(head, "application/json") and accepts(head, "text/event-stream")):
        raise HttpRefusal(406, "the header `Accept` must list `application/json` and `text/event-stream`")


def accepts(head: Head, kind: str) -> bool:
    """Return whether the caller accepts `kind` of answer."""
    return _accepts(head.headers.get("accept", ""), kind)


@functools.lru_cache(maxsize=256)
def _accepts(header: str, kind: str) -> bool:
    listed = {part.partition(";")[0].strip().lower() for part in header.split(",")}
    return not listed.isdisjoint({kind, kind.partition("/")[0] + "/*", "*/*"})


@functools.lru_cache(maxsize=256)
def _is_json(header: str) -> bool:
    kind, _, parameters = header.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    return kind.strip().lower() == "application/json" and charset in ("", "utf-8")


async def read_body(head: Head, receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        HttpRefusal: it is longer than `limit` bytes, comes too slowly, or breaks off.
    """
    announced = head.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise HttpRefusal(400, "the header `Content-Length` is no number")
    if len(announced) > MAX_LENGTH_DIGITS or int(announced) > limit:
        raise HttpRefusal(413, f"the body exceeds {limit} bytes")
    event = await _next(receive, BODY_SECONDS)
    if not event.get("more_body", False):
        return _bounded(event.get("body", b""), limit)
    pieces = [event.get("body", b"")]
    size = len(pieces[0])
    ends = asyncio.get_running_loop().time() + BODY_SECONDS
    while event.get("more_body", False):
        event = await _next(receive, ends - asyncio.get_running_loop().time())
        pieces.append(event.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise HttpRefusal(413, f"the body exceeds {limit} bytes")
    return b"".join(pieces)


def _bounded(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise HttpRefusal(413, f"the body exceeds {limit} bytes")
    return body


async def _next(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            event = await receive()
    except TimeoutError:
        raise HttpRefusal(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    if event["type"] != "http.request":
        raise HttpRefusal(400, "the body broke off")
    return event


class Reply:
    """The answer to one request: JSON if it is one message, an event stream as soon as there is more to say.

    While a call takes long, a companion task watches for the caller to go away and keeps proxies from giving up.
    """

    def __init__(self, receive: Receive, send: Send, *headers: tuple[bytes, bytes]) -> None:
        self.cut: Callable[[], None] | None = None  # ends the connection, whatever was not taken yet
        self.streaming = False
        self.finished = False
        self._receive = receive
        self._send = send
        self._headers = (*headers, _NO_STORE)
        self._timer: asyncio.TimerHandle | None = None
        self._companion: asyncio.Task[None] | None = None

    @functools.cached_property
    def gone(self) -> asyncio.Event:
        """Set when the caller goes away; only known once watched."""
        return asyncio.Event()

    @functools.cached_property
    def _writing(self) -> asyncio.Lock:
        return asyncio.Lock()

    def watch(self, on_gone: Callable[[], None] | None, *, after: float = WATCH_SECONDS) -> None:
        """Watch over the answer from now on; `on_gone` is called once if the caller goes away before its end."""

        def start() -> None:
            self._companion = asyncio.create_task(self._accompany(on_gone))

        self._timer = asyncio.get_running_loop().call_later(after, start)

    async def event(self, message: Message) -> None:
        """Send one message as an event."""
        await self._write(b"event: message\ndata: " + encode(message) + b"\n\n")

    async def finish(self, message: Message, status: int = 200) -> None:
        """Send the last message, and end."""
        self.close()
        self.finished = True
        if self.streaming:
            await self.event(message)
            await self._send({"type": "http.response.body"})
            return
        body = encode(message)
        head = [*self._headers, _JSON, (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def end(self) -> None:
        """End a stream without a last message: nobody waits for one."""
        self.close()
        if self.finished:
            return
        self.finished = True
        await self._write(b"")
        await self._send({"type": "http.response.body"})

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._companion is not None:
            self._companion.cancel()

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            if not self.streaming:
                self.streaming = True
                head = [*self._headers, *_STREAM]
                await self._send({"type": "http.response.start", "status": 200, "headers": head})
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _accompany(self, on_gone: Callable[[], None] | None) -> None:
        leaving = asyncio.create_task(gone(self._receive))
        try:
            while not (await asyncio.wait({leaving}, timeout=KEEPALIVE_SECONDS))[0]:
                await self._write(b": still here\n\n")
        finally:
            leaving.cancel()
        self.gone.set()
        if on_gone is not None:
            on_gone()


async def gone(receive: Receive) -> None:
    """Return once the caller has gone away; what is left of a body is let go."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_empty(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Send an answer without a body."""
    head = [*headers, _NO_STORE, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body"})


async def send_json(send: Send, status: int, value: Message, *headers: tuple[bytes, bytes]) -> None:
    """Send an answer that is JSON."""
    body = encode(value)
    head = [*headers, _JSON, _NO_STORE, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
