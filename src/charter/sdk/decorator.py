"""`@governed`: a function whose body runs only once its call is allowed."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from charter.sdk.answer import CharterUnavailable, Question
from charter.sdk.client import AsyncCharter, Charter

F = TypeVar("F", bound=Callable[..., Any])
ObjectOf = str | Callable[..., str]
Objects = Mapping[str, ObjectOf]  # of tools, by name
MAX_DEPTH = 16  # deeper than policy reads


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
    `arguments` gives what policy shall read of a call; without it, all arguments that have a form in JSON,
    but not the object whose method it is.

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
            told = arguments(**named) if arguments is not None else plain(_without_self(named))
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


def object_of(objects: Objects | None, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the path of what a call of a tool is about: as `objects` says, else the tool's name.

    Raises:
        CharterUnavailable: it cannot be told of these arguments, so nobody can be asked.
    """
    found = (objects or {}).get(tool, tool)
    try:
        return found(**arguments) if callable(found) else found
    except Exception as err:
        raise CharterUnavailable(f"what a call of `{tool}` is about cannot be told: {err!r}"[:300]) from err


def _without_self(named: dict[str, Any]) -> dict[str, Any]:
    """Leave out the object whose method is called: it holds what is no argument, and perhaps what is secret."""
    first = next(iter(named), None)
    return {name: each for name, each in named.items() if name != first or name not in ("self", "cls")}


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some arguments that have a form in JSON: what else a function is given says nothing to policy.

    Models, dataclasses, enumerations, sets, dates and exact numbers have one; files, clients and functions have none.
    """
    told = {}
    for name, value in given.items():
        try:
            told[name] = _as_json(value, 0)
        except ValueError:
            continue
    return told


def _as_json(value: Any, depth: int) -> Any:  # noqa: ANN401
    """Return the form of a value in JSON.

    Raises:
        ValueError: it has none, or is nested more deeply than policy reads.
    """
    if depth > MAX_DEPTH:
        raise ValueError
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, BaseModel | Enum | dt.date | dt.time | Decimal | UUID):
        return to_jsonable_python(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _as_json(getattr(value, each.name), depth + 1) for each in fields(value)}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _as_json(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(each, depth + 1) for each in value]
    raise ValueError
