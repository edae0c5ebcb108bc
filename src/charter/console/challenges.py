"""Challenges of passkey ceremonies under way: random, good for five minutes, taken once."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass, field

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, UnauthenticatedError

CHALLENGE_LIFE = dt.timedelta(minutes=5)
MAX_CHALLENGES = 256
CHALLENGE_BYTES = 32


@dataclass(slots=True)
class Challenges:
    """What was asked and not yet answered, in memory."""

    clock: Clock
    entropy: Entropy
    _made: OrderedDict[bytes, tuple[str, dt.datetime]] = field(default_factory=OrderedDict)

    def make(self, purpose: str) -> bytes:
        """Return a fresh challenge; `purpose` says for whom and what, and must be said again when it is taken."""
        challenge = self.entropy.bytes(CHALLENGE_BYTES)
        self._made[challenge] = (purpose, self.clock.now() + CHALLENGE_LIFE)
        while len(self._made) > MAX_CHALLENGES:
            self._made.popitem(last=False)
        return challenge

    def take(self, challenge: bytes, purpose: str) -> bytes:
        """Return `challenge`, which was made for `purpose`, is not too old, and was never taken.

        Raises:
            UnauthenticatedError: it was not.
        """
        found = self._made.pop(challenge, None)
        if found is None or found[0] != purpose or self.clock.now() >= found[1]:
            raise UnauthenticatedError(
                ErrorCode.NOT_SIGNED_IN, "nobody here asked for this, or it took too long", help="try again"
            )
        return challenge
