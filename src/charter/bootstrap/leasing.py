"""Asking for leases: one call for each action on each table or resource, all decided, recorded and permitted like any.

INVARIANT: all of them must be allowed; what a call that is not made after all had reserved is given back.
INVARIANT: recorded before made, confirmed before handed over. Whoever made a credential looks afterwards whether the
lease was ended meanwhile, and hands nothing over then.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap import lease_keeping
from charter.bootstrap.lease_room import call_for
from charter.core.clock import Deadline
from charter.core.errors import AbsentError, CharterError, ConflictError, ErrorCode, MalformedError
from charter.gateway.broker import Batch, Credential, ProviderError
from charter.gateway.call import Bearer
from charter.gateway.pins import UpstreamError
from charter.gateway.pipeline import Admitted, Refused
from charter.lifecycle import leases
from charter.policy.verdict import Allow, Escalate
from charter.registry.lease import IN_USE, Holder, Lease, LeaseState, Right
from charter.registry.problem import suggestion

if TYPE_CHECKING:
    from charter.bootstrap.lease_room import LeaseRoom
    from charter.registry.leasing import LeaseTerms
    from charter.registry.principal import SystemRecord

MAX_RIGHTS = 64  # of one lease: each is a decision and an entry
LEAST_SECONDS = 60
MAKE_SECONDS = 60.0
Pair = tuple[str, str]  # an action, and the table or resource it is for
Wanted = Mapping[str, Sequence[str]]  # action -> tables or resources
Maker = Callable[[tuple[Right, ...]], Awaitable[tuple[Lease, Credential]]]


@dataclass(frozen=True, slots=True)
class NotGiven:
    """Why there is no lease, or no renewal: the verdicts that were not allow."""

    refusals: tuple[tuple[str, str, Refused], ...]  # action, on, verdict


@dataclass(frozen=True, slots=True)
class Given:
    """A lease and what its holder gets. `credential` is seen here once, and kept nowhere."""

    lease: Lease
    credential: Credential


async def request(
    room: LeaseRoom, bearer: Bearer, system: str, wanted: Wanted | None = None, ttl_seconds: int | None = None
) -> Given | NotGiven:
    """Return a lease on `system` for who `bearer` is, with its credential, or why there is none.

    Without `wanted`: everything that the charter grants there and no person has to allow first.

    Raises:
        AbsentError: there is no such system, or it has no such table or resource.
        MalformedError: it is not reached with a lease, or what is asked for does not fit.
        UpstreamError: the system could not make the credential.
    """
    record, terms = _leased(room, system)
    seconds = ttl_seconds or int(terms.ttl.total_seconds())
    if not LEAST_SECONDS <= seconds <= terms.max.total_seconds():
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"a lease on `{system}` lives for {LEAST_SECONDS} to {int(terms.max.total_seconds())} seconds",
            help="ask for that, or leave `ttl_seconds` out",
        )
    pairs = _pairs(room, bearer, record, wanted, seconds)
    lease_id, now = room.house.entropy.identifier("lea"), room.house.clock.now()
    ends_at = min(now + terms.max, _lent_until(room, bearer))

    async def make(rights: tuple[Right, ...]) -> tuple[Lease, Credential]:
        lease = Lease(
            id=lease_id,
            system=system,
            kind=record.system.kind.value,
            system_body=record.system.to_json(),
            system_digest=record.digest,
            holder=_holder(bearer),
            rights=rights,
            handle=room.provider(record).handle(lease_id, record),
            state=LeaseState.RECORDED,
            ttl_seconds=seconds,
            created_at=now,
            expires_at=min(now + dt.timedelta(seconds=seconds), ends_at),
            ends_at=ends_at,
            changed_at=now,
        )
        return await _make(room, record, lease)

    return await _decided(room, bearer, record, pairs, seconds, lease_id, make)


async def renew(room: LeaseRoom, lease_id: str, bearer: Bearer | None, *, actor: str | None = None) -> Given | NotGiven:
    """Let a lease live on: decided anew, like any call. `bearer` is its holder; None: the operator `actor` asks.

    Raises:
        AbsentError: there is no such lease, or it is not the bearer's.
        ConflictError: it is over, at its end, or its credential can be renewed by its holder alone.
        UpstreamError: the system could not renew it.
    """
    lease, now = room.find(lease_id, bearer), room.house.clock.now()
    until = min(now + dt.timedelta(seconds=lease.ttl_seconds), lease.ends_at)
    if lease.state not in IN_USE:
        raise _conflict(f"the lease `{lease_id}` is {lease.state.value}", "ask for a new one")
    if until <= lease.expires_at:
        raise _conflict(f"the lease `{lease_id}` is at its end", "ask for a new one")
    if bearer is None and lease.kind == "aws":
        raise _conflict("a renewed AWS session is a new credential, for its holder alone", "its holder can renew it")
    record = room.house.live.systems[lease.system]

    async def make(_rights: tuple[Right, ...]) -> tuple[Lease, Credential]:
        return await _renew(room, record, lease, now, until, actor or lease.principal_id)

    pairs = [(right.action, right.on) for right in lease.rights]
    batch_id = f"{lease.id}/{lease.renewals + 1}"
    return await _decided(room, bearer or leases.bearer_of(lease), record, pairs, lease.ttl_seconds, batch_id, make)


async def give_back(room: LeaseRoom, lease_id: str, bearer: Bearer, seconds: float) -> Lease:
    """End a lease because its holder needs it no more; wait up to `seconds` until it is revoked.

    Raises:
        AbsentError: there is no such lease of the bearer's.
    """
    room.find(lease_id, bearer)
    why = "its holder gave it back"
    return await lease_keeping.end(room, lease_id, why=why, actor=bearer.principal_id, seconds=seconds)


async def _decided(  # noqa: PLR0913, PLR0917 - what one batch of calls is made of
    room: LeaseRoom,
    bearer: Bearer,
    record: SystemRecord,
    pairs: Sequence[Pair],
    seconds: int,
    batch_id: str,
    make: Maker,
) -> Given | NotGiven:
    """Run one call for each pair through the pipeline; make what they lead to once every permit is spent."""
    found = await _submitted(room, bearer, record, pairs, seconds, batch_id)
    admitted = [(pair, each) for pair, each in found if isinstance(each, Admitted)]
    if len(admitted) < len(found):
        for _, each in admitted:
            each.give_up()
        return NotGiven(tuple((*pair, each) for pair, each in found if isinstance(each, Refused)))
    rights = tuple(
        Right(action, on, record.system.actions[action].verbs or (), each.verdict_id, each.is_approved)
        for (action, on), each in admitted
    )
    made: list[Given] = []

    async def make_once() -> Mapping[str, Any]:
        made.append(Given(*await make(rights)))
        return {"lease": made[0].lease.id}

    batches = room.house.reach.batches
    batches[batch_id] = Batch(len(admitted), make_once)
    try:
        ends = await asyncio.gather(*(_drained(each) for _, each in admitted), return_exceptions=True)
    finally:
        del batches[batch_id]
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    if not made:  # the streams were closed: the credential, if it comes to be, is taken back
        text = f"the authority of `{bearer.principal_name}` was withdrawn while the lease was made"
        raise UpstreamError(ErrorCode.NOT_STANDING, text, sent=True, help="ask why")
    return made[0]


async def _submitted(
    room: LeaseRoom, bearer: Bearer, record: SystemRecord, pairs: Sequence[Pair], seconds: int, batch_id: str
) -> list[tuple[Pair, Admitted | Refused]]:
    """Have each pair decided and recorded; if that fails for one, the others are given up."""
    deadline = Deadline.after(room.house.clock, MAKE_SECONDS)
    found: list[tuple[Pair, Admitted | Refused]] = []
    try:
        for pair in pairs:
            call = call_for(record.name, *pair, seconds, batch_id)
            found.append((pair, await room.house.pipeline.submit(bearer, call, deadline, source="lease")))
    except CharterError:
        for _, each in found:
            if isinstance(each, Admitted):
                each.give_up()
        raise
    return found


async def _make(room: LeaseRoom, record: SystemRecord, lease: Lease) -> tuple[Lease, Credential]:
    """Record a lease, have its credential made, and confirm it."""
    write, book, provider = room.house.database.awrite, room.book, room.provider(record)
    with room.holding(lease.id):
        await write(lambda tx: leases.record(tx, book, lease))
        try:
            credential = await room.in_thread(room.makers, provider.issue, record, lease)
        except Exception as err:
            perhaps, text = _is_perhaps_made(err), err.detail if isinstance(err, CharterError) else type(err).__name__
            await write(lambda tx: leases.fail(tx, book, lease.id, text, perhaps_made=perhaps))
            if isinstance(err, CharterError):
                raise UpstreamError(err.code, err.detail, sent=perhaps, help=err.help) from err
            raise
        expires_at = min(credential.expires_at, lease.expires_at)
        fresh = await write(lambda tx: leases.confirm(tx, book, lease.id, expires_at, credential.handle))
    return _handed_over(fresh, LeaseState.ISSUED), credential


def _is_perhaps_made(err: Exception) -> bool:
    """Whether a credential may exist although making it ended with `err`; after a fault of our own nobody knows."""
    if isinstance(err, ProviderError):
        return err.perhaps_made
    return not isinstance(err, CharterError)


async def _renew(
    room: LeaseRoom, record: SystemRecord, lease: Lease, at: dt.datetime, until: dt.datetime, actor: str
) -> tuple[Lease, Credential]:
    write, book, provider = room.house.database.awrite, room.book, room.provider(record)
    if lease.id in room.busy:
        raise UpstreamError(ErrorCode.STALE, f"the lease `{lease.id}` is being changed already", sent=False)
    with room.holding(lease.id):
        try:
            credential = await room.in_thread(room.makers, provider.renew, record, lease, at, until)
        except CharterError as err:
            raise UpstreamError(err.code, err.detail, sent=True, help=err.help) from err
        found = min(credential.expires_at, until), credential.handle
        fresh = await write(lambda tx: leases.renewed(tx, book, lease.id, *found, actor=actor))
    return _handed_over(fresh, LeaseState.RENEWED), credential


def _pairs(room: LeaseRoom, bearer: Bearer, record: SystemRecord, wanted: Wanted | None, seconds: int) -> list[Pair]:
    """Return what is asked for."""
    actions = record.system.actions
    pairs = [(action, on) for action, ons in (wanted or {}).items() for on in ons]
    for action, on in pairs:
        if action in actions and on not in (actions[action].on or ()):
            text = f"the action `{action}` of `{record.name}` is not for {on[:80]!a}"
            raise AbsentError(ErrorCode.UNKNOWN_TOOL, text, help=suggestion(on[:80], actions[action].on or ()))
    pairs = list(dict.fromkeys(pairs)) or _granted_pairs(room, bearer, record, seconds)
    if len(pairs) > MAX_RIGHTS:
        text = f"a lease has at most {MAX_RIGHTS} rights, not {len(pairs)}"
        raise MalformedError(ErrorCode.TOO_MANY, text, help="ask for some of them")
    return pairs


def _granted_pairs(room: LeaseRoom, bearer: Bearer, record: SystemRecord, seconds: int) -> list[Pair]:
    """Return everything that is allowed as it stands; else what a person would have to allow; else the first thing.

    The denial of the first thing says why there is nothing.
    """
    every = [(name, on) for name, action in record.system.actions.items() for on in action.on or ()]
    verdicts = [(pair, room.verdict(bearer, call_for(record.name, *pair, seconds, ""))) for pair in every]
    allowed = [pair for pair, verdict in verdicts if isinstance(verdict, Allow)]
    asked = [pair for pair, verdict in verdicts if isinstance(verdict, Escalate)]
    return allowed or asked or every[:1] or [("none", "none")]


def _leased(room: LeaseRoom, system: str) -> tuple[SystemRecord, LeaseTerms]:
    systems = room.house.live.systems
    record = systems.get(system)
    if record is None:
        text = f"there is no system {system[:80]!a}"
        raise AbsentError(ErrorCode.UNKNOWN_SYSTEM, text, help=suggestion(system[:80], systems))
    if record.system.lease is None:
        text = f"`{system}` is not reached with a lease"
        raise MalformedError(ErrorCode.UNSUPPORTED, text, help="call it through its endpoint")
    return record, record.system.lease


def _lent_until(room: LeaseRoom, bearer: Bearer) -> dt.datetime:
    """Return when what the bearer was lent ends: no lease lives longer."""
    chain = room.house.live.delegations.chain_of(bearer.delegation)
    if chain is None:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    return dt.datetime.fromtimestamp(min(link.expires_at for link in chain.links), dt.UTC)


def _holder(bearer: Bearer) -> Holder:
    return Holder(
        principal_id=bearer.principal_id,
        principal_name=bearer.principal_name,
        epoch=bearer.epoch,
        charter_digest=bearer.charter_digest,
        token_id=bearer.token_id,
        credential=bearer.credential,
        is_bound=bearer.bound_to is not None,
        delegation=bearer.delegation,
        initiator=bearer.initiator,
    )


def _handed_over(lease: Lease, state: LeaseState) -> Lease:
    """Return a lease that may be handed over.

    Raises:
        UpstreamError: it was ended while its credential was made; that is taken back.
    """
    if lease.state is not state:
        text = f"the lease was ended while it was made: {lease.why}"
        raise UpstreamError(ErrorCode.NOT_STANDING, text, sent=True, help="ask why")
    return lease


def _conflict(text: str, mend: str) -> ConflictError:
    return ConflictError(ErrorCode.BAD_MOVE, text, help=mend)


async def _drained(admitted: Admitted) -> None:
    """Let an allowed call go on to its end."""
    async for _ in admitted.messages:
        pass
