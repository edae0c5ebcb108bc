"""MCP upstreams reached by streamable HTTP: met once, then called over kept connections in the era they know.

INVARIANT: a call is sent a second time only if the answer said that it was not taken: 404 to a session that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.upstream_asks import Asking, again, capabilities_of, put
from charter.adapters.upstream_line import Line
from charter.adapters.upstream_rpc import (
    CHANGED,
    UPDATED,
    Listed,
    Message,
    Peer,
    encode,
    final,
    given_up,
    initialize_params,
    is_quieter,
    list_all,
    list_resources,
    listening,
    nonsense,
    peer_from_discover,
    peer_from_initialize,
    request,
    sent,
    telling,
    too_slow,
    uri_in,
)
from charter.adapters.upstream_wire import OK, HttpWire, NotTakenError, content_type, status_error
from charter.core.clock import Deadline
from charter.core.errors import ErrorCode
from charter.gateway.call import Call
from charter.gateway.mcp_logs import LOGGED, log_of
from charter.gateway.mcp_params import mirrored
from charter.gateway.mcp_protocol import (
    METHOD_HEADER,
    MODERN_VERSION,
    NAME_HEADER,
    NAMED_BY,
    SESSION_HEADER,
    VERSION_HEADER,
    RpcCode,
    encode_header,
)
from charter.gateway.mcp_questions import METHODS
from charter.gateway.pins import ToolDefinition, UpstreamError

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,512}")
_NO_LISTENING = frozenset({400, 404, 405, 501})
_GONE = 404
MAX_ANSWERING = 64  # of a server's questions that are being refused, and calls given up; further ones are dropped
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts to listen


@dataclass(slots=True)
class Exchange:
    """A request that was sent, and the response once it has come: at once if it is all that the answer holds."""

    line: Line
    message: Message  # the request
    asking: Asking | None  # the questions of its call, where they come in the stream before the response
    answer: Message | None

    @property
    def response(self) -> Message:
        """The response.

        Raises:
            UpstreamError: the stream has ended, and it was not among what came.
        """
        if self.answer is None:
            raise nonsense("with a stream that ended before the response", sent=True)
        return self.answer


@dataclass(slots=True)
class HttpServer:
    """One upstream. Belongs to the event loop it is used on."""

    wire: HttpWire
    changed: Callable[[], None]  # called when the server says that its tools changed, or is met anew
    asks: tuple[str, ...] = ()  # what it may ask, of whom it is called for
    heard: Callable[[str | None], None] = lambda _: None  # called with a resource that changed; None: any may have
    is_old: bool = False  # to be spoken to by the handshake, whatever else it knows
    busy: int = 0
    _peer: Peer | None = None
    _session: str | None = None
    _issued: int = 0
    _level: str | None = None  # from which on it logs, once that was said
    _meeting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _listening: asyncio.Task[None] | None = None
    _former: asyncio.Task[None] | None = None  # listens until the next one does
    _watching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _watched: frozenset[str] = frozenset()
    _answering: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def log(self) -> tuple[str, ...]:
        """What the server logged: nothing that is seen from here."""
        return ()

    async def list_tools(self, deadline: Deadline) -> Listed:
        """Return the tools there are, and what else it offers.

        Raises:
            UpstreamError: the server cannot be reached, or answers nonsense.
        """
        peer = await self.ready(deadline)
        return await list_all(lambda method, params: self._ask(method, params, deadline), peer)

    async def list_resources(self, cursor: str | None, deadline: Deadline) -> tuple[list[Any], str | None]:
        """Return one page of its resources, and the cursor of the next.

        Raises:
            UpstreamError: the server cannot be reached, or answers nonsense.
            MalformedError: it does not know the cursor.
        """
        return await list_resources(lambda method, params: self._ask(method, params, deadline), cursor)

    async def _ask(self, method: str, params: Message, deadline: Deadline) -> Message:
        """Return the response to a request that is no call."""
        return await self._response(await self._send(method, params, {}, deadline))

    async def call(
        self,
        call: Call,
        tool: ToolDefinition | None,
        deadline: Deadline,
        whose: str = "",  # noqa: ARG002 - the other kind of upstream has to tell callers apart
    ) -> AsyncGenerator[Message]:
        """Send one call; yield its notifications and questions, and then its result or error, without ids.

        Raises:
            UpstreamError: it could not be sent, or no answer came.
        """
        if call.logs is not None:
            await self._speak_up(call.logs, deadline)
        method, params = sent(call)
        headers = mirrored(tool.params, call.arguments) if tool and tool.params else {}
        asking = Asking(call, self.asks)
        self.busy += 1
        try:
            while True:
                exchange = await self._send(
                    method, params, headers, deadline, progress=call.wants_progress, asking=asking
                )
                try:
                    if exchange.answer is None:
                        async with contextlib.aclosing(self._until_answered(exchange)) as told:
                            async for message in told:
                                yield message
                    answer = exchange.response
                    asked = asking.required(answer)
                    if asked is None:
                        yield final(answer, sent=True)
                    await self.wire.drain(exchange.line)
                finally:
                    self.wire.close(exchange.line)
                    if exchange.answer is None:
                        self._give_up(exchange.message)
                if asked is None:
                    return
                if asked:
                    yield {"method": "input_required", "questions": asked}
                params = again(params, answer, asked)
        finally:
            self.busy -= 1

    async def _reply(self, answer: Message) -> None:
        """Answer a question of a legacy server's."""
        if self._peer is not None:
            await self._tell(self._peer, answer)

    @property
    def watched(self) -> frozenset[str]:
        """The resources whose changes it was asked to tell."""
        return self._watched if self._peer is not None else frozenset()

    @property
    def offers_updates(self) -> bool | None:
        """Whether it tells of changes of single resources, None if it was not met yet."""
        return self._peer.offered.updates if self._peer is not None else None

    async def watch(self, uris: frozenset[str], deadline: Deadline) -> bool:
        """Have it tell of changes of these resources and no others; return whether it does that at all.

        Raises:
            UpstreamError: the server cannot be reached, or answers nonsense.
        """
        async with self._watching:
            peer = await self.ready(deadline)
            if not peer.offered.updates:
                return False
            before, self._watched = self._watched, uris
            if not peer.modern:
                for method, which in (("subscribe", uris - before), ("unsubscribe", before - uris)):
                    for uri in sorted(which):  # what it refuses is never told of, and not asked for again
                        await self._ask(f"resources/{method}", {"uri": uri}, deadline)
            if self._listening is None or (peer.modern and before != uris):
                self._listen_anew()
        return True

    def _listen_anew(self) -> None:
        """Listen for what is wanted now; what listened before ends when this does."""
        if self._former is not None:
            self._former.cancel()
        self._former, self._listening = self._listening, asyncio.create_task(self._listen())

    async def _speak_up(self, level: str, deadline: Deadline) -> None:
        """Have a legacy server, whose session is one for all callers, log as much as any of them wants to be told."""
        peer = await self.ready(deadline)
        if not is_quieter(peer, self._level, level):
            return
        self._level = level
        await self._ask("logging/setLevel", {"level": level}, deadline)  # what it answers changes nothing

    async def aclose(self) -> None:
        """End the session and close all connections."""
        tasks = [task for task in (self._listening, self._former, *self._answering) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None and self._peer is not None:
            with contextlib.suppress(UpstreamError):
                self.wire.close(await self.wire.open("DELETE", None, self._legacy_headers(self._peer), 2.0))
        self._peer = self._session = self._listening = self._former = None
        self.wire.close_all()

    async def ready(self, deadline: Deadline) -> Peer:
        """Return what the server is, met anew if need be.

        Raises:
            UpstreamError: it cannot be reached, or speaks no MCP.
        """
        peer = self._peer
        if peer is not None:
            return peer
        try:
            async with asyncio.timeout(min(deadline.remaining(), self.wire.limits.negotiate_seconds)), self._meeting:
                peer = self._peer
                if peer is None:
                    self._session, self._level, self._watched = None, None, frozenset()
                    peer = self._peer = await self._meet()
                    self.changed()
                    self.heard(None)
        except TimeoutError:
            raise too_slow(sent=False) from None
        if peer.tells_changes and self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        return peer

    async def _meet(self) -> Peer:
        """Find out what the server speaks: the current version if it knows it, else the handshake."""
        answer = None if self.is_old else await self._meet_with("server/discover", {}, modern=True)
        peer = peer_from_discover(answer) if answer is not None else None
        if peer is not None:
            return peer
        answer = await self._meet_with("initialize", initialize_params(capabilities_of(self.asks)), modern=False)
        if answer is None:
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream speaks no MCP at this URL", sent=False)
        peer = peer_from_initialize(answer)
        await self._tell(peer, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        return peer

    async def _meet_with(self, method: str, params: Message, *, modern: bool) -> Message | None:
        """Return the answer to one of the opening requests; None if the server does not know it."""
        message = request(self._next_id(), method, params, modern=modern)
        headers = {VERSION_HEADER: MODERN_VERSION, METHOD_HEADER: method} if modern else {}
        try:
            return await self._response(await self._post(message, headers, self._patience))
        except NotTakenError:
            return None
        except UpstreamError as err:  # nothing was called yet
            raise UpstreamError(err.code, err.detail, sent=False, help=err.help) from err

    async def _send(
        self,
        method: str,
        params: Message,
        extra: dict[str, str],
        deadline: Deadline,
        *,
        progress: bool = False,
        asking: Asking | None = None,
    ) -> Exchange:
        """Send a request in the server's era; a session that ended is opened anew, once."""
        for is_last in (False, True):
            peer = await self.ready(deadline)
            session, request_id = self._session, self._next_id()
            asked = telling(params, request_id) if progress else params
            message = request(request_id, method, asked, modern=peer.modern)
            if asking is not None and peer.modern:
                message = asking.declare(message)
            headers = self._modern_headers(message) | extra if peer.modern else self._legacy_headers(peer)
            heard = asking if asking is not None and asking.allowed and not peer.modern else None
            try:
                return await self._post(message, headers, deadline.remaining(), heard)
            except NotTakenError as refused:
                if self._session == session:
                    self._peer = None  # whatever it is now, it is not what was met before
                if is_last or refused.status != _GONE or session is None:
                    raise status_error(refused.status) from None
        raise AssertionError

    async def _post(
        self, message: Message, headers: dict[str, str], seconds: float, asking: Asking | None = None
    ) -> Exchange:
        """POST one request; return its answer as far as it has come. Its line must be closed."""
        line = None
        try:
            line = await self.wire.open("POST", encode(message), headers, seconds)
            answer = await self._one_message(line, headers)
            response = None
            if answer is not None and "method" not in answer:
                response = self._checked(answer, message, line)
            return Exchange(line, message, asking, response)
        except BaseException as err:
            if line is not None:
                self.wire.close(line)
            if isinstance(err, asyncio.CancelledError) or getattr(err, "code", None) is ErrorCode.UPSTREAM_TIMEOUT:
                self._give_up(message)
            raise

    def _give_up(self, message: Message) -> None:
        """Tell a legacy server that nobody waits for an answer any more: to it, a connection that ends says nothing."""
        peer = self._peer
        if peer is None or peer.modern:
            return

        async def tell() -> None:
            with contextlib.suppress(UpstreamError):
                await self._tell(peer, given_up(message["id"]))

        self._beside(tell())

    def _beside(self, told: Coroutine[Any, Any, None]) -> None:
        """Tell the server something that no call waits for."""
        if len(self._answering) >= MAX_ANSWERING:
            told.close()
            return
        task = asyncio.create_task(told)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _one_message(self, line: Line, headers: dict[str, str]) -> Message | None:
        """Return what an answer says if it is one message; None if it is a stream of them."""
        if line.status == _GONE and SESSION_HEADER in headers:
            raise NotTakenError(_GONE)
        return await self.wire.message(line)

    async def _until_answered(self, exchange: Exchange) -> AsyncGenerator[Message]:
        """Yield the notifications of a stream, and the questions if they are heard, until the response has come."""
        replies: list[Message] = []
        async with contextlib.aclosing(self.wire.events(exchange.line)) as heard:
            async for told in heard:
                if "method" not in told:
                    exchange.answer = self._checked(told, exchange.message, exchange.line)
                    return
                if exchange.asking is not None and "id" in told and told["method"] in METHODS:
                    async for question in put(exchange.asking, told, replies.append):
                        yield question
                    await self._reply(replies.pop())
                    continue
                note = self._note(told, exchange.message["id"])
                if note is not None:
                    yield note

    async def _response(self, exchange: Exchange) -> Message:
        """Return the response of an exchange whose other messages are nobody's."""
        try:
            if exchange.answer is None:
                async for _ in self._until_answered(exchange):
                    pass
            return exchange.response
        finally:
            self.wire.close(exchange.line)

    def _checked(self, answer: Message, message: Message, line: Line) -> Message:
        """Return a response, if it answers our request; note the session that `initialize` opens.

        An error with an HTTP error is from before the server read the message: it has no id, or a made-up one.
        """
        if line.status != OK and "error" in answer and answer.get("id") != message["id"]:
            self._peer = None  # refused unread: it may be another server by now, so meet it anew next time
        else:
            _check_id(answer, message["id"])
        if message["method"] == "initialize":
            self._session = _session_id(line.headers.get(SESSION_HEADER))
        return answer

    def _note(self, message: Message, request_id: int) -> Message | None:
        """Return a notification that is the caller's to see; answer what the server asks."""
        method, params = message["method"], message.get("params")
        if "id" in message:
            self._beside(self._answer(message))
        elif method in CHANGED:
            self.changed()
        elif method == UPDATED:
            self.heard(uri_in(message))
        elif method == LOGGED:
            logged = log_of(params)
            return {"method": method, "params": logged} if logged is not None else None
        elif method == "notifications/progress" and isinstance(params, dict):
            token = params.get("progressToken")
            if type(token) is int and token == request_id:
                return {"method": method, "params": params}
        return None

    async def _answer(self, question: Message) -> None:
        """Tell a server that it may ask whether we live, and nothing else outside of a call that can be asked."""
        answer: Message = {"jsonrpc": "2.0", "id": question["id"]}
        if question["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": int(RpcCode.METHOD_NOT_FOUND), "message": "Charter answers no such question"}
        if self._peer is not None and not self._peer.modern:
            with contextlib.suppress(UpstreamError):
                await self._tell(self._peer, answer)

    async def _tell(self, peer: Peer, message: Message) -> None:
        """POST a message that no answer is due to."""
        self.wire.close(await self.wire.open("POST", encode(message), self._legacy_headers(peer), self._patience))

    async def _listen(self) -> None:
        """Hear of changes as long as the server tells them; in each gap something may have been missed."""
        pause = _FIRST_PAUSE
        while True:
            if self._peer is not None:
                with contextlib.suppress(UpstreamError):
                    if not await self._listen_once(self._peer):
                        return
                    pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
            self.changed()
            self.heard(None)

    async def _listen_once(self, peer: Peer) -> bool:
        """Hear one stream to its end; return False if the server offers none."""
        if peer.modern:
            message = request(self._next_id(), "subscriptions/listen", listening(self._watched), modern=True)
            line = await self.wire.open("POST", encode(message), self._modern_headers(message), None)
        else:
            line = await self.wire.open("GET", None, self._legacy_headers(peer), None)
        try:
            if line.status in _NO_LISTENING:
                return False
            if line.status != OK or content_type(line) != "text/event-stream":
                raise status_error(line.status)
            if self._former is not None and asyncio.current_task() is self._listening:
                self._former.cancel()
                self._former = None
            async with contextlib.aclosing(self.wire.events(line, endless=True)) as messages:
                async for heard in messages:
                    if "id" in heard and "method" in heard:  # outside of any call there is nobody to ask
                        self._note(heard, 0)
                    elif heard.get("method") == UPDATED:
                        self.heard(uri_in(heard))
                    elif heard.get("method") in CHANGED:
                        self.changed()
        finally:
            self.wire.close(line)
        return True

    @property
    def _patience(self) -> float:
        return self.wire.limits.negotiate_seconds

    def _modern_headers(self, message: Message) -> dict[str, str]:
        headers = {VERSION_HEADER: MODERN_VERSION, METHOD_HEADER: message["method"]}
        key = NAMED_BY.get(message["method"])
        if key is not None:
            headers[NAME_HEADER] = encode_header(message["params"][key])
        return headers

    def _legacy_headers(self, peer: Peer) -> dict[str, str]:
        session = {SESSION_HEADER: self._session} if self._session is not None else {}
        return {VERSION_HEADER: peer.version} | session

    def _next_id(self) -> int:
        self._issued += 1
        return self._issued


def _check_id(answer: Message, request_id: int) -> None:
    given = answer.get("id")
    if type(given) is not int or given != request_id:
        raise nonsense("a request that was not made here", sent=True)


def _session_id(given: str | None) -> str | None:
    if given is not None and not _SESSION_ID.fullmatch(given):
        raise nonsense("`initialize` with a session id that is none", sent=False)
    return given
