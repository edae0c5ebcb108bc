"""LangChain and LangGraph: tools that ask before they run. What is refused is told to the model and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from charter.sdk.answer import Allowed, Answer
from charter.sdk.client import AsyncCharter, Charter


def govern(tools: Sequence[BaseTool], charter: Charter | AsyncCharter, *, system: str) -> list[BaseTool]:
    """Return the tools, governed: each call is the action of the tool's name on `system`, the object its name too."""
    return [_governed(tool, charter, system) for tool in tools]


def _governed(tool: BaseTool, charter: Charter | AsyncCharter, system: str) -> BaseTool:
    def refused(answer: Answer) -> str | None:
        return None if isinstance(answer, Allowed) else answer.text

    def run(**given: Any) -> Any:  # noqa: ANN401 - the tool's own
        if isinstance(charter, AsyncCharter):
            raise TypeError(f"`{tool.name}` is called in a way that blocks: give `govern` a Charter")
        said = refused(charter.check(system, tool.name, tool.name, given))
        return tool.invoke(given) if said is None else said

    async def arun(**given: Any) -> Any:  # noqa: ANN401 - the tool's own
        if isinstance(charter, AsyncCharter):
            answer = await charter.check(system, tool.name, tool.name, given)
        else:
            answer = charter.check(system, tool.name, tool.name, given)
        said = refused(answer)
        return await tool.ainvoke(given) if said is None else said

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema,
        func=run,
        coroutine=arun,
        return_direct=tool.return_direct,
    )
