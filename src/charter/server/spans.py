"""The door for spans: OTLP/HTTP (opentelemetry-proto 1.x), protobuf and JSON, gzipped or not.

    POST /otlp/v1/traces

Who sends is a principal, with its own token made out to `<issuer>/otlp`, or an application that was given a key
(`charter evidence source`). What a principal sends is about that principal; what an application says of agents is
matched by name where a person said who that is, and is a finding else.

INVARIANT: nothing is read before the sender is known. What was taken stands in the evidence before it is answered.
INVARIANT: spans are observations: they open, count and allow nothing.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from charter.adapters import otlp
from charter.bootstrap import observing, span_sources
from charter.bootstrap.observing import Taken, Told
from charter.core.errors import CharterError, ErrorCode, ThrottledError, UnavailableError
from charter.evidence.spans import Span, observation_of, read_spans
from charter.identity.pace import Pace, of_spans
from charter.identity.resource import SPANS_PATH, spans_of
from charter.registry.span_source import PREFIX
from charter.server.callers import Callers, Resource
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, encode, read_body, read_head
from charter.server.problems import problem_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.server.gateway import GatewayApp

TRACES = f"{SPANS_PATH}/v1/traces"
MAX_BODY = 4 * 1024 * 1024
MAX_UNPACKED = 32 * 1024 * 1024
MAX_REQUESTS = 8  # under way for one sender
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_NO_STORE = (b"cache-control", b"no-store")
_log = logging.getLogger("charter.spans")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends spans: a principal, or an application with a key."""

    id: str
    name: str
    is_principal: bool


@dataclass(slots=True)
class SpansApp:
    """The ASGI application."""

    house: House
    callers: Callers
    resource: Resource
    pace: Pace
    _under_way: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, house: House, gateway: GatewayApp) -> Self:
        """Return the door of a house that `gateway` is seen through."""
        issuer = house.settings.issuer
        metadata = f"{issuer}/.well-known/oauth-authorization-server"
        return cls(house, gateway.callers, Resource(spans_of(issuer), metadata), of_spans(house.clock))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            status, kind, body, headers = await self._served(head, receive)
        except HttpRefusal as refusal:
            said = encode({"code": refusal.status, "message": refusal.detail})
            status, kind, body, headers = refusal.status, _JSON, said, refusal.headers
        except CharterError as err:
            status, problem = problem_of(err)
            body, kind, headers = encode({"code": status, "message": problem["detail"]}), _JSON, _again(err)
        fixed = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), _NO_STORE]
        await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
        await send({"type": "http.response.body", "body": body})

    async def _served(self, head: Head, receive: Receive) -> tuple[int, str, bytes, tuple[tuple[bytes, bytes], ...]]:
        if head.path != TRACES:
            raise HttpRefusal(404, f"spans are sent to {TRACES}")
        self.callers.check_head(head, "POST")
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_PROTOBUF, _JSON):
            raise HttpRefusal(415, f"the body must be {_PROTOBUF} or {_JSON}")
        sender = await self._sender(head)
        if self._under_way[sender.id] >= MAX_REQUESTS:
            raise HttpRefusal(429, "too many requests at once", headers=[(b"retry-after", b"1")])
        self._under_way[sender.id] += 1
        try:
            body = _unpacked(head, await read_body(head, receive, MAX_BODY))
            spans = await asyncio.to_thread(otlp.read_spans if kind == _PROTOBUF else read_spans, body)
            rejected, why = await self._take(spans, sender)
        finally:
            self._under_way[sender.id] -= 1
            if not self._under_way[sender.id]:
                del self._under_way[sender.id]
        answer = otlp.trace_answer(rejected, why) if kind == _PROTOBUF else _told(rejected, why)
        return 200, kind, answer, ()

    async def _sender(self, head: Head) -> Sender:
        """Return who sends.

        Raises:
            HttpRefusal: nobody that may.
        """
        scheme, _, key = head.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.startswith(PREFIX):
            source = await asyncio.to_thread(span_sources.holder, self.house, key.strip())
            if source is None:
                if self.callers.failed is not None:
                    self.callers.failed(head.source, ErrorCode.BAD_TOKEN)
                raise self.callers.challenge(head, self.resource, "the key is not known, or revoked", "invalid_token")
            return Sender(source.id, source.name, is_principal=False)
        bearer = self.callers.caller(head, self.resource)
        return Sender(bearer.principal_id, bearer.principal_name, is_principal=True)

    async def _take(self, spans: list[Span], sender: Sender) -> tuple[int, str]:
        """Take the spans that tell of AI; return how many could not be taken, and why."""
        told, taken = [], Taken()
        for number, span in enumerate(spans, 1):
            if not span.is_about_ai:
                continue
            try:
                event = observation_of(span, sender.id, sender.name)
            except CharterError as err:
                taken.aside.append((number, err.detail))
                continue
            told.append(Told(number, event, sender.id if sender.is_principal else None))
        self.pace.take(sender.id, len(told))
        await observing.take(self.house, told, {"sender": sender.name, "by": sender.id}, taken)
        why = taken.aside[0][1] if taken.aside else ""
        return len(taken.aside), why


def _again(err: CharterError) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header that tells an exporter when to send again, if it may."""
    if isinstance(err, ThrottledError | UnavailableError):
        return ((b"retry-after", str(err.retry_after_seconds).encode()),)
    return ()


def _told(rejected: int, why: str) -> bytes:
    partial = {"rejectedSpans": str(rejected), "errorMessage": why}
    return encode({"partialSuccess": partial} if rejected else {})


def _unpacked(head: Head, body: bytes) -> bytes:
    """Return the body as it was before it was packed.

    Raises:
        HttpRefusal: it is packed in another way, broken, or too large.
    """
    coding = head.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        return body
    if coding != "gzip":
        raise HttpRefusal(415, "the body may be packed by gzip alone")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, MAX_UNPACKED)
    except zlib.error:
        raise HttpRefusal(400, "the body is no gzip") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise HttpRefusal(413, f"the body exceeds {MAX_UNPACKED} bytes, or breaks off")
    return plain
