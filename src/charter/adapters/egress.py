"""Connections to hosts outside: made to an address that was checked, handed to the door that asked for one.

INVARIANT: a name is looked up once, and the connection is made to an address of that very answer that the rule lets
through: one that everyone reaches, or one in a private network that the system's file names.
INVARIANT: a connection belongs to the one request that the door announced, by an id that nobody else can know, and ends
with the call: when its authority is withdrawn, the socket is closed, also while the other side takes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.upstream_address import Address, plain_address, public_addresses, resolve
from charter.core.errors import ErrorCode
from charter.gateway.call import Call
from charter.gateway.egress import Destination
from charter.gateway.pins import UpstreamError
from charter.registry.egress import EgressTerms
from charter.registry.system import System

CONNECT_SECONDS = 10.0
BUFFER = 64 * 1024
OPENED = "notifications/egress/opened"
Message = dict[str, Any]


@dataclass(slots=True, eq=False)
class Wire:
    """A connection to a host outside, while it lasts."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    terms: EgressTerms
    sent: int = 0  # bytes, to the host
    received: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # set by the door when it is done
    why: str = "closed"

    @property
    def passed(self) -> int:
        """Bytes, both ways together."""
        return self.sent + self.received

    @property
    def is_full(self) -> bool:
        """Whether more went through than may."""
        return self.passed > self.terms.megabytes * 1_000_000


def hold_nothing(writer: asyncio.StreamWriter) -> None:
    """Have `drain` wait until all is sent, so that nothing is left to be sent at the end of a connection.

    Not over TLS, where asyncio has no such bound.
    """
    if writer.can_write_eof():
        writer.transport.set_write_buffer_limits(high=0)


def shut(writer: asyncio.StreamWriter) -> None:
    """Close a connection: what its other side did not take is dropped, or it could keep the socket for ever.

    Over TLS it has until `ssl_shutdown_timeout`.
    """
    if writer.can_write_eof() and writer.transport.get_write_buffer_size():
        writer.transport.abort()
    writer.close()


class Egress:
    """All connections through the forward proxy. Belongs to one event loop."""

    def __init__(self, rule: Callable[[Address], bool] = public_addresses) -> None:
        self._rule = rule
        self._wires: dict[str, Wire | None] = {}  # by the request that announced itself; None until it is connected

    def announce(self, request_id: str) -> None:
        """Expect a call with this id: the door's own, which it will take the connection for."""
        self._wires[request_id] = None

    def forget(self, request_id: str) -> None:
        """Expect it no more."""
        self._wires.pop(request_id, None)

    def wire(self, request_id: str) -> Wire:
        """Return the connection that a call with this id opened."""
        found = self._wires[request_id]
        assert found is not None  # noqa: S101 - asked for once the call said that it is open
        return found

    async def connected(self, call: Call, system: System) -> AsyncGenerator[Message]:
        """Connect as `call` says; yield that it is open, and, once the door is done, what went through.

        Raises:
            UpstreamError: no door waits for it, or the host is not to be reached.
        """
        request_id = call.request_id or ""
        if request_id not in self._wires:
            raise UpstreamError(
                ErrorCode.UNSUPPORTED,
                f"`{call.system}` is reached through the forward proxy, not by calls",
                sent=False,
                help="charter run gives an agent its address (HTTPS_PROXY)",
            )
        terms = system.egress or EgressTerms()
        host, port = str(call.arguments["host"]), int(call.arguments["port"])
        reader, writer = await self._connect(host, port, terms)
        wire = self._wires[request_id] = Wire(reader, writer, terms)
        try:
            yield {"method": OPENED, "params": {}}
            await wire.ended.wait()
            told = {"sent": wire.sent, "received": wire.received, "ended": wire.why}
            yield {"result": {"content": [], "structuredContent": told}}
        finally:
            shut(writer)

    async def _connect(
        self, host: str, port: int, terms: EgressTerms
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        def rule(address: Address) -> bool:
            return self._rule(address) or any(terms.reaches(each) for each in (address, plain_address(address)))

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for address in await _resolved(host, port, rule):
                    try:
                        reader, writer = await asyncio.open_connection(address, port, limit=BUFFER)
                    except OSError:
                        continue
                    hold_nothing(writer)
                    return reader, writer
        except TimeoutError:
            pass
        raise UpstreamError(
            ErrorCode.UPSTREAM_FAILED,
            f"`{Destination(host, port).authority}` cannot be reached",
            sent=False,
            help="check that it is up",
        )


async def _resolved(host: str, port: int, rule: Callable[[Address], bool]) -> list[str]:
    try:
        return await resolve(host, port, rule)
    except UpstreamError as err:
        is_literal = _is_address(host)
        text = f"`{host}` is" if is_literal else f"`{host}` has"
        if "may not have" in err.detail:
            detail = f"{text} an address that not everyone reaches, and that no network of `egress.private` holds"
            mend = "if it is meant, name its network under `egress.private` in the system's file"
            raise UpstreamError(ErrorCode.UPSTREAM_FAILED, detail, sent=False, help=mend) from err
        raise UpstreamError(
            ErrorCode.UPSTREAM_FAILED, f"`{host}` has no address", sent=False, help="check the name"
        ) from err


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
