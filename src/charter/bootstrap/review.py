"""`charter review`: the five questions over the evidence and the charters in force."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.registry.charter import Kind
from charter.registry.problem import suggestion
from charter.reports.answer import NAMES, ROWS

if TYPE_CHECKING:
    from charter.adapters.question_sql import Asked
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

DEFAULT_PERIOD = "90d"
_DAYS = re.compile(r"[0-9]{1,6}[dw]")


@dataclass(frozen=True, slots=True)
class Review:
    """What is asked of the evidence. Times as `evidence.parse_moment` reads them; `question`: one of NAMES, or all."""

    since: str | None = None
    until: str | None = None
    team: str | None = None
    kind: str | None = None
    system: str | None = None
    principal: str | None = None
    question: str | None = None
    rows: int | None = None

    @property
    def narrowed(self) -> dict[str, str]:
        """What it is narrowed to, by name; nothing of what is not given."""
        wide = {"team": self.team, "kind": self.kind, "system": self.system, "principal": self.principal}
        return {name: value for name, value in wide.items() if value}


async def answers(house: House, asked: Review | None = None) -> dict[str, Any]:
    """Return the answers, worked out away from the event loop.

    Raises:
        MalformedError: a time cannot be read, the period is empty, or there is no such question.
    """
    return await asyncio.to_thread(_answers, house, asked or Review())


def period(since: str | None, until: str | None, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return the period from `since` (a number of days ago: from the beginning of that day, UTC) to `until`.

    Raises:
        MalformedError: a time cannot be read, or none lies between the two.
    """
    said = since or DEFAULT_PERIOD
    start = evidence.parse_moment(said, now)
    if _DAYS.fullmatch(said):
        start = start.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = evidence.parse_moment(until, now) if until else now
    if start >= end:
        raise MalformedError(ErrorCode.BAD_VALUE, "the period ends before it begins", help="write an earlier --since")
    return start, end


def _answers(house: House, asked: Review) -> dict[str, Any]:
    if asked.question is not None and asked.question not in NAMES:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"there is no question {asked.question[:40]!a}", help=f"one of {', '.join(NAMES)}"
        )
    from charter.adapters.question_sql import Asked
    from charter.reports.questions import QUESTIONS

    start, end = period(asked.since, asked.until, house.clock.now())
    questions = [each for each in QUESTIONS if asked.question in {None, each.name}]
    wanted = Asked(start, end, asked.narrowed, questions, asked.rows or ROWS)
    house.sealing.ready()
    found = house.database.read(lambda tx: _found(house, tx, wanted))
    told = {"since": rfc3339(start), "until": rfc3339(end), "narrowed": asked.narrowed}
    return told | {"notes": unknown(house, asked.narrowed), "questions": found}


def unknown(house: House, narrowed: Mapping[str, str]) -> list[str]:
    """Return a sentence for each name it is narrowed to that is none: of what nobody is, nothing is found."""
    people = house.live.principals.values()
    known: dict[str, Iterable[str]] = {
        "team": (each.owner_team for each in people),
        "kind": (each.value for each in Kind),
        "system": house.live.systems,
        "principal": (each.name for each in people),
    }
    notes = []
    for what, name in narrowed.items():
        names = set(known[what])
        if name not in names:
            near = suggestion(name[:80], names, few=True)
            notes.append(f"there is no {what} {name[:80]!a} now{f': {near}' if near else ''}")
    return notes


def _found(house: House, tx: HouseTransaction, asked: Asked) -> list[dict[str, Any]]:
    from charter.adapters import analytics, log_tail

    sealed = house.sealing.sealed
    lines = (entry.told for entry in log_tail.unsealed(tx.connection, sealed.manifest, tx.payloads))
    needs = any(question.needs_permissions for question in asked.questions)
    authority = house.authority.table(tx.connection, asked.since, asked.until, asked.narrowed) if needs else None
    return [each.to_json() for each in analytics.answers(asked, lines, authority, sealed, spark=house.settings.spark)]
