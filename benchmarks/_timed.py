"""`charter`, with a stopwatch at each step of the pipeline: a program of its own, started by gateway.py.

Every call's steps are written to the file named in BENCH_STEPS when the server ends, as lists of microseconds. `await`
times hold whatever else the loop did meanwhile, so they are read from a run with one caller.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from charter.adapters.database import Database
from charter.adapters.upstream import McpUpstreams
from charter.bootstrap.house import House
from charter.cli.main import main
from charter.gateway import pipeline
from charter.server.gateway import GatewayApp

STEPS: dict[str, list[float]] = {}
MOST = 20_000


def add(step: str, started: float) -> None:
    took = STEPS.setdefault(step, [])
    if len(took) < MOST:
        took.append((time.perf_counter() - started) * 1e6)


def timed(step: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def outer(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*given, **named)
        finally:
            add(step, started)

    return outer


def timed_await(step: Callable[[tuple[Any, ...]], str], inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    async def outer(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return await inner(*given, **named)
        finally:
            add(step(given), started)

    return outer


def timed_stream(step: str, inner: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(inner)
    async def outer(*given: Any, **named: Any) -> AsyncIterator[Any]:
        started = time.perf_counter()
        async for message in inner(*given, **named):
            yield message
        add(step, started)

    return outer


def write_step(given: tuple[Any, ...]) -> str:
    """Tell the two writes of a call apart by the work that is written."""
    return "outcome" if "_record_outcome" in getattr(given[1], "__qualname__", "") else "settle and record"


def then_written(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Write the steps once the house is closed: a signal that ends the server lets nothing run after."""

    async def outer(house: House) -> None:
        await inner(house)
        Path(os.environ["BENCH_STEPS"]).write_text(json.dumps(STEPS))  # noqa: ASYNC240 - nothing else runs any more

    return outer


def wind_up() -> None:
    """Put the stopwatches in."""

    def replace(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        setattr(owner, name, wrap(getattr(owner, name)))

    replace(pipeline.Pipeline, "authenticate", lambda inner: timed("authenticate", inner))
    replace(pipeline, "resolve", lambda inner: timed("resolve", inner))
    replace(pipeline, "decide_narrowed", lambda inner: timed("decide", inner))
    replace(Database, "awrite", lambda inner: timed_await(write_step, inner))
    replace(McpUpstreams, "call", lambda inner: timed_stream("forward", inner))
    replace(GatewayApp, "__call__", lambda inner: timed_await(lambda _: "in the gateway, all", inner))
    replace(House, "aclose", then_written)


if __name__ == "__main__":
    wind_up()
    main()
