"""One MCP server as a child process: lines in, lines out, and who waits for which answer.

INVARIANT: a child gets exactly the environment it is given, and runs in a process group of its own.
INVARIANT: many calls share one child, told apart by ids that only Charter chooses. A line that is no message, too long,
or answers an id never given shows that nothing it says can be trusted: all calls under way fail and the child is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from typing_extensions import override

from charter.adapters.upstream_rpc import CHANGED, UPDATED, Message, encode, given_up, nonsense, read_message, uri_in
from charter.core.errors import ErrorCode
from charter.gateway.mcp_logs import LOGGED, log_of
from charter.gateway.mcp_protocol import RpcCode
from charter.gateway.mcp_questions import METHODS
from charter.gateway.pins import UpstreamError

MAX_NOTES = 256  # notifications that wait for one slow caller; further ones are dropped
MAX_NOISE = 64  # lines that are no messages, before the first answer: many servers greet on the wrong stream
MAX_UNWRITTEN = 8 * 1024 * 1024  # bytes a child may leave unread before it counts as stuck
LOG_LINES, LOG_LINE = 200, 500
ENDED = "(charter: "  # how a line begins that says how a child ended
GRACE_SECONDS = 2.0
LAST_WORDS_SECONDS = 0.5  # to read what it said to standard error, once it is gone


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may use."""

    start_seconds: float = 20.0
    probe_seconds: float = 8.0  # for an answer to `server/discover`, before the handshake is tried
    line_bytes: int = 16 * 1024 * 1024
    open_files: int = 4096
    data_bytes: int = 4 * 1024**3  # writable memory (RLIMIT_DATA)


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: words, folder and the whole environment."""

    words: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets


class Mailbox:
    """What the child says about one request, in order."""

    __slots__ = ("_waiter", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Message | UpstreamError] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Message | UpstreamError) -> None:
        """Add a message; a notification is dropped while too many wait."""
        if isinstance(item, dict) and "method" in item and len(self._waiting) >= MAX_NOTES:
            return
        self._waiting.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self, seconds: float) -> Message:
        """Return the next message.

        Raises:
            TimeoutError: none came in time.
            UpstreamError: the child died, or answered nonsense.
        """
        if not self._waiting:
            self._waiter = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(seconds):
                await self._waiter
        item = self._waiting.popleft()
        if isinstance(item, UpstreamError):
            raise item
        return item


class Child(asyncio.SubprocessProtocol):
    """One process: lines in, lines out, and who waits for which answer."""

    def __init__(
        self,
        limits: ChildLimits,
        changed: Callable[[], None],
        log: deque[str],
        updated: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.exited = asyncio.Event()
        self._silent = asyncio.Event()  # its standard error has been read to the end
        self.fault: UpstreamError | None = None
        self.failed_at = 0.0  # on the event loop's clock
        self.heard = 0  # lines so far
        self._limits = limits
        self._changed = changed
        self._log = log
        self._updated = updated
        self._boxes: dict[int, Mailbox] = {}
        self._calls: dict[int, str] = {}  # calls under way, and whose they are
        self._served: set[str] = set()  # all who ever called; more than one cannot be told apart
        self._issued = 0
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._noise = MAX_NOISE
        self._process: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", self._process.get_pipe_transport(0))
        _limit(self._process.get_pid(), self._limits)

    @override
    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._keep_log(data)
            return
        *ends, rest = data.split(b"\n")
        for end in ends:
            line, self._line, self._line_bytes = b"".join((*self._line, end)), [], 0
            if line and self.fault is None:
                self._hear(line)
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
        if self._line_bytes > self._limits.line_bytes:
            self.fail(nonsense(f"a line of more than {self._limits.line_bytes} bytes", sent=True))

    @override
    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 2:  # noqa: PLR2004 - standard error
            self._silent.set()
        if fd == 1:  # most often it has ended, and says how in a moment
            closed = UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream closed its output", sent=True)
            asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self.fail, closed)

    @override
    def process_exited(self) -> None:
        code = self._process.get_returncode() if self._process else None
        how = f"ended with code {code}" if code is None or code >= 0 else f"was ended by signal {-code}"
        self.fail(UpstreamError(ErrorCode.UPSTREAM_FAILED, f"the upstream {how}", sent=True))
        self.signal(signal.SIGKILL)  # whatever it left behind in its group
        self.exited.set()

    def expect(self, whose: str | None = None) -> tuple[int, Mailbox]:
        """Return a fresh request id and where its answers will arrive; `whose` call it is, if it is one."""
        self._issued += 1
        box = self._boxes[self._issued] = Mailbox()
        if whose is not None:
            self._calls[self._issued] = whose
            if len(self._served) < 2:  # noqa: PLR2004 - two are too many already
                self._served.add(whose)
        return self._issued, box

    @property
    def busy(self) -> int:
        """How many requests wait for an answer."""
        return len(self._boxes)

    def forget(self, request_id: int) -> None:
        """Stop waiting; a late answer is ignored."""
        self._boxes.pop(request_id, None)
        self._calls.pop(request_id, None)

    def write(self, message: Message) -> None:
        """Send one line.

        Raises:
            UpstreamError: the child is gone or reads nothing; the line was not sent.
        """
        if self.fault is not None or self._stdin is None or self._stdin.is_closing():
            why = self.fault.detail if self.fault is not None else "the upstream is not running"
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, why, sent=False)
        if self._stdin.get_write_buffer_size() > MAX_UNWRITTEN:
            self.fail(UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream reads nothing any more", sent=True))
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream reads nothing any more", sent=False)
        self._stdin.write(encode(message) + b"\n")

    def cancel(self, request_id: int) -> None:
        """Tell the child that nobody waits for this answer any more."""
        with contextlib.suppress(UpstreamError):
            self.write(given_up(request_id))

    def fail(self, fault: UpstreamError) -> None:
        """End all waiting with `fault`, and the process."""
        if self.fault is None:
            self._end_all(fault)
            self.signal(signal.SIGKILL)

    def _end_all(self, fault: UpstreamError) -> None:
        self.fault, self.failed_at = fault, asyncio.get_running_loop().time()
        self._log.append(f"{ENDED}{fault.detail})")
        for box in self._boxes.values():
            box.put(fault)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.get_pid(), number)

    async def end(self) -> None:
        """End the process: first by closing its input, then by asking, then by force."""
        if self._process is None:
            return
        if self.fault is None:
            self._end_all(UpstreamError(ErrorCode.UPSTREAM_FAILED, "the upstream is being stopped", sent=True))
        if self._stdin is not None:
            self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if await self._gone(GRACE_SECONDS):
                break
            self.signal(number)
        await self._gone(GRACE_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._silent.wait(), LAST_WORDS_SECONDS)
        self._process.close()

    async def _gone(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), seconds)
        return self.exited.is_set()

    def _keep_log(self, data: bytes) -> None:
        for line in data.decode(errors="replace").splitlines():
            self._log.append(line[:LOG_LINE])

    def _hear(self, line: bytes) -> None:
        try:
            self._route(read_message(line, sent=True))
        except UpstreamError as fault:
            if self.heard == 0 and self._noise > 0 and not line.lstrip().startswith(b"{"):
                self._noise -= 1
                return
            self.fail(fault)

    def _route(self, message: Message) -> None:
        self.heard += 1
        request_id, method = message.get("id"), message.get("method")
        if isinstance(method, str):
            if request_id is None:
                self._note(method, message)
            else:
                self._asked(method, request_id, message.get("params"))
        elif type(request_id) is not int or not 0 < request_id <= self._issued:
            raise nonsense("a request that was never made", sent=True)
        elif request_id in self._boxes:
            self._calls.pop(request_id, None)  # it is over: what the child asks from now on is not about it
            self._boxes[request_id].put(message)

    def _note(self, method: str, message: Message) -> None:
        params = message.get("params")
        if method in CHANGED:
            self._changed()
        elif method == UPDATED:
            self._updated(uri_in(message))
        elif method == LOGGED:
            self._log.append(f"logged: {params!r}"[:LOG_LINE])
            box, logged = self._sole, log_of(params)
            if box is not None and logged is not None:
                box.put({"method": method, "params": logged})
        elif method == "notifications/progress" and isinstance(params, dict):
            token = params.get("progressToken")
            if type(token) is int and token in self._boxes:
                self._boxes[token].put({"method": method, "params": params})

    @property
    def _sole(self) -> Mailbox | None:
        """The one call that is under way, of a child that never served anybody else.

        Over this wire nothing says which call a question, or what is logged, belongs to. To that one alone it is passed
        on: it cannot then be meant for, or come from, another principal's.
        """
        return self._boxes.get(next(iter(self._calls))) if len(self._calls) == len(self._served) == 1 else None

    def _asked(self, method: str, request_id: object, params: object) -> None:
        """Answer what the child asks: whether we live; and have its one call asked the rest."""
        box = self._sole
        if box is not None and method in METHODS:
            box.put({"method": method, "id": request_id, "params": params})
            return
        answer: Message = {"jsonrpc": "2.0", "id": request_id}
        if method == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": int(RpcCode.METHOD_NOT_FOUND), "message": "Charter answers no such question"}
        with contextlib.suppress(UpstreamError):
            self.write(answer)


def _limit(pid: int, limits: ChildLimits) -> None:
    """Bound what the process may use. Memory by RLIMIT_DATA, as node reserves address space by the terabyte."""
    bounds = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_DATA, limits.data_bytes),
    )
    for which, bound in bounds:
        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError, AttributeError):  # not Linux
            _, hard = resource.prlimit(pid, which)
            most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            resource.prlimit(pid, which, (most, most))
