"""Erasing payloads of evidence, and holds against it.

An order is given for the logs of all nodes that wrote to the database; each node carries it out in its own, this one at
once, another when it next runs (`retaining`), since nobody else can tell of it there. An order is kept before anything
of it is erased, and carried out in works of their own: each is whole, with the entry that tells of it and with how far
the order is done. One that was cut short (kill -9, a full disk) is carried out to its end by `retaining`, a minute
later or after the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from charter.adapters.evidence_store import SqlLog
from charter.bootstrap.evidence import log_of, logs_of, parse_moment
from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, ErrorCode, MalformedError
from charter.evidence.checkpoint import parse_checkpoint
from charter.evidence.erasure import (
    MAX_ERASED,
    Cover,
    Erasing,
    Hold,
    Order,
    check_reason,
    erase,
    place_hold,
    release_hold,
)
from charter.evidence.log import Stored, entry_at

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

PAGE = 1_000  # entries read at a time
SHOWN = 20  # of what would be erased


@dataclass(slots=True)
class Tally:
    """What was found, held and erased so far."""

    found: int = 0
    held: int = 0
    erased: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chosen: list[Stored], held: int) -> None:
        """Count a page."""
        self.found += len(chosen)
        self.held += held
        shown = chosen[: SHOWN - len(self.shown)]
        self.shown += [{"index": each.index, "time": each.time, "kind": each.kind} for each in shown]

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the first of what was found."""
        return {"found": self.found, "held": self.held, "erased": self.erased, "entries": self.shown}


async def erase_evidence(
    house: House, wanted: dict[str, Any], *, actor: str, reason: str, really: bool
) -> dict[str, Any]:
    """Erase what `wanted` names (`entry`, `person`, `principal`, `system`, `since`, `before`), or say what that is.

    Returns:
        What was found and held in the logs of all nodes (`elsewhere`: in those of others), and what was erased here.

    Raises:
        MalformedError: nothing is named, or a time is none.
        AbsentError: there is no such principal or entry.
        UnavailableError: it could not be done to its end; what is left of it follows by itself.
    """
    return await asyncio.to_thread(_erase, house, wanted, actor, reason, really)


def _erase(house: House, wanted: dict[str, Any], actor: str, reason: str, really: bool) -> dict[str, Any]:
    check_reason(reason)
    cover = _cover(house, wanted)
    person = cover.person
    if person is not None and person.casefold() in reason.casefold():
        raise MalformedError(
            ErrorCode.BAD_VALUE, "the reason names the person, and would stay", help="name the request instead"
        )
    if cover.index is not None:
        house.database.read(lambda tx: entry_at(log_of(house, tx), cover.index or 0))
    rule = "entry" if cover.index is not None else "person" if person is not None else "selection"
    first = -1 if cover.index is None else cover.index - 1
    end = house.database.head.size if cover.index is None else cover.index + 1
    by = Erasing(actor, reason, rule)
    order = Order(house.entropy.identifier("ers"), house.database.node, cover, by, first, end)
    others = _elsewhere(house, order) if cover.index is None else {}
    if really:
        with house.retaining.lock:
            orders = [order, *(each for each, (_, found) in others.items() if found.found)]
            house.database.write(partial(_begin, orders))
            tally = carry_out(house, order)
    else:
        tally = _count(house, order)
    told = []
    for origin, found in others.values():
        told.append({"log": origin, "found": found.found, "held": found.held})
        tally.found, tally.held = tally.found + found.found, tally.held + found.held
        tally.shown += [each | {"log": origin} for each in found.shown[: SHOWN - len(tally.shown)]]
    return tally.to_json() | {"done": really, "elsewhere": told}


def _begin(orders: list[Order], tx: HouseTransaction) -> None:
    for each in orders:
        tx.erasures.begin(each, tx.at)


def _elsewhere(house: House, order: Order) -> dict[Order, tuple[str, Tally]]:
    """Return the like of `order` for each log of another node that has something of what is meant, and what that is."""

    def logs(tx: HouseTransaction) -> list[tuple[SqlLog, int]]:
        return [(log, parse_checkpoint(log.checkpoint()).size) for log in logs_of(house, tx)[1:]]

    found = {}
    for log, size in house.database.read(logs):
        like = replace(order, id=house.entropy.identifier("ers"), node=log.node, end=size)
        tally = _count(house, like)
        if tally.found or tally.held:
            found[like] = (log.origin, tally)
    return found


def _count(house: House, order: Order) -> Tally:
    """Return what an order would erase."""
    tally = Tally()
    while page := house.database.read(partial(_page, house, order)):
        reached, chosen, kept = page
        order = replace(order, reached=reached)
        tally.add(chosen, kept)
    return tally


def carry_out(house: House, order: Order, stopped: Callable[[], bool] = lambda: False) -> Tally:
    """Carry out what is left of an order that is kept, under `house.retaining.lock`; say what that was.

    When `stopped`, it is left where it is.
    """
    tally = Tally()
    while page := house.database.read(partial(_page, house, order)):
        reached, chosen, kept = page
        try:
            for first in range(0, len(chosen), MAX_ERASED):
                tally.erased += house.database.write(partial(_step, order, chosen[first : first + MAX_ERASED]))
        except ConflictError:  # a hold was placed meanwhile: it is seen when the page is read again
            continue
        tally.add(chosen, kept)
        order = replace(order, reached=reached)
        if stopped():
            return tally
    settle(house)
    house.database.write(lambda tx: tx.erasures.end(order))
    if order.cover.person is not None:
        house.database.settle_erasure()  # the order named them
    return tally


def settle(house: House) -> None:
    """See that nothing that was erased is left in the database's own files, nor in what was sealed of the log."""
    house.database.settle_erasure()
    if house.sealing.sealed.manifest.nodes:
        house.sealing.seal()  # where the log tells of erasures that it does not follow, it makes their days anew


def _step(order: Order, chosen: list[Stored], tx: HouseTransaction) -> int:
    count = erase(tx, chosen, order.by)
    tx.erasures.advance(order, chosen[-1].index)
    return count


def _page(house: House, order: Order, tx: HouseTransaction) -> tuple[int, list[Stored], int] | None:
    """Return how far the next page reaches, what of it is to be erased, and how much of that is held."""
    log = replace(log_of(house, tx), node=order.node)
    rows = list(log.entries(order.reached, max(0, min(PAGE, order.end - 1 - order.reached))))
    if not rows:
        return None
    meant = [each for each in rows if each.payload is not None and order.cover.covers(each)]
    free = unheld(meant, tx.erasures.holds())
    return rows[-1].index, free, len(meant) - len(free)


def unheld(chosen: Sequence[Stored], holds: Sequence[Hold]) -> list[Stored]:
    """Return those of the entries, opened, that no hold covers."""
    return [each for each in chosen if not any(hold.cover.covers(each) for hold in holds)]


def holds(house: House) -> dict[str, Any]:
    """Return the holds that stand."""
    return {
        "holds": [each.to_json() | _named(house, each) for each in house.database.read(lambda tx: tx.erasures.holds())]
    }


def _named(house: House, hold: Hold) -> dict[str, Any]:
    found = house.live.principals.get(hold.cover.principal_id or "")
    return {"principal": found.name} if found else {}


async def hold(house: House, wanted: dict[str, Any], *, actor: str, reason: str) -> dict[str, Any]:
    """Place a hold on what `wanted` names."""
    made = Hold(house.entropy.identifier("hld"), _cover(house, wanted), reason, actor, house.clock.now())
    await house.database.awrite(lambda tx: place_hold(tx, made))
    return made.to_json() | _named(house, made)


async def release(house: House, hold_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Release a hold."""
    found = await house.database.awrite(lambda tx: release_hold(tx, hold_id, actor, reason))
    return found.to_json()


def _cover(house: House, wanted: dict[str, Any]) -> Cover:
    now = house.clock.now()
    name, since, until = wanted.get("principal"), wanted.get("since"), wanted.get("before")
    cover = Cover(
        principal_id=house.principal(name).id if name else None,
        system=wanted.get("system") or None,
        person=wanted.get("person") or None,
        since=rfc3339(parse_moment(since, now)) if since else None,
        until=rfc3339(parse_moment(until, now)) if until else None,
        index=wanted.get("entry"),
    )
    if not cover.to_json():
        raise MalformedError(
            ErrorCode.BAD_VALUE, "nothing is named", help="name an entry, a person, a principal, a system or a period"
        )
    return cover
