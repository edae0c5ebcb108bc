"""The delegations that a principal has a part in, gathered from the evidence of how they were made and used.

INVARIANT: how long one was needed is never told shorter than it was: what was asked for counts in full, as does one
that others rest on, that the principal lent, or of which the evidence does not say whether its time was asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.registry.delegation import HUMANS, is_person

MAX_LOANS = 100_000  # looked at; of more, nothing is said
LONGEST = "longest"  # in evidence: nobody asked for a time, so it was made as long as the charters allow


@dataclass(frozen=True, slots=True)
class Loan:
    """One delegation in whose chain the principal stands."""

    lender: str  # id, or a person's address
    lent_by: str  # as a charter's `from` has it: `humans`, or a principal's name
    borrower: str  # name
    purpose: str
    depth: int  # delegations in its chain
    made_at: dt.datetime
    life: dt.timedelta
    is_asked: bool  # whether somebody said how long


@dataclass(slots=True)
class Lent:
    """What the principal `id`, called `name`, was lent, lent on, and had a part in."""

    id: str
    name: str
    since: dt.datetime
    names: Mapping[str, str]  # of principals, by id
    loans: dict[str, Loan] = field(default_factory=dict)
    rested_on: set[str] = field(default_factory=set)
    last_use: dict[str, dt.datetime] = field(default_factory=dict)
    is_whole: bool = True

    def made(self, body: Mapping[str, Any], at: dt.datetime) -> None:
        """Take in that a delegation was made; the oldest first."""
        above = str(body.get("rests_on") or "")
        borrower = str(body.get("borrower"))
        if above in self.loans:
            self.rested_on.add(above)
        elif self.id != body.get("lender") and self.name != borrower:
            return
        if len(self.loans) >= MAX_LOANS:
            self.is_whole = False
            return
        lender = str(body.get("lender"))
        self.loans[str(body["delegation"])] = Loan(
            lender,
            HUMANS if is_person(lender) else self.names.get(lender, ""),
            borrower,
            str(body.get("purpose") or ""),
            int(body.get("depth") or 1),
            at,
            parse_rfc3339(str(body["expires"])) - at,
            body.get("lasts") != LONGEST,
        )

    def used(self, delegation: str, at: dt.datetime) -> None:
        """Take in a call of the principal under a delegation."""
        self.last_use[delegation] = max(at, self.last_use.get(delegation, at))

    def in_period(self) -> Iterator[tuple[str, Loan]]:
        """Yield what was made in the period, or lived into it."""
        return ((key, loan) for key, loan in self.loans.items() if loan.made_at + loan.life >= self.since)

    def onward(self) -> Iterator[Loan]:
        """Yield what the principal lent, the period and before."""
        return (loan for loan in self.loans.values() if loan.lender == self.id)

    def needed(self) -> list[tuple[dt.date, dt.timedelta]]:
        """Return of each delegation to or by the principal, in the period, the day and for how long it was needed."""
        own = [each for each in self.in_period() if self.id == each[1].lender or self.name == each[1].borrower]
        return [(loan.made_at.date(), self._needed(key, loan)) for key, loan in own]

    def _needed(self, key: str, loan: Loan) -> dt.timedelta:
        if loan.is_asked or key in self.rested_on or loan.borrower != self.name:
            return loan.life
        return self.last_use.get(key, loan.made_at) - loan.made_at
