"""The MCP methods that the gateway answers: initialize, discover, ping, tools, subscriptions. It decides nothing.

Resources, prompts and completions stand in gateway_features.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from charter.core.clock import Clock, Deadline
from charter.core.errors import CharterError, ErrorCode, ThrottledError
from charter.gateway.call import Bearer, Call
from charter.gateway.mcp import Frame, ToolCall, check_params, make_call, request_of, run_of, tool_call
from charter.gateway.mcp_answers import (
    SERVER_INFO,
    Message,
    WireError,
    complete,
    error_message,
    error_of,
    refusal_error,
    refusal_result,
    result_message,
    tool_result,
)
from charter.gateway.mcp_logs import LOGGED
from charter.gateway.mcp_protocol import LEGACY_VERSIONS, SUBSCRIPTION_KEY, SUPPORTED_VERSIONS, WHY_KEY, RpcCode
from charter.gateway.mcp_questions import Questions
from charter.gateway.mcp_sessions import Session, Watched
from charter.gateway.pins import FEATURES, ToolDefinition, UpstreamError
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.verdict import Verdict
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.standing import may_act
from charter.server.gateway_client import Cancellable, can_ask, error_for, put_to_client
from charter.server.gateway_held import HeldCalls
from charter.server.gateway_http import Head, Reply
from charter.server.gateway_parked import Parked, ParkedCalls, close

T = TypeVar("T")
LIST_TTL_MS = 5_000  # a list is the caller's own view of its authority: kept briefly, and never shared
PAGE_TOOLS = 250
MAX_CALLS_PER_PRINCIPAL = 256
MAX_STREAMS_PER_PRINCIPAL = 32
ASK_SECONDS = 120.0  # beyond a call's own, where its server may ask something
LOOK_SECONDS = 1.0  # how often a listening stream looks whether its caller's tools changed
LISTS = ("tools", "prompts", "resources")  # what can be listed, and may change


class Decider(Protocol):
    """The pipeline, as far as this wire needs it."""

    async def submit(self, bearer: Bearer, call: Call, deadline: Deadline, *, source: str) -> Admitted | Refused:
        """Decide and record a call."""
        ...

    def hear(self, bearer: Bearer, call: Call, text: str) -> None:
        """Keep what the caller's program says that a person asked for."""
        ...

    def visible(
        self, bearer: Bearer, system: str, tools: Sequence[ToolDefinition]
    ) -> tuple[list[ToolDefinition], str | None]:
        """Return the tools a caller may see, and why there are none if so."""
        ...

    def systems_of(self, bearer: Bearer) -> frozenset[str]:
        """Return the names of the systems that a caller's charter grants anything on."""
        ...

    def would(self, bearer: Bearer, call: Call, at: dt.datetime) -> tuple[object, Verdict]:
        """Return what would be said of a call, with what that rests on."""
        ...

    def listed(self, bearer: Bearer, call: Call, listed: Sequence[Mapping[str, Any]]) -> None:
        """Keep in the session what a list told."""
        ...

    def admit_stream(self, bearer: Bearer) -> AbstractContextManager[Any]:
        """Register a long stream; its `closed` event is set when authority is withdrawn."""
        ...


class Tools(Protocol):
    """Where live tool definitions come from."""

    async def tools(self, record: SystemRecord, deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return the tools a system has right now."""
        ...

    async def resources(
        self, record: SystemRecord, delegation: str | None, cursor: str | None, deadline: Deadline
    ) -> tuple[list[Any], str | None]:
        """Return one page of the resources a system lists, and the cursor of the next."""
        ...

    async def watch(
        self, record: SystemRecord, delegation: str | None, uris: Collection[str], deadline: Deadline
    ) -> bool:
        """Have changes of resources counted; return whether the system tells them."""
        ...

    def updates(self, record: SystemRecord, delegation: str | None, uri: str) -> int:
        """Return how often a watched resource changed."""
        ...

    def offers_updates(self, record: SystemRecord) -> bool:
        """Whether a system tells of changes of single resources, as far as that is known."""
        ...

    def known(self, record: SystemRecord) -> tuple[ToolDefinition, ...] | None:
        """Return those last read."""
        ...

    def edition(self, record: SystemRecord) -> tuple[object, int]:
        """Return what changes when they may have."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """One request, whose caller is known."""

    bearer: Bearer
    system: str
    frame: Frame
    head: Head
    session: Session | None  # None: the caller speaks the stateless version
    prefix: str = ""  # before each URI that the caller is told, where all systems are together

    @property
    def modern(self) -> bool:
        """Whether the caller speaks the stateless version."""
        return self.session is None


@dataclass(slots=True)
class McpMethods:
    """Answers requests, method by method."""

    pipeline: Decider
    upstream: Tools
    live: LiveEstate
    clock: Clock
    call_seconds: float
    held: HeldCalls
    parked: ParkedCalls
    page_tools: int = PAGE_TOOLS
    _calls: Counter[str] = field(default_factory=Counter)
    _streams: Counter[str] = field(default_factory=Counter)

    async def answer(self, asked: Asked, reply: Reply) -> None:
        """Answer one request; errors of the family become its JSON-RPC error."""
        try:
            await self._dispatch(asked, reply)
        except CharterError as err:
            await self._fail(asked, reply, err)

    async def _fail(self, asked: Asked, reply: Reply, err: CharterError) -> None:
        if reply.finished:
            return
        status = err.status if isinstance(err, WireError) and asked.modern else 200
        await reply.finish(error_message(asked.frame.id, error_of(err)), status)

    async def _dispatch(self, asked: Asked, reply: Reply) -> None:
        match asked.frame.method:
            case "tools/call":
                await self._call(asked, reply)
            case "tools/list":
                await self._finish(asked, reply, await self._list(asked))
            case "server/discover" if asked.modern:
                await self._finish(asked, reply, self._discover(asked))
            case "subscriptions/listen" if asked.modern:
                await self._subscribe(asked, reply)
            case "ping" if not asked.modern:
                await self._finish(asked, reply, {})
            case method:
                text = f"the method {method[:80]!a} is not offered here"
                raise WireError(RpcCode.METHOD_NOT_FOUND, text, status=404, request_id=asked.frame.id)

    async def _finish(self, asked: Asked, reply: Reply, result: dict[str, Any]) -> None:
        await reply.finish(result_message(asked.frame.id, complete(result, modern=asked.modern)))

    def initialize(self, asked: Asked, version: str) -> dict[str, Any]:
        """Return the result of `initialize` for a session that was just opened."""
        return {
            "protocolVersion": version,
            "capabilities": self._capabilities(asked),
            "serverInfo": SERVER_INFO,
            "instructions": self._instructions(asked),
        }

    def _discover(self, asked: Asked) -> dict[str, Any]:
        return {
            "supportedVersions": list(SUPPORTED_VERSIONS),
            "capabilities": self._capabilities(asked),
            "instructions": self._instructions(asked),
            "ttlMs": LIST_TTL_MS,
            "cacheScope": "private",
        }

    def _capabilities(self, asked: Asked) -> dict[str, Any]:  # noqa: ARG002 - others need the request
        """Return what is offered to this caller."""
        return {"tools": {"listChanged": True}}

    def _instructions(self, asked: Asked) -> str:
        text = (
            f"Charter stands before `{asked.system}` and lets through what the charter of "
            f"`{asked.bearer.principal_name}` allows. A call that is refused says why, and what would make it allowed."
        )
        record = self.live.systems.get(asked.system)
        known = self.upstream.known(record) if record is not None else None
        if known is None:
            return text
        why = self._shown(asked, asked.system, known)[1]
        return f"{text} No tool is to be seen now: {why}." if why else text

    async def _list(self, asked: Asked) -> dict[str, Any]:
        """Return one page of the tools this caller may see; an empty list says why in `_meta`."""
        deadline = Deadline.after(self.clock, self.call_seconds)
        live = await self._definitions(asked.system, deadline)
        tools, why = self._shown(asked, asked.system, live)
        page, following = self._page(asked, tools, [tool.digest for tool in tools])
        shown = [tool.definition if asked.modern else before_2026(tool.definition) for tool in page]
        result: dict[str, Any] = {"tools": shown}
        if following is not None:
            result["nextCursor"] = following
        if why is not None:
            result["_meta"] = {WHY_KEY: why}
        return result | {"ttlMs": LIST_TTL_MS, "cacheScope": "private"} if asked.modern else result

    def _shown(
        self, asked: Asked, system: str, live: Sequence[ToolDefinition]
    ) -> tuple[list[ToolDefinition], str | None]:
        """Return the tools that a caller may see, and why there are none if so."""
        tools = [tool for tool in live if tool.name not in FEATURES]
        found, why = self.pipeline.visible(asked.bearer, system, tools)
        others = [tool for tool in live if tool.name in FEATURES and not tool.is_idle]
        if not found and others and self.pipeline.visible(asked.bearer, system, others)[0]:
            why = f"the charter of `{asked.bearer.principal_name}` grants no tool on `{system}`, only what is none"
        return found, why

    def _page(self, asked: Asked, listed: list[T], digests: list[str]) -> tuple[list[T], str | None]:
        """Return the page that the cursor asks for, and the cursor of the next. A cursor is good for one exact list."""
        mark = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
        cursor, start = asked.frame.params.get("cursor"), 0
        if cursor is not None:
            place, _, of = cursor.partition(".") if isinstance(cursor, str) else ("", "", "")
            if of != mark or not (place.isascii() and place.isdigit() and len(place) < 5):  # noqa: PLR2004 - below 10,000
                text = "the cursor is none of this list's: list again from the start"
                raise WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id)
            start = int(place)
        end = start + self.page_tools
        return listed[start:end], f"{end}.{mark}" if end < len(listed) else None

    async def _definitions(self, system: str, deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return the live tools of a system; of one that may not be used, none, and it is not touched."""
        record = self.live.systems.get(system)
        if record is None or may_act(record.subject, at=self.clock.now()) is not None:
            return ()
        return await self.upstream.tools(record, deadline)

    async def _live_tool(self, system: str, name: str, deadline: Deadline) -> ToolDefinition | None:
        """Return a tool's live definition; a tool that nobody accepted is not asked for."""
        record = self.live.systems.get(system)
        if record is None or record.system.action_of_tool(name) is None:
            return None
        return next((tool for tool in await self._definitions(system, deadline) if tool.name == name), None)

    async def _called_tool(self, asked: Asked, name: str, deadline: Deadline) -> ToolDefinition | None:
        """Return the live definition of a tool that is called."""
        return await self._live_tool(asked.system, name, deadline)

    async def _call(self, asked: Asked, reply: Reply) -> None:
        await self._submit(asked, reply, tool_call(asked.frame))

    async def _submit(self, asked: Asked, reply: Reply, wanted: ToolCall) -> None:
        """Have a call decided, and pass on its answer if it is allowed."""
        frame, deadline = asked.frame, self._deadline(asked)
        with Place(self._calls, asked.bearer, MAX_CALLS_PER_PRINCIPAL, "calls"):
            tool = await self._called_tool(asked, wanted.tool, deadline)
            if tool is not None and asked.modern and tool.params:
                check_params(frame, wanted, tool, asked.head.headers)
            call = self._made(asked, wanted, tool)
            if wanted.state is not None:
                await self._resume(asked, reply, call, wanted)
                return
            said = request_of(asked.head.headers, frame)
            if said:
                self.pipeline.hear(asked.bearer, call, said)
            answer = await self.pipeline.submit(asked.bearer, call, deadline, source="mcp")
            if isinstance(answer, Admitted):
                await self._forward(asked, reply, answer, call, deadline)
            elif wanted.tool in FEATURES:
                await reply.finish(error_message(frame.id, refusal_error(answer)))
            elif self.held.can_send(asked, answer):
                await self._hold(asked, reply, answer, wanted.answers, call)
            else:
                await self._finish(asked, reply, refusal_result(answer, modern=asked.modern))

    def _made(self, asked: Asked, wanted: ToolCall, tool: ToolDefinition | None) -> Call:
        """Return the call to be decided."""
        label, client = (asked.session.label, asked.session.client) if asked.session is not None else (None, None)
        return make_call(
            asked.frame,
            wanted,
            asked.system,
            tool=tool,
            session=label,
            source=asked.head.source,
            client=client,
            run=run_of(asked.head.headers),
            logs=asked.session.logs if asked.session is not None else None,
            can_ask=can_ask(asked),
        )

    def _deadline(self, asked: Asked) -> Deadline:
        """Return until when a call may take: longer where its server may ask a person something."""
        record = self.live.systems.get(asked.system)
        upstream = record.system.upstream if record is not None else None
        asks = upstream is not None and bool(upstream.asks) and bool(can_ask(asked))
        return Deadline.after(self.clock, self.call_seconds + (ASK_SECONDS if asks else 0.0))

    async def _forward(self, asked: Asked, reply: Reply, admitted: Admitted, call: Call, deadline: Deadline) -> None:
        """Pass on what the upstream says. The caller's going away, or its word, cancels the call."""
        async with Cancellable(asked, reply, deadline.remaining()):
            await self._pass_on(asked, reply, admitted, call, deadline)

    async def _hold(self, asked: Asked, reply: Reply, held: Refused, answers: dict[str, Any], call: Call) -> None:
        """Send a person to a held call, and make it if they approve it in time."""
        deadline = self._deadline(asked)

        async def again() -> Admitted | Refused:
            nonlocal deadline
            deadline = self._deadline(asked)
            return await self.pipeline.submit(asked.bearer, call, deadline, source="mcp")

        async with Cancellable(asked, reply, 2 * self.held.seconds + deadline.remaining()):
            answer = await self.held.settle(asked, reply, held, answers, again)
            if isinstance(answer, Admitted):
                await self._pass_on(asked, reply, answer, call, deadline)
            else:
                await reply.finish(result_message(asked.frame.id, answer))

    async def _pass_on(self, asked: Asked, reply: Reply, admitted: Admitted, call: Call, deadline: Deadline) -> None:
        request_id, token = asked.frame.id, asked.frame.progress_token
        async for message in admitted.messages:
            if "questions" in message:
                if asked.modern:
                    await self._park(asked, reply, admitted, call, message["questions"], deadline)
                    return
                await put_to_client(asked, reply, message["questions"], deadline)
            elif message.get("method") == LOGGED:
                await reply.event({"jsonrpc": "2.0", **message})
            elif "method" in message:
                if token is not None:
                    note = message["params"] | {"progressToken": token}
                    await reply.event({"jsonrpc": "2.0", "method": message["method"], "params": note})
            elif "error" in message:
                error, status = error_for(asked, message["error"])
                await reply.finish(error_message(request_id, error), status)
            else:
                result = tool_result(self._told(asked, message["result"]), admitted.verdict_id, modern=asked.modern)
                await reply.finish(result_message(request_id, result))
        if not reply.finished:
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream gave no answer", sent=True)

    async def _resume(self, asked: Asked, reply: Reply, call: Call, wanted: ToolCall) -> None:
        """Go on with a call that waited for its caller's answers; without them the caller is asked again."""
        found = self.parked.take(asked, call, str(wanted.state), wanted.answers)
        if isinstance(found, dict):
            await reply.finish(result_message(asked.frame.id, found))
        else:
            await self._forward(asked, reply, found.admitted, call, found.deadline)

    async def _park(
        self, asked: Asked, reply: Reply, admitted: Admitted, call: Call, questions: Questions, deadline: Deadline
    ) -> None:
        """Let a call wait while its caller answers questions."""
        try:
            result = self.parked.park(asked, call, Parked(admitted, questions, deadline))
        except ThrottledError:
            await close(admitted)
            raise
        await reply.finish(result_message(asked.frame.id, result))

    def _told(self, asked: Asked, result: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - others need the request
        """Return an upstream's result as this caller is told it."""
        return result

    async def _subscribe(self, asked: Asked, reply: Reply) -> None:
        """Serve a `subscriptions/listen` stream (2026-07-28 basic/patterns/subscriptions)."""
        wanted = asked.frame.params.get("notifications")
        if not isinstance(wanted, dict):
            text = "`notifications` must say what to listen for"
            raise WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id)
        lists = [name for name in self._changing(asked) if wanted.get(f"{name}ListChanged") is True]
        watched = await self._watched(asked, wanted.get("resourceSubscriptions"))
        honoured: dict[str, Any] = {f"{name}ListChanged": True for name in lists}
        honoured |= {"resourceSubscriptions": list(watched)} if watched else {}
        meta = {SUBSCRIPTION_KEY: asked.frame.id}
        params = {"_meta": meta, "notifications": honoured}
        acknowledged = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
        changed = [_changed(name) | {"params": {"_meta": meta}} for name in lists]
        with Place(self._streams, asked.bearer, MAX_STREAMS_PER_PRINCIPAL, "streams"):
            await reply.event(acknowledged)
            await self._watch(asked, reply, changed, self._news(asked, watched, meta))
        await self._finish(asked, reply, {"_meta": meta})

    async def listen(self, asked: Asked, reply: Reply) -> None:
        """Serve the GET stream of a session (2025-11-25 basic/transports)."""
        changed = [_changed(name) for name in self._changing(asked)]
        watched = asked.session.watched if asked.session is not None else {}
        with Place(self._streams, asked.bearer, MAX_STREAMS_PER_PRINCIPAL, "streams"):
            await self._watch(asked, reply, changed, self._news(asked, watched, None))
        await reply.end()

    async def _watched(self, asked: Asked, wanted: object) -> dict[str, Watched]:  # noqa: ARG002 - others need them
        """Return which of the resources that a caller wants to hear of it will."""
        return {}

    def _news(
        self,
        asked: Asked,  # noqa: ARG002 - others need them
        watched: Mapping[str, Watched],  # noqa: ARG002
        meta: Message | None,  # noqa: ARG002
    ) -> Callable[[], Sequence[Message]]:
        """Return what tells which of the watched resources have changed since it was called last."""
        return tuple

    def _changing(self, asked: Asked) -> list[str]:
        """Return the lists that the caller can be told of, when they may have changed."""
        capabilities = self._capabilities(asked)
        return [name for name in LISTS if name in capabilities]

    async def _watch(
        self, asked: Asked, reply: Reply, changed: list[Message], news: Callable[[], Sequence[Message]]
    ) -> None:
        """Tell of changes until the caller goes, its session or token ends, or its authority is withdrawn."""
        reply.watch(None, after=0)
        with self.pipeline.admit_stream(asked.bearer) as stream:
            stream.cut = reply.cut
            ends = [stream.closed, reply.gone] + ([asked.session.ended] if asked.session is not None else [])
            waits = [asyncio.ensure_future(end.wait()) for end in ends]
            seen = self._edition(asked)
            try:
                while self.clock.now().timestamp() < asked.bearer.expires_at:
                    if (await asyncio.wait(waits, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                        return
                    now = self._edition(asked)
                    for message in (*(changed if _differ(seen, now) else ()), *news()):
                        await reply.event(message)
                    seen = now
            finally:
                for wait in waits:
                    wait.cancel()

    def _edition(self, asked: Asked) -> tuple[object, ...]:
        """Return what is no longer the same, item by item, once the caller's list of tools may have changed."""
        record = self.live.systems.get(asked.system)
        tools, changes = self.upstream.edition(record) if record is not None else (None, 0)
        return self.live.principals.get(asked.bearer.principal_id), record, tools, changes


def _changed(name: str) -> Message:
    return {"jsonrpc": "2.0", "method": f"notifications/{name}/list_changed"}


def _differ(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    pairs = zip(before, now, strict=False)
    return len(before) != len(now) or any(old is not new and old != new for old, new in pairs)


class Place:
    """One of the places a principal may take at a time, so that none takes all there are."""

    __slots__ = ("_counts", "_who")

    def __init__(self, counts: Counter[str], bearer: Bearer, most: int, what: str) -> None:
        self._counts, self._who = counts, bearer.principal_id
        if counts[self._who] >= most:
            text = f"`{bearer.principal_name}` has {most} {what} under way"
            raise ThrottledError(ErrorCode.TOO_MANY, text, help="wait for some to end")

    def __enter__(self) -> None:
        self._counts[self._who] += 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._who] -= 1
        if not self._counts[self._who]:
            del self._counts[self._who]


def negotiated(asked: object) -> str:
    """Return the version to speak with a caller whose `initialize` asks for `asked`."""
    return asked if isinstance(asked, str) and asked in LEGACY_VERSIONS else LEGACY_VERSIONS[0]


def before_2026(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition as older clients can read it: outputs had to be objects."""
    output = definition.get("outputSchema")
    if output is None or output.get("type") == "object":
        return definition
    return {key: value for key, value in definition.items() if key != "outputSchema"}
