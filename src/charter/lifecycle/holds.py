"""Lowering a standing because of a finding, and giving back what that took: works, each with its evidence.

A hold acts at once and asks nobody; only a review of its finding ends it (registry/hold.py).

INVARIANT: a hold that suspends withdraws as a person's suspension does: the epoch rises, what waits for people is
cancelled, and `Lowered.withdraws` tells the caller to end what is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from charter.core.errors import ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle.emergency import FEED_KIND, StandingWork, cancel_waiting
from charter.registry.hold import Held
from charter.registry.principal import LiveEstate, Principal
from charter.registry.record import Finding
from charter.registry.standing import Standing

BY_CHARTER = "charter"
FINAL = (Standing.REVOKED, Standing.RETIRED)


@dataclass(frozen=True, slots=True)
class Shifted:
    """What a hold, or its end, did to a principal."""

    principal: Principal  # as it stands now
    before: Standing

    @property
    def withdraws(self) -> bool:
        """Whether its authority was withdrawn just now."""
        return self.principal.standing is Standing.SUSPENDED and self.before is not Standing.SUSPENDED


def hold(tx: StandingWork, principal: Principal, finding: str, floor: Standing, *, reason: str) -> Shifted:
    """Let a finding hold a principal's standing down to `floor`. A work.

    `principal` is as the transaction has it. One that is revoked or retired is left alone.
    """
    if principal.standing in FINAL:
        return Shifted(principal, principal.standing)
    held = (principal.held or Held(principal.standing)).with_floor(finding, floor)
    return _shift(tx, principal, held, finding, by=BY_CHARTER, reason=reason)


def release(tx: StandingWork, principal: Principal, finding: str, *, by: str, reason: str) -> Shifted:
    """Give back what the hold of a finding took of a principal's standing, and nothing else. A work."""
    if principal.held is None or finding not in principal.held.floors:
        return Shifted(principal, principal.standing)
    return _shift(tx, principal, principal.held.without(finding), finding, by=by, reason=reason)


def check_settled_elsewhere(live: LiveEstate, finding: Finding) -> None:
    """Check that a finding holds no principal: what it holds ends with the review of what was found, not with a word.

    Raises:
        ConflictError: it does.
    """
    principal = live.principals.get(finding.principal_id or "")
    if principal is not None and principal.held is not None and finding.id in principal.held.floors:
        raise ConflictError(
            ErrorCode.HELD,
            f"the finding `{finding.id}` holds `{principal.name}` down until what was found is reviewed",
            help=f"charter composition show {principal.name}",
        )


def _shift(tx: StandingWork, principal: Principal, held: Held, finding: str, *, by: str, reason: str) -> Shifted:
    changed = principal.holding(held)
    shifted = Shifted(changed, principal.standing)
    cancelled: tuple[str, ...] = ()
    if shifted.withdraws:
        changed = replace(changed, epoch=principal.epoch + 1)
        shifted = Shifted(changed, principal.standing)
        cancelled = cancel_waiting(tx, principal)
    tx.registry.update_principals([changed])
    if changed.standing is not principal.standing:
        body: dict[str, object] = {
            "principal": principal.name,
            "move": "hold" if finding in held.floors else "release",
            "before": principal.standing.value,
            "after": changed.standing.value,
            "chosen": held.chosen.value,
            "finding": finding,
            "epoch": changed.epoch,
            "charter": {"version": principal.version, "digest": principal.digest},
            "cancelled_approvals": list(cancelled),
            "reason": reason,
        }
        tx.record(Draft(EntryKind.STANDING_CHANGED, by, principal.id, body))
        tx.changed(FEED_KIND, principal.id, actor=by, reason=reason)
    tx.after_commit(lambda: tx.live.principals.__setitem__(changed.id, changed))
    return shifted
