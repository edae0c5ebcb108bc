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
from charter.sdk.decorator import plain


@dataclass
class GovernedToolset(WrapperToolset[Any]):
    """Each call is the action of the tool's name on a system, the object its name too."""

    charter: AsyncCharter
    system: str

    @override
    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        answer = await self.charter.check(self.system, name, name, plain(tool_args))
        if not isinstance(answer, Allowed):
            return answer.text
        return await super().call_tool(name, tool_args, ctx, tool)


def govern(toolset: AbstractToolset[Any], charter: AsyncCharter, *, system: str) -> GovernedToolset:
    """Return the toolset, governed."""
    return GovernedToolset(toolset, charter, system)
