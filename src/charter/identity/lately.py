"""What was there lately: a memory of two generations, so that forgetting costs nothing and nothing is remembered long.

INVARIANT: memory is bounded by `most` in each generation. Past that, what was used longest ago is forgotten early.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Lately(Generic[T]):
    """Values by name, each kept for `seconds` to twice that after it was last asked for."""

    __slots__ = ("_before", "_ends", "_most", "_now", "_seconds")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._now: dict[str, T] = {}
        self._before: dict[str, T] = {}
        self._ends = 0.0

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._now) + len(self._before)

    def get(self, name: str, now: float) -> T | None:
        """Return the value of that name; it is remembered from `now` on. Times are monotonic seconds."""
        if now >= self._ends:
            self._turn(now)
        found = self._now.get(name)
        if found is None and (found := self._before.pop(name, None)) is not None:
            self.put(name, found, now)
        return found

    def put(self, name: str, value: T, now: float) -> None:
        """Remember a value in place of the one before."""
        if now >= self._ends or len(self._now) >= self._most:
            self._turn(now)
        self._now[name] = value

    def _turn(self, now: float) -> None:
        is_long_ago = now >= self._ends + self._seconds
        self._before, self._now = ({} if is_long_ago else self._now), {}
        self._ends = now + self._seconds
