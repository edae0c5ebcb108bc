"""How fast one principal may be given SVIDs: each is an entry in the evidence, and a loop must not fill that.

INVARIANT: memory is bounded by the principals there are: who is not one is refused before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from charter.core.clock import Clock
from charter.core.errors import ErrorCode, ThrottledError

BURST = 200.0
PER_SECOND = 20.0


@dataclass(slots=True)
class Pace:
    """A bucket for each principal that fills at `per_second` up to `burst`."""

    clock: Clock
    burst: float = BURST
    per_second: float = PER_SECOND
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)  # what is left, and as of when

    def take(self, principal_id: str) -> None:
        """Count one SVID.

        Raises:
            ThrottledError: too many were asked for.
        """
        now = self.clock.monotonic()
        left, then = self._buckets.get(principal_id, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.per_second)
        if left < 1:
            raise ThrottledError(
                ErrorCode.TOO_MANY,
                "this principal asks for SVIDs too fast",
                help="keep an X.509-SVID stream open, and a JWT-SVID for as long as it is valid",
            )
        self._buckets[principal_id] = (left - 1, now)
