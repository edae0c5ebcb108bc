"""Giving a yes to further calls, and ending it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle.approvals import ApprovalWork, approve
from charter.registry.approval import Approval
from charter.registry.principal import show_repeats
from charter.registry.repeat import Repeat, Terms


class Repeats(Protocol):
    """Those that are kept."""

    def put(self, repeat: Repeat) -> None:
        """Keep one, new or changed."""
        ...

    def remove(self, ids: Iterable[str]) -> None:
        """Forget some."""
        ...


class RepeatWork(ApprovalWork, Protocol):
    """The slice of the work that this needs."""

    @property
    def repeats(self) -> Repeats:
        """Those that are kept."""
        ...


def approve_further(
    tx: RepeatWork, approval_id: str, terms: Terms, *, person: str, reason: str, entropy: Entropy
) -> tuple[Approval, Repeat]:
    """Record a person's yes to a call and to further ones like it; return both. A work.

    Raises:
        MalformedError: the terms do not go with the call.
        AbsentError, ConflictError, DeniedError: as `approve` does.
    """
    terms.check(tx.approvals.get(approval_id))
    answered = approve(tx, approval_id, person=person, reason=reason)
    principal = tx.live.principals[answered.principal_id]
    chain = answered.call.get("chain")
    ((seat, who),) = answered.given.items()
    repeat = Repeat(
        id=entropy.identifier("rpt"),
        principal_id=principal.id,
        charter=principal.digest,
        epoch=principal.epoch,
        system=str(answered.call["system"]),
        tool=str(answered.call["tool"]),
        delegation=str(chain["delegation"]) if chain else None,
        arguments=answered.call["arguments"],
        vary=terms.vary,
        seat=seat,
        person=who,
        reason=reason,
        approval_id=answered.id,
        left=terms.count,
        until=tx.at + terms.lasts,
    )
    tx.repeats.put(repeat)
    body = told(repeat) | {"reason": reason}
    tx.record(Draft(EntryKind.REPEAT_GIVEN, who, principal.id, body))
    tx.after_commit(lambda: show_repeats(tx.live, principal.id, put=repeat))
    return answered, repeat


def end(tx: RepeatWork, repeat_id: str, *, person: str, reason: str) -> Repeat:
    """End one: a person may take any of them back, which takes nothing from anybody. A work.

    Raises:
        AbsentError: there is none of this id, or it is over.
    """
    found = next((each for some in tx.live.repeats.values() for each in some if each.id == repeat_id), None)
    if found is None or found.is_over(tx.at):
        text = f"there is no yes to further calls {repeat_id[:64]!a}"
        raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, text, help="charter approvals repeats")
    _end(tx, [found], person, reason)
    return found


def end_of(tx: RepeatWork, principal_id: str | None, *, actor: str, reason: str) -> None:
    """End all of a principal's, or all there are. A work."""
    some = tx.live.repeats.items()
    found = [each for owner, held in some if principal_id in (None, owner) for each in held]
    _end(tx, found, actor, reason)


def _end(tx: RepeatWork, found: list[Repeat], actor: str, reason: str) -> None:
    tx.repeats.remove([each.id for each in found])
    for each in found:
        body = {"repeat": each.id, "left": each.left, "reason": reason}
        tx.record(Draft(EntryKind.REPEAT_ENDED, actor, each.principal_id, body))

    def hide() -> None:
        for each in found:
            show_repeats(tx.live, each.principal_id, drop=each.id)

    if found:
        tx.after_commit(hide)


def told(repeat: Repeat) -> dict[str, object]:
    """Return what evidence and people are told of one."""
    return {
        "repeat": repeat.id,
        "approval": repeat.approval_id,
        "system": repeat.system,
        "tool": repeat.tool,
        "delegation": repeat.delegation,
        "vary": list(repeat.vary),
        "given": {repeat.seat: repeat.person},
        "left": repeat.left,
        "until": rfc3339(repeat.until),
    }
