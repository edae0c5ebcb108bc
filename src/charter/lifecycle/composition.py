"""Pinned compositions: what changes them, what a change does, and who ends that. Works of the writer.

    follow    files were applied: what a charter declares is another, or a system's tools are
    seen      something tells what a part is: the kernel, an issuer's token, the gateway, a signed card
    accept    a person reviewed the change that waits

A change opens a finding, which holds the principal's standing down in the same transaction (lifecycle/holds.py).

INVARIANT: a change is in force with the commit that made it known. Nothing but a review ends what it took.
INVARIANT: a change is reviewed by someone who holds the role that the charter named before it, and is neither the
principal's owner nor whoever applied it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle.composition_finding import MAX_TOLD, found_of, settle, told_changes
from charter.lifecycle.composition_work import CompositionWork
from charter.lifecycle.emergency import MAX_REASON
from charter.lifecycle.holds import BY_CHARTER, FINAL, Shifted, ask_anew, hold, release
from charter.registry.charter import Charter
from charter.registry.composed import Changed, Composed, accept, declare, pinned, see
from charter.registry.composition import OnChange
from charter.registry.compositions import declared_parts, terms_of
from charter.registry.principal import Principal
from charter.registry.problem import suggestion
from charter.registry.record import FindingState
from charter.registry.system import System

FILES = "the files applied"  # who tells of what they declare
LEAST_LOOKED_AT = 12  # hexadecimal digits of a change, by which a person names it


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review did."""

    composed: Composed
    shifted: Shifted
    index: int  # of its entry in the evidence


def follow(
    tx: CompositionWork,
    principal: Principal,
    charter: Charter | None,
    systems: Mapping[str, System],
    *,
    actor: str,
    entropy: Entropy,
) -> Shifted | None:
    """Hold the composition of a principal to the files that were applied. A work.

    `principal` is as the transaction has it, `charter` None if it was withdrawn, `systems` those now in force.
    """
    known = tx.live.compositions.get(principal.id)
    if charter is None or principal.standing in FINAL:
        if known is not None:
            _forget(tx, principal, known, actor)
        return None
    terms, parts = terms_of(charter), declared_parts(charter, systems)
    if known is None:
        return _pin(tx, principal, pinned(principal.id, terms, parts, by=actor, at=tx.at), actor) if terms else None
    after = declare(known, terms or known.terms, parts, by=FILES, actor=actor, at=tx.at)
    if after == known:
        return None
    anew = _asked_anew(tx, principal, known.terms.attested, after, actor)
    shifted = _kept(tx, anew.principal if anew else principal, known, after, entropy)
    return replace(shifted, withdraws=True) if shifted and anew else shifted or anew


def seen(
    tx: CompositionWork, principal_id: str, told: Mapping[str, str], *, by: str, entropy: Entropy
) -> Shifted | None:
    """Take note of what `by` tells of a principal's parts. A work."""
    known, principal = tx.live.compositions.get(principal_id), tx.live.principals.get(principal_id)
    if known is None or principal is None or principal.standing in FINAL:
        return None
    after = known
    for part, value in told.items():
        after = see(after, part, value, by=by, at=tx.at)
    return None if after is known else _kept(tx, principal, known, after, entropy)


def review(tx: CompositionWork, name: str, change: str, *, person: str, reason: str) -> Reviewed:
    """Record that `person` accepts what the principal `name` is made of now. A work.

    `change` names what they looked at: its digest, or the first 12 hexadecimal digits of it and more.

    Raises:
        MalformedError: there is no reason, or what they looked at is not named.
        AbsentError: there is no such principal, or nothing of it is pinned.
        ConflictError: nothing waits, or another change than they looked at.
        DeniedError: they may not review it.
    """
    person = person.lower()
    looked_at = _looked_at(change, reason)
    principal = tx.live.principal_named(name)
    known = tx.live.compositions.get(principal.id) if principal else None
    if principal is None or known is None:
        raise _absent(tx, name, principal)
    if principal.standing in FINAL:
        raise ConflictError(ErrorCode.BAD_MOVE, f"`{name}` is {principal.standing.value}", help="that is final")
    after = accept(known, looked_at, by=person, at=tx.at)
    _check_reviewer(tx, principal, known, person)
    told = told_changes(known)
    body = {
        "principal": name,
        "change": known.change,
        "before": known.digest,
        "after": after.digest,
        "parts": told[:MAX_TOLD],
        "parts_in_all": len(told),
        "role": known.reviewer,
        "finding": known.finding,
        "reason": reason,
    }
    index = tx.record(Draft(EntryKind.COMPOSITION_REVIEWED, person, principal.id, body))
    if known.finding is not None:
        settle(tx, tx.registry.findings.get(known.finding), FindingState.ACCEPTED, person)
    shifted = release(tx, principal, known.finding or "", by=person, reason=reason)
    _put(tx, after if after.accepted or after.declared else None, principal.id)
    tx.changed("composition", principal.id, actor=person, reason=reason)
    return Reviewed(after, shifted, index)


def _pin(tx: CompositionWork, principal: Principal, first: Composed, actor: str) -> Shifted | None:
    body = {
        "principal": principal.name,
        "composition": first.digest,
        "parts": {part: list(values) for part, values in list(first.accepted.items())[:MAX_TOLD]},
        "parts_in_all": len(first.accepted),
        "attested": list(first.terms.attested),
        "charter": {"version": principal.version, "digest": principal.digest},
    }
    tx.record(Draft(EntryKind.COMPOSITION_PINNED, actor, principal.id, body))
    tx.changed("composition", principal.id, actor=actor, reason="pinned by its charter")
    _put(tx, first, principal.id)
    return _asked_anew(tx, principal, (), first, actor)


def _asked_anew(
    tx: CompositionWork, principal: Principal, before: Sequence[str], after: Composed, actor: str
) -> Shifted | None:
    """End what a principal obtained while nobody asked for attestation, where its charter asks from now on."""
    if principal.version == 1 or set(after.terms.attested) <= set(before):
        return None
    parts = ", ".join(after.terms.attested)
    return ask_anew(tx, principal, by=actor, reason=f"its charter wants attested from now on: {parts}")


def _kept(
    tx: CompositionWork, principal: Principal, before: Composed, after: Composed, entropy: Entropy
) -> Shifted | None:
    """Keep a composition; where it is another change than before, say so and lower the standing."""
    if after.change is None or after.change == before.change:
        _put(tx, after, principal.id)
        return None
    finding = found_of(tx, principal, after, entropy)
    after = replace(after, finding=finding.id)
    told = told_changes(after)
    body = {
        "principal": principal.name,
        "accepted": after.digest,
        "now": after.digest_now,
        "change": after.change,
        "parts": told[:MAX_TOLD],
        "parts_in_all": len(told),
        "finding": finding.id,
        "reviewer": after.reviewer,
    }
    actor = next((each.actor for each in after.changes.values() if each.actor), BY_CHARTER)
    tx.record(Draft(EntryKind.COMPOSITION_CHANGED, actor, principal.id, body))
    tx.changed("composition", principal.id, actor=actor, reason=finding.title)
    _put(tx, after, principal.id)
    severe = OnChange.SUSPEND in (before.terms.on_change, after.terms.on_change)
    floor = (OnChange.SUSPEND if severe else OnChange.RESTRAIN).floor
    return hold(tx, principal, finding.id, floor, reason=finding.title)


def _forget(tx: CompositionWork, principal: Principal, known: Composed, actor: str) -> None:
    if known.finding is not None:
        settle(tx, tx.registry.findings.get(known.finding), FindingState.RESOLVED, actor)
    _put(tx, None, principal.id)


def _put(tx: CompositionWork, composed: Composed | None, principal_id: str) -> None:
    if composed is None:
        tx.compositions.drop(principal_id)
        tx.after_commit(lambda: tx.live.drop_composition(principal_id))
        return
    tx.compositions.put(composed, tx.at)
    tx.after_commit(lambda: tx.live.put_composition(composed))


def _looked_at(change: str, reason: str) -> str:
    """Return the beginning of the change's digest that a person named."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"a review needs a reason of 1 to {MAX_REASON} characters",
            help="say why: it stands in the evidence",
        )
    digits = change.removeprefix("sha256:")
    if len(digits) < LEAST_LOOKED_AT or not set(digits) <= set("0123456789abcdef"):
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"`{change[:80]!a}` names no change",
            help=f"charter composition show NAME prints it; its first {LEAST_LOOKED_AT} digits will do",
        )
    return f"sha256:{digits}"


def _check_reviewer(tx: CompositionWork, principal: Principal, known: Composed, person: str) -> None:
    """Check that `person` may review what waits.

    Raises:
        DeniedError: they may not.
    """
    holders = tx.registry.teams().roles.get(known.reviewer, ())
    why = None
    if tx.live.directory.has_left(person):
        why = f"`{person}` left, as the directory has it"
    elif person not in holders:
        why = f"`{person}` does not hold the role `{known.reviewer}`, which reviews what `{principal.name}` is made of"
    elif person == principal.owner_person:
        why = f"`{person}` owns `{principal.name}` and cannot review what it is made of"
    elif any(_is_theirs(each, person) for each in known.changes.values()):
        why = f"`{person}` applied the change and cannot review it too"
    if why is not None:
        raise DeniedError(ErrorCode.POLICY_DENIED, why, help=f"someone else with the role `{known.reviewer}` must")


def _is_theirs(changed: Changed, person: str) -> bool:
    return changed.actor is not None and changed.actor.lower() == person


def _absent(tx: CompositionWork, name: str, principal: Principal | None) -> AbsentError:
    if principal is None:
        return AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL, f"there is no principal {name[:80]!a}", help=suggestion(name[:80], tx.live.ids)
        )
    return nothing_pinned(name)


def nothing_pinned(name: str) -> AbsentError:
    """Return the error of a principal whose charter pins nothing."""
    return AbsentError(
        ErrorCode.NOT_PINNED,
        f"the charter of `{name}` pins nothing of what it is made of",
        help="write `composition` into it (docs/composition.md)",
    )
