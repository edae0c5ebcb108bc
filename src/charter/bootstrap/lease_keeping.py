"""Keeping leases: none outlives its time or its holder's authority, and none that was ended is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from charter.core.errors import CharterError, ConflictError, ErrorCode
from charter.gateway.broker import Gone
from charter.lifecycle import leases
from charter.registry.lease import Lease, LeaseState

if TYPE_CHECKING:
    from charter.bootstrap.lease_room import LeaseRoom

LOOK_SECONDS = 1.0  # how often leases are looked through
MAX_AT_ONCE = 8
TIDY_AGAIN = dt.timedelta(minutes=5)  # what is left denies what is over: there is no hurry


async def keep(room: LeaseRoom, stop: asyncio.Event) -> None:
    """End leases whose time or authority is over, and revoke those that were ended, until `stop`."""
    tasks: set[asyncio.Task[None]] = set()
    while not stop.is_set():
        with contextlib.suppress(CharterError):  # a store that fails: nothing is given meanwhile; done the next time
            await end_due(room)
        due = [(revoke, lease) for lease in to_revoke(room)] + [(tidy, lease) for lease in _to_tidy(room)]
        for deed, lease in due[: MAX_AT_ONCE - len(tasks)]:
            task = asyncio.create_task(deed(room, lease))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        room.wake.clear()
        await _first(LOOK_SECONDS, stop.wait(), room.wake.wait())
    await asyncio.gather(*tasks, return_exceptions=True)


async def end(room: LeaseRoom, lease_id: str, *, why: str, actor: str, seconds: float) -> Lease:
    """End a lease, and wait up to `seconds` until it is revoked; return it as it stands then.

    Raises:
        AbsentError: there is no such lease whose life is not over.
    """
    lease, database = room.find(lease_id, None), room.house.database
    await database.awrite(lambda tx: leases.end(tx, room.book, lease, why=why, actor=actor))
    await settle(room, [lease_id], seconds)
    return database.read(lambda tx: tx.leases.get(lease_id))


async def by_hand(room: LeaseRoom, lease_id: str, *, actor: str, reason: str) -> Lease:
    """Take an operator's word that the credential of a lease was removed by hand.

    Raises:
        AbsentError: there is no such lease whose life is not over.
        ConflictError: Charter did not try and fail yet, or tries now.
    """
    lease = room.find(lease_id, None)
    if not lease.is_overdue or lease_id in room.busy:
        raise ConflictError(
            ErrorCode.BAD_MOVE,
            f"the lease `{lease_id}` is {lease.state.value}, and no attempt to revoke it has failed",
            help="let Charter try first: charter leases revoke",
        )
    how = f"by hand, says {actor}: {reason}"
    return await room.house.database.awrite(lambda tx: leases.revoked(tx, room.book, lease_id, None, how))


async def settle(room: LeaseRoom, lease_ids: Iterable[str], seconds: float) -> int:
    """Revoke these leases now, as far as that is done within `seconds`; return how many are revoked."""
    ids = list(lease_ids)
    found = [lease for lease in map(room.book.open.get, ids) if lease is not None]
    ended = [lease for lease in found if lease.state is LeaseState.REVOKING and lease.id not in room.busy]
    tasks = [asyncio.ensure_future(revoke(room, lease)) for lease in ended]
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    return sum(lease_id not in room.book.open for lease_id in ids)


async def end_due(room: LeaseRoom) -> None:
    """End the leases whose time or authority is over."""
    house, now = room.house, room.house.clock.now()
    idle_ones = [lease for lease in room.book.open.values() if lease.id not in room.busy]
    idle = leases.due(house.live, idle_ones, now, room.no_longer_allowed) + leases.never_confirmed(idle_ones)
    if idle:
        await house.database.awrite(lambda tx: [leases.end(tx, room.book, lease, why=why) for lease, why in idle])


def to_revoke(room: LeaseRoom) -> list[Lease]:
    """Return the leases that are to be revoked and may be tried now."""
    now = room.house.clock.now()
    return [
        lease
        for lease in room.book.open.values()
        if lease.state is LeaseState.REVOKING
        and lease.id not in room.busy
        and (lease.next_try_at is None or lease.next_try_at <= now)
    ]


async def revoke(room: LeaseRoom, lease: Lease) -> None:
    """Try once to take a credential back, and keep what came of it."""
    if lease.id in room.busy:
        return
    record, write, book = leases.record_of(lease), room.house.database.awrite, room.book
    provider = room.provider(record)
    with room.holding(lease.id), contextlib.suppress(CharterError):  # a store that fails leaves it to the next time
        try:
            gone = await room.in_thread(room.enders, provider.revoke, record, lease)
        except Exception as err:  # noqa: BLE001 - a bug of a provider must not lose the lease either
            text = err.detail if isinstance(err, CharterError) else f"a fault of Charter's own: {type(err).__name__}"
            await write(lambda tx: leases.not_revoked(tx, book, lease.id, text))
            return
        if gone is Gone.MISSING:
            await write(lambda tx: leases.missing(tx, book, lease.id))
        else:
            tidy_at = provider.tidy_after(lease)
            await write(lambda tx: leases.revoked(tx, book, lease.id, tidy_at, "removed"))
        room.forget(lease.id)


async def tidy(room: LeaseRoom, lease: Lease) -> None:
    """Clear away what a revocation left outside."""
    record = leases.record_of(lease)
    with room.holding(lease.id):
        try:
            await room.in_thread(room.enders, room.provider(record).tidy, record, lease)
            await room.house.database.awrite(lambda tx: leases.tidied(tx, room.book, lease))
        except CharterError:
            room.book.show(replace(lease, tidy_at=room.house.clock.now() + TIDY_AGAIN))


def _to_tidy(room: LeaseRoom) -> list[Lease]:
    now = room.house.clock.now()
    found = room.book.untidy.values()
    return [each for each in found if each.tidy_at is not None and each.tidy_at <= now and each.id not in room.busy]


async def _first(seconds: float, *waits: Awaitable[object]) -> None:
    """Wait for the first of these to happen, at most `seconds`."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
