"""The SPIFFE Workload API (specifications: Workload API, Workload Endpoint), for the processes of one machine.

No caller proves anything: the kernel says which process it is (SPIFFE Workload Endpoint, section 5). What it is
entitled to is pushed to it: a new SVID before the old one ends, other bundles as soon as they are others, and the end
of all as soon as its principal may not act.

    status                 when (Workload Endpoint section 6, Workload API sections 5.2 and 6.2)
    INVALID_ARGUMENT       the security header is missing; a mandatory field is empty; a token does not validate
    PERMISSION_DENIED      the process is no principal's, or the principal may not act
    UNAVAILABLE            too much at once, or the store cannot be trusted to be current
    UNIMPLEMENTED          the WIT-SVID profile, which is optional

INVARIANT: who a caller is, and whether it may act, is asked again for each answer, also within a stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from charter.bootstrap.workload import Attested, Bell, IssuedJwt, IssuedX509, Peer
from charter.core.canonical import canonical
from charter.core.errors import (
    CharterError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.identity.bundle import Bundle
from charter.identity.spiffe import JwtSvid
from charter.server import workloadapi_pb2 as pb
from charter.server.workload_rpc import read_request, streaming, unary

SERVICE = "/SpiffeWorkloadAPI/"
SECURITY_HEADER = "workload.spiffe.io"
SEND_SECONDS = 30.0  # that a caller may take to read an answer
RENEW_AT = 0.5  # of an SVID's life
SPLAY = 0.1  # of an SVID's life: so that not all workloads of a machine renew at once
LOOK_AGAIN_SECONDS = 60.0  # at the latest: whether the process is still the same
_log = logging.getLogger("charter.workload")
T = TypeVar("T")


class Source(Protocol):
    """Where SVIDs and bundles come from: this house, or the one that a remote node joined."""

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        ...

    async def attest(self, peer: Peer) -> Attested:
        """Return which principal the process is, or raise."""
        ...

    def entitled(self, known: Attested) -> None:
        """Raise unless the principal may have SVIDs and bundles now."""
        ...

    def basis(self, known: Attested) -> tuple[object, ...]:
        """Return what an SVID of the principal rests on."""
        ...

    def is_rooted(self, issued: IssuedX509) -> bool:
        """Return whether an issued SVID still leads to a root of our bundle."""
        ...

    async def x509(self, known: Attested) -> IssuedX509:
        """Return a new X.509-SVID, recorded."""
        ...

    async def jwt(self, known: Attested, audiences: tuple[str, ...]) -> IssuedJwt:
        """Return a new JWT-SVID, recorded."""
        ...

    def bundles(self, known: Attested) -> Mapping[str, Bundle]:
        """Return the bundles that the principal may trust, our own first."""
        ...

    def validate(self, known: Attested, token: str, audience: str) -> JwtSvid:
        """Return what a valid JWT-SVID says, or raise."""
        ...

    def failed(self, peer: Peer | None, code: ErrorCode, known: Attested | None = None) -> None:
        """Count a refusal."""
        ...

    def jitter(self) -> float:
        """Return a number between 0 and 1."""
        ...


@dataclass(slots=True)
class WorkloadVisit:
    """One connection to the Workload API. Satisfies workload_rpc.Visit."""

    source: Source
    bell: Bell
    _peer: Peer | None = None
    _error: UnauthenticatedError | None = None
    _hang_up: Callable[[], None] = field(default=lambda: None)
    _is_closed: bool = False

    def opened(self, peer: Peer, hang_up: Callable[[], None]) -> None:
        """Hear which process connected."""
        self._peer, self._hang_up = peer, hang_up

    def refused(self, error: UnauthenticatedError) -> None:
        """Hear that the process cannot be told."""
        self._error = error

    def closed(self) -> None:
        """Hear that the connection has ended."""
        self._is_closed = True

    def __mapping__(self) -> Mapping[str, Handler]:
        """Return the methods by their path."""
        return {
            f"{SERVICE}FetchX509SVID": streaming(self.fetch_x509_svid, pb.X509SVIDRequest, pb.X509SVIDResponse),
            f"{SERVICE}FetchX509Bundles": streaming(
                self.fetch_x509_bundles, pb.X509BundlesRequest, pb.X509BundlesResponse
            ),
            f"{SERVICE}FetchJWTSVID": unary(self.fetch_jwt_svid, pb.JWTSVIDRequest, pb.JWTSVIDResponse),
            f"{SERVICE}FetchJWTBundles": streaming(self.fetch_jwt_bundles, pb.JWTBundlesRequest, pb.JWTBundlesResponse),
            f"{SERVICE}ValidateJWTSVID": unary(
                self.validate_jwt_svid, pb.ValidateJWTSVIDRequest, pb.ValidateJWTSVIDResponse
            ),
        }

    # --- the methods ---

    async def fetch_x509_svid(self, stream: Stream[Any, Any]) -> None:
        """Push X.509-SVIDs with their bundles (section 5.2.1)."""
        await self._begin(stream, pb.X509SVIDRequest)
        issued: IssuedX509 | None = None
        renew_at = 0.0

        async def look(known: Attested) -> tuple[object, float]:
            nonlocal issued, renew_at
            source = self.source
            if (
                issued is None
                or source.now >= renew_at
                or issued.basis != source.basis(known)
                or (not source.is_rooted(issued))
            ):
                issued = await source.x509(known)
                life = issued.ends_at - issued.begins_at
                renew_at = issued.begins_at + life * (RENEW_AT - SPLAY * source.jitter())
            return issued, renew_at

        async def answer(known: Attested) -> Message:
            assert issued is not None  # noqa: S101 - `look` comes first
            return _x509_answer(issued, self.source.bundles(known))

        await self._push(stream, look, answer)

    async def fetch_x509_bundles(self, stream: Stream[Any, Any]) -> None:
        """Push X.509 bundles (section 5.2.2)."""
        await self._begin(stream, pb.X509BundlesRequest)

        async def answer(known: Attested) -> Message:
            bundles = self.source.bundles(known).values()
            return pb.X509BundlesResponse(bundles={each.id: each.x509_der for each in bundles if each.x509_der})

        await self._push(stream, _nothing_more, answer)

    async def fetch_jwt_bundles(self, stream: Stream[Any, Any]) -> None:
        """Push JWT bundles (section 6.2.2)."""
        await self._begin(stream, pb.JWTBundlesRequest)

        async def answer(known: Attested) -> Message:
            bundles = self.source.bundles(known).values()
            return pb.JWTBundlesResponse(bundles={each.id: canonical(each.jwt_document()) for each in bundles})

        await self._push(stream, _nothing_more, answer)

    async def fetch_jwt_svid(self, stream: Stream[Any, Any]) -> None:
        """Answer with a JWT-SVID (section 6.2.1)."""
        request = await self._begin(stream, pb.JWTSVIDRequest)
        if not request.audience:
            raise GRPCError(Status.INVALID_ARGUMENT, "`audience` is mandatory")

        async def issue(known: Attested) -> IssuedJwt:
            return await self.source.jwt(known, tuple(request.audience))

        issued = await self._ask(issue, request.spiffe_id)
        svid = pb.JWTSVID(spiffe_id=issued.spiffe_id, svid=issued.token, hint=issued.hint)
        await _send(stream, pb.JWTSVIDResponse(svids=[svid]))

    async def validate_jwt_svid(self, stream: Stream[Any, Any]) -> None:
        """Answer with what a valid JWT-SVID says (section 6.2.3)."""
        request = await self._begin(stream, pb.ValidateJWTSVIDRequest)
        if not request.audience or not request.svid:
            raise GRPCError(Status.INVALID_ARGUMENT, "`audience` and `svid` are mandatory")

        async def validate(known: Attested) -> JwtSvid:
            try:
                return self.source.validate(known, request.svid, request.audience)
            except UnauthenticatedError as err:
                raise GRPCError(Status.INVALID_ARGUMENT, err.detail) from err

        found = await self._ask(validate)
        answer = pb.ValidateJWTSVIDResponse(spiffe_id=str(found.spiffe_id))
        try:
            ParseDict(dict(found.claims), answer.claims)
        except (ParseError, OverflowError, ValueError) as err:
            raise GRPCError(Status.INVALID_ARGUMENT, "the token has claims that no message can hold") from err
        await _send(stream, answer)

    # --- within ---

    async def _begin(self, stream: Stream[Any, Any], kind: type[Any]) -> Any:  # noqa: ANN401 - a message of that kind
        """Return the request, if the call has the security header (Workload Endpoint section 3)."""
        if stream.metadata is None or stream.metadata.get(SECURITY_HEADER) != "true":
            raise GRPCError(Status.INVALID_ARGUMENT, f"the metadata `{SECURITY_HEADER}: true` is mandatory")
        return await read_request(stream, kind)

    async def _known(self) -> Attested:
        """Return who the caller is, and check that it may act.

        Raises:
            CharterError: it is nobody, or may not.
        """
        if self._error is not None:
            raise self._error
        peer, known = self._peer, None
        assert peer is not None  # noqa: S101 - `opened` or `refused` comes before any call
        try:
            known = await self.source.attest(peer)
            self.source.entitled(known)
        except CharterError as err:
            self.source.failed(peer, err.code, known)
            self._hang_up()
            raise
        return known

    async def _ask(self, question: Callable[[Attested], Awaitable[T]], spiffe_id: str = "") -> T:
        """Return one answer to the caller, which must be `spiffe_id` if it says so."""
        try:
            known = await self._known()
            if spiffe_id and spiffe_id != self.source.basis(known)[0]:
                raise GRPCError(Status.PERMISSION_DENIED, f"the process is not {spiffe_id[:200]!a}")
            return await question(known)
        except CharterError as err:
            raise grpc_error(err) from err

    async def _push(
        self,
        stream: Stream[Any, Any],
        look: Callable[[Attested], Awaitable[tuple[object, float]]],
        answer: Callable[[Attested], Awaitable[Message]],
    ) -> None:
        """Send `answer` now, and whenever what it rests on is something else; end when the caller may not act.

        `look` returns that, beside the bundles, and when to look again at the latest (seconds since 1970).
        """
        sent: tuple[object, ...] | None = None
        while not self._is_closed:
            changed = self.bell.next
            try:
                known = await self._known()
                rests_on, again_at = await look(known)
                state = (rests_on, *self.source.bundles(known).values())
                if sent is None or not _same(state, sent):
                    await _send(stream, await answer(known))
                    sent = state
            except CharterError as err:
                raise grpc_error(err) from err
            wait = min(max(again_at - self.source.now, 0.05), LOOK_AGAIN_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), wait)


async def _nothing_more(_known: Attested) -> tuple[object, float]:
    return None, float("inf")


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Return whether both are made of the same objects: values here are immutable, and others are other objects."""
    return len(one) == len(other) and all(this is that for this, that in zip(one, other, strict=True))


async def _send(stream: Stream[Any, Any], message: Message) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await stream.send_message(message)
    except TimeoutError as err:
        raise GRPCError(Status.UNAVAILABLE, "the caller does not read its answers") from err


def _x509_answer(issued: IssuedX509, bundles: Mapping[str, Bundle]) -> Message:
    own, *others = bundles.values()
    svid = pb.X509SVID(
        spiffe_id=issued.spiffe_id,
        x509_svid=b"".join(issued.chain),
        x509_svid_key=issued.key.reveal(),
        bundle=own.x509_der,
        hint=issued.hint,
    )
    federated = {each.id: each.x509_der for each in others if each.x509_authorities}
    return pb.X509SVIDResponse(svids=[svid], federated_bundles=federated)


def grpc_error(error: CharterError) -> GRPCError:
    """Return `error` as gRPC has it."""
    text = f"{error.detail}; {error.help}" if error.help else error.detail
    match error:
        case MalformedError():
            status = Status.INVALID_ARGUMENT
        case ThrottledError() | UnavailableError():
            status = Status.UNAVAILABLE
        case UnauthenticatedError() | DeniedError():
            status = Status.PERMISSION_DENIED
        case IntegrityError():
            status = Status.INTERNAL
        case _:
            status = Status.PERMISSION_DENIED
    return GRPCError(status, text)
