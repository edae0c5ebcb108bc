"""Permits: the single-use proof that one exact call was allowed and recorded. No permit, no upstream.

INVARIANT: a permit is known to its ledger by the identity of the object the ledger made. A private field would not do:
`dataclasses.replace`, `copy` and `pickle` carry it along. A copy, a pickle or a hand-made permit is therefore unknown.
INVARIANT: a permit is spent at most once, for the system and the call digest it was issued for, before it expires, and
never after anything it rests on was withdrawn. Whatever goes wrong with it, it is gone afterwards.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from charter.core.clock import Clock
from charter.core.errors import ErrorCode, IntegrityError
from charter.gateway.call import Call

PERMIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Permit:
    """What the pipeline hands to the upstream for one call."""

    verdict_id: str
    principal_id: str
    system: str
    call_digest: str
    expires_monotonic: float
    delegation: str | None = None  # the last of the chain the call is made under
    rests_on: frozenset[str] = frozenset()  # ids of the chain's parties and delegations, the principal's apart


class PermitLedger:
    """The permits issued and not yet spent, by object identity."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[int, Permit] = {}  # holds the object, so its id cannot be taken over by another

    def issue(
        self,
        *,
        verdict_id: str,
        principal_id: str,
        call: Call,
        delegation: str | None = None,
        rests_on: frozenset[str] = frozenset(),
    ) -> Permit:
        """Return a new permit for exactly `call`. Only the pipeline may call this, after the verdict is durable."""
        expires = self._clock.monotonic() + PERMIT_SECONDS
        permit = Permit(verdict_id, principal_id, call.system, call.digest, expires, delegation, rests_on)
        with self._lock:
            self._open[id(permit)] = permit
        return permit

    def redeem(self, permit: Permit, call: Call) -> None:
        """Spend `permit` on `call`.

        Raises:
            IntegrityError: the ledger did not issue this object, or it is spent, withdrawn, expired, or for another
            call.
        """
        with self._lock:
            known = self._open.pop(id(permit), None)
        if known is not permit:
            raise IntegrityError(ErrorCode.BAD_PERMIT, "this permit was not issued here, or is already spent")
        if self._clock.monotonic() >= permit.expires_monotonic:
            raise IntegrityError(ErrorCode.BAD_PERMIT, "the permit expired before it was used")
        if (permit.system, permit.call_digest) != (call.system, call.digest):
            raise IntegrityError(ErrorCode.BAD_PERMIT, "the permit is for another call")

    def withdraw(self, withdrawn: str) -> int:
        """Forget every unspent permit of a principal, or that rests on a party or delegation; return how many."""
        with self._lock:
            gone = [
                key
                for key, permit in self._open.items()
                if permit.principal_id == withdrawn or withdrawn in permit.rests_on
            ]
            for key in gone:
                del self._open[key]
        return len(gone)

    def discard(self, permit: Permit) -> None:
        """Forget `permit` if it is still unspent: a call that was given up leaves nothing behind."""
        with self._lock:
            if self._open.get(id(permit)) is permit:
                del self._open[id(permit)]
