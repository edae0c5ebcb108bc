"""OpenAI's Agents SDK: function tools that ask before they run. What is refused is told to the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agents import FunctionTool

from charter.sdk.answer import Allowed
from charter.sdk.client import AsyncCharter
from charter.sdk.decorator import Objects, object_of


def govern(
    tools: Sequence[FunctionTool], charter: AsyncCharter, *, system: str, objects: Objects | None = None
) -> list[FunctionTool]:
    """Return the tools, governed: each call is the action of the tool's name on `system`.

    The object is its name too, or what `objects` makes of the call's arguments, by the tool's name.
    """
    return [_governed(tool, charter, system, objects) for tool in tools]


def _governed(tool: FunctionTool, charter: AsyncCharter, system: str, objects: Objects | None) -> FunctionTool:
    # The context has no type here: newer SDKs read it, and give a function that names RunContextWrapper one without
    # what the tool itself needs.
    async def invoke(context: Any, text: str) -> Any:  # noqa: ANN401 - the tool's own
        try:
            arguments = json.loads(text or "{}")
        except ValueError:
            return "the arguments are no JSON"
        if not isinstance(arguments, dict):
            return "the arguments are no object"
        answer = await charter.check(system, tool.name, object_of(objects, tool.name, arguments), arguments)
        # what runs is what was decided on, not another reading of the text
        return await tool.on_invoke_tool(context, json.dumps(arguments)) if isinstance(answer, Allowed) else answer.text

    return replace(tool, on_invoke_tool=invoke)
