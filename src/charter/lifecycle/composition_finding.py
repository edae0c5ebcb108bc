"""The finding of a changed composition: one from the first change until the review, its body what differs by now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle.composition_work import CompositionWork
from charter.lifecycle.holds import BY_CHARTER
from charter.registry.composed import Composed
from charter.registry.principal import Principal
from charter.registry.record import Finding, FindingState

CHANGED = "changed-composition"  # a kind of finding
MAX_TOLD = 20  # parts in one entry of evidence; the digest stands for all
_NAMED = 3  # in a title


def told_changes(composed: Composed) -> list[dict[str, Any]]:
    """Return what differs from what was accepted, part by part, as people and evidence are told."""
    return [
        {
            "part": part,
            "was": list(each.was),
            "now": list(each.now),
            "told_by": each.by,
            "at": rfc3339(each.at),
            "applied_by": each.actor,
            "is_back": composed.is_back(part),
        }
        for part, each in composed.changes.items()
    ]


def found_of(tx: CompositionWork, principal: Principal, after: Composed, entropy: Entropy) -> Finding:
    """Return the finding of a change: one from the first of them until the review."""
    parts = list(after.changes)
    more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    fresh = Finding.noticed(
        entropy.identifier("fnd"),
        CHANGED,
        digest_of({"kind": CHANGED, "principal": principal.id, "since": rfc3339(after.accepted_at)}),
        title=f"{principal.name} is not made of what was accepted: {', '.join(parts[:_NAMED])}{more}",
        body={
            "principal": principal.name,
            "change": after.change,
            "accepted": after.digest,
            "parts": told_changes(after)[:MAX_TOLD],
            "reviewer": after.reviewer,
        },
        at=tx.at,
        principal_id=principal.id,
    )
    kept, is_new = tx.registry.findings.open(fresh)
    if not is_new:
        kept = replace(kept, title=fresh.title, body=fresh.body, state=FindingState.OPEN, changed_at=tx.at)
        tx.registry.findings.update(kept)
    _tell_finding(tx, kept, EntryKind.FINDING_OPENED if is_new else EntryKind.FINDING_CHANGED, BY_CHARTER)
    return kept


def settle(tx: CompositionWork, finding: Finding, state: FindingState, actor: str) -> None:
    """Move a finding that is open, with the evidence of it."""
    if finding.state is FindingState.OPEN:
        moved = finding.moved(state, tx.at)
        tx.registry.findings.update(moved)
        _tell_finding(tx, moved, EntryKind.FINDING_CHANGED, actor)


def _tell_finding(tx: CompositionWork, finding: Finding, kind: EntryKind, actor: str) -> None:
    body = {
        "finding": finding.id,
        "kind": finding.kind,
        "title": finding.title,
        "fingerprint": finding.fingerprint,
        "state": finding.state.value,
        "change": finding.body["change"],
    }
    tx.record(Draft(kind, actor, finding.principal_id, body))
    tx.changed("finding", finding.id, actor=actor, reason=finding.title)
