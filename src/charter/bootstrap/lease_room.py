"""What asking for leases and keeping them share: the book of leases, the systems that make them, threads, policy.

INVARIANT: a lease is `busy` while its credential is being made, renewed or taken back; nothing else touches it then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from charter.core.canonical import digest_of
from charter.core.errors import AbsentError, ErrorCode
from charter.gateway.broker import Provider
from charter.gateway.call import Bearer, Call
from charter.gateway.facts import Facts, resolve
from charter.lifecycle import leases
from charter.lifecycle.leases import LeaseBook
from charter.policy.verdict import Deny, Escalate, Verdict
from charter.registry.lease import Lease
from charter.registry.leasing import LEASE_ARGUMENT

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.registry.principal import SystemRecord

T = TypeVar("T")
POLICY_SECONDS = 60.0  # how often policy is asked about a lease, if nothing changed
MAKERS, ENDERS = 8, 4  # threads: what waits for a system that does not answer keeps nothing else waiting


@dataclass(slots=True)
class LeaseRoom:
    """The leases of one house, and what they are made with."""

    house: House
    providers: Mapping[str, Callable[[], Provider]]  # by the kind of system
    book: LeaseBook
    busy: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # set when there may be something to revoke
    makers: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, MAKERS, "charter-lease"))
    enders: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, ENDERS, "charter-lease-end"))
    _asked: dict[str, tuple[object, float]] = field(default_factory=dict)  # what policy was last asked about a lease

    def provider(self, record: SystemRecord) -> Provider:
        """Return what makes credentials at a system."""
        return self.providers[record.system.kind.value]()

    def find(self, lease_id: str, bearer: Bearer | None) -> Lease:
        """Return an open lease; with `bearer`, one of theirs.

        Raises:
            AbsentError: there is none.
        """
        lease = self.book.open.get(lease_id)
        if lease is None or (bearer is not None and not _is_of(lease, bearer)):
            raise AbsentError(
                ErrorCode.UNKNOWN_LEASE,
                f"there is no open lease {lease_id[:80]!a}",
                help="charter leases ls shows them",
            )
        return lease

    @contextmanager
    def holding(self, lease_id: str) -> Iterator[None]:
        """Keep everything else from a lease for as long as the context lasts."""
        self.busy.add(lease_id)
        try:
            yield
        finally:
            self.busy.discard(lease_id)
            self.wake.set()

    async def in_thread(self, pool: ThreadPoolExecutor, deed: Callable[..., T], *given: object) -> T:
        """Return what `deed` returns, which blocks."""
        return await asyncio.get_running_loop().run_in_executor(pool, partial(deed, *given))

    def verdict(self, bearer: Bearer, call: Call) -> Verdict:
        """Return what policy says of a call now. Nothing is settled or recorded by it."""
        house = self.house
        facts = resolve(house.live, house.slices, bearer, call, house.clock.now())
        return house.pipeline.decide(facts, bearer, call) if isinstance(facts, Facts) else facts

    def no_longer_allowed(self, lease: Lease) -> str | None:
        """Return why policy would not allow a lease any more; asked when something changed, and once a minute."""
        live, now = self.house.live, self.house.clock.monotonic()
        chain = live.delegations.chain_of(lease.holder.delegation)
        parties = (lease.principal_id, *(chain.parties if chain else ()))
        state = (live.policy_generation, chain, tuple(live.principals.get(each) for each in parties))
        known = self._asked.get(lease.id)
        if known is not None and known[0] == state and now - known[1] < POLICY_SECONDS:
            return None
        bearer = leases.bearer_of(lease)
        for right in lease.rights:
            verdict = self.verdict(bearer, call_for(lease.system, right.action, right.on, lease.ttl_seconds, lease.id))
            if isinstance(verdict, Deny) or (isinstance(verdict, Escalate) and not right.approved):
                return verdict.reasons[0].text
        self._asked[lease.id] = (state, now)
        return None

    def forget(self, lease_id: str) -> None:
        """Forget what policy was asked about a lease that is over."""
        self._asked.pop(lease_id, None)

    def close(self) -> None:
        """Let the threads go; what they still wait for ends by its own bounds."""
        self.makers.shutdown(wait=False, cancel_futures=True)
        self.enders.shutdown(wait=False, cancel_futures=True)


def _is_of(lease: Lease, bearer: Bearer) -> bool:
    """Whether the bearer is who holds the lease, acting for whom it did then: two initiators share no lease."""
    holder = lease.holder
    return (holder.principal_id, holder.delegation) == (bearer.principal_id, bearer.delegation)


def call_for(system: str, action: str, on: str, seconds: int, batch_id: str) -> Call:
    """Return the call by which one action on one table or resource is asked for."""
    arguments = {LEASE_ARGUMENT: on, "ttl_seconds": seconds}
    digest = digest_of({"system": system, "tool": action, "arguments": arguments})
    return Call(system, action, arguments, digest, None, request_id=batch_id)
