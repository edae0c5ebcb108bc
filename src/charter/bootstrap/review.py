"""`charter review`: the five questions over this node's evidence and the charters in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence
from charter.core.clock import rfc3339

if TYPE_CHECKING:
    import datetime as dt

    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

DEFAULT_PERIOD = "90d"


async def answers(
    house: House,
    *,
    since: str | None = None,
    until: str | None = None,
    team: str | None = None,
    kind: str | None = None,
    system: str | None = None,
) -> dict[str, Any]:
    """Return the five answers, worked out away from the event loop.

    Raises:
        MalformedError: a time cannot be read.
    """
    now = house.clock.now()
    start = evidence.parse_moment(since or DEFAULT_PERIOD, now)
    end = evidence.parse_moment(until, now) if until else now
    wanted = {"team": team, "kind": kind, "system": system}
    found = await asyncio.to_thread(_answers, house, start, end, {k: v for k, v in wanted.items() if v})
    return {"since": rfc3339(start), "until": rfc3339(end), "questions": found}


def _answers(house: House, start: dt.datetime, end: dt.datetime, wanted: dict[str, str]) -> list[dict[str, Any]]:
    from charter.adapters.analytics import answer_all, evidence_lines, permissions_in_force

    def read(tx: HouseTransaction) -> list[dict[str, Any]]:
        lines = evidence_lines(tx.connection, start, end)
        permissions = permissions_in_force(tx.connection, end)
        return [each.to_json() for each in answer_all(lines, permissions, since=start, until=end, **wanted)]

    return house.database.read(read)
