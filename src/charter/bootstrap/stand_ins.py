"""Naming who answers in one's roles while one is away, and ending it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.registry.stand_in import StandIn

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction


async def name(house: House, *, person: str, by: str, until: dt.date, reason: str) -> dict[str, Any]:
    """Let `by` answer in the roles of `person` until the end of a day (UTC).

    Raises:
        MalformedError: that is too long, or teams.yaml knows one of them not.
    """
    person, by = person.lower(), by.lower()
    end = dt.datetime.combine(until + dt.timedelta(days=1), dt.time(), dt.UTC)

    def work(tx: HouseTransaction) -> StandIn:
        teams = tx.registry.teams()
        known = {each.lower() for held in teams.roles.values() for each in held}
        known |= {each.lower() for team in teams.teams.values() for each in (team.lead, *team.members)}
        for each in (person, by):
            if each not in known or tx.live.directory.has_left(each):
                raise MalformedError(
                    ErrorCode.BAD_VALUE, f"`{each}` is nobody whom teams.yaml names", help="put them into a team first"
                )
        found = StandIn(person, by, end, reason, tx.at)
        tx.stand_ins.put(found)
        tx.record(Draft(EntryKind.STAND_IN_CHANGED, person, None, _told(found)))
        return found

    return _shown(await house.database.awrite(work))


async def end(house: House, *, person: str, reason: str) -> dict[str, Any]:
    """Let nobody answer in the roles of `person` any more.

    Raises:
        AbsentError: nobody does.
    """
    person = person.lower()

    def work(tx: HouseTransaction) -> None:
        if not tx.stand_ins.end(person):
            raise AbsentError(
                ErrorCode.UNKNOWN_APPROVAL, f"nobody stands in for `{person}`", help="charter approvals stand-ins"
            )
        body = {"person": person, "by": None, "reason": reason}
        tx.record(Draft(EntryKind.STAND_IN_CHANGED, person, None, body))

    await house.database.awrite(work)
    return {"person": person, "by": None}


def listing(house: House) -> dict[str, Any]:
    """Return who stands in for whom now."""
    found = house.database.read(lambda tx: tx.stand_ins.current(house.clock.now()))
    return {"stand_ins": [_shown(each) for each in found]}


def _shown(found: StandIn) -> dict[str, Any]:
    return _told(found) | {"last_day": (found.until - dt.timedelta(seconds=1)).date().isoformat()}


def _told(found: StandIn) -> dict[str, Any]:
    return {"person": found.person, "by": found.by, "until": rfc3339(found.until), "reason": found.reason}
