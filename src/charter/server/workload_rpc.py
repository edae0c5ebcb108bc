"""gRPC on a unix socket for callers who are not trusted: grpclib, with every size, count and time bounded.

grpclib keeps HTTP/2; here stands what it leaves to its user: which process is at the other end of each connection, how
many connections and calls one user may have, how large a message may be, and that nothing anyone sends can raise where
nobody catches it.

INVARIANT: a connection belongs to the process that made it; a service object is made for each (`Visit`), so that one
caller's state can never be another's.
INVARIANT: no more of a message is held than `MAX_MESSAGE` and one flow control window, whatever its header says.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline, decode_metadata
from grpclib.protocol import H2Protocol
from grpclib.protocol import Stream as H2Stream
from grpclib.server import Handler as Calls
from grpclib.server import Server, Stream
from h2.config import H2Configuration
from h2.events import Event
from typing_extensions import override

from charter.bootstrap.workload import Peer
from charter.core.errors import ErrorCode, UnauthenticatedError

MAX_MESSAGE = 64 * 1024  # bytes of one request
MAX_CONNECTIONS = 2048
MAX_OF_USER = 256  # connections of one user
MAX_CALLS = 3000  # of one connection within a minute
REQUEST_SECONDS = 10.0  # until the request of a call must be there
LINGER_SECONDS = 1.0  # that a refused caller has to read why
_HEAD = struct.Struct(">BI")
_WINDOW = 65_535  # bytes: the smallest flow control window that HTTP/2 knows
_log = logging.getLogger("charter.workload")
M = TypeVar("M", bound=Message)
Headers = list[tuple[str, str]]


class Visit(Protocol):
    """What serves one connection."""

    def opened(self, peer: Peer, hang_up: Callable[[], None]) -> None:
        """Hear which process connected, before any call, and how to end its connection."""
        ...

    def refused(self, error: UnauthenticatedError) -> None:
        """Hear that the process cannot be told; every call is to be answered with that."""
        ...

    def closed(self) -> None:
        """Hear that the connection has ended."""
        ...

    def __mapping__(self) -> Mapping[str, Handler]:
        """Return the methods by their path."""
        ...


async def read_request(stream: Stream[M, Any], kind: type[M]) -> M:
    """Return the one request of a call.

    Raises:
        GRPCError: there is none, or it is too large, compressed, late or no such message.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            body = await _read_body(stream)
    except TimeoutError as err:
        raise GRPCError(Status.DEADLINE_EXCEEDED, "the request did not come in time") from err
    except AssertionError as err:  # what grpclib raises when a stream ends inside a message
        raise GRPCError(Status.INVALID_ARGUMENT, "the request is cut off") from err
    try:
        message: M = kind.FromString(body)
    except DecodeError as err:
        raise GRPCError(Status.INVALID_ARGUMENT, "the request is no such message") from err
    return message


async def _read_body(stream: Stream[M, Any]) -> bytes:
    inner: H2Stream = stream._stream  # noqa: SLF001 - grpclib's own reading trusts the length it is told
    head = await inner.recv_data(_HEAD.size)
    if not head:
        raise GRPCError(Status.INVALID_ARGUMENT, "the request is missing")
    is_compressed, size = _HEAD.unpack(head)
    if is_compressed:
        raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not read here")
    if size > MAX_MESSAGE:
        raise GRPCError(Status.RESOURCE_EXHAUSTED, f"a request is at most {MAX_MESSAGE} bytes")
    return await inner.recv_data(size)


def unary(call: Callable[[Any], Awaitable[None]], request: type[Message], reply: type[Message]) -> Handler:
    """Return a method that gives one answer."""
    return Handler(call, Cardinality.UNARY_UNARY, request, reply)


def streaming(call: Callable[[Any], Awaitable[None]], request: type[Message], reply: type[Message]) -> Handler:
    """Return a method that gives answers as they come."""
    return Handler(call, Cardinality.UNARY_STREAM, request, reply)


class WorkloadServer(Server):
    """Serves one visit for each connection."""

    def __init__(self, visit: Callable[[], Visit], peer_of: Callable[[Any], Peer]) -> None:
        config = Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
        super().__init__([], config=config)
        self._h2_config = H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=True)
        self._make_visit = visit
        self.peer_of = peer_of
        self.connections: dict[_Connection, int] = {}  # with the user of each
        self.users: Counter[int] = Counter()

    @override
    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        visit = self._make_visit()
        calls = _Calls(dict(visit.__mapping__()), self._codec, self._status_details_codec, self.__dispatch__)
        self._handlers.add(calls)
        return _Connection(self, calls, self._config, self._h2_config, visit)

    def admit(self, connection: _Connection, user: int) -> bool:
        """Return whether a connection of `user` is within the bounds; it then counts until `forget`."""
        if len(self.connections) >= MAX_CONNECTIONS or self.users[user] >= MAX_OF_USER:
            return False
        self.connections[connection] = user
        self.users[user] += 1
        return True

    def forget(self, connection: _Connection) -> None:
        """Count a connection no longer."""
        user = self.connections.pop(connection, None)
        if user is not None:
            self.users[user] -= 1
            self.users += Counter()  # drops those at nought

    async def end(self) -> None:
        """Take no more connections, end those there are, and wait until their calls have."""
        self.close()
        for connection in list(self.connections):
            connection.processor.close("the server ends")
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wait_closed(), LINGER_SECONDS)


class _Calls(Calls):
    """The calls of one connection: what grpclib would raise on is answered, and too many end it."""

    def __init__(self, *parts: Any) -> None:  # noqa: ANN401 - grpclib's own
        super().__init__(*parts)
        self._minute = self._count = 0

    @override
    def accept(self, stream: H2Stream, headers: Headers, release_stream: Callable[[], Any]) -> None:
        minute = int(self.loop.time() / 60)
        self._minute, self._count = minute, self._count + 1 if minute == self._minute else 1
        if self._count > MAX_CALLS:
            stream.reset_nowait()
            release_stream()
            return
        try:
            Deadline.from_headers(headers)
            decode_metadata(headers)
        except Exception:  # noqa: BLE001 - the edge: whatever the headers hold
            stream.reset_nowait()
            release_stream()
            return
        super().accept(stream, headers, release_stream)


class _Connection(H2Protocol):
    """One connection, of one process."""

    def __init__(
        self, server: WorkloadServer, calls: _Calls, config: Configuration, h2_config: H2Configuration, visit: Visit
    ) -> None:
        super().__init__(calls, config, h2_config)
        self._server = server
        self._visit = visit
        self._peer: Peer | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        processor: Any = self.processor
        processor.processors = _Lenient(processor.processors)
        try:
            self._peer = self._server.peer_of(transport.get_extra_info("socket"))
        except UnauthenticatedError as err:
            self._visit.refused(err)
            self.end_soon()
            return
        if not self._server.admit(self, self._peer.uid):
            self._visit.refused(_too_many(self._peer.uid))
            self.end_soon()
            return
        self._visit.opened(self._peer, self.end_soon)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as err:  # noqa: BLE001 - the edge: bytes of a stranger end their own connection and nothing else
            _log.info("a connection ended over what it sent: %s", type(err).__name__)
            self.processor.close("malformed")

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._server.forget(self)
        self._visit.closed()
        if self._peer is not None:
            self._peer.close()

    def end_soon(self) -> None:
        """End the connection once its caller had time to read why."""
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.processor.close, "refused")


class _Lenient(dict[type[Event], Callable[[Any], None]]):
    """What is done for each event of HTTP/2; unknown frames are passed over (RFC 9113 section 4.1)."""

    def __missing__(self, _kind: type[Event]) -> Callable[[Any], None]:
        return _pass_over


def _pass_over(_event: Event) -> None:
    return None


def _too_many(user: int) -> UnauthenticatedError:
    return UnauthenticatedError(
        ErrorCode.TOO_MANY,
        f"the user {user} has too many connections to the Workload API",
        help="keep one connection open and wait on it",
    )
