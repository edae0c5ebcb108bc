"""The MCP gateway's endpoint: `/mcp/<system>`, and the metadata that tells clients where to get a token for it.

Each system is a protected resource of its own: a token must be made out to `<issuer>/mcp/<system>` and is good for
nothing else (RFC 8707, RFC 9728; MCP 2026-07-28 basic/authorization). The order of the checks is the order of the code:
path, host, origin, method, token, body; a stranger costs no more than a look at the head.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import (
    AbsentError,
    CharterError,
    ErrorCode,
    MalformedError,
    ThrottledError,
    UnavailableError,
)
from charter.core.values import parse_name
from charter.gateway.call import Bearer
from charter.gateway.mcp import Frame, check_mirrors, check_modern, client_of, is_modern, parse_frame
from charter.gateway.mcp_answers import WireError, error_message, error_of, result_message
from charter.gateway.mcp_asking import abilities_of
from charter.gateway.mcp_protocol import SESSION_HEADER, RpcCode
from charter.gateway.mcp_sessions import Session, Sessions
from charter.identity.dpop import ProofMemory
from charter.identity.nonce import Nonces
from charter.identity.resource import all_of
from charter.identity.use import Contradiction
from charter.registry.principal import LiveEstate
from charter.server.callers import Authenticator, Callers, Resource, host_of
from charter.server.gateway_all import AllMethods
from charter.server.gateway_features import FeatureMethods
from charter.server.gateway_held import WAIT_SECONDS, HeldCalls
from charter.server.gateway_http import (
    Head,
    HttpRefusal,
    Receive,
    Reply,
    Scope,
    Send,
    accepts,
    check_json,
    cut_of,
    read_body,
    read_head,
    send_empty,
    send_json,
)
from charter.server.gateway_mcp import Asked, Decider, McpMethods, Tools, negotiated
from charter.server.gateway_parked import ParkedCalls

PREFIX = "/mcp/"
ALL = ""  # in the place of a system: all of them
METADATA_PREFIX = "/.well-known/oauth-protected-resource/mcp/"
_METHODS = ("GET", "POST", "DELETE")
_ALLOW = (b"allow", ", ".join(_METHODS).encode())
_log = logging.getLogger("charter.gateway")


class Door(Decider, Authenticator, Protocol):
    """The pipeline, with the check of tokens."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the endpoint is told."""

    issuer: str
    hosts: frozenset[str]  # values of `Host` that are ours, in lower case, without a default port
    origins: frozenset[str] = frozenset()  # web origins that may call, besides the issuer's own
    call_seconds: float = 60.0
    held_seconds: float = WAIT_SECONDS  # for people, while the caller of a held call waits
    max_body_bytes: int = 4 * 1024 * 1024
    base: str = ""  # the address it is seen at, if not the issuer's own

    def __post_init__(self) -> None:
        if not self.base:
            object.__setattr__(self, "base", self.issuer)

    @classmethod
    def at(cls, issuer: str, port: int, base: str | None = None, **given: Any) -> Self:  # noqa: ANN401 - the other fields
        """Return the settings of `issuer`'s endpoint that listens on `port`, seen at `base` and under its own names."""
        local = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        return cls(issuer, frozenset({host_of(base or issuer), *local}), base=base or issuer, **given)


class Watch(Protocol):
    """Notices credentials that are shared."""

    def called(self, bearer: Bearer, source: str, system: str) -> tuple[Contradiction, ...]:
        """Return what it contradicts that a token is presented from an address."""
        ...

    async def tell(self, found: tuple[Contradiction, ...]) -> object:
        """Keep what was noticed."""
        ...


class House(Protocol):
    """What the gateway takes from the house."""

    settings: Any
    pipeline: Any
    upstreams: Any
    failures: Any
    proofs: ProofMemory
    sharing: Any
    live: LiveEstate
    clock: Clock
    entropy: Entropy


@dataclass(slots=True)
class GatewayApp:
    """The ASGI application."""

    settings: GatewaySettings
    pipeline: Door
    upstream: Tools
    live: LiveEstate
    clock: Clock
    entropy: Entropy
    nonces: Nonces | None = None
    failed: Callable[[str, ErrorCode], None] | None = None  # told of each token that proved nothing, by source address
    watch: Watch | None = None
    callers: Callers = field(init=False)
    _methods: McpMethods = field(init=False)
    _all: AllMethods = field(init=False)
    _sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        told = self.settings
        self.callers = Callers(
            self.pipeline, told.issuer, told.base, told.hosts, told.origins, self.clock, self.nonces, self.failed
        )
        held = HeldCalls(self.live, self.clock, self.settings.issuer, self.settings.held_seconds)
        parked, seconds = ParkedCalls(self.entropy), self.settings.call_seconds
        parts = (self.pipeline, self.upstream, self.live, self.clock, seconds, held, parked)
        self._methods, self._all = FeatureMethods(*parts), AllMethods(*parts)
        self._sessions = Sessions(self.clock, self.entropy)

    @classmethod
    def of(cls, house: House, *, mtls: bool = False) -> Self:
        """Return the gateway of a house, as its own door leads to it, or the one for clients with certificates."""
        told = house.settings
        settings = GatewaySettings.at(
            told.issuer,
            told.tls_port if mtls else told.port,
            told.mtls_url if mtls else None,
            call_seconds=told.call_seconds,
            max_body_bytes=told.max_body_bytes,
        )
        return cls(
            settings,
            house.pipeline,
            house.upstreams,
            house.live,
            house.clock,
            house.entropy,
            nonces=house.proofs.nonces,
            failed=house.failures.failed,
            watch=house.sharing,
        )

    async def caller(self, head: Head, system: str) -> Bearer:
        """Return who calls for `system`; what did not mean to come here, or proves nothing, is refused.

        If that makes a credential a shared one, what follows from it has happened on return.

        Raises:
            HttpRefusal: with where to get a token.
        """
        self.callers.check_head(head, *_METHODS)
        bearer = self.callers.caller(head, self._resource(system))
        if self.watch is not None and (found := self.watch.called(bearer, head.source, system or "mcp")):
            await self.watch.tell(found)
        return bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":  # no websockets here; the lifespan is the server's
            return
        reply: Reply | None = None
        try:
            head = read_head(scope)
            if f"{head.path}/".startswith(METADATA_PREFIX):
                await self._metadata(head, send)
                return
            system = self._system(head, PREFIX)
            bearer = await self.caller(head, system)
            reply = Reply(receive, send, *self.callers.nonce_for(head))
            reply.cut = cut_of(scope)
            await self._serve(head, system, bearer, receive, send, reply)
        except HttpRefusal as refusal:
            body = error_message(None, {"code": refusal.rpc_code, "message": refusal.detail})
            await send_json(send, refusal.status, body, *refusal.headers)
        except WireError as err:
            await send_json(send, err.status, error_message(err.request_id, error_of(err)))
        except CharterError as err:
            status, after = _status_of(err)
            await send_json(send, status, error_message(None, error_of(err)), *after)
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the gateway failed")
            if reply is None or not (reply.streaming or reply.finished):
                error = {"code": int(RpcCode.INTERNAL_ERROR), "message": "the gateway failed"}
                await send_json(send, 500, error_message(None, error))

    async def _serve(self, head: Head, system: str, bearer: Bearer, receive: Receive, send: Send, reply: Reply) -> None:
        match head.method:
            case "POST":
                check_json(head)
                try:
                    frame = parse_frame(await read_body(head, receive, self.settings.max_body_bytes))
                except WireError as err:
                    if err.answer is None or not self._is_asked(head, bearer, system, err.answer):
                        raise
                    await send_empty(send, 202)
                    return
                await self._post(Asked(bearer, system, frame, head, None), send, reply)
            case "GET":
                session = self._session(head, bearer, system)
                if not accepts(head, "text/event-stream"):
                    raise HttpRefusal(406, "the header `Accept` must list `text/event-stream`")
                await self._of(system).listen(Asked(bearer, system, Frame(None, "", {}), head, session), reply)
            case _:  # DELETE
                self._sessions.end(self._session(head, bearer, system))
                await send_empty(send, 204)

    def _is_asked(self, head: Head, bearer: Bearer, system: str, answer: dict[str, Any]) -> bool:
        """Take a client's answer to what it was asked in its own session; return whether it was."""
        if SESSION_HEADER not in head.headers:
            return False
        return self._session(head, bearer, system).answered(answer.get("id"), answer)

    async def _post(self, asked: Asked, send: Send, reply: Reply) -> None:
        """Answer one message in its caller's era."""
        frame, head = asked.frame, asked.head
        if is_modern(frame, head.headers):
            if frame.id is None:  # this era has no notifications from clients; they are taken and dropped
                await send_empty(send, 202)
                return
            check_modern(frame, head.headers)
            await self._of(asked.system).answer(asked, reply)
            return
        check_mirrors(frame, head.headers)
        if frame.method == "initialize" and frame.id is not None:
            await self._initialize(asked, send)
            return
        session = self._session(head, asked.bearer, asked.system)
        if frame.id is None:
            if frame.method == "notifications/cancelled":
                session.cancel(frame.params.get("requestId"))
            await send_empty(send, 202)
            return
        await self._of(asked.system).answer(Asked(asked.bearer, asked.system, frame, head, session), reply)

    async def _initialize(self, asked: Asked, send: Send) -> None:
        """Open a session for the caller and this system, and for no one else."""
        version = negotiated(asked.frame.params.get("protocolVersion"))
        session = self._sessions.open(
            asked.bearer.principal_id, asked.system, version, delegation=asked.bearer.delegation
        )
        session.client = client_of(asked.frame.params.get("clientInfo"))
        session.abilities = abilities_of(asked.frame.params.get("capabilities"))
        assert asked.frame.id is not None  # noqa: S101 - looked at by the caller
        body = result_message(asked.frame.id, self._of(asked.system).initialize(asked, version))
        named = (SESSION_HEADER.encode(), session.id.encode())
        await send_json(send, 200, body, named, *self.callers.nonce_for(asked.head))

    def _session(self, head: Head, bearer: Bearer, system: str) -> Session:
        if head.method == "GET" and SESSION_HEADER not in head.headers:
            raise HttpRefusal(405, "a stream is opened with a session, or by `subscriptions/listen`", headers=[_ALLOW])
        if SESSION_HEADER not in head.headers:
            raise HttpRefusal(400, "the header `Mcp-Session-Id` is missing: send `initialize` first")
        try:
            return self._sessions.get(
                head.headers[SESSION_HEADER], bearer.principal_id, system, delegation=bearer.delegation
            )
        except AbsentError as err:
            raise HttpRefusal(404, f"{err.detail}; {err.help}") from err

    def _of(self, system: str) -> McpMethods:
        return self._methods if system != ALL else self._all

    def _system(self, head: Head, prefix: str) -> str:
        if head.path == prefix.rstrip("/"):
            return ALL
        try:
            return parse_name(head.path.removeprefix(prefix), "system")
        except MalformedError as err:
            raise HttpRefusal(404, "there is nothing here: a system's endpoint is /mcp/NAME") from err

    def _resource(self, system: str) -> Resource:
        issuer = self.settings.issuer
        if system == ALL:
            return Resource(all_of(issuer), f"{issuer}{METADATA_PREFIX.rstrip('/')}")
        return Resource(f"{issuer}{PREFIX}{system}", f"{issuer}{METADATA_PREFIX}{system}")

    async def _metadata(self, head: Head, send: Send) -> None:
        """Serve RFC 9728 metadata, for any name, so that strangers learn nothing of which systems there are."""
        system = self._system(head, METADATA_PREFIX)
        if head.method != "GET":
            raise HttpRefusal(405, "metadata is read by GET", headers=[(b"allow", b"GET")])
        body = {
            "resource": self._resource(system).audience,
            "authorization_servers": [self.settings.issuer],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "resource_name": f"{system or 'all systems'}, governed by Charter",
        }
        await send_json(send, 200, body)


def _status_of(err: CharterError) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    """Return the HTTP status, and headers, of an error from before the message was understood."""
    match err:
        case UnavailableError():
            return 503, ((b"retry-after", str(err.retry_after_seconds).encode()),)
        case ThrottledError():
            return 429, ((b"retry-after", str(err.retry_after_seconds).encode()),)
        case _:
            return 500, ()
