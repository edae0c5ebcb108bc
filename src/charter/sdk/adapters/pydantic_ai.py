"""Pydantic AI: a toolset whose tools ask before they run. What is refused is told to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from typing_extensions import override

from charter.sdk.answer import Allowed
from charter.sdk.client import AsyncCharter
from charter.sdk.decorator import Objects, object_of, plain


@dataclass
class GovernedToolset(WrapperToolset[Any]):
    """Each call is the action of the tool's name on a system; `objects` says what it is about, else its name does."""

    charter: AsyncCharter
    system: str
    objects: Objects | None = None

    @override
    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        told = plain(tool_args)
        answer = await self.charter.check(self.system, name, object_of(self.objects, name, told), told)
        if not isinstance(answer, Allowed):
            return answer.text
        return await super().call_tool(name, tool_args, ctx, tool)


def govern(
    toolset: AbstractToolset[Any], charter: AsyncCharter, *, system: str, objects: Objects | None = None
) -> GovernedToolset:
    """Return the toolset, governed; `objects` makes what a call is about of its arguments, by the tool's name."""
    return GovernedToolset(toolset, charter, system, objects)
