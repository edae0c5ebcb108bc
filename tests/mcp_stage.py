"""A stage for the MCP gateway: the real endpoint and upstreams around a pipeline that decides by a table.

The pipeline here keeps the real one's promises towards the wire (permits from the real ledger, streams from the real
registry, outcomes noted) and leaves out what the wire cannot see: policy, limits, durable evidence.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import uvicorn

from charter.adapters.upstream import McpUpstreams, UpstreamSettings
from charter.adapters.upstream_child import ChildLimits
from charter.adapters.upstream_wire import HttpLimits
from charter.config import variable
from charter.core.clock import Deadline, SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.gateway.call import Bearer, Call
from charter.gateway.mcp_logs import Hearing
from charter.gateway.permit import PermitLedger
from charter.gateway.pins import ToolDefinition, UpstreamError
from charter.gateway.pipeline import Admitted, Refused
from charter.gateway.streams import OpenStream, OpenStreams
from charter.policy.verdict import Allow, Deny, Escalate, Layer, Reason
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.standing import Standing
from charter.registry.system import System
from charter.server.connection import Connection
from charter.server.gateway import GatewayApp, GatewaySettings

SERVERS = Path(__file__).parent / "servers"
NOTES = (sys.executable, str(SERVERS / "notes.py"))
NOTES_TOOLS = ("read_note", "write_note", "drop_note", "count", "wait", "environment")
CLOCK = SystemClock()
FAR = 4_000_000_000


def a_record(upstream: dict[str, Any], tools: Sequence[str] = NOTES_TOOLS, name: str = "notes") -> SystemRecord:
    """Return a system of the given upstream whose actions are its tools."""
    system = System.model_validate(
        {
            "charter": "v1",
            "system": name,
            "kind": "mcp",
            "environment": "sandbox",
            "owner": {"person": "pia@example.com", "team": "notes-team"},
            "upstream": upstream,
            "actions": {tool: {"tool": tool, "effect": "read"} for tool in tools},
        }
    )
    return SystemRecord(name, 1, system.digest, Standing.ACTIVE, system)


def stdio(*command: str, **more: Any) -> dict[str, Any]:
    return {"transport": "stdio", "command": command, **more}


def http(url: str, **more: Any) -> dict[str, Any]:
    return {"transport": "http", "url": url, **more}


def rogue(mode: str) -> dict[str, Any]:
    """Return an upstream that misbehaves."""
    return stdio(sys.executable, "-S", str(SERVERS / "rogue.py"), mode)


def a_call(tool: str, arguments: dict[str, Any] | None = None, **changed: Any) -> Call:
    return Call(
        **{"system": "notes", "tool": tool, "arguments": arguments or {}, "digest": "d", "tool_pin": None} | changed
    )


def deadline(seconds: float = 20.0) -> Deadline:
    return Deadline.after(CLOCK, seconds)


@dataclass
class TablePipeline:
    """Decides by a table, and notes what happened."""

    live: LiveEstate
    permits: PermitLedger
    upstream: McpUpstreams
    streams: OpenStreams = field(default_factory=OpenStreams)
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)  # token -> (principal, audience)
    denied: set[str] = field(default_factory=set)  # tools
    held: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    expires_at: int = FAR

    def authenticate(self, token: str, *, audience: str, at: datetime, **_: object) -> Bearer:  # noqa: ARG002
        who, made_for = self.tokens.get(token, ("", ""))
        if not who:
            raise UnauthenticatedError(ErrorCode.BAD_TOKEN, "the token is not one of ours")
        if made_for != audience:
            raise UnauthenticatedError(
                ErrorCode.WRONG_AUDIENCE, f"the token is for `{made_for}`", help="ask for another"
            )
        return Bearer(f"prn_{who}", who, 1, "sha256:0", "jti", "thumb", self.expires_at)

    async def submit(self, bearer: Bearer, call: Call, deadline: Deadline, *, source: str) -> Admitted | Refused:  # noqa: ARG002
        self.calls.append(call)
        if call.tool_pin is None or call.tool in self.denied:
            return Refused("vrd_1", Deny((a_reason(),)), None)
        if call.tool in self.held:
            return Refused("vrd_2", Escalate((a_reason(Layer.APPROVAL),), ("payments-lead",)), "apr_7")
        permit = self.permits.issue(verdict_id="vrd_3", principal_id=bearer.principal_id, call=call)
        messages = self._forward(permit, bearer, call, deadline)
        return Admitted(
            "vrd_3", 1, messages, is_approved=False, reasons=(), give_up=lambda: self.permits.discard(permit)
        )

    async def _forward(
        self, permit: Any, bearer: Bearer, call: Call, deadline: Deadline
    ) -> AsyncIterator[dict[str, Any]]:
        outcome, hearing = "cancelled", Hearing(call.logs)
        try:
            with self.streams.open(bearer.principal_id) as stream:
                async with contextlib.aclosing(self.upstream.call(permit, call, deadline)) as messages:
                    while (message := await stream.next(messages)) is not None:
                        if not hearing.lets(message):
                            continue
                        outcome = "answered" if "method" not in message else outcome
                        yield message
                if stream.why is not None:
                    outcome = "withdrawn"
                    yield {"error": {"code": -31011, "message": stream.why}}
        except UpstreamError as err:
            outcome = f"failed sent={err.sent}"
            raise
        finally:
            self.outcomes.append(outcome)

    def visible(
        self, bearer: Bearer, system: str, tools: Sequence[ToolDefinition]
    ) -> tuple[list[ToolDefinition], str | None]:
        shown = [tool for tool in tools if tool.name not in self.hidden]
        return shown, None if shown else f"the charter of `{bearer.principal_name}` grants nothing on `{system}`"

    def would(self, bearer: Bearer, call: Call, at: datetime) -> tuple[object, Allow | Deny]:  # noqa: ARG002
        return None, Deny((a_reason(),)) if call.tool in self.denied else Allow(())

    def listed(self, bearer: Bearer, call: Call, listed: Sequence[Any]) -> None:
        pass

    @contextlib.contextmanager
    def admit_stream(self, bearer: Bearer) -> Iterator[OpenStream]:
        with self.streams.open(bearer.principal_id) as stream:
            yield stream


def a_reason(layer: Layer = Layer.CHARTER) -> Reason:
    return Reason(layer, "agent/grant-1", "amounts stop at 200 EUR", "ask for 200 EUR or less", "agent")


@dataclass
class Stage:
    """A gateway that listens, and what is behind it."""

    issuer: str
    app: GatewayApp
    pipeline: TablePipeline
    upstream: McpUpstreams
    live: LiveEstate

    def url(self, system: str = "notes") -> str:
        return f"{self.issuer}/mcp/{system}"

    def token(self, who: str = "agent", system: str = "notes") -> str:
        token = f"token-of-{who}-{system}"
        self.pipeline.tokens[token] = (who, self.url(system))
        return token


@contextlib.asynccontextmanager
async def serving(app: Any, *, lifespan: Literal["on", "off"] = "off", most: int | None = None) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; give its URL. Made once the port is known if it `takes_url`.

    `most` bounds its connections.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so that asyncio sets TCP_NODELAY
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    made = app(url) if getattr(app, "takes_url", False) else app
    config = uvicorn.Config(
        made,
        http=Connection,
        ws="none",
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=1,
        lifespan=lifespan,
        limit_concurrency=most,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
            if task.done():
                task.result()
        yield url
    finally:
        server.should_exit = True
        await task
        listener.close()


@contextlib.asynccontextmanager
async def stage(
    *records: SystemRecord,
    child: ChildLimits | None = None,
    limits: HttpLimits | None = None,
    environment: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Give a gateway in front of the records' upstreams."""
    live = LiveEstate(systems={record.name: record for record in records})
    permits = PermitLedger(CLOCK)
    upstream = McpUpstreams(live, permits, CLOCK, settings_of(child, limits, environment))
    pipeline = TablePipeline(live, permits, upstream)
    made: list[GatewayApp] = []

    def app(url: str) -> GatewayApp:
        told = GatewaySettings.at(url, int(url.rpartition(":")[2]), **settings)
        made.append(GatewayApp(told, pipeline, upstream, live, CLOCK, SystemEntropy()))
        return made[0]

    app.takes_url = True  # type: ignore[attr-defined]  # a mark for `serving`
    try:
        async with serving(app) as url:
            yield Stage(url, made[0], pipeline, upstream, live)
    finally:
        await upstream.aclose()


async def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so, or fail."""
    for _ in range(int(seconds / 0.01)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be")


class Background:
    """An event loop in a thread of its own, where a stage stands for a whole module of tests."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: list[Any] = []

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine over there and return its result."""
        return self.start(coroutine).result(60)

    def start(self, coroutine: Any) -> concurrent.futures.Future[Any]:
        """Let a coroutine run over there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def enter(self, context: Any) -> Any:
        """Enter an asynchronous context over there, to be left at the end."""
        entered: asyncio.Future[Any] = self._loop.create_future()
        leave = asyncio.Event()

        async def hold() -> None:
            try:
                async with context as value:
                    entered.set_result(value)
                    await leave.wait()
            except BaseException as err:
                if not entered.done():
                    entered.set_exception(err)
                raise

        task = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        self._open.append((leave, task))

        async def value() -> Any:
            return await entered

        return self.run(value())

    def close(self) -> None:
        """Leave what was entered, last first, and stop."""
        for leave, task in reversed(self._open):
            self._loop.call_soon_threadsafe(leave.set)
            task.result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._runner.close()  # with what is under way, which would be found unclosed at any later time


def settings_of(
    child: ChildLimits | None = None, limits: HttpLimits | None = None, environment: dict[str, str] | None = None
) -> UpstreamSettings:
    given = environment or {}
    return UpstreamSettings(
        Path(__file__).parent,
        lambda name: given.get(name, variable(name)),
        child or ChildLimits(),
        limits or HttpLimits(),
    )
