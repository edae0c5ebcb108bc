"""How fast one principal may be given tokens and SVIDs.

Each is an entry in the evidence: a loop must not fill that, nor keep the one writer from everyone else.

INVARIANT: memory is bounded by the principals there are: who is not one is refused before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from charter.core.clock import Clock
from charter.core.errors import ErrorCode, ThrottledError


@dataclass(slots=True)
class Pace:
    """A bucket for each principal that fills at `per_second` up to `burst`."""

    clock: Clock
    burst: float
    per_second: float
    what: str  # what is asked for too fast: "SVIDs"
    mend: str
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)  # what is left, and as of when

    def take(self, principal_id: str, count: int = 1) -> None:
        """Count one, or `count` at once, which are no more than the burst.

        Raises:
            ThrottledError: too many were asked for.
        """
        now = self.clock.monotonic()
        left, then = self._buckets.get(principal_id, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.per_second)
        if left < count:
            raise ThrottledError(
                ErrorCode.TOO_MANY,
                f"this principal asks for {self.what} too fast",
                help=self.mend,
                retry_after_seconds=max(1, math.ceil((count - left) / self.per_second)),
            )
        self._buckets[principal_id] = (left - count, now)


def of_spans(clock: Clock) -> Pace:
    """Return the pace at which a sender may have spans become evidence."""
    return Pace(clock, 20_000, 500, "evidence of spans", "sample, or send fewer spans")


def of_svids(clock: Clock) -> Pace:
    """Return the pace of SVIDs."""
    return Pace(clock, 200, 20, "SVIDs", "keep an X.509-SVID stream open, and a JWT-SVID for as long as it is valid")


def of_tokens(clock: Clock) -> Pace:
    """Return the pace at which a client may use the token endpoint and those beside it.

    Well above what an agent needs that keeps its token for the minutes it is good for, even when it runs many times at
    once; well below what one writer does, which all principals share.
    """
    return Pace(clock, 1000, 100, "tokens", "keep a token for as long as it is valid, and share it within the process")
