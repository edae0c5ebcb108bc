"""Whether an open stream may go on: asked at once and every second, as nothing tells of all that can end authority."""

from __future__ import annotations

import asyncio

from charter.core.clock import Clock
from charter.gateway.call import Bearer
from charter.gateway.streams import OpenStream
from charter.identity.authority import refusal
from charter.registry.principal import LiveEstate

LOOK_SECONDS = 1.0


class Look:
    """A stream of `bearer` (on `system`, if one is given), closed as soon as a look finds that it may not go on."""

    def __init__(self, live: LiveEstate, clock: Clock, bearer: Bearer, system: str | None, stream: OpenStream) -> None:
        self.bearer, self.stream = bearer, stream
        self._live, self._clock, self._system = live, clock, system
        self._next: asyncio.TimerHandle | None = None

    def __enter__(self) -> OpenStream:
        stream = self.stream.__enter__()
        try:
            self._look()
        except BaseException:
            stream.__exit__()
            raise
        return stream

    def __exit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
        self.stream.__exit__()

    def _look(self) -> None:
        """Look now, and again in a second."""
        record = self._live.systems.get(self._system) if self._system is not None else None
        stopped = refusal(self._live, self.bearer, record, at=self._clock.now())
        if stopped is not None:
            self.stream.close(stopped.text)
        else:
            self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
