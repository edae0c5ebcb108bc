"""One step of a narrower charter, and what is asked before it is taken."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from charter.proof.caution import MIN_HISTORY
from charter.proof.lent import Lent
from charter.proof.observed import Observed
from charter.registry.charter import Charter
from charter.registry.system import System


class Piece(StrEnum):
    """What of an authority is drawn closer."""

    ACTION = "action"
    OBJECTS = "objects"
    DATA = "data"
    HOURS = "hours"
    DAYS = "days"
    LIMIT = "limit"
    AMOUNT = "amount"
    INITIATORS = "initiators"  # for whom a grant may be used
    DELEGATION = "delegation"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One step. `key` names it for as long as the charter says what it says; `uses`: in all that was looked at."""

    piece: Piece
    system: str
    what: str
    was: str
    becomes: str
    uses: int
    last_used: dt.datetime | None
    unused_days: int | None  # None: it is used, and drawn closer
    why: str

    @property
    def key(self) -> str:
        """What a person says to have it kept."""
        return key_of(self.piece, self.system, self.what)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "key": self.key,
            "piece": self.piece.value,
            "system": self.system,
            "what": self.what,
            "was": self.was,
            "becomes": self.becomes,
            "uses": self.uses,
            "last_used": self.last_used.isoformat() if self.last_used else None,
            "unused_days": self.unused_days,
            "why": self.why,
        }


def key_of(piece: Piece, system: str, what: str) -> str:
    """Return the name of a step: `action:payments/refund.create`, `data:customer-pii`."""
    return f"{piece.value}:{system}/{what}" if system else f"{piece.value}:{what}"


Known = Callable[[Callable[[Charter], bool]], dt.datetime]  # since when without a break charters satisfied something


@dataclass(frozen=True, slots=True)
class Ground:
    """What a proposal rests on.

    `known`: see above; `marks`: what people said is kept, by key; `left`: not tried; `fixed`: actions of systems whose
    grants stay as they are, since calls of them cannot be decided again; `roles_of`: the human roles of a person.
    """

    systems: Mapping[str, System]
    observed: Observed
    known: Known
    at: dt.datetime
    marks: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    fixed: frozenset[tuple[str, str]] = frozenset()
    lent: Lent | None = None  # None: not known, so delegation stays
    roles_of: Callable[[str], frozenset[str]] = lambda _: frozenset()


class Steps:
    """The steps of one proposal under way."""

    def __init__(self, charter: Charter, ground: Ground) -> None:
        """Begin without any."""
        self.charter, self.ground, self.observed = charter, ground, ground.observed
        self.narrowings: list[Narrowing] = []
        self.kept: dict[str, str] = {}

    def take(self, step: Narrowing, since: dt.datetime | None = None) -> bool:
        """Take a step and return True, unless something says that its piece is kept. `since`: when it was granted."""
        if step.key in self.ground.left:
            return False
        reason = self.ground.marks.get(step.key) or self._too_young(since)
        if reason:
            self.kept[step.key] = reason
            return False
        if step not in self.narrowings:
            self.narrowings.append(step)
        return True

    def drop(self, piece: Piece, system: str, what: str, since: dt.datetime, why: str) -> bool:
        """Take away what nobody used; as `take`."""
        idle = (self.ground.at - max(since, self.observed.since)).days
        return self.take(Narrowing(piece, system, what, what, "nothing", 0, None, idle, why), since)

    def _too_young(self, since: dt.datetime | None) -> str | None:
        if since is None or self.ground.at - max(since, self.observed.since) >= MIN_HISTORY:
            return None
        days = max(0, (self.ground.at - max(since, self.observed.since)).days)
        told = "1 day" if days == 1 else f"{days} days"
        return f"it was granted {told} ago; nothing is taken before {MIN_HISTORY.days} days"
