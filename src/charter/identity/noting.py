"""How something noticed is kept: as one finding however often it is seen, told in the evidence when it is new."""

from __future__ import annotations

from typing import Protocol

from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.work import HasFindings
from charter.registry.record import Finding


class NotingWork(Transaction, Protocol):
    """A work that may keep findings."""

    @property
    def registry(self) -> HasFindings:
        """Where findings are kept."""
        ...


def note(tx: NotingWork, finding: Finding, *, actor: str) -> tuple[Finding, bool]:
    """Keep a finding; record and announce it if it is new. Return it as it stands, and whether it is. A work."""
    kept, is_new = tx.registry.findings.open(finding)
    if is_new:
        tx.record(Draft(EntryKind.FINDING_OPENED, actor, kept.principal_id, kept.told()))
        tx.changed("finding", kept.id, actor=actor, reason=kept.title)
    return kept, is_new
