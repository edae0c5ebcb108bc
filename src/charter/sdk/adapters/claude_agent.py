"""Claude's Agent SDK: each use of a tool asked of Charter, by a hook or by the question whether a tool may be used.

The hook is asked before every use. The question (`can_use_tool`) is put only for tools that nothing else has let
through already: not for those in `allowed_tools`, nor under `bypassPermissions`, nor where a settings file allows them.

INVARIANT: a hook that fails or takes too long stops nothing, by the SDK's rules; so this one always answers in time,
and answers no where nobody can be asked.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from claude_agent_sdk import (
    CanUseTool,
    HookContext,
    HookInput,
    HookJSONOutput,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)

from charter.sdk.answer import Allowed, CharterUnavailable
from charter.sdk.client import AsyncCharter
from charter.sdk.decorator import Objects, object_of

ASK_SECONDS = 30.0  # then it is denied
HOOK_SECONDS = 60.0  # after which the SDK would go on without an answer


def hooks(
    charter: AsyncCharter, *, system: str, objects: Objects | None = None
) -> dict[Literal["PreToolUse"], list[HookMatcher]]:
    """Return hooks for ClaudeAgentOptions: each use of a tool, whatever else allows it, is asked of Charter first.

    The action is called like the tool, on `system`; the object too, where `objects` makes none of the call's arguments,
    by the tool's name. Tools of MCP servers are called
    `mcp__SERVER__TOOL` there; the action is called so too.
    """

    async def ask(given: HookInput, _id: str | None, _context: HookContext) -> HookJSONOutput:
        told: dict[str, Any] = dict(given)
        arguments = told.get("tool_input")
        refused = await _refused(charter, system, objects, told.get("tool_name"), arguments)
        decided: dict[str, Any] = {"hookEventName": "PreToolUse"}
        if refused is None:
            decided |= {"permissionDecision": "allow", "updatedInput": arguments}  # what runs is what was decided on
        else:
            decided |= {"permissionDecision": "deny", "permissionDecisionReason": refused}
        return {"hookSpecificOutput": decided}  # type: ignore[typeddict-item]  # one of the union, made in two steps

    return {"PreToolUse": [HookMatcher(hooks=[ask], timeout=HOOK_SECONDS)]}


def can_use_tool(charter: AsyncCharter, *, system: str, objects: Objects | None = None) -> CanUseTool:
    """Return the callback for the uses that the SDK would ask a person about; actions and objects are as in `hooks`."""

    async def ask(
        tool: str, given: dict[str, Any], _context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        refused = await _refused(charter, system, objects, tool, given)
        if refused is None:
            return PermissionResultAllow(updated_input=given)  # what runs is what was decided on
        return PermissionResultDeny(message=refused)

    return ask


async def _refused(
    charter: AsyncCharter,
    system: str,
    objects: Objects | None,
    tool: Any,  # noqa: ANN401 - from outside
    given: Any,  # noqa: ANN401
) -> str | None:
    """Return why a tool may not be used now; None: it may."""
    if not isinstance(tool, str) or not isinstance(given, dict):
        return "Charter cannot tell which tool this is"
    try:
        async with asyncio.timeout(ASK_SECONDS):
            answer = await charter.check(system, tool, object_of(objects, tool, given), given)
    except TimeoutError:
        return "Charter did not answer in time; the tool was not run"
    except (CharterUnavailable, ValueError) as err:
        return f"nobody can decide on this call, so it is not run: {err}"
    return None if isinstance(answer, Allowed) else answer.text
