"""A call that waits for a yes which was given beforehand (registry/repeat.py): its own approval, given at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from charter.core.clock import rfc3339
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.call import Bearer, Call
from charter.gateway.facts import Facts
from charter.policy.verdict import Escalate
from charter.registry.approval import APPROVED_MINUTES, Approval, ApprovalState
from charter.registry.principal import LiveEstate, show_repeats
from charter.registry.repeat import Repeat
from charter.registry.standing import Standing


class Approvals(Protocol):
    """The approvals kept."""

    def add(self, approval: Approval) -> None:
        """Keep a new one."""
        ...

    def update(self, approval: Approval) -> None:
        """Replace the one with the same id."""
        ...


class Repeats(Protocol):
    """The yeses to further calls that are kept."""

    def put(self, repeat: Repeat) -> None:
        """Keep one, new or changed."""
        ...

    def remove(self, ids: Iterable[str]) -> None:
        """Forget some."""
        ...


class RepeatedWork(Transaction, Protocol):
    """The slice of the work that this needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def approvals(self) -> Approvals:
        """The approvals."""
        ...

    @property
    def repeats(self) -> Repeats:
        """The yeses to further calls."""
        ...


def standing_yes(live: LiveEstate, bearer: Bearer, call: Call, facts: Facts, verdict: Escalate) -> Repeat | None:
    """Return a yes, given beforehand, that suffices for a call which waits for people; None: there is none."""
    for each in live.repeats.get(facts.principal.id, ()):
        if _suffices(each, live, bearer, call, facts, verdict):
            return each
    return None


def _suffices(repeat: Repeat, live: LiveEstate, bearer: Bearer, call: Call, facts: Facts, verdict: Escalate) -> bool:
    principal, flow, at = facts.principal, facts.request.flow, facts.request.at
    return (
        (principal.digest, principal.epoch) == (repeat.charter, repeat.epoch)
        and principal.standing is Standing.ACTIVE
        and not repeat.is_over(at)
        and set(verdict.approvers) == {repeat.seat}
        and not live.directory.has_left(repeat.person)
        and repeat.fits((call.system, call.tool), bearer.delegation, call.arguments)
        and not repeat.touches(flow.doubted)
    )


def approve_by(tx: RepeatedWork, facts: Facts, asked: Approval, repeat: Repeat) -> None:
    """Keep the approval of one call that `repeat` says yes to. `asked` is what would have been put to people."""
    expires = min(repeat.until, tx.at + dt.timedelta(minutes=APPROVED_MINUTES))
    given = {repeat.seat: repeat.person}
    approval = replace(asked, given=given, state=ApprovalState.APPROVED, expires_at=expires)
    if facts.approval is not None and facts.approval.id == approval.id:
        tx.approvals.update(approval)
    else:
        tx.approvals.add(approval)
    rest = replace(repeat, left=repeat.left - 1)
    if rest.left:
        tx.repeats.put(rest)
    else:
        tx.repeats.remove([rest.id])
    body = {
        "approval": approval.id,
        "state": approval.state.value,
        "call_digest": approval.call_digest,
        "given": given,
        "expires_at": rfc3339(expires),
        "reason": repeat.reason,
        "repeat": repeat.id,
        "left": rest.left,
    }
    tx.record(Draft(EntryKind.APPROVAL_GIVEN, repeat.person, approval.principal_id, body))
    key = (approval.principal_id, approval.call_digest)

    def show() -> None:
        tx.live.approvals[key] = approval
        if rest.left:
            show_repeats(tx.live, approval.principal_id, put=rest)
        else:
            show_repeats(tx.live, approval.principal_id, drop=rest.id)

    tx.after_commit(show)
