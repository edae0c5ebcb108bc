"""Open streams: what is under way for each principal, so that withdrawing its authority ends it at once.

`close` may be called from any thread. A stream that waits for its upstream is interrupted; one that is busy elsewhere
finds itself closed at its next step.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
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

    async def guard(self, source: AsyncIterator[T]) -> AsyncIterator[T]:
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
    """All streams under way, by principal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, set[OpenStream]] = defaultdict(set)

    @contextmanager
    def open(self, principal_id: str) -> Iterator[OpenStream]:
        """Register a stream of `principal_id` for as long as the context lasts."""
        stream = OpenStream()
        with self._lock:
            self._open[principal_id].add(stream)
        try:
            yield stream
        finally:
            with self._lock:
                self._open[principal_id].discard(stream)
                if not self._open[principal_id]:
                    del self._open[principal_id]

    def close(self, principal_id: str, why: str) -> int:
        """Close every stream of `principal_id`; return how many there were."""
        with self._lock:
            streams = list(self._open.get(principal_id, ()))
        for stream in streams:
            stream.close_soon(why)
        return len(streams)

    def count(self, principal_id: str) -> int:
        """Return how many streams of `principal_id` are open."""
        with self._lock:
            return len(self._open.get(principal_id, ()))
