"""A lease: one credential made at a system for one principal, for a while, and how its life goes.

    recorded ──▶ issued ──▶ renewed ⟲ ──▶ revoking ──▶ revoked
        │                                   ▲   └─ tried again, later and later, until it is done
        ├───────────────────────────────────┘
        └──▶ failed (surely nothing was made)

INVARIANT: a lease is recorded, with the name of what will be made, before anything is made outside. So a process that
dies leaves a lease that says what to look for.
INVARIANT: only `revoked` and `failed` are final. A lease whose revocation fails stays `revoking`, with the error, the
number of attempts and when it is tried next.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from charter.core.errors import ConflictError, ErrorCode

FIRST_PAUSE = dt.timedelta(seconds=1)
LONGEST_PAUSE = dt.timedelta(minutes=5)
_MAX_DOUBLINGS = 10
MAX_ERROR = 500


class LeaseState(StrEnum):
    """How far a lease's life has come."""

    RECORDED = "recorded"
    ISSUED = "issued"
    RENEWED = "renewed"
    REVOKING = "revoking"
    REVOKED = "revoked"
    FAILED = "failed"


IN_USE = (LeaseState.ISSUED, LeaseState.RENEWED)
FINAL = (LeaseState.REVOKED, LeaseState.FAILED)
_LEGAL: dict[LeaseState, tuple[LeaseState, ...]] = {
    LeaseState.RECORDED: (LeaseState.ISSUED, LeaseState.REVOKING, LeaseState.FAILED),
    LeaseState.ISSUED: (LeaseState.RENEWED, LeaseState.REVOKING),
    LeaseState.RENEWED: (LeaseState.RENEWED, LeaseState.REVOKING),
    LeaseState.REVOKING: (LeaseState.REVOKING, LeaseState.REVOKED),
    LeaseState.REVOKED: (),
    LeaseState.FAILED: (),
}


@dataclass(frozen=True, slots=True)
class Right:
    """What a lease lets do: the verbs of one action on one table or resource, and the verdict that allowed it."""

    action: str
    on: str
    verbs: tuple[str, ...]
    verdict_id: str
    approved: bool = False  # whether a person's approval was spent on it


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, as far as standing can be asked of it later: what its token said."""

    principal_id: str
    principal_name: str
    epoch: int
    charter_digest: str
    token_id: str
    credential: str
    is_bound: bool
    delegation: str | None = None  # on whose behalf it was asked for: the end of a chain
    initiator: str | None = None  # of that chain


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease as it is kept."""

    id: str  # lea_…
    system: str
    kind: str  # of the system: postgres | aws
    system_body: Mapping[str, Any]  # the system as it was: where to revoke, whatever becomes of its file
    system_digest: str
    holder: Holder
    rights: tuple[Right, ...]
    handle: Mapping[str, str]  # the name of what is made outside, and what helps to find it
    state: LeaseState
    ttl_seconds: int
    created_at: dt.datetime
    expires_at: dt.datetime
    ends_at: dt.datetime  # no renewal goes beyond
    issued_at: dt.datetime | None = None  # when the registry first showed that it was made
    renewals: int = 0
    why: str = ""  # it is revoked
    attempts: int = 0  # of revoking that failed
    next_try_at: dt.datetime | None = None
    error: str = ""
    seen_missing: int = 0  # attempts that found nothing, of a lease nobody confirmed
    tidy_at: dt.datetime | None = None  # when what its revocation left outside may be cleared away
    changed_at: dt.datetime | None = None

    @property
    def principal_id(self) -> str:
        """Whose it is."""
        return self.holder.principal_id

    @property
    def is_final(self) -> bool:
        """Whether its life is over."""
        return self.state in FINAL

    @property
    def is_overdue(self) -> bool:
        """Whether its revocation was tried and failed."""
        return self.state is LeaseState.REVOKING and self.attempts > 0

    def issued(self, at: dt.datetime, expires_at: dt.datetime, handle: Mapping[str, str]) -> Lease:
        """Return it as issued: what was recorded exists outside, and was handed over."""
        moved = self._moved(LeaseState.ISSUED, at)
        return replace(moved, expires_at=expires_at, issued_at=at, handle={**self.handle, **handle})

    def renewed(self, at: dt.datetime, expires_at: dt.datetime, handle: Mapping[str, str]) -> Lease:
        """Return it as renewed until `expires_at`."""
        moved = self._moved(LeaseState.RENEWED, at)
        more = {**self.handle, **handle}
        return replace(moved, expires_at=expires_at, renewals=self.renewals + 1, handle=more)

    def failed(self, at: dt.datetime, error: str) -> Lease:
        """Return it as failed: surely nothing was made."""
        return replace(self._moved(LeaseState.FAILED, at), error=error[:MAX_ERROR])

    def revoking(self, at: dt.datetime, why: str) -> Lease:
        """Return it as to be revoked from now on."""
        return replace(self._moved(LeaseState.REVOKING, at), why=why, attempts=0, next_try_at=at, error="")

    def not_revoked(self, at: dt.datetime, error: str) -> Lease:
        """Return it after an attempt that failed: it is tried again, after twice the time of before."""
        pause = FIRST_PAUSE * 2 ** min(self.attempts, _MAX_DOUBLINGS)
        moved = self._moved(LeaseState.REVOKING, at)
        next_try = at + min(pause, LONGEST_PAUSE)
        return replace(moved, attempts=self.attempts + 1, next_try_at=next_try, error=error[:MAX_ERROR])

    def missing(self, at: dt.datetime, again: dt.timedelta) -> Lease:
        """Return it after an attempt that found nothing, though nobody ever said that it was made."""
        moved = self._moved(LeaseState.REVOKING, at)
        return replace(moved, seen_missing=self.seen_missing + 1, next_try_at=at + again)

    def revoked(self, at: dt.datetime, tidy_at: dt.datetime | None = None) -> Lease:
        """Return it as revoked: what was made outside exists no more, or opens nothing any more."""
        return replace(self._moved(LeaseState.REVOKED, at), next_try_at=None, error="", tidy_at=tidy_at)

    def _moved(self, to: LeaseState, at: dt.datetime) -> Lease:
        if to not in _LEGAL[self.state]:
            raise ConflictError(
                ErrorCode.BAD_MOVE,
                f"the lease `{self.id}` is {self.state.value} and cannot become {to.value}",
                help="charter leases show tells how it stands",
            )
        return replace(self, state=to, changed_at=at)
