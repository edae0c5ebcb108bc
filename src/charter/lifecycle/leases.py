"""Leases through their life: each step durable with its evidence, in one work.

What is made outside comes between two works: `record` first, then the system makes the credential, then `confirm`.
Taking it back is the same in the other order: `end` first, then the system, then `settle`. So whatever instant the
process dies at, a lease says what may exist outside.

INVARIANT: `confirm` gives a lease only if nothing ended it meanwhile, and its holder may still act.
INVARIANT: ending is a state, not a wish: from `end` on, a lease is revoked until that is done.
INVARIANT: `book` shows the leases whose life is not over, as the database has them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, DeniedError, ErrorCode
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import refusal
from charter.identity.bearer import Bearer, Binding, Confirmation
from charter.registry.lease import IN_USE, Lease, LeaseState
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.standing import Refusal, Standing
from charter.registry.system import System

FEED_KIND = "lease"
MAX_OPEN_PER_PRINCIPAL = 32
SECOND_LOOK = dt.timedelta(seconds=30)  # after finding nothing of a lease that nobody confirmed
LOOKS = 2


class LeaseStore(Protocol):
    """Where leases are kept."""

    def add(self, lease: Lease) -> None:
        """Keep a new one."""
        ...

    def update(self, lease: Lease) -> None:
        """Replace the one with the same id."""
        ...


class LeaseWork(Transaction, Protocol):
    """The slice of the work that leases need."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def leases(self) -> LeaseStore:
        """Where they are kept."""
        ...


@dataclass(slots=True)
class LeaseBook:
    """The leases whose life is not over, and those with something left to clear away. Changed after commits alone."""

    open: dict[str, Lease] = field(default_factory=dict)
    untidy: dict[str, Lease] = field(default_factory=dict)

    def show(self, lease: Lease) -> None:
        """Show a lease as it stands now."""
        self.open.pop(lease.id, None)
        self.untidy.pop(lease.id, None)
        if not lease.is_final:
            self.open[lease.id] = lease
        elif lease.tidy_at is not None:
            self.untidy[lease.id] = lease

    def of(self, principal_id: str) -> list[Lease]:
        """Return the open leases of one principal."""
        return [lease for lease in self.open.values() if lease.principal_id == principal_id]

    def counts(self) -> dict[str, int]:
        """Return how many leases are in use, being revoked, and overdue for it."""
        leases = tuple(self.open.values())  # the console counts from other threads
        return {
            "in_use": sum(lease.state in IN_USE for lease in leases),
            "revoking": sum(lease.state is LeaseState.REVOKING for lease in leases),
            "overdue": sum(lease.is_overdue for lease in leases),
        }


def record(tx: LeaseWork, book: LeaseBook, lease: Lease) -> Lease:
    """Record a lease before its credential is made. A work.

    Raises:
        DeniedError: its holder may not act any more.
        ConflictError: its principal has too many already.
    """
    stopped = standing_of(tx.live, lease, tx.at)
    if stopped is not None:
        raise DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    if len(book.of(lease.principal_id)) >= MAX_OPEN_PER_PRINCIPAL:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"`{lease.holder.principal_name}` has {MAX_OPEN_PER_PRINCIPAL} leases already",
            help="give some back, or let them end: charter leases ls",
        )
    tx.leases.add(lease)
    rights = [
        {"action": r.action, "on": r.on, "verbs": list(r.verbs), "verdict_id": r.verdict_id} for r in lease.rights
    ]
    body = {
        "rights": rights,
        "handle": dict(lease.handle),
        "expires_at": rfc3339(lease.expires_at),
        "ends_at": rfc3339(lease.ends_at),
        "delegation": lease.holder.delegation,
        "token": lease.holder.token_id,
        "system_digest": lease.system_digest,
    }
    return _keep(tx, book, lease, EntryKind.LEASE_RECORDED, lease.principal_id, body)


def confirm(tx: LeaseWork, book: LeaseBook, lease_id: str, expires_at: dt.datetime, handle: Mapping[str, str]) -> Lease:
    """Show a lease as issued if nothing ended it while it was made; else as to be revoked. A work.

    What it returns says which: only an issued lease may be handed over.
    """
    lease = book.open[lease_id]
    if lease.state is not LeaseState.RECORDED:
        return lease
    stopped = standing_of(tx.live, lease, tx.at)
    if stopped is not None:
        return end(tx, book, lease, why=stopped.text)
    body = {"handle": dict(handle), "expires_at": rfc3339(expires_at)}
    issued = lease.issued(tx.at, expires_at, handle)
    return _keep(tx, book, issued, EntryKind.LEASE_ISSUED, lease.principal_id, body)


def renewed(
    tx: LeaseWork, book: LeaseBook, lease_id: str, expires_at: dt.datetime, handle: Mapping[str, str], *, actor: str
) -> Lease:
    """Show a lease as renewed if nothing ended it meanwhile. A work; what it returns says which."""
    lease = book.open[lease_id]
    if lease.state not in IN_USE:
        return lease
    body = {"handle": dict(handle), "expires_at": rfc3339(expires_at), "renewals": lease.renewals + 1}
    fresh = lease.renewed(tx.at, expires_at, handle)
    return _keep(tx, book, fresh, EntryKind.LEASE_RENEWED, actor, body)


def fail(tx: LeaseWork, book: LeaseBook, lease_id: str, error: str, *, perhaps_made: bool) -> Lease:
    """Show that a credential was not made, or perhaps was: then it is looked for and revoked. A work."""
    lease = book.open[lease_id]
    if lease.state is LeaseState.REVOKING:
        return lease
    if perhaps_made:
        return end(tx, book, lease, why=f"it was not made in order: {error}")
    return _keep(tx, book, lease.failed(tx.at, error), EntryKind.LEASE_FAILED, "charter", {"error": error})


def end(tx: LeaseWork, book: LeaseBook, lease: Lease, *, why: str, actor: str = "charter") -> Lease:
    """Let a lease be revoked from now on; one that is already stays as it is. A work."""
    current = book.open.get(lease.id, lease)
    if current.state is LeaseState.REVOKING or current.is_final:
        return current
    return _keep(tx, book, current.revoking(tx.at, why), EntryKind.LEASE_ENDING, actor, {"why": why})


def end_resting(tx: LeaseWork, book: LeaseBook, on: Iterable[str], *, why: str, actor: str) -> list[Lease]:
    """End every lease that rests on one of these: principals, people, delegations, edges. A work.

    Part of the one that withdraws that authority.
    """
    withdrawn = frozenset(on)
    resting = [lease for lease in book.open.values() if not withdrawn.isdisjoint(_rests_on(tx.live, lease))]
    return [end(tx, book, lease, why=why, actor=actor) for lease in resting]


def _rests_on(live: LiveEstate, lease: Lease) -> tuple[str, ...]:
    chain = live.delegations.chain_of(lease.holder.delegation)
    return (lease.principal_id, *(chain.rests_on if chain else ()))


def revoked(tx: LeaseWork, book: LeaseBook, lease_id: str, tidy_at: dt.datetime | None, how: str) -> Lease:
    """Show that what a lease made outside is gone. A work."""
    lease = book.open[lease_id]
    body = {"how": how, "attempts": lease.attempts + 1, "why": lease.why}
    return _keep(tx, book, lease.revoked(tx.at, tidy_at), EntryKind.LEASE_REVOKED, "charter", body)


def missing(tx: LeaseWork, book: LeaseBook, lease_id: str) -> Lease:
    """Show that nothing of a lease was found. What nobody confirmed may appear yet: it is looked for again. A work."""
    lease = book.open[lease_id]
    if lease.issued_at is not None or lease.seen_missing + 1 >= LOOKS:
        return revoked(tx, book, lease_id, None, "nothing was there")
    again = lease.missing(tx.at, SECOND_LOOK)
    tx.leases.update(again)
    tx.after_commit(lambda: book.show(again))
    return again


def not_revoked(tx: LeaseWork, book: LeaseBook, lease_id: str, error: str) -> Lease:
    """Show that an attempt to revoke failed. A work. The 1st, 2nd, 4th, 8th … such attempt is told in the evidence."""
    lease = book.open[lease_id].not_revoked(tx.at, error)
    if lease.attempts & (lease.attempts - 1):
        tx.leases.update(lease)
        tx.after_commit(lambda: book.show(lease))
        return lease
    body = {"error": lease.error, "attempts": lease.attempts, "why": lease.why}
    return _keep(tx, book, lease, EntryKind.LEASE_NOT_REVOKED, "charter", body)


def tidied(tx: LeaseWork, book: LeaseBook, lease: Lease) -> None:
    """Show that nothing of a revoked lease is left outside. A work."""
    clean = replace(lease, tidy_at=None)
    tx.leases.update(clean)
    tx.after_commit(lambda: book.show(clean))


def never_confirmed(found: Iterable[Lease]) -> list[tuple[Lease, str]]:
    """Return those of `found`, which nobody is making, that were only recorded, each with why it has to end."""
    return [(lease, "it was never confirmed") for lease in found if lease.state is LeaseState.RECORDED]


def orphaned(tx: LeaseWork, book: LeaseBook) -> list[Lease]:
    """End the leases that a process which died had only recorded. A work, at the start."""
    found = [lease for lease in book.open.values() if lease.state is LeaseState.RECORDED]
    return [end(tx, book, lease, why="Charter stopped while it was made") for lease in found]


def standing_of(live: LiveEstate, lease: Lease, at: dt.datetime) -> Refusal | None:
    """Return None if the holder of a lease may still hold it, else why not, and what would mend it."""
    record = live.systems.get(lease.system)
    if record is None or record.digest != lease.system_digest:
        text = f"the system `{lease.system}` was changed since the lease `{lease.id}` was made"
        return Refusal(lease.id, text, "ask for a new lease")
    return refusal(live, bearer_of(lease), record, at=at)


def due(
    live: LiveEstate, leases: Iterable[Lease], at: dt.datetime, still_allowed: Callable[[Lease], str | None]
) -> list[tuple[Lease, str]]:
    """Return the leases in use that have to end now, each with why.

    `still_allowed` says why policy would not allow a lease any more, or None.
    """
    found: list[tuple[Lease, str]] = []
    for lease in leases:
        if lease.state not in IN_USE:
            continue
        if at >= lease.expires_at:
            found.append((lease, "its time is over"))
        elif (stopped := standing_of(live, lease, at)) is not None:
            found.append((lease, stopped.text))
        elif (why := still_allowed(lease)) is not None:
            found.append((lease, why))
    return found


def bearer_of(lease: Lease) -> Bearer:
    """Return the holder of a lease as the bearer that asked for it: what standing and policy are asked about."""
    holder = lease.holder
    bound = Confirmation(Binding.JKT, holder.credential) if holder.is_bound else None
    return Bearer(
        principal_id=holder.principal_id,
        principal_name=holder.principal_name,
        epoch=holder.epoch,
        charter_digest=holder.charter_digest,
        token_id=holder.token_id,
        credential=holder.credential,
        expires_at=int(lease.ends_at.timestamp()),
        bound_to=bound,
        delegation=holder.delegation,
        initiator=holder.initiator,
        is_past=True,
    )


def record_of(lease: Lease) -> SystemRecord:
    """Return the system of a lease as it was: where its credential is taken back, whatever became of the file."""
    system = System.model_validate(lease.system_body)
    return SystemRecord(lease.system, 0, lease.system_digest, Standing.ACTIVE, system)


def _keep(tx: LeaseWork, book: LeaseBook, lease: Lease, kind: EntryKind, actor: str, body: Mapping[str, Any]) -> Lease:
    if kind is not EntryKind.LEASE_RECORDED:
        tx.leases.update(lease)
    told = {"lease": lease.id, "system": lease.system, "kind": lease.kind, "principal": lease.holder.principal_name}
    tx.record(Draft(kind, actor, lease.principal_id, told | {"state": lease.state.value} | dict(body)))
    tx.changed(FEED_KIND, lease.id, actor=actor, reason=lease.why or lease.state.value)
    tx.after_commit(lambda: book.show(lease))
    return lease
