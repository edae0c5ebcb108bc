"""`@governed`: a function whose body runs only once its call is allowed."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from charter.sdk.answer import Question
from charter.sdk.client import AsyncCharter, Charter

F = TypeVar("F", bound=Callable[..., Any])
ObjectOf = str | Callable[..., str]


def governed(
    charter: Charter | AsyncCharter,
    *,
    system: str,
    action: str | None = None,
    object: ObjectOf | None = None,  # noqa: A002 - the domain's word
    arguments: Callable[..., Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Return a decorator; without `action`, the action is called like the function.

    `object` is the object's path, or what makes it of the call's arguments; without it, it is the action's name.
    `arguments` gives what policy shall read of a call; without it, all arguments that are plain JSON.

    The function raises CallDenied or CallHeld in place of running, and CharterUnavailable where nobody can decide.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        name = action or function.__name__

        def question(args: tuple[Any, ...], given: dict[str, Any]) -> Question:
            bound = signature.bind(*args, **given)
            bound.apply_defaults()
            named = dict(bound.arguments)
            path = object(**named) if callable(object) else object or name
            told = arguments(**named) if arguments is not None else plain(named)
            return charter.question(system, name, path, told)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - the function's own
                asked = question(args, given)
                if isinstance(charter, AsyncCharter):
                    await charter.require(asked)
                else:
                    await asyncio.to_thread(charter.require, asked)
                return await function(*args, **given)

            return cast("F", asynchronous)
        if isinstance(charter, AsyncCharter):
            raise TypeError(f"`{function.__name__}` blocks, and an AsyncCharter does not: give it a Charter")

        @functools.wraps(function)
        def blocking(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - the function's own
            charter.require(question(args, given))
            return function(*args, **given)

        return cast("F", blocking)

    return decorate


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some arguments that are plain JSON: what else a function is given says nothing to policy."""
    return {name: value for name, value in given.items() if _is_json(value, 0)}


def _is_json(value: Any, depth: int) -> bool:  # noqa: ANN401
    if depth > 16:  # noqa: PLR2004 - deeper than policy reads
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each, depth + 1) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(each, depth + 1) for each in value)
    return value is None or isinstance(value, str | int | float | bool)
