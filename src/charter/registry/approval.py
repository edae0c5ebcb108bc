"""Approvals: a person's yes to one exact call, good for once.

INVARIANT: an approval is bound to one principal and the digest of one exact call (system, tool, arguments). Whoever
changes an argument has another digest and asks again. It is spent by the verdict that rests on it, in the same
transaction.
INVARIANT: where several roles must say yes, several people do: one person's yes counts in one role.
INVARIANT: states move waiting -> approved -> spent; waiting -> refused; waiting or approved -> expired | cancelled;
never back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from charter.core.errors import ConflictError, DeniedError, ErrorCode
from charter.registry.seat import role_of

WAITING_HOURS = 24  # an unanswered question goes stale
APPROVED_MINUTES = 15  # and so does a yes that nobody uses
MAX_CARDS = 20  # on one page: each is to be read whole, with what is unlike usual in it


class ApprovalState(StrEnum):
    """Where an approval stands."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    SPENT = "spent"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to people: may this principal make this call, once?"""

    id: str  # apr_…
    principal_id: str
    call_digest: str
    call: dict[str, Any]  # what the approver sees: system, tool, action, object, arguments, why
    roles: tuple[str, ...]  # seats of roles (registry/seat.py), at each of which someone must say yes
    given: dict[str, str]  # seat -> who said yes
    state: ApprovalState
    asked_at: dt.datetime
    expires_at: dt.datetime
    verdict_id: str

    def is_open(self, at: dt.datetime) -> bool:
        """Whether it can still be answered or spent at `at`."""
        return self.state in (ApprovalState.WAITING, ApprovalState.APPROVED) and at < self.expires_at

    def missing(self) -> tuple[str, ...]:
        """Return the roles that have not said yes."""
        return tuple(role for role in self.roles if role not in self.given)

    def approved_by(self, person: str, held: Callable[[str], frozenset[str]], at: dt.datetime) -> Approval:
        """Return the approval with `person`'s yes, in a role that `held` says they hold.

        Raises:
            ConflictError: it is not waiting any more.
            DeniedError: the person holds none of the missing roles, or said yes already.
        """
        self._must_wait(at)
        if person in self.given.values():
            raise _denied(
                f"`{person}` said yes already, and one person's yes counts in one role",
                f"someone else must say yes as {_or(self.missing())}",
            )
        given = dict(self.given)
        if not self._seat(person, held, given, set()):
            raise _denied(
                f"`{person}` does not hold the role {_or(self.missing())}",
                "someone who holds it in teams.yaml must approve",
            )
        if set(self.roles) <= set(given):
            expires = at + dt.timedelta(minutes=APPROVED_MINUTES)
            return replace(self, given=given, state=ApprovalState.APPROVED, expires_at=expires)
        return replace(self, given=given)

    def _seat(self, person: str, held: Callable[[str], frozenset[str]], given: dict[str, str], tried: set[str]) -> bool:
        """Put `person` into a role in `given`; whoever is there moves to another they hold. Return whether it worked.

        Kuhn's augmenting path: who holds two of the roles takes neither from someone who holds one.
        """
        for role in self.roles:
            if role not in tried and role_of(role) in held(person):
                tried.add(role)
                if role not in given or self._seat(given[role], held, given, tried):
                    given[role] = person
                    return True
        return False

    def refused(self, at: dt.datetime) -> Approval:
        """Return the approval, refused.

        Raises:
            ConflictError: it is not waiting any more.
        """
        self._must_wait(at)
        return replace(self, state=ApprovalState.REFUSED)

    def cancelled(self, at: dt.datetime) -> Approval:
        """Return the approval, no longer asked for.

        Raises:
            ConflictError: it is not waiting any more.
        """
        self._must_wait(at)
        return replace(self, state=ApprovalState.CANCELLED)

    def _must_wait(self, at: dt.datetime) -> None:
        if self.state is not ApprovalState.WAITING or at >= self.expires_at:
            state = "expired" if self.state is ApprovalState.WAITING else self.state.value
            raise ConflictError(
                ErrorCode.BAD_MOVE,
                f"the approval `{self.id}` is {state}",
                help="the principal can ask again by calling",
            )


def _or(seats: tuple[str, ...]) -> str:
    return " or ".join(dict.fromkeys(f"`{role_of(seat)}`" for seat in seats))


def _denied(detail: str, help: str) -> DeniedError:
    return DeniedError(ErrorCode.POLICY_DENIED, detail, help=help)
