"""Stand-ins: while a person is away, another says yes or no in their roles.

INVARIANT: nobody's authority counts twice in one question: neither both people, nor a stand-in of whoever said yes.
INVARIANT: it ends by itself, and is not passed on: who stands in for somebody's stand-in stands in for that one alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from charter.core.errors import ErrorCode, MalformedError

LONGEST = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class StandIn:
    """That `by` answers in the roles of `person` until a moment. Addresses are in small letters."""

    person: str
    by: str
    until: dt.datetime
    reason: str
    made_at: dt.datetime

    def __post_init__(self) -> None:
        if self.person == self.by:
            raise MalformedError(ErrorCode.BAD_VALUE, "nobody stands in for themselves", help="name somebody else")
        if self.until <= self.made_at:
            raise MalformedError(ErrorCode.BAD_VALUE, "that day is over", help="name a day to come")
        if self.until > self.made_at + LONGEST:
            text = f"a stand-in is named for at most {LONGEST.days} days from now on"
            raise MalformedError(ErrorCode.BAD_VALUE, text, help="name an earlier day, or renew it later")


def stood_for(found: Iterable[StandIn]) -> Mapping[str, frozenset[str]]:
    """Return for whom each stand-in may answer."""
    people: dict[str, set[str]] = {}
    for each in found:
        people.setdefault(each.by, set()).add(each.person)
    return {by: frozenset(persons) for by, persons in people.items()}
