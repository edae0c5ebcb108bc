"""Weak credentials that a charter admits: each a standing finding, whose age is shown until it is mended.

    legacy-secret        the principal proves itself by a shared secret
    bearer-by-custom     its tokens are good without a key, though its charter does not say so (it is from before there
                         was a choice)
    overdue-credential   what it proves itself by is older than its charter, or a person, wants it to be

INVARIANT: a weakness that is there is an open or accepted finding; one that is gone is a resolved one. `reconcile` says
so in the transaction that changed it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from charter.core.canonical import digest_of
from charter.core.entropy import Entropy
from charter.evidence.entry import Draft, EntryKind
from charter.identity.noting import note
from charter.identity.work import IdentityWork
from charter.registry.charter import CredentialType
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.record import Finding, FindingState
from charter.registry.rotation import due_at
from charter.registry.standing import Standing
from charter.registry.terms import Bearing

LEGACY_SECRET = "legacy-secret"  # noqa: S105 - a kind of finding
BEARER_BY_CUSTOM = "bearer-by-custom"
OVERDUE = "overdue-credential"
KINDS = (LEGACY_SECRET, BEARER_BY_CUSTOM, OVERDUE)
_OVER = frozenset({Standing.REVOKED, Standing.RETIRED})


def weaknesses_of(principal: Principal) -> dict[str, str]:
    """Return the weaknesses that a principal's charter admits, each with its title; none of one that acts no more."""
    found: dict[str, str] = {}
    if principal.standing in _OVER:
        return found
    if principal.terms.type is CredentialType.LEGACY_SECRET:
        found[LEGACY_SECRET] = f"{principal.name} proves itself by a shared secret"
    if principal.terms.bearing is Bearing.GRANDFATHERED:
        found[BEARER_BY_CUSTOM] = (
            f"{principal.name} uses tokens that are bound to no key, and its charter is silent on it"
        )
    return found


def is_overdue(key: ClientKey, principal: Principal, at: dt.datetime) -> bool:
    """Return whether `key` is older than it should be, and nothing took its place."""
    due = due_at(key, principal.terms)
    return due is not None and at >= due


def has_overdue(live: LiveEstate, principal: Principal, at: dt.datetime) -> bool:
    """Return whether a principal that acts has an overdue credential."""
    is_over = principal.standing in _OVER
    return not is_over and any(is_overdue(key, principal, at) for key in live.keys_of(principal.id))


def overdue(live: LiveEstate, at: dt.datetime) -> frozenset[str]:
    """Return the ids of the principals with an overdue credential."""
    may_have = (p for p in list(live.principals.values()) if p.terms.rotate_seconds is not None or p.id in live.asked)
    return frozenset(principal.id for principal in may_have if has_overdue(live, principal, at))


def reconcile(tx: IdentityWork, principals: Iterable[Principal], *, entropy: Entropy, actor: str) -> None:
    """Open the findings of weaknesses that are there, and resolve those of weaknesses that are gone. A work."""
    known = {(each.kind, each.principal_id): each for each in tx.registry.findings.of_kinds(KINDS)}
    for principal in principals:
        found = weaknesses_of(principal)
        if has_overdue(tx.live, principal, tx.at):
            found[OVERDUE] = f"{principal.name} proves itself by a credential that was to be replaced by now"
        for kind in KINDS:
            kept = known.get((kind, principal.id))
            if kind in found and kept is None:
                _open(tx, principal, kind, found[kind], entropy.identifier("fnd"), actor)
            elif kept is not None and (kind in found) is (kept.state is FindingState.RESOLVED):
                _move(tx, kept, actor)


def _open(tx: IdentityWork, principal: Principal, kind: str, title: str, finding_id: str, actor: str) -> None:
    finding = Finding.noticed(
        finding_id,
        kind,
        digest_of({"kind": kind, "principal": principal.id}),
        title=title,
        body={"principal": principal.name, "charter": {"version": principal.version, "digest": principal.digest}},
        at=tx.at,
        principal_id=principal.id,
    )
    note(tx, finding, actor=actor)


def _move(tx: IdentityWork, kept: Finding, actor: str) -> None:
    """Resolve a finding whose weakness is gone, or open again one whose weakness is back."""
    back = kept.state is FindingState.RESOLVED
    opened = kept if kept.state is FindingState.OPEN or back else kept.moved(FindingState.OPEN, tx.at)
    moved = opened.moved(FindingState.OPEN if back else FindingState.RESOLVED, tx.at)
    tx.registry.findings.update(moved)
    tx.record(Draft(EntryKind.FINDING_CHANGED, actor, kept.principal_id, moved.told()))
    tx.changed("finding", kept.id, actor=actor, reason=f"{kept.title}: {moved.state.value}")
