"""Making delegations: a person lends, a borrower accepts, a principal's borrower exchanges. Works, and what they ask.

INVARIANT: a delegation is kept only if the chain that it ends holds (registry/lending.py) and everything in it may act
(identity/authority.py), asked inside the transaction that keeps it; it is shown to decisions once it is durable.
INVARIANT: what is lent by each party, and how many there are, is bounded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, DeniedError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import chain_refusal, refusal
from charter.identity.work import IdentityWork
from charter.registry.delegation import Chain, Delegation, Link, is_person, role_of
from charter.registry.lending import Side, broken_link, longest
from charter.registry.lent_scope import Scope
from charter.registry.principal import LiveEstate, Principal
from charter.registry.standing import Standing

MAX_LIVE = 2_000_000
MAX_OF_PARTY = 200_000
FEED_KIND = "delegation"
MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which delegations are meant: all that fit everything named."""

    link: str | None = None  # one, by id
    person: str | None = None  # lent by that person
    agent: str | None = None  # prn_…: lent to that principal, or by it
    purpose: str | None = None

    def to_json(self) -> dict[str, str]:
        """Return what is named."""
        named = {"link": self.link, "person": self.person, "agent": self.agent, "purpose": self.purpose}
        return {name: value for name, value in named.items() if value is not None}


class DelegationStore(Protocol):
    """The delegations kept."""

    def add(self, delegation: Delegation, depth: int) -> None:
        """Keep a new one; `depth` is its chain's."""
        ...

    def accept(self, delegation_id: str, proof: str, digest: str) -> None:
        """Keep the proof by which its borrower accepted it."""
        ...

    def matching(self, wanted: Wanted, after: int) -> list[str]:
        """Return the ids of those that are wanted, not withdrawn, and end after `after`, in seconds since 1970."""
        ...

    def beneath(self, ids: Sequence[str], after: int) -> int:
        """Return how many that end after `after` rest on one of `ids`, at whatever remove."""
        ...

    def withdraw(self, ids: Sequence[str], at: dt.datetime, by: str) -> None:
        """Mark as withdrawn."""
        ...

    def switch(self, lender: str, borrower: str, *, is_on: bool, at: dt.datetime, by: str) -> None:
        """Keep whether `lender` may lend to `borrower` for now."""
        ...


class LendingWork(IdentityWork, Protocol):
    """What every work on delegations may do."""

    @property
    def delegations(self) -> DelegationStore:
        """The delegations."""
        ...


@dataclass(frozen=True, slots=True)
class Loan:
    """What a person lends."""

    id: str  # of the delegation to be
    person: str
    borrower: str  # prn_…
    purpose: str
    scope: Scope
    lasts: dt.timedelta | None  # None: as long as the charter allows
    control_plane: str  # the issuer that vouched for the person
    made_by: str
    door: str
    reason: str


def lend(tx: LendingWork, loan: Loan, side: Side, digest: str) -> Delegation | None:
    """Keep what a person lends to a principal; None if its charter is not the one of `side` any more. A work.

    Raises:
        MalformedError: the purpose is no name, or the time none.
        DeniedError: the principal may not act, or its charter does not allow it; the message says what is missing.
        ConflictError: there are too many already.
    """
    principal = tx.live.principals.get(loan.borrower)
    if principal is None or principal.digest != digest:
        return None
    stopped = refusal(tx.live, principal.id, None, at=tx.at)
    if stopped is not None:
        raise DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    if not is_person(loan.person):
        raise MalformedError(ErrorCode.BAD_VALUE, f"{loan.person[:80]!a} is no person", help="name one by address")
    sides = {loan.person: Side(loan.person), principal.id: side}  # lender, borrower
    link = root_link(tx.live, loan, principal, sides, tx.at)
    check_chain(tx.live, Chain((link,)), sides, at=tx.at)
    delegation = Delegation(link, None, loan.person, loan.made_by, loan.door, loan.reason[:MAX_REASON])
    keep(tx, delegation, Chain((link,)), is_asked=loan.lasts is not None)
    return delegation


def root_link(live: LiveEstate, loan: Loan, principal: Principal, sides: Mapping[str, Side], at: dt.datetime) -> Link:
    """Return the link that `loan` makes at `at`; whether it holds is for `check_chain` to say.

    Raises:
        MalformedError: its purpose is no name, or its time none.
    """
    lasts = longest(*sides.values()) if loan.lasts is None else loan.lasts
    if lasts < dt.timedelta(seconds=1):
        raise MalformedError(ErrorCode.BAD_VALUE, "a delegation lasts at least a second", help="write 30m or 8h")
    now = int(at.timestamp())
    return Link(
        id=loan.id,
        lender=loan.person,
        borrower=principal.id,
        role=role_of(principal.kind),
        control_plane=loan.control_plane,
        purpose=parse_name(loan.purpose, "purpose"),
        scope=loan.scope,
        made_at=now,
        expires_at=now + int(lasts.total_seconds()),
        standing=Standing.ACTIVE,
        is_switched_off=live.delegations.is_switched_off(loan.person, principal.id),
    )


def check_chain(live: LiveEstate, chain: Chain, sides: Mapping[str, Side], *, at: dt.datetime) -> None:
    """Check that a chain holds, and that everything in it may act; its caller is asked for by `refusal`.

    Raises:
        DeniedError: it does not, or may not; the message names the link that broke.
        ConflictError: there are too many delegations.
    """
    stopped = chain_refusal(live, chain, at=at)
    if stopped is not None:
        raise DeniedError(ErrorCode.BAD_DELEGATION, stopped.text, help=stopped.mend)
    broken = broken_link(chain, sides)
    if broken is not None:
        raise DeniedError(ErrorCode.BAD_DELEGATION, broken.text, help=broken.mend)
    book = live.delegations
    full = next((party for party in chain.parties[-2:] if book.count_of(party) >= MAX_OF_PARTY), None)
    if len(book) >= MAX_LIVE or full is not None:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"`{sides[full].name}` has {MAX_OF_PARTY} delegations" if full else f"there are {MAX_LIVE} delegations",
            help="withdraw those no longer used, or wait until they end: charter delegations ls",
        )


def keep(tx: LendingWork, delegation: Delegation, chain: Chain, *, is_asked: bool = False) -> None:
    """Keep a delegation whose chain was checked, with its evidence; `is_asked`: somebody said how long. A work."""
    link = delegation.link
    tx.delegations.add(delegation, chain.depth)
    body = made_body(tx.live, delegation, chain) | {"lasts": "asked" if is_asked else "longest"}
    tx.record(Draft(EntryKind.DELEGATION_MADE, delegation.made_by, link.borrower, body))
    tx.changed(FEED_KIND, link.id, actor=delegation.made_by, reason=delegation.reason or link.purpose)
    tx.after_commit(lambda: tx.live.delegations.add(delegation), apart=True)


def accept(tx: LendingWork, link: Link, *, proof: str, digest: str) -> None:
    """Keep the proof by which the borrower of `link` accepted it, with its evidence. A work."""
    tx.delegations.accept(link.id, proof, digest)
    body = {"delegation": link.id, "proof": proof, "proof_digest": digest, "purpose": link.purpose}
    tx.record(Draft(EntryKind.DELEGATION_ACCEPTED, link.borrower, link.borrower, body))
    tx.after_commit(lambda: tx.live.delegations.accept(link.id, digest))


def made_body(live: LiveEstate, delegation: Delegation, chain: Chain) -> dict[str, Any]:
    """Return what evidence says of a delegation that was made."""
    link = delegation.link
    return {
        "delegation": link.id,
        "rests_on": delegation.parent,
        "initiator": delegation.initiator,
        "lender": link.lender,
        "lender_name": name_of(live, link.lender),
        "borrower": name_of(live, link.borrower),
        "role": link.role.value,
        "control_plane": link.control_plane,
        "purpose": link.purpose,
        "scope": link.scope.to_json(),
        "depth": chain.depth,
        "expires": rfc3339(dt.datetime.fromtimestamp(link.expires_at, dt.UTC)),
        "lender_epoch": link.lender_epoch,
        "lender_credential": link.lender_credential,
        "proof": delegation.proof,
        "proof_digest": link.proof,
        "door": delegation.door,
        "reason": delegation.reason,
    }


def name_of(live: LiveEstate, party: str) -> str:
    """Return what people call a party."""
    found = live.principals.get(party)
    return found.name if found else party


def names_of(live: LiveEstate, parties: Sequence[str]) -> dict[str, str]:
    """Return the parties' names by party."""
    return {party: name_of(live, party) for party in parties}
