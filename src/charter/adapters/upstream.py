"""Where allowed MCP calls go: one supervised server per system, its tools kept for a short while.

INVARIANT: `call` spends the permit before anything else happens, and sends exactly the call it was spent for. There is
no other way from the pipeline to an upstream.
INVARIANT: definitions are live: read from the server at most a minute ago, and anew when it says that they changed or
was started or met anew. If they cannot be read, there are none.
INVARIANT: the caller's token is not known here; upstreams get their own credential, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from charter.adapters.upstream_address import AddressRule, usual_addresses
from charter.adapters.upstream_child import ENDED, ChildLimits, Program
from charter.adapters.upstream_http import HttpServer
from charter.adapters.upstream_rpc import Listed, Message, too_slow, tool_named
from charter.adapters.upstream_secrets import PlainProof, Proof
from charter.adapters.upstream_stdio import StdioServer
from charter.adapters.upstream_watch import Watching
from charter.adapters.upstream_wire import HttpLimits, HttpWire
from charter.core.clock import Clock, Deadline
from charter.core.errors import CharterError, ErrorCode
from charter.gateway.call import Call
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition, ToolList, UpstreamError
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.upstream import HttpUpstream, StdioUpstream
from charter.registry.upstream_credential import PersonCredential

MAX_REACHED = 4_000  # servers held at once; the one that was used longest ago is let go
RETIRE_SECONDS = 60.0  # for calls under way when a system's upstream is changed
AGAIN_SECONDS = 10.0  # before a server is told again what is watched, if it could not be told
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # variables of Charter's own that every child gets
Config = StdioUpstream | HttpUpstream


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """What all upstreams share."""

    estate: Path  # `${estate}` in commands, and the folder that children start in
    variable: Callable[[str], str | None]  # reads one variable of Charter's own environment
    child: ChildLimits = field(default_factory=ChildLimits)
    http: HttpLimits = field(default_factory=HttpLimits)
    rule: AddressRule = usual_addresses
    proof_of: Callable[[SystemRecord, str | None], Proof] | None = None  # None: from the environment alone


class Server(Protocol):
    """One upstream, over either transport."""

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        ...

    @property
    def log(self) -> tuple[str, ...]:
        """The last lines it logged."""
        ...

    async def ready(self, deadline: Deadline) -> object:
        """Start or meet it."""
        ...

    async def list_tools(self, deadline: Deadline) -> Listed:
        """Return its tools, and what else it offers."""
        ...

    async def list_resources(self, cursor: str | None, deadline: Deadline) -> tuple[list[Any], str | None]:
        """Return one page of its resources, and the cursor of the next."""
        ...

    @property
    def watched(self) -> frozenset[str]:
        """The resources whose changes it was asked to tell."""
        ...

    @property
    def offers_updates(self) -> bool | None:
        """Whether it tells of changes of single resources, None if it was not met yet."""
        ...

    async def watch(self, uris: frozenset[str], deadline: Deadline) -> bool:
        """Have it tell of changes of these resources and no others; return whether it does that at all."""
        ...

    def call(
        self, call: Call, tool: ToolDefinition | None, deadline: Deadline, whose: str = ""
    ) -> AsyncGenerator[Message]:
        """Send one call of `whose`; yield notifications and questions, then one result or error."""
        ...

    async def aclose(self) -> None:
        """End it."""
        ...


class _Reached:
    """A server, and its tools as last read."""

    def __init__(
        self, config: Config, proof: Proof, settings: UpstreamSettings, clock: Clock, watching: Watching | None = None
    ) -> None:
        self.config = config
        self.edition = proof.edition
        self.watching = watching or Watching(clock)
        self.server = connect(config, settings, self._changed, proof, self.watching.heard)
        self._telling: asyncio.Task[None] | None = None
        self.tools: ToolList | None = None
        self._clock = clock
        self._fresh_until = 0.0
        self.changes = 0  # how often they may have changed
        self._reading = asyncio.Lock()

    def _changed(self) -> None:
        self.changes += 1
        self._fresh_until = 0.0

    @property
    def fresh(self) -> ToolList | None:
        """The tools, if they were read lately enough."""
        return self.tools if self._clock.monotonic() < self._fresh_until else None

    async def read(self, deadline: Deadline) -> ToolList:
        """Return the tools, read anew; whoever asks meanwhile shares the answer."""
        try:
            async with asyncio.timeout(deadline.remaining()), self._reading:
                if self.fresh is not None:
                    return self.fresh
                await self.server.ready(deadline)
                before = self.changes
                listed = await self.server.list_tools(deadline)
        except TimeoutError:
            raise too_slow(sent=False) from None
        if listed.list != self.tools:  # an equal list stays the very same, so that nobody is told of a change
            self.tools = listed.list
        self._fresh_until = self._clock.monotonic() + listed.ttl if self.changes == before else 0.0
        return self.tools

    async def watch(self, uris: Collection[str], deadline: Deadline) -> bool:
        """Listen for changes of these resources as well; return whether the server tells them."""
        self.watching.ask(uris)
        return await self.server.watch(self.watching.wanted, deadline)

    def keep_watching(self, uri: str) -> int:
        """Return how often a resource changed; see to it that its changes go on being told."""
        self.watching.ask((uri,))
        is_idle = self._telling is None or self._telling.done()
        if is_idle and self.server.offers_updates is not False and self.watching.wanted != self.server.watched:
            self._telling = asyncio.create_task(self._tell())
        return self.watching.count(uri)

    async def _tell(self) -> None:
        """Tell the server what is wanted; if it cannot be told, wait a while before the next try."""
        try:
            await self.server.watch(self.watching.wanted, Deadline.after(self._clock, AGAIN_SECONDS))
        except CharterError:
            await asyncio.sleep(AGAIN_SECONDS)

    async def aclose(self) -> None:
        """End the server."""
        if self._telling is not None:
            self._telling.cancel()
        await self.server.aclose()


class McpUpstreams:
    """All upstreams. Belongs to one event loop."""

    def __init__(
        self,
        live: LiveEstate,
        permits: PermitLedger,
        clock: Clock,
        settings: UpstreamSettings,
        heard: Callable[[SystemRecord, ToolList], None] | None = None,
    ) -> None:
        """`heard` is told each time a system's tools turn out to be other than they were."""
        self._live = live
        self._permits = permits
        self._clock = clock
        self._settings = settings
        self._heard = heard
        self._reached: dict[str, _Reached] = {}  # by system, or system/person where the upstream tells people apart
        self._retiring: set[asyncio.Task[None]] = set()

    async def tools(self, record: SystemRecord, deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return the definitions of the tools that a system has right now.

        Raises:
            UpstreamError: it cannot be reached, or answers nonsense.
        """
        reached = self._reach(record, record.system.owner.person)  # where people are told apart, as its owner sees it
        fresh = reached.fresh
        if fresh is None:
            before = reached.tools
            fresh = await reached.read(deadline)
            if self._heard is not None and fresh is not before:
                self._heard(record, fresh)
        return fresh.tools

    async def resources(
        self, record: SystemRecord, delegation: str | None, cursor: str | None, deadline: Deadline
    ) -> tuple[list[Any], str | None]:
        """Return one page of the resources that a system lists, as whoever acts under `delegation` sees them.

        Raises:
            UpstreamError: it cannot be reached, or answers nonsense.
            MalformedError: it does not know the cursor.
        """
        return await self._for(record, delegation).server.list_resources(cursor, deadline)

    async def watch(
        self, record: SystemRecord, delegation: str | None, uris: Collection[str], deadline: Deadline
    ) -> bool:
        """Have changes of resources counted, as whoever acts under `delegation` sees them; False if none are told.

        Raises:
            UpstreamError: the server cannot be reached, or answers nonsense.
            ThrottledError: too many are watched.
        """
        return await self._for(record, delegation).watch(uris, deadline)

    def updates(self, record: SystemRecord, delegation: str | None, uri: str) -> int:
        """Return how often a watched resource changed; what is not asked about for a minute is not watched any more.

        Raises:
            UpstreamError: the system has no upstream any more.
            ThrottledError: too many are watched.
        """
        return self._for(record, delegation).keep_watching(uri)

    def offers_updates(self, record: SystemRecord) -> bool:
        """Whether a system tells of changes of single resources, as far as that is known."""
        reached = self._reached.get(record.name)
        return reached is None or reached.server.offers_updates is not False

    def _for(self, record: SystemRecord, delegation: str | None) -> _Reached:
        chain = self._live.delegations.chain_of(delegation)
        return self._reach(record, chain.initiator if chain else None)

    def known(self, record: SystemRecord) -> tuple[ToolDefinition, ...] | None:
        """Return the definitions last read, None if they never were."""
        reached = self._reached.get(record.name)
        return reached.tools.tools if reached is not None and reached.tools is not None else None

    def edition(self, record: SystemRecord) -> tuple[object, int]:
        """Return what is no longer the same, item by item, once the system's tools may have changed."""
        reached = self._reached.get(record.name)
        return (None, 0) if reached is None else (reached.tools, reached.changes)

    def call(self, permit: Permit, call: Call, deadline: Deadline) -> AsyncGenerator[Message]:
        """Spend `permit` on `call`; return what makes it, and yields notes, questions, then one result or error.

        Raises:
            IntegrityError: the permit is not good for this call; nothing was sent.
            UpstreamError: the call could not be sent, or no proper answer came.
        """
        self._permits.redeem(permit, call)
        record = self._live.systems.get(call.system)
        if record is None:
            raise UpstreamError(ErrorCode.UNKNOWN_SYSTEM, f"there is no system `{call.system}` any more", sent=False)
        listed = self._reach(record, record.system.owner.person)
        tool = tool_named(listed.tools.tools, call.tool) if listed.tools is not None else None
        if tool is None or tool.digest != call.tool_pin:
            raise UpstreamError(
                ErrorCode.UNKNOWN_TOOL,
                f"the definition of the tool `{call.tool}` changed while the call was decided",
                sent=False,
                help="list the tools again, then call",
            )
        reached = self._for(record, permit.delegation) if tells_people_apart(listed.config) else listed
        whose = f"{permit.principal_id}/{permit.delegation or ''}"
        return reached.server.call(call, tool, deadline, whose)

    def logs(self, system: str) -> tuple[str, ...]:
        """Return the last lines a system's servers wrote to their error streams: they may hold anything."""
        keys = (key for key in self._reached if key.partition("/")[0] == system)
        return tuple(line for key in keys for line in self._reached[key].server.log)

    async def aclose(self) -> None:
        """End all servers; calls under way fail."""
        reached, self._reached = list(self._reached.values()), {}
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, *(each.aclose() for each in reached), return_exceptions=True)

    def _reach(self, record: SystemRecord, person: str | None = None) -> _Reached:
        """Return the system's server; one whose `upstream` was changed is replaced, and ends once it is idle.

        `person` is on whose behalf it is reached, where it tells people apart.
        """
        config = record.system.upstream
        if config is None:
            raise UpstreamError(
                ErrorCode.UPSTREAM_FAILED,
                f"the system `{record.name}` has no upstream",
                sent=False,
                help="write `upstream` into the system's file",
            )
        if not tells_people_apart(config):
            key, person = record.name, None
        else:
            key = f"{record.name}/{person or ''}"
        settings = self._settings
        proof = settings.proof_of(record, person) if settings.proof_of else PlainProof(config, settings.variable)
        reached = self._reached.pop(key, None)
        is_same = reached is not None and (reached.config is config or reached.config == config)
        if reached is None or not is_same or reached.edition != proof.edition:
            self._retire(reached)
            watching = reached.watching if reached is not None else None
            reached = _Reached(config, proof, settings, self._clock, watching)
        self._reached[key] = reached  # the last used is the last in the dictionary
        if len(self._reached) > MAX_REACHED:
            self._retire(self._reached.pop(next(iter(self._reached))))
        return reached

    def _retire(self, reached: _Reached | None) -> None:
        if reached is not None:
            task = asyncio.create_task(_retire(reached))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


def connect(
    config: Config,
    settings: UpstreamSettings,
    changed: Callable[[], None],
    proof: Proof | None = None,
    heard: Callable[[str | None], None] = lambda _: None,
) -> Server:
    """Return the server that `config` describes. Nothing is started yet."""
    proof, asks, is_old = proof or PlainProof(config, settings.variable), config.asks or (), bool(config.handshake)
    if isinstance(config, StdioUpstream):
        stdio, proved = config, proof
        return StdioServer(lambda: program_of(stdio, settings, proved), changed, settings.child, asks, heard, is_old)
    wire = HttpWire(config.url, proof.headers, proof.refused, settings.http, settings.rule)
    return HttpServer(wire, changed, asks, heard, is_old)


def tells_people_apart(config: Config) -> bool:
    """Whether the upstream is reached with a token of the person on whose behalf it is called."""
    return isinstance(config, HttpUpstream) and isinstance(config.credential, PersonCredential)


def program_of(config: StdioUpstream, settings: UpstreamSettings, proof: Proof) -> Program:
    """Return what to start: `${estate}` filled in, and the environment its system file allows.

    Raises:
        UpstreamError: a secret it needs is not to be had.
    """
    estate = str(settings.estate.resolve())

    def filled(text: str) -> str:
        return text.replace("${estate}", estate)

    passed = {name: value for name in (*INHERITED, *config.pass_env) if (value := settings.variable(name)) is not None}
    own = {name: filled(value) for name, value in config.env.items()} | dict(proof.variables())
    return Program(tuple(map(filled, config.command)), filled(config.cwd or estate), passed | own)


async def read_tools(config: Config, settings: UpstreamSettings, deadline: Deadline) -> ToolList:
    """Return the tools of a server that no system stands for yet: what an import looks at.

    Raises:
        UpstreamError: it cannot be reached, or answers nonsense; `help` holds its last words, if there are any.
    """
    server = connect(config, settings, lambda: None)
    try:
        await server.ready(deadline)
        return (await server.list_tools(deadline)).list
    except UpstreamError as err:
        await server.aclose()  # now all it said has been read
        said = [line for line in server.log if not line.startswith(ENDED)]
        words = f"its last words were: {said[-1]!a}" if said else err.help
        raise UpstreamError(err.code, err.detail, sent=False, help=words) from err
    finally:
        await server.aclose()


async def _retire(reached: _Reached) -> None:
    """End a server once nothing waits for it any more."""
    try:
        async with asyncio.timeout(RETIRE_SECONDS):
            while reached.server.busy:  # noqa: ASYNC110 - rare, and an event would burden every call
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    finally:
        await reached.aclose()
