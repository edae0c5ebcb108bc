"""The MCP methods at `/mcp`, where all of a principal's systems are together. Each call is one to a single system.

A system that is slow, broken or held hides none of the others: what is left out is said, with the reason, in `_meta`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from charter.core.clock import Deadline
from charter.core.errors import CharterError
from charter.gateway.mcp_all import mcp_systems, renamed, tool_named
from charter.gateway.mcp_answers import WireError
from charter.gateway.mcp_protocol import NAME_HEADER, WHY_KEY, RpcCode
from charter.gateway.pins import ToolDefinition
from charter.registry.principal import SystemRecord
from charter.server.gateway_http import Reply
from charter.server.gateway_mcp import LIST_TTL_MS, Asked, McpMethods, before_2026

LEFT_OUT_KEY = "charter/left-out"  # in a list's `_meta`: systems whose tools could not be read, and why
LIST_SECONDS = 10.0  # that one system may take to list its tools here


@dataclass(slots=True)
class AllMethods(McpMethods):
    """Answers requests to all systems at once."""

    @override
    async def answer(self, asked: Asked, reply: Reply) -> None:
        if asked.frame.method != "tools/call":
            await McpMethods.answer(self, asked, reply)
            return
        name = asked.frame.params.get("name")
        found = tool_named(self._granted(asked), name) if isinstance(name, str) else None
        if found is None:
            text = f"there is no tool {str(name)[:80]!a} here; `tools/list` names those that you may call"
            await self._fail(asked, reply, WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id))
            return
        record, tool = found
        headers = {key: value for key, value in asked.head.headers.items() if key != NAME_HEADER}
        frame = replace(asked.frame, params=asked.frame.params | {"name": tool})
        one = replace(asked, system=record.name, frame=frame, head=replace(asked.head, headers=headers))
        await McpMethods.answer(self, one, reply)

    def _granted(self, asked: Asked) -> list[SystemRecord]:
        """Return the systems of which the caller may see something, by their names."""
        own = self.pipeline.systems_of(asked.bearer)
        return [record for record in mcp_systems(self.live) if record.name in own]

    @override
    async def _list(self, asked: Asked) -> dict[str, Any]:
        deadline = Deadline.after(self.clock, min(LIST_SECONDS, self.call_seconds))
        records = self._granted(asked)
        answers = await asyncio.gather(*(self._tools_of(asked, each, deadline) for each in records))
        tools = [tool for found, _ in answers for tool in found]
        left_out = {record.name: why for record, (_, why) in zip(records, answers, strict=True) if why is not None}
        page, following = self._page(asked, tools)
        result: dict[str, Any] = {
            "tools": [tool.definition if asked.modern else before_2026(tool.definition) for tool in page]
        }
        if following is not None:
            result["nextCursor"] = following
        meta: dict[str, Any] = {LEFT_OUT_KEY: left_out} if left_out else {}
        if not tools:
            meta[WHY_KEY] = "; ".join(left_out.values()) or "your charter grants nothing on any MCP system"
        if meta:
            result["_meta"] = meta
        return result | {"ttlMs": LIST_TTL_MS, "cacheScope": "private"} if asked.modern else result

    async def _tools_of(
        self, asked: Asked, record: SystemRecord, deadline: Deadline
    ) -> tuple[list[ToolDefinition], str | None]:
        try:
            async with asyncio.timeout(deadline.remaining()):
                live = await self._definitions(record.name, deadline)
        except TimeoutError:
            return [], f"`{record.name}` did not list its tools in time"
        except CharterError as err:
            return [], f"`{record.name}`: {err.detail}"
        tools, why = self.pipeline.visible(asked.bearer, record.name, live)
        return [renamed(record.name, tool) for tool in tools], why

    @override
    def _instructions(self, asked: Asked) -> str:
        return (
            f"Charter stands before all systems of `{asked.bearer.principal_name}` and lets through what its charter "
            "allows. Tools are named SYSTEM__TOOL. A call that is refused says why, and what would make it allowed."
        )

    @override
    def _edition(self, asked: Asked) -> tuple[object, ...]:
        records = self._granted(asked)
        editions = [part for record in records for part in (record, *self.upstream.edition(record))]
        return (self.live.principals.get(asked.bearer.principal_id), *editions)
