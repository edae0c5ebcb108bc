"""The forward proxy: CONNECT and HTTP in the clear, for whoever speaks neither MCP nor a model's API (docs/egress.md).

It is one more door of the one pipeline. The client proves itself in `Proxy-Authorization`: by Basic, with its access
token as the password, which every program can do; by Bearer; or by DPoP, with a proof for
`<issuer>/egress/<host:port>`. The token's audience says which system of the kind egress it is for.

INVARIANT: nothing leaves before the verdict is durable, and a tunnel to a port that is not `plain` carries TLS for the
host that was decided on, or nothing.
INVARIANT: a connection ends with its authority: a kill closes both of its sockets, whether or not anybody reads them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import h11
from msgspec import structs

from charter.adapters.egress import OPENED, Egress, Wire, shut
from charter.bootstrap.tending import hear_host, hear_name
from charter.core.clock import Clock, Deadline
from charter.core.entropy import Entropy
from charter.core.errors import (
    CharterError,
    DeniedError,
    ErrorCode,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
)
from charter.gateway.call import Bearer, Call
from charter.gateway.egress import Destination, parse_absolute, parse_destination, read_client_hello, request_call
from charter.gateway.egress import tunnel_call as to_tunnel
from charter.gateway.mcp import RUN_HEADER, run_of
from charter.gateway.pins import UpstreamError
from charter.gateway.pipeline import Admitted, Came, Pipeline, Refused
from charter.identity.failures import Failures
from charter.identity.issuance import system_at
from charter.identity.nonce import Nonces
from charter.identity.tokens import AccessTokens
from charter.registry.principal import LiveEstate
from charter.registry.system import SystemKind
from charter.server.egress_http import BUFFER, Client, Exchange
from charter.server.problems import problem_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House

EGRESS_PATH = "/egress/"  # below the issuer: what proofs for the proxy are made out to
MAX_CONNECTIONS, MAX_OF_ONE = 2000, 256
HELLO_SECONDS = 10.0
IDLE_SECONDS = 300.0  # in which nothing went through, either way
SOURCE = "egress"
_CHALLENGE = ((b"proxy-authenticate", b'Basic realm="Charter: your access token is the password", charset="UTF-8"'),)
_log = logging.getLogger("charter.egress")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for."""

    request: h11.Request
    to: Destination
    path: str | None  # of a request in the clear; None: a tunnel
    other_host: str | None = None  # what `Host` says, if that is another destination: it goes nowhere

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.method.decode("latin-1")

    def header(self, name: bytes) -> str | None:
        """Return a header that may be there once.

        Raises:
            MalformedError: it is there more than once.
        """
        found = [value for each, value in self.request.headers if each == name]
        if len(found) > 1:
            raise MalformedError(ErrorCode.BAD_REQUEST, f"the header `{name.decode()}` appears more than once")
        return found[0].decode("latin-1") if found else None


@dataclass(slots=True)
class EgressDoor:
    """The proxy of one house."""

    pipeline: Pipeline
    egress: Egress
    tokens: AccessTokens
    nonces: Nonces
    failures: Failures
    live: LiveEstate
    clock: Clock
    entropy: Entropy
    issuer: str
    seconds: float
    misnamed: Callable[[str, str, str, str], None]  # told of a handshake for another host: who, system, asked, named
    mishosted: Callable[[str, str, str, str], None]  # told of a `Host` for another: the same
    idle: float = IDLE_SECONDS
    _open: Counter[str] = field(default_factory=Counter)  # connections under way, by principal
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, house: House) -> Self:
        """Return the proxy of a house."""
        nonces = house.proofs.nonces
        assert nonces is not None  # noqa: S101 - bootstrap gives them
        return cls(
            house.pipeline,
            house.reach.egress,
            house.tokens,
            nonces,
            house.failures,
            house.live,
            house.clock,
            house.entropy,
            house.settings.issuer,
            house.settings.call_seconds,
            lambda who, system, asked, named: hear_name(house, who, system, asked, named),
            lambda who, system, asked, named: hear_host(house, who, system, asked, named),
        )

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Serve on a listening socket, over TLS if there is a context, as long as this one lasts; then end all."""
        seconds = HELLO_SECONDS if tls is not None else None
        server = await asyncio.start_server(
            self._connected,
            sock=listener,
            limit=BUFFER,
            ssl=tls,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=seconds,
        )
        try:
            yield
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # asyncio's own ends of the connections are told by callbacks

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whatever goes wrong with it is its own affair."""
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        client = Client.of(reader, writer)
        try:
            await self._serve(client)
        except CharterError as err:
            with contextlib.suppress(Exception):
                await client.answer(*_told(err))
        except asyncio.CancelledError:
            pass  # the door closes, and so does this; asyncio would print a cancelled handler of a connection
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # the client went, or does not keep to the protocol once it was answered
        except Exception:  # noqa: BLE001 - the edge of a connection: a bug lets nothing through
            _log.exception("a connection of the forward proxy failed")
        finally:
            self._tasks.discard(task)
            shut(writer)

    async def _serve(self, client: Client) -> None:
        request = await client.request()
        if request is None:
            return
        asked = _asked(request)
        source = client.writer.get_extra_info("peername")
        try:
            bearer, system = self._authenticated(asked, source[0] if source else "?")
        except UnauthenticatedError as err:
            status, body, _ = _told(err)
            nonce = self.nonces.fresh(self.clock.now()).encode()
            await client.answer(407 if status == 401 else status, body, (*_CHALLENGE, (b"dpop-nonce", nonce)))  # noqa: PLR2004
            return
        if asked.other_host is not None:
            self.mishosted(bearer.principal_id, system, asked.to.authority, asked.other_host)
            help_ = "leave it out"
            raise MalformedError(ErrorCode.BAD_REQUEST, "the header `Host` names another destination", help=help_)
        with self._place(bearer.principal_id):
            await self._connect(client, asked, bearer, system)

    def _authenticated(self, asked: Asked, source: str) -> tuple[Bearer, str]:
        """Return who asks, and for which system.

        Raises:
            UnauthenticatedError: nobody does, or whoever failed too often.
            DeniedError: the token is for something else.
        """
        self.failures.check(source)
        scheme, token = _token_of(asked.header(b"proxy-authorization"))
        at = self.clock.now()
        try:
            audience = self.tokens.read(token, at=at).audience
            record = system_at(self.live, self.issuer, audience)
            if record is None or record.system.kind is not SystemKind.EGRESS:
                detail = "the access token is for no system of the kind egress"
                raise DeniedError(ErrorCode.WRONG_AUDIENCE, detail, help="charter token NAME SYSTEM, for one that is")
            proof = asked.header(b"dpop") if scheme == "dpop" else None
            came = Came(asked.method, f"{self.issuer}{EGRESS_PATH}{asked.to.authority}", proof)
            return self.pipeline.authenticate(token, audience=audience, at=at, came=came), record.name
        except UnauthenticatedError as err:
            if err.code is not ErrorCode.NONCE_NEEDED:
                self.failures.failed(source, err.code)
            raise

    @contextlib.contextmanager
    def _place(self, who: str) -> Any:  # noqa: ANN401 - a context
        if self._open[who] >= MAX_OF_ONE:
            detail = f"more than {MAX_OF_ONE} connections are open"
            raise ThrottledError(ErrorCode.TOO_MANY, detail, help="close some")
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    async def _connect(self, client: Client, asked: Asked, bearer: Bearer, system: str) -> None:
        """Have the connection decided and made, and let it run to its end."""
        request_id = f"egr_{self.entropy.token(18)}"
        call: Call = (
            to_tunnel(system, asked.to, request_id)
            if asked.path is None
            else request_call(system, asked.to, asked.method, asked.path, request_id)
        )
        named = asked.header(RUN_HEADER.encode())
        call = structs.replace(call, run=run_of({RUN_HEADER: named} if named is not None else {}))
        self.egress.announce(request_id)
        try:
            deadline = Deadline.after(self.clock, self.seconds)
            answer = await self.pipeline.submit(bearer, call, deadline, source=SOURCE)
            if isinstance(answer, Refused):
                await client.answer(403, _reason(answer), ((b"x-charter-verdict", answer.verdict_id.encode()),))
                return
            async with contextlib.aclosing(answer.messages) as messages:  # type: ignore[type-var]  # a generator is one
                await self._through(client, asked, answer, messages, request_id, (bearer.principal_id, system))
        finally:
            self.egress.forget(request_id)

    async def _through(
        self,
        client: Client,
        asked: Asked,
        admitted: Admitted,
        messages: AsyncIterator[dict[str, Any]],
        request_id: str,
        who: tuple[str, str],  # the principal and the system
    ) -> None:
        try:
            first = await anext(messages)
        except UpstreamError as err:
            verdict = ((b"x-charter-verdict", admitted.verdict_id.encode()),)
            await client.answer(502, {"detail": err.detail, "help": err.help}, verdict)
            return
        if first.get("method") != OPENED:
            await client.answer(403, {"detail": first.get("error", {}).get("message", "refused"), "help": None})
            return
        wire = self.egress.wire(request_id)
        work = self._tunnel(client, asked.to, wire, who) if asked.path is None else _exchange(client, asked, wire)
        passing = asyncio.create_task(work)
        rest, idleness = asyncio.create_task(_to_the_end(messages)), asyncio.create_task(_idleness(wire, self.idle))
        try:
            async with asyncio.timeout(wire.terms.seconds):
                await asyncio.wait({passing, rest, idleness}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            wire.why = "too long"
        finally:
            if not passing.done():  # cut off: what either side has not taken yet, it does not get
                client.writer.transport.abort()
                wire.writer.transport.abort()
            passing.cancel()
            idleness.cancel()
            await asyncio.gather(passing, idleness, return_exceptions=True)
            wire.ended.set()
            await rest

    async def _tunnel(self, client: Client, to: Destination, wire: Wire, who: tuple[str, str]) -> None:
        await client.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        early = client.http.trailing_data[0]
        if to.port not in wire.terms.plain:
            try:
                early = await _hello_for(to, client.reader, early)
            except OtherNameError as err:
                self.misnamed(*who, to.authority, err.named)
                wire.why = f"refused: {err.detail}"
                return
            except MalformedError as err:
                wire.why = f"refused: {err.detail}"
                return
        if early:
            wire.sent += len(early)
            wire.writer.write(early)
        async with asyncio.TaskGroup() as both:  # one that breaks off ends the other
            both.create_task(_copy(client.reader, wire.writer, wire, up=True))
            both.create_task(_copy(wire.reader, client.writer, wire, up=False))


async def _exchange(client: Client, asked: Asked, wire: Wire) -> None:
    wire.why = await Exchange(client, wire).run(asked.request, asked.to, asked.path or "/")


async def _idleness(wire: Wire, seconds: float) -> None:
    """Return once nothing went through for at least so long."""
    before = -1
    while before != wire.passed:
        before = wire.passed
        await asyncio.sleep(seconds)
    wire.why = "idle"


async def _to_the_end(messages: AsyncIterator[dict[str, Any]]) -> None:
    with contextlib.suppress(CharterError):
        async for _ in messages:
            pass


async def _hello_for(to: Destination, reader: asyncio.StreamReader, early: bytes) -> bytes:
    """Return the client's first bytes, once they are seen to be a TLS handshake for `to`.

    Raises:
        OtherNameError: they are one for another host.
        MalformedError: they are none.
    """
    wanted = "" if to.is_address else to.host
    data = early
    async with asyncio.timeout(HELLO_SECONDS):
        while (name := read_client_hello(data)) is None:
            more = await reader.read(BUFFER)
            if not more:
                raise MalformedError(ErrorCode.BAD_REQUEST, "the client went before it said whom it wants")
            data += more
    if name != wanted:
        detail = f"the TLS handshake is for {name[:253]!a}, and the tunnel for `{to.host}`"
        raise OtherNameError(detail, name)
    return data


class OtherNameError(Exception):
    """The TLS handshake in a tunnel is for another host than the tunnel."""

    def __init__(self, detail: str, named: str) -> None:
        super().__init__(detail)
        self.detail, self.named = detail, named


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire, *, up: bool) -> None:
    """Copy one direction until its end, which the other side is told of: over TLS, by the end of both directions."""
    while data := await reader.read(BUFFER):
        if up:
            wire.sent += len(data)
        else:
            wire.received += len(data)
        if wire.is_full:
            wire.why = "too much"
            raise ConnectionAbortedError
        writer.write(data)
        await writer.drain()
    if not writer.can_write_eof():
        raise ConnectionAbortedError
    writer.write_eof()


def _asked(request: h11.Request) -> Asked:
    """Return what a request asks for.

    Raises:
        MalformedError: it is none that a proxy takes.
    """
    method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
    to, path = (parse_destination(target), None) if method == "CONNECT" else parse_absolute(target, method)
    asked = Asked(request, to, path)
    host = asked.header(b"host")
    return replace(asked, other_host=host) if host and not _is_same(host, to, method) else asked


def _is_same(host: str, to: Destination, method: str) -> bool:
    try:
        return parse_destination(host, to.port if method == "CONNECT" else 80) == to
    except MalformedError:
        return False


def _token_of(value: str | None) -> tuple[str, str]:
    """Return the scheme and the access token of a `Proxy-Authorization`.

    Raises:
        UnauthenticatedError: there is none.
    """
    scheme, _, rest = (value or "").strip().partition(" ")
    scheme, rest = scheme.lower(), rest.strip()
    if scheme == "basic":
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode("ascii").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        rest = password or user  # some programs can only be given a user
    if scheme not in ("basic", "bearer", "dpop") or not rest:
        raise UnauthenticatedError(
            ErrorCode.BAD_TOKEN,
            "the proxy needs your access token",
            help="give it as the password: http://charter:TOKEN@proxy, or let charter run do it",
        )
    return scheme, rest


def _told(err: CharterError) -> tuple[int, dict[str, Any], tuple[tuple[bytes, bytes], ...]]:
    status, body = problem_of(err)
    return status, {name: body[name] for name in ("detail", "help", "code") if name in body}, ()


def _reason(refused: Refused) -> dict[str, Any]:
    reason = refused.verdict.reasons[0]
    return {
        "detail": reason.text,
        "help": reason.mend,
        "verdict": refused.verdict_id,
        "approval": refused.approval_id,
        "reasons": [each.to_json() for each in refused.verdict.reasons],
    }
