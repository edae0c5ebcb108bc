"""Open streams: what is under way on anyone's authority, so that withdrawing it ends them at once.

A stream rests on its caller and, under delegation, on every party and every delegation of the chain: the withdrawal of
any of them ends it.

`close` may be called from any thread. A stream that waits for its upstream is interrupted; one that is busy elsewhere
finds itself closed at its next step.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class OpenStream:
    """One stream under way. Lives on the event loop it was opened on."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.why: str | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[object] | None = None

    async def guard(self, source: AsyncIterator[T]) -> AsyncGenerator[T]:
        """Yield from `source` until it ends or this stream is closed; then `why` is set and `source` is closed."""
        try:
            while self.why is None:
                try:
                    item = await self._next(source)
                except StopAsyncIteration:
                    return
                if self.why is None:
                    yield item
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _next(self, source: AsyncIterator[T]) -> T:
        """Await the next item; a close from outside interrupts the waiting, not the task around it."""
        task = asyncio.current_task()
        self._waiting = task
        try:
            return await anext(source)
        except asyncio.CancelledError:
            if self.why is None or task is None or task.uncancel() > 0:
                raise
            raise StopAsyncIteration from None
        finally:
            self._waiting = None

    def close_soon(self, why: str) -> None:
        """Close from any thread."""
        self._loop.call_soon_threadsafe(self._close, why)

    def _close(self, why: str) -> None:
        if self.why is None:
            self.why = why
            self.closed.set()
            if self._waiting is not None:
                self._waiting.cancel()


class OpenStreams:
    """All streams under way, by what they rest on: ids of parties and of delegations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, set[OpenStream]] = defaultdict(set)

    @contextmanager
    def open(self, *rests_on: str) -> Iterator[OpenStream]:
        """Register a stream that rests on all of `rests_on` for as long as the context lasts."""
        stream = OpenStream()
        with self._lock:
            for each in rests_on:
                self._open[each].add(stream)
        try:
            yield stream
        finally:
            with self._lock:
                for each in rests_on:
                    self._open[each].discard(stream)
                    if not self._open[each]:
                        del self._open[each]

    def close(self, withdrawn: str, why: str) -> int:
        """Close every stream that rests on `withdrawn`; return how many there were."""
        with self._lock:
            streams = list(self._open.get(withdrawn, ()))
        for stream in streams:
            stream.close_soon(why)
        return len(streams)

    def count(self, id: str) -> int:  # noqa: A002 - of a party or a delegation
        """Return how many open streams rest on `id`."""
        with self._lock:
            return len(self._open.get(id, ()))
