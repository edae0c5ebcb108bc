"""Erasing payloads of this node's evidence, and holds against it.

What is chosen is read first, in pages, and erased in works of their own: each is whole, with the entry that tells of
it. One that dies between two has erased less than was asked, and says so in the log; asked again, it does the rest.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from charter.bootstrap.evidence import log_of, parse_moment
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.evidence.erasure import MAX_ERASED, Cover, Erasing, Hold, check_reason, erase, place_hold, release_hold
from charter.evidence.log import Stored, entry_at

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

PAGE = 1_000  # entries read at a time
SHOWN = 20  # of what would be erased


async def erase_evidence(
    house: House, wanted: dict[str, Any], *, actor: str, reason: str, really: bool
) -> dict[str, Any]:
    """Erase what `wanted` names (`entry`, `person`, `principal`, `system`, `since`, `before`), or say what that is.

    Raises:
        MalformedError: nothing is named, or a time is none.
        AbsentError: there is no such principal or entry.
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
    rule = "entry" if cover.index is not None else "person" if person is not None else "selection"
    order, erased, held, found = Erasing(actor, reason, rule), 0, 0, 0
    shown: list[dict[str, Any]] = []
    after = -1
    while page := house.database.read(partial(_page, house, cover, after)):
        after, chosen, kept = page
        held += kept
        found += len(chosen)
        for each in chosen[: SHOWN - len(shown)]:
            shown.append({"index": each.index, "time": each.time, "kind": each.kind})  # noqa: PERF401 - bounded over pages
        for first in range(0, len(chosen) if really else 0, MAX_ERASED):
            erased += house.database.write(partial(erase, stored=chosen[first : first + MAX_ERASED], order=order))
    if erased:
        house.database.settle_erasure()
        if house.sealing.sealed.manifest.nodes:
            house.sealing.seal()  # finds that the log tells of erasures that it does not know, and makes all again
    return {"found": found, "held": held, "erased": erased, "done": really, "entries": shown}


def _page(house: House, cover: Cover, after: int, tx: HouseTransaction) -> tuple[int, list[Stored], int] | None:
    """Return how far the next page reaches, what of it is to be erased, and how much of that is held."""
    log = log_of(house, tx)
    if cover.index is not None:
        rows = [entry_at(log, cover.index)] if after < cover.index else []
    else:
        rows = list(log.entries(after, PAGE))
    if not rows:
        return None
    holds = tx.erasures.holds()
    meant = [each for each in rows if each.payload is not None and cover.covers(each)]
    free = [each for each in meant if not any(hold.cover.covers(each) for hold in holds)]
    return rows[-1].index, free, len(meant) - len(free)


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
