"""Where allowed calls go: to an MCP server, into the batch that leads to one lease, or through the forward proxy.

INVARIANT: a call spends its permit before it counts, and a batch makes nothing until all of its calls have counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from charter.adapters.egress import Egress
from charter.adapters.model_api import ModelApis
from charter.adapters.upstream import McpUpstreams
from charter.core.clock import Deadline
from charter.core.errors import ErrorCode
from charter.gateway.broker import Batch
from charter.gateway.call import Call
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition, UpstreamError
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.system import SystemKind

Message = dict[str, Any]


@dataclass(slots=True)
class Upstreams:
    """All upstreams. Satisfies gateway.pipeline.Upstream."""

    mcp: McpUpstreams
    live: LiveEstate
    permits: PermitLedger
    egress: Egress
    models: ModelApis
    batches: dict[str, Batch] = field(default_factory=dict)  # by the lease they lead to

    async def tools(self, record: SystemRecord, deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return the definitions of the tools a system has right now; a leased one has none."""
        return await self.mcp.tools(record, deadline) if record.system.has_pins else ()

    def call(self, permit: Permit, call: Call, deadline: Deadline) -> AsyncGenerator[Message]:
        """Spend `permit` on `call`; yield notifications, then one result or error."""
        record = self.live.systems.get(call.system)
        if record is not None and record.system.kind is SystemKind.EGRESS:
            return self._connected(permit, call, record)
        if record is not None and record.system.kind is SystemKind.MODEL:
            return self._asked(permit, call, record, deadline)
        if record is None or not record.system.is_leased:
            return self.mcp.call(permit, call, deadline)
        return self._counted(permit, call)

    async def _asked(
        self, permit: Permit, call: Call, record: SystemRecord, deadline: Deadline
    ) -> AsyncGenerator[Message]:
        self.permits.redeem(permit, call)
        async with contextlib.aclosing(self.models.called(call, record, deadline)) as messages:
            async for message in messages:
                yield message

    async def _connected(self, permit: Permit, call: Call, record: SystemRecord) -> AsyncGenerator[Message]:
        self.permits.redeem(permit, call)
        async with contextlib.aclosing(self.egress.connected(call, record.system)) as messages:
            async for message in messages:
                yield message

    async def _counted(self, permit: Permit, call: Call) -> AsyncGenerator[Message]:
        self.permits.redeem(permit, call)
        batch = self.batches.get(call.request_id or "")
        if batch is None:
            raise UpstreamError(
                ErrorCode.UNSUPPORTED,
                f"`{call.system}` is reached with a lease, not by calls",
                sent=False,
                help=f"charter run … --lease {call.system}",
            )
        yield {"result": {"content": [], "structuredContent": dict(await batch.join())}}
