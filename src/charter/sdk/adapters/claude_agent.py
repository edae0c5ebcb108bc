"""Claude's Agent SDK: its question whether a tool may be used, answered by Charter (`can_use_tool`)."""

from __future__ import annotations

from typing import Any

from claude_agent_sdk import CanUseTool, PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

from charter.sdk.answer import Allowed
from charter.sdk.client import AsyncCharter


def can_use_tool(charter: AsyncCharter, *, system: str) -> CanUseTool:
    """Return the callback: each call is the action of the tool's name on `system`, the object its name too.

    Tools of MCP servers are called `mcp__SERVER__TOOL` there; the action is called so too.
    """

    async def ask(
        tool: str, given: dict[str, Any], _context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        answer = await charter.check(system, tool, tool, given)
        if isinstance(answer, Allowed):
            return PermissionResultAllow(updated_input=given)  # what runs is what was decided on
        return PermissionResultDeny(message=answer.text)

    return ask
