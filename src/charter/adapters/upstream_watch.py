"""Which of a server's resources someone wants to hear of, and how often each was said to have changed.

Interest is kept by asking again: what nobody asked about for a minute is not listened for any more, so that nothing
has to be told when a listener goes. Each listener remembers the count that it saw last.

INVARIANT: only what is asked about is counted, so a server that tells of ever new resources takes no memory.
"""

from __future__ import annotations

from collections.abc import Collection

from charter.core.clock import Clock
from charter.core.errors import ErrorCode, ThrottledError

MAX_WATCHED = 1000  # resources of one server
INTEREST_SECONDS = 60.0


class Watching:
    """The resources of one server that are watched."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def ask(self, uris: Collection[str]) -> None:
        """Note that these are of interest.

        Raises:
            ThrottledError: there are too many.
        """
        now = self._clock.monotonic()
        if len(self._asked.keys() | uris) > MAX_WATCHED:
            self._forget(now)
        if len(self._asked.keys() | uris) > MAX_WATCHED:
            text = f"{MAX_WATCHED} resources of this system are subscribed to already"
            raise ThrottledError(ErrorCode.TOO_MANY, text, help="end some subscriptions")
        self._asked.update(dict.fromkeys(uris, now))

    @property
    def wanted(self) -> frozenset[str]:
        """What is of interest now."""
        self._forget(self._clock.monotonic())
        return frozenset(self._asked)

    def count(self, uri: str) -> int:
        """Return a number that grows when the resource is said to have changed, or may have."""
        return self._counts.get(uri, 0)

    def heard(self, uri: str | None) -> None:
        """Count a change of a resource, or of a part of it; None: any of them may have changed unheard."""
        for each in self._asked:
            if uri is None or uri == each or uri.startswith(each.rstrip("/") + "/"):
                self._counts[each] = self._counts.get(each, 0) + 1

    def _forget(self, now: float) -> None:
        for uri in [uri for uri, at in self._asked.items() if now - at >= INTEREST_SECONDS]:
            del self._asked[uri]
            self._counts.pop(uri, None)
