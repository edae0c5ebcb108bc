"""Calls to model providers: the very bytes that were decided on, with Charter's own credential; answers as they come.

INVARIANT: a request belongs to the one call that the door announced, by an id that nobody else can know, and is sent
only if its digest is the one that the call was decided with.
INVARIANT: nothing of the caller's leaves but the body and the few headers that are named here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.upstream_address import AddressRule, usual_addresses
from charter.adapters.upstream_line import Line, LineError
from charter.adapters.upstream_secrets import Proof
from charter.adapters.upstream_wire import REDIRECTS, HttpLimits, HttpWire, broken, content_type, status_error
from charter.core.clock import Deadline
from charter.core.errors import ErrorCode, IntegrityError
from charter.gateway.call import Call
from charter.gateway.model_answer import AnswerReader
from charter.gateway.model_request import cost_text
from charter.gateway.outcome import USED
from charter.gateway.pins import UpstreamError
from charter.registry.model_api import OPERATIONS, prices_of
from charter.registry.principal import SystemRecord
from charter.registry.upstream import HttpUpstream

HEAD, CHUNK = "notifications/model/head", "notifications/model/chunk"
PROPOSED = "notifications/model/proposed"  # calls that a caller can act on once it has the next piece
PASSED_ON = ("anthropic-version", "anthropic-beta", "openai-beta")  # of a caller's headers
PASSED_BACK = ("content-type", "content-length", "retry-after", "request-id", "x-request-id", "openai-processing-ms")
MAX_ANSWER = 256 * 1024 * 1024
CONNECTIONS = 2048
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that waits for its verdict."""

    body: bytes | None
    headers: Mapping[str, str]
    stream: bool
    path: str = ""  # below the operation's own: a model's name


@dataclass(slots=True)
class ModelApis:
    """All model providers. Belongs to one event loop."""

    proof_of: Callable[[SystemRecord, str | None], Proof]
    rule: AddressRule = usual_addresses
    _waiting: dict[str, Outgoing] = field(default_factory=dict)  # by the request that announced itself
    _wires: dict[tuple[str, str, str], HttpWire] = field(default_factory=dict)

    def announce(self, request_id: str, outgoing: Outgoing) -> None:
        """Expect a call with this id: the door's own."""
        self._waiting[request_id] = outgoing

    def forget(self, request_id: str) -> None:
        """Expect it no more."""
        self._waiting.pop(request_id, None)

    def reader(self, *, is_stream: bool) -> AnswerReader:
        """Return what looks at one answer."""
        return AnswerReader(is_stream=is_stream)

    async def called(self, call: Call, record: SystemRecord, deadline: Deadline) -> AsyncGenerator[Message]:
        """Send the request of `call`; yield the answer's head, its pieces, and what it took.

        Raises:
            UpstreamError: no door waits for it, or the provider is not to be reached.
        """
        outgoing = self._waiting.get(call.request_id or "")
        if outgoing is None:
            raise UpstreamError(
                ErrorCode.UNSUPPORTED,
                f"`{call.system}` is a model's API, and is reached through the model gateway",
                sent=False,
                help="charter run gives an agent its address (OPENAI_BASE_URL, ANTHROPIC_BASE_URL)",
            )
        body = outgoing.body
        if body is not None and call.arguments.get("body") != "sha256:" + hashlib.sha256(body).hexdigest():
            raise IntegrityError(ErrorCode.BAD_PERMIT, "the request is not the one that was decided")
        operation = OPERATIONS[call.tool]
        wire = self._wire(record, operation.path + outgoing.path)
        method = "POST" if body is not None else "GET"
        line = await wire.open(method, body, dict(outgoing.headers), deadline.remaining())
        try:
            async for message in self._passed(line, call, record, deadline):
                yield message
        finally:
            wire.close(line)

    async def _passed(
        self, line: Line, call: Call, record: SystemRecord, deadline: Deadline
    ) -> AsyncGenerator[Message]:
        if line.status in REDIRECTS or line.status in (401, 403):
            raise status_error(line.status)
        if line.headers.get("content-encoding", "identity").lower() != "identity":
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, "the provider's answer is compressed", sent=True)
        is_stream = content_type(line) == "text/event-stream"
        headers = {name: line.headers[name] for name in PASSED_BACK if name in line.headers}
        yield {"method": HEAD, "params": {"status": line.status, "headers": headers}}
        reader, size, digest, held = self.reader(is_stream=is_stream), 0, hashlib.sha256(), b""
        try:
            async with asyncio.timeout(deadline.remaining()):
                async for piece in line.pieces():
                    size += len(piece)
                    if size > MAX_ANSWER:
                        raise UpstreamError(ErrorCode.TOO_LARGE, f"the answer exceeds {MAX_ANSWER} bytes", sent=True)
                    digest.update(piece)
                    reader.feed(piece)
                    # What is no stream means something only when it is whole: its last piece waits for the end.
                    now, held = (piece, b"") if is_stream else (held, piece)
                    for message in _next(reader, now):
                        yield message
        except (TimeoutError, LineError) as err:
            raise broken(err) from err
        reader.end()
        for message in _next(reader, held):
            yield message
        told: dict[str, Any] = {"bytes": size, "digest": f"sha256:{digest.hexdigest()}", "status": line.status}
        told |= _used(reader, record, str(call.arguments.get("model", "")))
        yield {
            "result": {
                "content": [],
                "isError": line.status >= 400,  # noqa: PLR2004 - the statuses of errors
                USED: told,
            }
        }

    def _wire(self, record: SystemRecord, path: str) -> HttpWire:
        upstream = record.system.upstream
        if not isinstance(upstream, HttpUpstream):
            raise UpstreamError(
                ErrorCode.UNSUPPORTED,
                f"the file of `{record.name}` says no `upstream`",
                sent=False,
                help="write where the provider is",
            )
        key = (record.name, record.digest, path)
        found = self._wires.get(key)
        if found is None:
            for old in [each for each in self._wires if each[0] == record.name and each[1] != record.digest]:
                self._wires.pop(old).close_all()
            proof = self.proof_of(record, None)
            found = self._wires[key] = HttpWire(
                upstream.url.rstrip("/") + path,
                proof.headers,
                proof.refused,
                HttpLimits(connections=CONNECTIONS),
                self.rule,
            )
        return found

    def close(self) -> None:
        """Close all connections."""
        for wire in self._wires.values():
            wire.close_all()
        self._wires.clear()


def _next(reader: AnswerReader, piece: bytes) -> Iterator[Message]:
    """Yield a piece of the answer, and before it the calls that its reader can act on then."""
    if calls := reader.ready():
        yield {"method": PROPOSED, "params": {"calls": calls, "response": reader.id, "model": reader.model}}
    if piece:
        yield {"method": CHUNK, "params": {"data": piece}}


def _used(reader: AnswerReader, record: SystemRecord, model: str) -> dict[str, Any]:
    told: dict[str, Any] = {"model": reader.model, "response": reader.id}
    if reader.usage is not None:
        told |= reader.usage.to_json()
        prices = prices_of(record.system.prices, model)
        if prices is not None:
            told["cost"] = cost_text(prices.cost(reader.usage.input, reader.usage.output))
            told["currency"] = prices.input.unit
    return told
