"""LangChain and LangGraph: tools that ask before they run. What is refused is told to the model and runs nothing.

A governed tool stays what it was: its schema, its artifacts, and what a graph puts into it (state, store, the call's
id) are those of the tool. Charter is told what the model chose, and nothing of what the graph put in.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, Tool

from charter.sdk.answer import Allowed, Answer
from charter.sdk.client import AsyncCharter, Charter
from charter.sdk.decorator import Objects, object_of, plain


def govern(
    tools: Sequence[BaseTool], charter: Charter | AsyncCharter, *, system: str, objects: Objects | None = None
) -> list[BaseTool]:
    """Return the tools, governed: each call is the action of the tool's name on `system`.

    The object is its name too, or what `objects` makes of the call's arguments, by the tool's name.
    """
    return [_governed(tool, charter, system, objects) for tool in tools]


def _governed(tool: BaseTool, charter: Charter | AsyncCharter, system: str, objects: Objects | None) -> BaseTool:
    """Return a copy of a tool whose function asks first; of a class of its own, a tool around it."""
    if isinstance(tool, StructuredTool | Tool):
        run = _asking(tool, tool.func, charter, system, objects) if tool.func is not None else None
        arun = _asking_async(tool, tool.coroutine, charter, system, objects) if tool.coroutine is not None else None
        if arun is None and isinstance(charter, AsyncCharter) and tool.func is not None:
            arun = _asking_async(tool, tool.func, charter, system, objects)
        return tool.model_copy(update={"func": run, "coroutine": arun})
    return _governed(_function_of(tool), charter, system, objects)


def _function_of(tool: BaseTool) -> StructuredTool:
    def run(**given: Any) -> Any:  # noqa: ANN401 - the tool's own
        return tool.invoke(given)

    async def arun(**given: Any) -> Any:  # noqa: ANN401 - the tool's own
        return await tool.ainvoke(given)

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema or tool.get_input_schema(),
        func=run,
        coroutine=arun,
        return_direct=tool.return_direct,
    )


def _told(tool: BaseTool, args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return what the model chose of a call: the arguments that the tool shows it."""
    shown = tool.args
    return plain({**dict(zip(shown, args, strict=False)), **{k: each for k, each in given.items() if k in shown}})


def _refusal(tool: BaseTool, answer: Answer) -> tuple[Any, ...]:
    """Return nothing for an allow, else the one value that the tool gives in place of its own."""
    if isinstance(answer, Allowed):
        return ()
    return ((answer.text, None) if tool.response_format == "content_and_artifact" else answer.text,)


def _asking(
    tool: BaseTool,
    function: Callable[..., Any],
    charter: Charter | AsyncCharter,
    system: str,
    objects: Objects | None,
) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - the tool's own
        if isinstance(charter, AsyncCharter):
            raise TypeError(f"`{tool.name}` is called in a way that blocks: give `govern` a Charter")
        told = _told(tool, args, given)
        refused = _refusal(tool, charter.check(system, tool.name, object_of(objects, tool.name, told), told))
        return refused[0] if refused else function(*args, **given)

    return run


def _asking_async(
    tool: BaseTool,
    function: Callable[..., Any],
    charter: Charter | AsyncCharter,
    system: str,
    objects: Objects | None,
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def arun(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - the tool's own
        told = _told(tool, args, given)
        path = object_of(objects, tool.name, told)
        if isinstance(charter, AsyncCharter):
            answer = await charter.check(system, tool.name, path, told)
        else:
            answer = await asyncio.to_thread(charter.check, system, tool.name, path, told)
        refused = _refusal(tool, answer)
        if refused:
            return refused[0]
        if inspect.iscoroutinefunction(function):
            return await function(*args, **given)
        return await asyncio.to_thread(function, *args, **given)

    return arun
