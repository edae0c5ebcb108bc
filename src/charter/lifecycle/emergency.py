"""Restrain, suspend, resume, kill, retire: one transaction each, in force before it is answered.

INVARIANT: a withdrawal (suspend, kill, retire) raises the principal's epoch, so that every token from before it is
dead even after a resume, and cancels what waits for people on its behalf. A restraint does neither: the principal goes
on, and its state-changing calls wait for a person.
INVARIANT: the live estate shows the new standing, and `then` has run, before anyone is told that it is so: from the
commit on, no call is admitted and no token issued on the old one.
INVARIANT: what a finding holds down (lifecycle/holds.py) no move gives back; a move says what people choose, and counts
once the hold is over.
INVARIANT: nobody else's standing, tokens, approvals or streams are touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.registry.approval import Approval, ApprovalState
from charter.registry.principal import LiveEstate, Principal
from charter.registry.problem import suggestion
from charter.registry.standing import Move, Standing, moved

WITHDRAWING = (Move.SUSPEND, Move.KILL, Move.RETIRE)
MAX_REASON = 1000
FEED_KIND = "principal"


class Principals(Protocol):
    """The registry, as far as a change of standing writes to it."""

    def update_principals(self, principals: Sequence[Principal]) -> None:
        """Replace the ones with the same ids."""
        ...


class Approvals(Protocol):
    """The approvals kept."""

    def update(self, approval: Approval) -> None:
        """Replace the one with the same id."""
        ...


class StandingWork(Transaction, Protocol):
    """The slice of the work that a change of standing needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def registry(self) -> Principals:
        """The principals."""
        ...

    @property
    def approvals(self) -> Approvals:
        """The approvals."""
        ...


@dataclass(frozen=True, slots=True)
class Moved:
    """What a change of standing did."""

    principal: Principal  # as it stands now
    before: Standing
    after: Standing
    cancelled: tuple[str, ...]  # approvals that were open, by id
    index: int  # of its entry in the evidence


def move(
    tx: StandingWork, name: str, to: Move, *, actor: str, reason: str, then: Callable[[], None] | None = None
) -> Moved:
    """Change the standing of the principal `name`. A work.

    `then` ends what is under way (open streams, unspent permits): it runs once the new standing is durable and shown,
    before the answer.

    Raises:
        MalformedError: no reason is given.
        AbsentError: no principal has this name.
        ConflictError: the move is not legal from its standing.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"a change of standing needs a reason of 1 to {MAX_REASON} characters",
            help="say why: it stands in the evidence",
        )
    principal = tx.live.principal_named(name)
    if principal is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL, f"there is no principal {name[:80]!a}", help=suggestion(name, tx.live.ids)
        )
    _check_held(principal, to)
    chosen = principal.chosen_to_be(moved(principal.chosen, to, name))
    changed = replace(chosen, epoch=principal.epoch + (to in WITHDRAWING))
    cancelled = cancel_waiting(tx, principal) if to in WITHDRAWING else ()
    tx.registry.update_principals([changed])
    index = tx.record(
        Draft(EntryKind.STANDING_CHANGED, actor, principal.id, _body(principal, changed, to, reason, cancelled))
    )
    tx.changed(FEED_KIND, principal.id, actor=actor, reason=reason)

    def show() -> None:
        tx.live.principals[principal.id] = changed
        if then is not None:
            then()

    tx.after_commit(show)
    return Moved(changed, principal.standing, changed.standing, cancelled, index)


def _check_held(principal: Principal, to: Move) -> None:
    """Check that nobody resumes what only the review of a finding gives back.

    Raises:
        ConflictError: it is no person that stopped the principal.
    """
    if to is Move.RESUME and principal.held is not None and principal.chosen is Standing.ACTIVE:
        findings = ", ".join(f"`{each}`" for each in sorted(principal.held.floors))
        raise ConflictError(
            ErrorCode.HELD,
            f"`{principal.name}` is {principal.standing.value} because of the finding {findings}, and not by a person",
            help="review what was found: charter findings FINDING",
        )


def _body(
    principal: Principal, changed: Principal, to: Move, reason: str, cancelled: tuple[str, ...]
) -> dict[str, object]:
    """Return what the evidence says of the change."""
    return {
        "principal": principal.name,
        "move": to.value,
        "before": principal.standing.value,
        "after": changed.standing.value,
        "epoch": changed.epoch,
        "charter": {"version": principal.version, "digest": principal.digest},
        "cancelled_approvals": list(cancelled),
        "reason": reason,
    }


def cancel_waiting(tx: StandingWork, principal: Principal) -> tuple[str, ...]:
    """Cancel the approvals that wait for a person, or to be spent, on the principal's behalf."""
    found = {key: approval for key, approval in tx.live.approvals.items() if key[0] == principal.id}
    for approval in found.values():
        tx.approvals.update(replace(approval, state=ApprovalState.CANCELLED))

    def forget() -> None:
        for key in found:
            tx.live.approvals.pop(key, None)

    if found:
        tx.after_commit(forget)
    return tuple(approval.id for approval in found.values())
