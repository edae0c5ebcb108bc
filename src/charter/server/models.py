"""The model gateway: `/model/<system>/…`, compatible with the APIs of OpenAI and Anthropic; a door of the pipeline.

Clients keep their code and get another base address; what they give as the provider's key is their access token for the
system, or comes from the relay of `charter run`. The provider's own key is Charter's, and nobody else sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from msgspec import structs

from charter.adapters.model_api import CHUNK, HEAD, PASSED_ON, PROPOSED, ModelApis, Outgoing
from charter.core.clock import Clock, Deadline
from charter.core.entropy import Entropy
from charter.core.errors import (
    CharterError,
    DeniedError,
    ErrorCode,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.values import parse_name
from charter.gateway.call import Bearer, Call
from charter.gateway.mcp import RUN_HEADER, run_of
from charter.gateway.mcp_json import parse_json
from charter.gateway.model_request import ModelRequest, model_call, parse_model_request
from charter.gateway.pins import UpstreamError
from charter.gateway.pipeline import Admitted, Pipeline, Refused
from charter.gateway.proposals import Answer
from charter.identity.resource import resource_of
from charter.policy.verdict import Deny, Layer
from charter.registry.model_api import BY_PATH, OPERATIONS, prices_of
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.system import SystemKind
from charter.server.callers import Callers, Resource, words
from charter.server.gateway import METADATA_PREFIX, GatewayApp, Watch
from charter.server.gateway_http import (
    WATCH_SECONDS,
    Head,
    HttpRefusal,
    Receive,
    Scope,
    Send,
    cut_of,
    encode,
    read_body,
    read_head,
    send_json,
)

if TYPE_CHECKING:
    from charter.bootstrap.house import House

PREFIX = "/model/"
SOURCE = "model"
MAX_BODY = 32 * 1024 * 1024
SECONDS = 900.0  # of one request, its answer included
MAX_OF_ONE = 1024  # requests of one principal under way
_log = logging.getLogger("charter.models")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, understood as far as it needs no body."""

    head: Head
    record: SystemRecord
    operation: str
    rest: str  # below the operation's path: a model's name
    bearer: Bearer


@dataclass(slots=True)
class ModelApp:
    """The ASGI application."""

    callers: Callers
    pipeline: Pipeline
    apis: ModelApis
    live: LiveEstate
    clock: Clock
    entropy: Entropy
    issuer: str
    watch: Watch | None = None

    @classmethod
    def of(cls, house: House, gateway: GatewayApp) -> Self:
        """Return the model gateway of a house, seen where `gateway` is."""
        return cls(
            gateway.callers,
            house.pipeline,
            house.reach.models,
            house.live,
            house.clock,
            house.entropy,
            house.settings.issuer,
            gateway.watch,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        started = [False]

        async def sending(message: Any) -> None:  # noqa: ANN401 - ASGI's
            started[0] = True
            await send(message)

        anthropic = "/messages" in scope["path"] or _has(scope, b"x-api-key")
        try:
            await self._serve(_head_of(scope), receive, sending, cut_of(scope))
        except HttpRefusal as refusal:
            told = _error(refusal.status, refusal.detail, None, anthropic=anthropic)
            await send_json(send, refusal.status, told, *refusal.headers)
        except CharterError as err:
            if not started[0]:
                status, after = _status_of(err)
                await send_json(send, status, _error(status, words(err), err.code.value, anthropic=anthropic), *after)
        except (asyncio.CancelledError, OSError):
            raise
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the model gateway failed")
            if not started[0]:
                await send_json(send, 500, _error(500, "the gateway failed", None, anthropic=anthropic))

    async def _serve(self, head: Head, receive: Receive, send: Send, cut: Callable[[], None] | None) -> None:
        asked = await self._asked(head)
        operation = OPERATIONS[asked.operation]
        if not operation.asks:
            await self._models(asked, send)
            return
        if "application/json" not in head.headers.get("content-type", "").lower():
            raise HttpRefusal(415, "the body must be `application/json` in UTF-8")
        if head.headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpRefusal(415, "the body must not be compressed")
        body = await read_body(head, receive, MAX_BODY)
        wanted = parse_model_request(body)
        call = self._call(asked, wanted)
        if operation.says:
            self._hear(asked.bearer, call, wanted)
        headers = {name: asked.head.headers[name] for name in PASSED_ON if name in asked.head.headers}
        outgoing = Outgoing(body, headers, wanted.stream)
        self.apis.announce(call.request_id or "", outgoing)
        try:
            answer = await self.pipeline.submit(asked.bearer, call, self._deadline(), source=SOURCE, cut=cut)
            await self._answer(asked, call, answer, receive, send)
        finally:
            self.apis.forget(call.request_id or "")

    async def _asked(self, head: Head) -> Asked:
        name, _, path = head.path.removeprefix(PREFIX).partition("/")
        path = "/" + path.removeprefix("v1/")
        operation, rest = BY_PATH.get(path), ""
        if operation is None and path.startswith("/models/"):
            operation, rest = "models", path.removeprefix("/models")
        if operation is None:
            raise HttpRefusal(404, f"there is nothing here; there is: {', '.join(BY_PATH)}")
        self.callers.check_head(head, "POST" if OPERATIONS[operation].asks else "GET")
        try:
            system = parse_name(name, "system")
        except MalformedError as err:
            raise HttpRefusal(404, "there is nothing here: a model gateway is /model/NAME") from err
        resource = Resource(resource_of(self.issuer, system), f"{self.issuer}{METADATA_PREFIX}{system}")
        bearer = self.callers.caller(head, resource)
        if self.watch is not None and (found := self.watch.called(bearer, head.source, system)):
            await self.watch.tell(found)
        record = self.live.systems.get(system)
        if record is None or record.system.kind is not SystemKind.MODEL:
            raise HttpRefusal(404, f"there is no system `{system}` of the kind model")
        return Asked(head, record, operation, rest, bearer)

    def _call(self, asked: Asked, wanted: ModelRequest | None) -> Call:
        system, head = asked.record.system, asked.head
        prices = prices_of(system.prices, wanted.model) if wanted is not None else None
        beta = head.headers.get("anthropic-beta") or head.headers.get("openai-beta")
        run = head.headers.get(RUN_HEADER)
        return model_call(
            asked.record.name,
            asked.operation,
            wanted,
            prices,
            said={"beta": beta},
            request_id=f"mdl_{self.entropy.token(18)}",
            source=head.source,
            run=run_of({RUN_HEADER: run} if run is not None else {}),
        )

    def _hear(self, bearer: Bearer, call: Call, wanted: ModelRequest) -> None:
        for text in wanted.words[-32:]:
            self.pipeline.hear(bearer, call, text)

    def _deadline(self) -> Deadline:
        return Deadline.after(self.clock, SECONDS)

    async def _answer(self, asked: Asked, call: Call, answer: Admitted | Refused, receive: Receive, send: Send) -> None:
        if isinstance(answer, Refused):
            status, told = _refused(answer, anthropic=OPERATIONS[asked.operation].is_anthropic)
            verdict = (b"x-charter-verdict", answer.verdict_id.encode())
            await send_json(send, status, told, verdict, *self.callers.nonce_for(asked.head))
            return
        async with _while_there(receive):
            await self._pass_on(asked, call, answer, send)

    async def _pass_on(self, asked: Asked, call: Call, admitted: Admitted, send: Send) -> None:
        began = False
        async with contextlib.aclosing(admitted.messages) as messages:  # type: ignore[type-var]  # a generator is one
            async for message in messages:
                match message.get("method"):
                    case method if method == HEAD:
                        began = True
                        self.pipeline.proposals.answers(asked.bearer.principal_id, self.clock.now())
                        head = self._head(asked, admitted, message["params"])
                        await send(head)
                    case method if method == CHUNK:
                        await send({"type": "http.response.body", "body": message["params"]["data"], "more_body": True})
                    case method if method == PROPOSED:
                        self._keep(asked.bearer, call, admitted, message["params"])
                    case _:
                        await self._end(asked, message, send, began=began)

    def _head(self, asked: Asked, admitted: Admitted, params: Mapping[str, Any]) -> dict[str, Any]:
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in params["headers"].items()]
        headers += [(b"x-charter-verdict", admitted.verdict_id.encode()), (b"cache-control", b"no-store")]
        headers += self.callers.nonce_for(asked.head)
        return {"type": "http.response.start", "status": params["status"], "headers": headers}

    async def _end(self, asked: Asked, message: dict[str, Any], send: Send, *, began: bool) -> None:
        """End the answer: whole, or because the authority it rested on was withdrawn."""
        error = message.get("error")
        if error is None:
            await send({"type": "http.response.body", "body": b""})
            return
        told = _error(403, str(error.get("message")), "withdrawn", anthropic=OPERATIONS[asked.operation].is_anthropic)
        if not began:
            await send_json(send, 403, told)
            return
        event = b"event: error\ndata: " + encode(told) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _keep(self, bearer: Bearer, call: Call, admitted: Admitted, params: Mapping[str, Any]) -> None:
        """Remember which calls the model proposes, before the caller can act on them."""
        answer = Answer(params["response"], params["model"], admitted.verdict_id)
        self.pipeline.proposed(bearer, call, params["calls"], answer)

    async def _models(self, asked: Asked, send: Send) -> None:
        """Answer with the models that the caller could ask, of those that the provider lists."""
        call = self._call(asked, None)
        request_id = call.request_id or ""
        headers = {name: asked.head.headers[name] for name in PASSED_ON if name in asked.head.headers}
        self.apis.announce(request_id, Outgoing(None, headers, stream=False))
        try:
            answer = await self.pipeline.submit(asked.bearer, call, Deadline.after(self.clock, 60.0), source=SOURCE)
            if isinstance(answer, Refused):
                status, told = _refused(answer, anthropic="anthropic-version" in headers)
                await send_json(send, status, told)
                return
            status, body = await _whole(answer.messages)
        finally:
            self.apis.forget(request_id)
        listed = parse_json(body) if status == 200 else None  # noqa: PLR2004
        if not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, "the provider lists no models", sent=True)
        shown = [each for each in listed["data"] if isinstance(each, dict) and self._may_ask(asked, each.get("id"))]
        if not asked.rest:
            await send_json(send, 200, listed | {"data": shown})
            return
        one = next((each for each in shown if f"/{each['id']}" == asked.rest), None)
        if one is None:
            raise HttpRefusal(404, "there is no such model that you may ask")
        await send_json(send, 200, one)

    def _may_ask(self, asked: Asked, model: object) -> bool:
        if not isinstance(model, str) or not model:
            return False
        wanted = ModelRequest(model, 1, 1, stream=False, tools=(), images=0, words=(), body="sha256:" + "0" * 64)
        at = self.clock.now()
        for action in asked.record.system.actions.values():
            if OPERATIONS[action.tool].asks:
                call = self._call(replace(asked, operation=action.tool), wanted)
                if not isinstance(self.pipeline.would(asked.bearer, call, at)[1], Deny):
                    return True
        return False


async def _whole(messages: AsyncIterator[dict[str, Any]]) -> tuple[int, bytes]:
    status, pieces, size = 502, [], 0
    async for message in messages:
        if message.get("method") == HEAD:
            status = message["params"]["status"]
        elif message.get("method") == CHUNK:
            pieces.append(message["params"]["data"])
            size += len(pieces[-1])
            if size > MAX_BODY:
                raise UpstreamError(ErrorCode.TOO_LARGE, "the list of models is too long", sent=True)
    return status, b"".join(pieces)


@contextlib.asynccontextmanager
async def _while_there(receive: Receive) -> AsyncIterator[None]:
    """Give up what is within once the caller goes away. Most answers are there before that need be watched for."""
    mine = asyncio.current_task()
    watching: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if mine is not None:
            mine.cancel()

    later = asyncio.get_running_loop().call_later(
        WATCH_SECONDS, lambda: watching.append(asyncio.ensure_future(watch()))
    )
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        if mine is not None:
            mine.uncancel()
    finally:
        later.cancel()
        for each in watching:
            each.cancel()


def _has(scope: Scope, name: bytes) -> bool:
    return any(each == name for each, _ in scope["headers"])


def _head_of(scope: Scope) -> Head:
    """Return the head; a key in the header of Anthropic's clients is the caller's access token."""
    if sum(each == b"x-api-key" for each, _ in scope["headers"]) > 1:
        raise HttpRefusal(400, "the header `x-api-key` appears more than once")
    head = read_head(scope)
    key = head.headers.get("x-api-key")
    if key is None or "authorization" in head.headers:
        return head
    return structs.replace(head, headers={**head.headers, "authorization": f"Bearer {key}"})


_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_TYPES |= {413: "request_too_large", 415: "invalid_request_error", 429: "rate_limit_error"}


def _error(status: int, message: str, code: str | None, *, anthropic: bool, **more: object) -> dict[str, Any]:
    """Return an error as the clients of the API read one."""
    kind = _TYPES.get(status, "api_error")
    if anthropic:
        return {"type": "error", "error": {"type": kind, "message": message} | more}
    return {"error": {"message": message, "type": kind, "param": None, "code": code} | more}


def _refused(refused: Refused, *, anthropic: bool) -> tuple[int, dict[str, Any]]:
    reason = refused.verdict.reasons[0]
    status = 429 if reason.layer is Layer.LIMIT else 403
    how = f": charter approvals approve {refused.approval_id}" if refused.approval_id else ""
    again = " Then send exactly the same request again." if refused.approval_id else ""
    message = f"{reason.text} ({reason.rule}, verdict {refused.verdict_id}). {reason.mend}{how}.{again}"
    told = {"verdict": refused.verdict_id, "approval": refused.approval_id}
    return status, _error(status, message, reason.layer.value, anthropic=anthropic, charter=told)


_STATUS: tuple[tuple[type[CharterError], int], ...] = (
    (UpstreamError, 502),
    (MalformedError, 400),
    (UnauthenticatedError, 401),
    (DeniedError, 403),
    (ThrottledError, 429),
    (UnavailableError, 503),
)


def _status_of(err: CharterError) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    status = next((status for kind, status in _STATUS if isinstance(err, kind)), 500)
    if isinstance(err, ThrottledError | UnavailableError) and not isinstance(err, UpstreamError):
        return status, ((b"retry-after", str(err.retry_after_seconds).encode()),)
    return status, ()
