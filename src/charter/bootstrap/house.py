"""The house: every part of one running Charter. What can be asked of it stands in the modules beside this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from charter.adapters.authority import Authority
from charter.adapters.aws_callers import AwsCallers
from charter.adapters.bundle_fetch import BundleFetcher
from charter.adapters.client_metadata import ClientMetadata
from charter.adapters.database import Database
from charter.adapters.datafolder import DataFolder
from charter.adapters.issuer_keys import IssuerKeys
from charter.adapters.lease_upstream import Upstreams
from charter.adapters.upstream import McpUpstreams
from charter.adapters.upstream_secrets import Broker
from charter.bootstrap import composition, lease_keeping
from charter.bootstrap.behaviour import BehaviourRoom
from charter.bootstrap.carrying import Carrying
from charter.bootstrap.federation import keep_asking
from charter.bootstrap.heads import Heads
from charter.bootstrap.keys import Keys
from charter.bootstrap.lease_room import LeaseRoom
from charter.bootstrap.notices import Notices
from charter.bootstrap.retaining import Retaining
from charter.bootstrap.sealing import Sealing
from charter.bootstrap.sharing import SharingWatch
from charter.bootstrap.sinks import SinkRoom
from charter.bootstrap.slices import SliceCache
from charter.bootstrap.tending import tend
from charter.bootstrap.transaction import HouseTransaction
from charter.bootstrap.vault import PendingConnections
from charter.bootstrap.witnesses import Witnesses
from charter.config import Settings
from charter.core.clock import Clock, Deadline
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, CharterError, ErrorCode
from charter.gateway.pipeline import Pipeline
from charter.identity.asking import Consents
from charter.identity.connection import ConnectionWork
from charter.identity.dpop import ProofMemory
from charter.identity.failures import Failures
from charter.identity.keys import KeyRing
from charter.identity.pace import Pace
from charter.identity.status_list import StatusLists
from charter.identity.tokens import AccessTokens
from charter.identity.trust import Trust
from charter.lifecycle import leases
from charter.lifecycle.directory import Hand
from charter.registry.directory import Person
from charter.registry.principal import LiveEstate, Principal
from charter.registry.problem import suggestion

if TYPE_CHECKING:
    from charter.adapters.oidc_provider import OidcProvider
    from charter.lifecycle.leases import LeaseWork

PREPARE_SECONDS = 5.0  # at most, of a start


@dataclass(slots=True)
class House:
    """The parts. `building.build` makes it; nothing else does."""

    settings: Settings
    operator: str
    clock: Clock
    entropy: Entropy
    folder: DataFolder
    database: Database[HouseTransaction]
    live: LiveEstate
    keys: Keys
    ring: KeyRing
    trust: Trust
    broker: Broker
    reach: Upstreams
    tokens: AccessTokens
    statuses: StatusLists
    failures: Failures
    pace: Pace
    proofs: ProofMemory
    issuer_keys: IssuerKeys
    aws_callers: AwsCallers
    client_metadata: ClientMetadata
    consents: Consents
    slices: SliceCache
    upstreams: McpUpstreams
    pipeline: Pipeline
    authority: Authority = field(default_factory=Authority)  # what charters permit, for reviews
    bundle_fetcher: BundleFetcher = field(default_factory=BundleFetcher)  # of the trust domains we federate with
    provider: OidcProvider | None = None  # where people sign in
    farewells: list[Callable[[Person], None]] = field(default_factory=list)  # told, on the writer's thread, who left
    leasing: LeaseRoom = field(init=False)
    sharing: SharingWatch = field(init=False)
    sinks: SinkRoom = field(init=False)
    behaviour: BehaviourRoom = field(init=False)
    carrying: Carrying = field(init=False)
    heads: Heads = field(init=False)
    witnesses: Witnesses = field(init=False)
    sealing: Sealing = field(init=False)
    retaining: Retaining = field(init=False)
    last_calls: list[Callable[[], None]] = field(default_factory=list)  # when told to stop: answer who waits for news
    pending: PendingConnections = field(default_factory=PendingConnections)

    @property
    def evidence_key(self) -> bytes:
        """The public key of this node's log, 32 raw bytes."""
        return self.ring.evidence_public(self.database.origin)

    def prepare(self) -> int:
        """Bind the policies of as many principals as there is time for; return how many.

        So no first call waits for it. What fails here fails again, and is told, when it is needed.
        """
        deadline = Deadline.after(self.clock, PREPARE_SECONDS)
        with suppress(CharterError):
            return self.database.read(lambda tx: self.slices.prepare(tx.registry.kept_charters(), deadline=deadline))
        return 0

    def principal(self, name: str) -> Principal:
        """Return the principal called `name`.

        Raises:
            AbsentError: there is none; the message has the nearest name.
        """
        found = self.live.principal_named(name)
        if found is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_PRINCIPAL,
                f"there is no principal {name[:80]!a}",
                help=suggestion(name[:80], self.live.ids) if self.live.ids else "nothing is registered: charter apply",
            )
        return found

    async def saw(self, principal_id: str, told: Mapping[str, str], *, by: str) -> None:
        """Take note of what `by` tells of a principal's composition; return once what that changes is in force.

        Raises:
            UnavailableError: it could not be made durable; then nothing may be given on it.
        """
        await composition.saw(self, principal_id, told, by=by)

    def hand(self, actor: str) -> Hand:
        """Return whose hand changes people, and what has to end when one leaves."""

        def then(person: Person) -> None:
            for farewell in self.farewells:
                farewell(person)

        def ended(delegations: Sequence[str]) -> None:
            for each in delegations:
                self.pipeline.withdrawn(each, f"the delegation `{each}` was withdrawn")

        def disconnect(tx: ConnectionWork, email: str, why: str) -> None:
            self.broker.connections.end_all_of(tx, email, actor=actor, why=why)
            leases.end_resting(cast("LeaseWork", tx), self.leasing.book, [email.lower()], why=why, actor=actor)

        return Hand(actor, self.entropy, then, disconnect, ended)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run what a serving house does beside answering: expiring approvals, counting failures, keeping leases."""
        await asyncio.to_thread(self.sharing.recall)
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(tend(self, stop)),
            asyncio.create_task(Notices.of(self).keep_telling(stop)),
            asyncio.create_task(keep_asking(self, stop)),
            asyncio.create_task(lease_keeping.keep(self.leasing, stop)),
            asyncio.create_task(self.sinks.keep(stop)),
            asyncio.create_task(self.behaviour.keep(stop)),
            asyncio.create_task(self.sealing.keep(stop)),
            asyncio.create_task(self.heads.keep(stop)),
            asyncio.create_task(self.witnesses.keep(stop)),
            asyncio.create_task(self.retaining.keep(stop)),
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def aclose(self) -> None:
        """End children and connections, let the last outcomes be recorded, close the database, give the lock back."""
        await self.upstreams.aclose()
        self.reach.models.close()
        await self.pipeline.settled()
        self.leasing.close()
        await asyncio.to_thread(self.database.close)
        self.folder.close()
