"""Stand-ins for the outside world that keep its promises: a clock that only moves when told, dice that count."""

from __future__ import annotations

import datetime as dt


class FixedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: dt.datetime = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)) -> None:
        self.at = at
        self._monotonic = 1000.0

    def now(self) -> dt.datetime:
        return self.at

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, **parts: float) -> None:
        """Move both clocks on by `timedelta(**parts)`."""
        step = dt.timedelta(**parts)
        self.at += step
        self._monotonic += step.total_seconds()


class CountingEntropy:
    """Dice that count: identifiers and bytes are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def identifier(self, kind: str) -> str:
        return f"{kind}_{self._next():026d}"

    def token(self, nbytes: int = 32) -> str:
        return f"token-{self._next():0{max(4, nbytes - 6)}d}"

    def bytes(self, nbytes: int) -> bytes:
        return self._next().to_bytes(nbytes, "big")
