"""MCP upstreams that Charter starts as children: started on first use, supervised, spoken to in the era they know.

INVARIANT: a child that dies is started again by the next call, after a pause that grows while it keeps dying.
INVARIANT: a call is written to a child at most once. What was under way when a child died is not tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.upstream_asks import Asking, again, capabilities_of, put
from charter.adapters.upstream_child import LOG_LINES, Child, ChildLimits, Mailbox, Program
from charter.adapters.upstream_rpc import (
    Ask,
    Listed,
    Message,
    Peer,
    final,
    initialize_params,
    is_quieter,
    list_all,
    list_resources,
    listening,
    peer_from_discover,
    peer_from_initialize,
    request,
    sent,
    telling,
    too_slow,
)
from charter.core.clock import Deadline
from charter.core.errors import ErrorCode
from charter.gateway.call import Call
from charter.gateway.pins import ToolDefinition, UpstreamError

SILENT_WAITS = 3  # requests in a row that were given up without one line from the child, before it is started anew
CLOCKS = 0.05  # seconds by which two that wait until the same moment may differ
PATIENT = 20.0  # seconds after which a request that its caller gave up counts; one that met its deadline always does
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a start, by how often in a row it died


@dataclass(slots=True)
class StdioServer:
    """One supervised upstream. Belongs to the event loop it is used on."""

    program: Callable[[], Program]  # asked at each start, so that new secrets are found
    changed: Callable[[], None]  # called when the server says that its tools changed, or is started anew
    limits: ChildLimits = field(default_factory=ChildLimits)
    asks: tuple[str, ...] = ()  # what it may ask, of whom it is called for
    heard: Callable[[str | None], None] = lambda _: None  # called with a resource that changed; None: any may have
    is_old: bool = False  # to be spoken to by the handshake, whatever else it knows
    _log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _child: Child | None = None
    _peer: Peer | None = None
    _starting: asyncio.Task[tuple[Child, Peer]] | None = None
    _deaths: int = 0
    _not_before: float = 0.0
    _silent: int = 0
    _level: str | None = None  # from which on it logs, once that was said
    _watching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _watched: frozenset[str] = frozenset()
    _listener: int | None = None  # the request that listens, by its id
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def log(self) -> tuple[str, ...]:
        """The last lines its children wrote to their error streams. For the operator: they may hold anything."""
        return tuple(self._log)

    @property
    def busy(self) -> int:
        """How many requests wait for an answer."""
        return self._child.busy if self._child else 0

    async def list_tools(self, deadline: Deadline) -> Listed:
        """Return the tools there are, and what else it offers.

        Raises:
            UpstreamError: the child cannot be started, dies, or answers nonsense.
        """
        child, peer = await self.ready(deadline)
        return await list_all(self._asking(child, peer, deadline), peer)

    async def list_resources(self, cursor: str | None, deadline: Deadline) -> tuple[list[Any], str | None]:
        """Return one page of its resources, and the cursor of the next.

        Raises:
            UpstreamError: the child cannot be started, dies, or answers nonsense.
            MalformedError: it does not know the cursor.
        """
        child, peer = await self.ready(deadline)
        return await list_resources(self._asking(child, peer, deadline), cursor)

    async def _speak_up(self, child: Child, peer: Peer, level: str | None, deadline: Deadline) -> None:
        """Have a legacy server log as much as any of its callers wants to be told."""
        if level is not None and is_quieter(peer, self._level, level):
            self._level = level
            await self._asking(child, peer, deadline)("logging/setLevel", {"level": level})

    @property
    def watched(self) -> frozenset[str]:
        """The resources whose changes it was asked to tell."""
        return self._watched if self._child is not None and self._child.fault is None else frozenset()

    @property
    def offers_updates(self) -> bool | None:
        """Whether it tells of changes of single resources, None if it was not met yet."""
        return self._peer.offered.updates if self._peer is not None else None

    async def watch(self, uris: frozenset[str], deadline: Deadline) -> bool:
        """Have it tell of changes of these resources and no others; return whether it does that at all.

        Raises:
            UpstreamError: the child cannot be started, dies, or answers nonsense.
        """
        async with self._watching:
            child, peer = await self.ready(deadline)
            if not peer.offered.updates:
                return False
            before, self._watched = self._watched, uris
            if peer.modern and before != uris:
                self._listen(child)
            elif not peer.modern:
                ask = self._asking(child, peer, deadline)
                for method, which in (("subscribe", uris - before), ("unsubscribe", before - uris)):
                    for uri in sorted(which):  # what it refuses is never told of, and not asked for again
                        await ask(f"resources/{method}", {"uri": uri})
        return True

    def _asking(self, child: Child, peer: Peer, deadline: Deadline) -> Ask:
        async def ask(method: str, params: Message) -> Message:
            return await self._ask(child, request(0, method, params, modern=peer.modern), deadline.remaining())

        return ask

    async def call(
        self,
        call: Call,
        tool: ToolDefinition | None,  # noqa: ARG002 - the other kind of upstream needs the tool
        deadline: Deadline,
        whose: str = "",
    ) -> AsyncGenerator[Message]:
        """Send one call of `whose`; yield its notifications and questions, and then its result or error, without ids.

        Raises:
            UpstreamError: it could not be sent, or no answer came.
        """
        child, peer = await self.ready(deadline)
        await self._speak_up(child, peer, call.logs, deadline)
        method, params = sent(call)
        asking, done = Asking(call, self.asks), False
        while not done:
            request_id, box = child.expect(whose)
            told = telling(params, request_id) if call.wants_progress else params
            message = request(request_id, method, told, modern=peer.modern)
            heard, began, is_answered = child.heard, asyncio.get_running_loop().time(), False
            try:
                child.write(asking.declare(message) if peer.modern else message)
                while not is_answered:
                    message = await box.get(deadline.remaining())
                    is_answered = "method" not in message
                    if not is_answered and "id" in message:
                        async for question in put(asking, message, child.write):
                            yield question
                    elif not is_answered:
                        yield message
            except TimeoutError:
                raise too_slow(sent=True) from None
            finally:  # whoever waits outside may give up first, at the same deadline or before
                if not is_answered:
                    child.cancel(request_id)
                    self._gave_up(child, heard, began, deadline.remaining())
                child.forget(request_id)
            self._silent = self._deaths = 0
            asked = asking.required(message) if peer.modern else None
            if asked is None:
                done = True
                yield final(message, sent=True)
                return
            if asked:
                yield {"method": "input_required", "questions": asked}
            params = again(params, message, asked)

    async def aclose(self) -> None:
        """End the child and wait until it is gone."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._child is not None:
            child, self._child = self._child, None
            await child.end()
        if self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def ready(self, deadline: Deadline) -> tuple[Child, Peer]:
        """Return the running child, started if need be. A start goes on when the caller that asked for it gives up.

        Raises:
            UpstreamError: it cannot be started, or died too often of late.
        """
        if self._child is not None and self._peer is not None and self._child.fault is None:
            return self._child, self._peer
        if self._starting is None:
            self._bury()
            wait = self._not_before - asyncio.get_running_loop().time()
            if wait > 0:
                raise UpstreamError(
                    ErrorCode.UPSTREAM_FAILED,
                    "the upstream keeps dying, and is started again after a pause",
                    sent=False,
                    retry_after_seconds=max(1, round(wait)),
                )
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        try:
            return await asyncio.wait_for(asyncio.shield(self._starting), deadline.remaining())
        except TimeoutError:
            raise too_slow(sent=False) from None

    def _started(self, task: asyncio.Task[tuple[Child, Peer]]) -> None:
        self._starting = None
        if task.cancelled() or task.exception() is not None:
            self._bury()

    def _bury(self) -> None:
        """Note that the child died, if there was one, and see that nothing of it stays behind."""
        if self._child is None:
            return
        child, self._child, self._peer = self._child, None, None
        pause = PAUSES[min(self._deaths, len(PAUSES) - 1)]
        self._deaths += 1
        self._not_before = child.failed_at + pause
        ending = asyncio.create_task(child.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _start(self) -> tuple[Child, Peer]:
        loop, program = asyncio.get_running_loop(), self.program()
        child = Child(self.limits, self.changed, self._log, self.heard)
        try:
            await loop.subprocess_exec(
                lambda: child,
                *program.words,
                cwd=program.cwd,
                env=dict(program.environment),
                start_new_session=True,
            )
        except OSError as err:
            raise UpstreamError(
                ErrorCode.UPSTREAM_FAILED,
                f"the upstream's command `{program.words[0]}` cannot be started: {err.strerror}",
                sent=False,
                help="check `upstream` in the system's file",
            ) from err
        self._child = child
        try:
            async with asyncio.timeout(self.limits.start_seconds):
                peer = await self._negotiate(child)
        except TimeoutError:
            child.fail(too_slow(sent=False))
            raise too_slow(sent=False) from None
        except UpstreamError as err:
            child.fail(err)
            raise UpstreamError(err.code, f"the upstream did not start: {err.detail}", sent=False) from err
        self._peer, self._watched, self._listener, self._level = peer, frozenset(), None, None
        self.changed()
        self.heard(None)
        if peer.modern and peer.tells_changes:
            self._listen(child)
        return child, peer

    async def _negotiate(self, child: Child) -> Peer:
        """Find out what the child speaks: the current version if it knows it, else the handshake."""
        late: Mailbox | None = None
        if not self.is_old:
            probe_id, probe = child.expect()
            child.write(request(probe_id, "server/discover", {}, modern=True))
            try:
                peer = peer_from_discover(await probe.get(self.limits.probe_seconds))
            except TimeoutError:
                peer, late = None, probe  # some servers never answer what comes before the handshake; some start slowly
            if peer is not None:
                return peer
        params = initialize_params(capabilities_of(self.asks))
        answer = await self._ask(child, request(0, "initialize", params, modern=False), None)
        if late is not None and "error" in answer:
            peer = peer_from_discover(await late.get(0.1))
            if peer is not None:
                return peer
        peer = peer_from_initialize(answer)
        child.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return peer

    async def _ask(self, child: Child, message: Message, seconds: float | None) -> Message:
        """Return the response to one request that is no call."""
        request_id, box = child.expect()
        heard, began, is_answered = child.heard, asyncio.get_running_loop().time(), False
        most = self.limits.start_seconds if seconds is None else seconds
        try:
            child.write(message | {"id": request_id})
            while True:
                answer = await box.get(most)
                if "method" not in answer:
                    is_answered = True
                    return answer
        except TimeoutError:
            raise too_slow(sent=False) from None
        finally:
            if not is_answered:
                self._gave_up(child, heard, began, most - (asyncio.get_running_loop().time() - began))
            child.forget(request_id)

    def _listen(self, child: Child) -> None:
        """Ask to be told of changes; what comes carries a subscription id and is routed by its method."""
        request_id, _ = child.expect()
        child.forget(request_id)
        with contextlib.suppress(UpstreamError):
            child.write(request(request_id, "subscriptions/listen", listening(self._watched), modern=True))
        if self._listener is not None:  # the new one hears all that the old one did
            child.cancel(self._listener)
        self._listener = request_id

    def _gave_up(self, child: Child, heard: int, began: float, left: float) -> None:
        """Count a request that nobody waits for any more, if it had its time; `left` are seconds of it."""
        if child.heard != heard:
            self._silent = 0
        elif left <= CLOCKS or asyncio.get_running_loop().time() - began >= PATIENT:
            self._silent += 1
        if self._silent >= SILENT_WAITS:
            self._silent = 0
            child.fail(UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream answers nothing any more", sent=True))
