"""Open streams: what is under way on anyone's authority, so that withdrawing it ends them at once.

A stream rests on its caller and, under delegation, on every party and every delegation of the chain: the withdrawal of
any of them ends it.

`close` may be called from any thread. A stream that waits for its upstream is interrupted; one that is busy elsewhere
finds itself closed at its next step. One that takes no such step, as its client reads nothing, is `cut` off soon after.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Self, TypeVar

T = TypeVar("T")
CUT_SECONDS = 2.0  # for a client to be told that its stream ends, and why


class OpenStream:
    """One stream under way, as long as its context lasts. Lives on the event loop it was opened on."""

    def __init__(self, streams: OpenStreams, rests_on: tuple[str, ...]) -> None:
        self.why: str | None = None  # why it may not go on
        self.cut: Callable[[], None] | None = None  # ends the connection it is told over
        self._streams, self._rests_on = streams, rests_on
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[object] | None = None
        self._cutting: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._streams.add(self, self._rests_on)
        return self

    def __exit__(self, *_: object) -> None:
        self._streams.drop(self, self._rests_on)
        if self._cutting is not None:
            self._cutting.cancel()

    def is_closed(self) -> bool:
        """Whether it may go on no more: another answer, maybe, after each `await`."""
        return self.why is not None

    @functools.cached_property
    def closed(self) -> asyncio.Event:
        """Set once the stream may not go on."""
        event = asyncio.Event()
        if self.is_closed():
            event.set()
        return event

    async def next(self, source: AsyncIterator[T]) -> T | None:
        """Return the next item of `source`; None once it has ended or this stream is closed, which then has a `why`.

        A close from outside interrupts the waiting, not the task around it.
        """
        if self.is_closed():
            return None
        task = asyncio.current_task(self._loop)
        self._waiting = task
        try:
            item = await anext(source)
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            if not self.is_closed() or task is None or task.uncancel() > 0:
                raise
            return None
        finally:
            self._waiting = None
        return None if self.is_closed() else item

    def close(self, why: str) -> None:
        """Let it go on no more. On its own loop."""
        if self.why is None:
            self.why = why
            self.closed.set()
            if self._waiting is not None:
                self._waiting.cancel()
            if self.cut is not None:
                self._cutting = self._loop.call_later(CUT_SECONDS, self.cut)

    def close_soon(self, why: str) -> None:
        """Close from any thread."""
        self._loop.call_soon_threadsafe(self.close, why)


class OpenStreams:
    """All streams under way, by what they rest on: ids of parties and of delegations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, set[OpenStream]] = defaultdict(set)

    def open(self, *rests_on: str) -> OpenStream:
        """Return a stream that rests on all of `rests_on`; it is registered for as long as its context lasts."""
        return OpenStream(self, rests_on)

    def add(self, stream: OpenStream, rests_on: Iterable[str]) -> None:
        """Know that a stream is under way."""
        with self._lock:
            for each in rests_on:
                self._open[each].add(stream)

    def drop(self, stream: OpenStream, rests_on: Iterable[str]) -> None:
        """Know that it is under way no more."""
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
