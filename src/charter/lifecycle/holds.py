"""Lowering a standing because of a finding, and giving back what that took: works, each with its evidence.

A hold acts at once and asks nobody; only a review of its finding ends it (registry/hold.py).

INVARIANT: a hold that suspends withdraws as a person's suspension does: the epoch rises, what waits for people is
cancelled, and `Shifted.withdraws` tells the caller to end what is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    withdraws: bool = False  # its epoch rose: what it obtained before is worthless


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
    withdraws = changed.standing is Standing.SUSPENDED and principal.standing is not Standing.SUSPENDED
    changed = replace(changed, epoch=principal.epoch + withdraws)
    cancelled = cancel_waiting(tx, principal) if withdraws else ()
    is_another = changed.standing is not principal.standing
    said: dict[str, object] = {
        "move": "hold" if finding in held.floors else "release",
        "chosen": held.chosen.value,
        "finding": finding,
        "cancelled_approvals": list(cancelled),
        "reason": reason,
    }
    _put(tx, principal, changed, by, said if is_another else None)
    return Shifted(changed, principal.standing, withdraws)


def ask_anew(tx: StandingWork, principal: Principal, *, by: str, reason: str) -> Shifted:
    """End what a principal obtained until now, and leave its standing as it is. A work."""
    changed = replace(principal, epoch=principal.epoch + 1)
    _put(tx, principal, changed, by, {"move": "ask-anew", "cancelled_approvals": [], "reason": reason})
    return Shifted(changed, principal.standing, withdraws=True)


def _put(tx: StandingWork, before: Principal, after: Principal, by: str, said: Mapping[str, object] | None) -> None:
    """Keep a principal and show it; with `said`, that stands in the evidence beside what it was and is."""
    tx.registry.update_principals([after])
    if said is not None:
        body = {
            "principal": before.name,
            "before": before.standing.value,
            "after": after.standing.value,
            "epoch": after.epoch,
            "charter": {"version": before.version, "digest": before.digest},
        }
        tx.record(Draft(EntryKind.STANDING_CHANGED, by, before.id, body | dict(said)))
        tx.changed(FEED_KIND, before.id, actor=by, reason=str(said["reason"]))
    tx.after_commit(lambda: tx.live.principals.__setitem__(after.id, after))
