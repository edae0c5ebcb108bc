"""Keeping what was noticed of a shared credential: one finding for one fact, its evidence, and what follows at once.

INVARIANT: both uses stand in the evidence, by an entry each, before the finding that names them.
INVARIANT: what follows, follows in the same transaction, and once for each time that the finding opens. A person who
resumes a principal has decided; the finding goes on counting, and says so, and moves nothing again until somebody
resolved it and it comes back, or until it is surer than it was.
INVARIANT: a finding that somebody accepted moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.identity.use import Contradiction, Use
from charter.identity.work import IdentityWork
from charter.registry.charter import Sharing as Answer
from charter.registry.principal import Principal
from charter.registry.record import Finding, FindingState
from charter.registry.sharing import Certainty
from charter.registry.standing import Move, Standing

ACTOR = "charter"
_SURENESS = {Certainty.SEEN.value: 1, Certainty.STATED.value: 2, Certainty.PROVED.value: 3}
_MOVES = {Answer.RESTRAIN: Move.RESTRAIN, Answer.SUSPEND: Move.SUSPEND}
_FIRMER = {  # standings that are at least as firm as what would follow
    Answer.RESTRAIN: frozenset(Standing) - {Standing.ACTIVE},
    Answer.SUSPEND: frozenset({Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED}),
}


class Stop(Protocol):
    """Moves a principal, with all that a move ends."""

    def __call__(self, principal: Principal, to: Move, reason: str) -> None:
        """Change its standing, within the transaction at hand."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a contradiction."""

    finding: Finding
    is_new: bool  # or came back, or is surer than it was
    moved: Mapping[str, Answer]  # what followed, by the principal's name


def keep(
    tx: IdentityWork,
    found: Contradiction,
    *,
    answer_of: Callable[[Principal], Answer],
    stop: Stop,
    entropy: Entropy,
) -> Kept:
    """Keep a contradiction as a finding, and let follow what policy says. A work."""
    parties = [tx.live.principals[each] for each in found.principals if each in tx.live.principals]
    kept, is_first = tx.registry.findings.open(_finding(found, parties, entropy.identifier("fnd"), tx))
    is_surer = _SURENESS[found.certainty.value] > _SURENESS.get(kept.body.get("certainty", ""), 1)
    is_new = is_first or kept.state is FindingState.RESOLVED or (kept.state is FindingState.OPEN and is_surer)
    if not is_new:
        return Kept(_counted(tx, kept, found), is_new=False, moved={})
    entries = [_entry_of(tx, use) for use in found.uses]
    answers = {each.name: answer_of(each) for each in parties}
    opened = kept if kept.state is FindingState.OPEN else kept.moved(FindingState.OPEN, tx.at)
    count = found.times + (0 if is_first else _count(kept))
    body = dict(kept.body) | _body(found, parties, entries, count, tx)
    body["answer"] = {name: each.value for name, each in answers.items()}
    opened = replace(opened, title=kept.title if is_first else found.why, body=body)
    tx.registry.findings.update(opened)
    kind = EntryKind.FINDING_OPENED if is_first else EntryKind.FINDING_CHANGED
    tx.record(Draft(kind, ACTOR, opened.principal_id, opened.told()))
    tx.changed("finding", opened.id, actor=ACTOR, reason=opened.title)
    moved = {each.name: answers[each.name] for each in parties if _follow(each, answers[each.name], opened, stop)}
    return Kept(opened, is_new=True, moved=moved)


def settle(tx: IdentityWork, finding: Finding, to: FindingState, *, actor: str, reason: str) -> Finding:
    """Move a finding on a person's word: accepted, resolved, or open again. A work.

    Raises:
        ConflictError: it is so already, or a settled one would be settled otherwise, or nobody can say so of it.
    """
    if to is FindingState.ADOPTED:
        raise ConflictError(
            ErrorCode.BAD_MOVE, "a finding is adopted by the principal that is made of it", help="charter adopt FINDING"
        )
    moved = finding.moved(to, tx.at)
    moved = replace(moved, body=dict(moved.body) | {"settled": {"by": actor, "reason": reason}})
    tx.registry.findings.update(moved)
    said = {"finding": moved.id, "kind": moved.kind, "title": moved.title, "fingerprint": moved.fingerprint}
    body = said | {"state": to.value, "reason": reason}
    tx.record(Draft(EntryKind.FINDING_CHANGED, actor, moved.principal_id, body))
    tx.changed("finding", moved.id, actor=actor, reason=f"{moved.title}: {to.value}")
    return moved


def _finding(found: Contradiction, parties: list[Principal], finding_id: str, tx: IdentityWork) -> Finding:
    return Finding.noticed(
        finding_id,
        found.kind.value,
        found.fingerprint,
        title=found.why,
        body={"certainty": found.certainty.value},
        at=tx.at,
        principal_id=parties[0].id if parties else None,
    )


def _body(
    found: Contradiction, parties: list[Principal], entries: list[int], count: int, tx: IdentityWork
) -> dict[str, Any]:
    return {
        "certainty": found.certainty.value,
        "principals": sorted(each.id for each in parties),
        "names": sorted(each.name for each in parties),
        "uses": [use.to_json() | {"entry": entry} for use, entry in zip(found.uses, entries, strict=True)],
        "entries": sorted(set(entries)),
        "count": count,
        "last_at": rfc3339(tx.at),
    }


def _entry_of(tx: IdentityWork, use: Use) -> int:
    """Return the index of the entry that has a use, recording it if none has."""
    if use.entry is not None:
        return use.entry
    return tx.record(Draft(EntryKind.CREDENTIAL_USED, use.principal_id, use.principal_id, use.to_json()))


def _counted(tx: IdentityWork, kept: Finding, found: Contradiction) -> Finding:
    """Count a fact that is known. What stands in the evidence of it stays; the finding says how often, and when."""
    last = found.uses[1].to_json()
    body = dict(kept.body) | {"count": _count(kept) + found.times, "last_at": rfc3339(tx.at), "last": last}
    counted = replace(kept, body=body)
    tx.registry.findings.update(counted)
    return counted


def _count(kept: Finding) -> int:
    return int(kept.body.get("count", 1))


def _follow(principal: Principal, answer: Answer, finding: Finding, stop: Stop) -> bool:
    """Let follow what policy says of `principal`; return whether anything did."""
    if answer is Answer.REPORT or principal.chosen in _FIRMER[answer]:  # a hold ends, and this must not with it
        return False
    stop(principal, _MOVES[answer], f"the finding {finding.id}: {finding.title}")
    return True
