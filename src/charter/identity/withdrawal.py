"""Taking delegations back: by link, person, agent or purpose; and switching off who may lend to whom.

A withdrawal marks the delegations that are meant, and nothing else. Whatever rests on them stops with them, because
every call reads its chain upwards; whatever stands beside them is not touched, because nothing is searched for.

INVARIANT: the book shows it, and `then` has run, before anyone is told that it is so: from the commit on, no call is
admitted and no token issued that rests on what was withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from charter.core.canonical import digest_of
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.delegation import FEED_KIND, MAX_REASON, LendingWork, Wanted, name_of
from charter.registry.delegation import edge_of

MAX_NAMED = 200  # delegations named in an entry; the digest stands for all
MAX_TRACED = 500  # delegations for which those beneath are counted
Ended = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a withdrawal did."""

    ids: tuple[str, ...]
    beneath: int | None  # how many rested on them; None: too many to count
    index: int  # of its entry in the evidence


def withdraw(tx: LendingWork, wanted: Wanted, *, actor: str, reason: str, then: Ended | None = None) -> Withdrawn:
    """Withdraw the delegations that are wanted. A work.

    `then` ends what is under way (open streams, unspent permits): it is given the ids once they are durable and shown.

    Raises:
        MalformedError: nothing is named, or no reason.
        AbsentError: there are none.
    """
    check_reason(reason)
    if not wanted.to_json():
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "nothing says which delegations are meant",
            help="name a link, person, agent or purpose",
        )
    now = int(tx.at.timestamp())
    ids = tx.delegations.matching(wanted, now)
    if not ids:
        said = ", ".join(f"{name} `{value[:80]}`" for name, value in wanted.to_json().items())
        raise AbsentError(
            ErrorCode.UNKNOWN_DELEGATION, f"there is no live delegation with {said}", help="charter delegations ls"
        )
    beneath = tx.delegations.beneath(ids, now) if len(ids) <= MAX_TRACED else None
    tx.delegations.withdraw(ids, tx.at, actor)
    index = tx.record(Draft(EntryKind.DELEGATION_WITHDRAWN, actor, wanted.agent, _body(wanted, ids, beneath, reason)))
    tx.changed(FEED_KIND, ids[0] if len(ids) == 1 else f"{len(ids)} delegations", actor=actor, reason=reason)

    def show() -> None:
        for each in ids:
            tx.live.delegations.withdraw(each)
        if then is not None:
            then(ids)

    tx.after_commit(show)
    return Withdrawn(tuple(ids), beneath, index)


def switch(
    tx: LendingWork, edge: tuple[str, str], *, is_on: bool, actor: str, reason: str, then: Ended | None = None
) -> int:
    """Let a lender (a party, or `humans`) lend to a principal from now on, or not; `edge` holds the two. A work.

    What was lent stays as it is, and cannot be used while the two are switched off; `then` ends what is under way.
    Return the evidence entry's index.

    Raises:
        MalformedError: no reason is given.
    """
    check_reason(reason)
    lender, borrower = edge
    tx.delegations.switch(lender, borrower, is_on=is_on, at=tx.at, by=actor)
    body = {
        "lender": name_of(tx.live, lender),
        "borrower": name_of(tx.live, borrower),
        "state": "on" if is_on else "off",
        "reason": reason,
    }
    index = tx.record(Draft(EntryKind.DELEGATION_SWITCHED, actor, borrower, body))
    tx.changed(FEED_KIND, f"{lender[:120]} {borrower}", actor=actor, reason=reason)

    def show() -> None:
        tx.live.delegations.switch(lender, borrower, is_on=is_on)
        if then is not None and not is_on:
            then([edge_of(lender, borrower)])

    tx.after_commit(show)
    return index


def check_reason(reason: str) -> None:
    """Check that a reason is given.

    Raises:
        MalformedError: none is.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"give a reason of 1 to {MAX_REASON} characters", help="it stands in the evidence"
        )


def _body(wanted: Wanted, ids: Sequence[str], beneath: int | None, reason: str) -> dict[str, object]:
    return {
        "wanted": wanted.to_json(),
        "count": len(ids),
        "beneath": beneath,
        "delegations": list(ids[:MAX_NAMED]),
        "digest": digest_of(sorted(ids)),
        "reason": reason,
    }
