"""Facts of the registry in words: what is due when, what a move does; what a charter says is told by its own room."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from charter.core.errors import ConflictError
from charter.registry.charter import parse_day, parse_duration
from charter.registry.prose import actions, conditions, delegation, exceptions, flow, objects, risk
from charter.registry.standing import Move, Standing, moved

# the templates' words, beside those below
__all__ = ["actions", "conditions", "delegation", "exceptions", "flow", "objects", "risk"]

SOON_DAYS = 30

DEEDS: dict[Move, str] = {
    Move.RESTRAIN: "It goes on, but every call that changes something waits for a person.",
    Move.SUSPEND: "Nothing of it may act until someone resumes it: its tokens stop working and its open streams end.",
    Move.RESUME: "It may act again, as its charter says.",
    Move.KILL: "Its authority ends for good: the next call, its open streams, its tokens and its unspent permits.",
    Move.RETIRE: "Its life ends in order. Nothing of it may act again.",
}
FINAL = frozenset({Move.KILL, Move.RETIRE})  # there is no way back, so the person types the name


def legal_moves(standing: str, name: str) -> list[Move]:
    """Return the moves that are legal from `standing`, in the order of their weight."""
    legal = []
    for move in (Move.RESUME, Move.RESTRAIN, Move.SUSPEND, Move.KILL, Move.RETIRE):
        try:
            moved(Standing(standing), move, name)
        except (ConflictError, ValueError):
            continue
        legal.append(move)
    return legal


# --- inventory --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A day by which something is due, as words and as `past`, `soon` or `later`."""

    day: dt.date
    words: str
    state: str


def due(day: dt.date, today: dt.date, soon_days: int = SOON_DAYS) -> Due:
    """Return how `day` stands to `today`: `soon` from `soon_days` before."""
    left = (day - today).days
    unit = "day" if abs(left) == 1 else "days"
    words = "today" if left == 0 else f"in {left} {unit}" if left > 0 else f"{-left} {unit} ago"
    return Due(day, words, "past" if left < 0 else "soon" if left <= soon_days else "later")


def expiry(principal: Mapping[str, Any], today: dt.date) -> Due:
    """Return when the charter of `principal` ends; it holds to the end of that day, UTC."""
    return due(parse_day(principal["expires"]), today)


def review_due(principal: Mapping[str, Any], today: dt.date) -> Due:
    """Return when `principal` is to be reviewed: one cadence after its charter was approved.

    What is reviewed often is not due all the time: it is soon in the last quarter of its cadence.
    """
    cadence = parse_duration(principal["review"])
    return due(parse_day(principal["approved"]["on"]) + cadence, today, min(SOON_DAYS, cadence.days // 4))


def changes_state(principal: Mapping[str, Any]) -> str:
    """Return whether `principal` can change the world: `irreversibly`, `yes` or `no`."""
    return "irreversibly" if principal["irreversible"] else "yes" if principal["state_changing"] else "no"


FILTERS = ("kind", "environment", "standing", "team")


def matching(principals: Iterable[Mapping[str, Any]], filters: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the principals all `filters` fit: kind, environment, standing, team exactly; text anywhere, case aside."""
    wanted = {name: filters[name] for name in FILTERS if filters.get(name)}
    words = filters.get("text", "").casefold().split()
    return [p for p in principals if all(_field(p, n) == v for n, v in wanted.items()) and _holds(p, words)]


def _field(principal: Mapping[str, Any], name: str) -> str:
    return str(principal["owner"]["team"] if name == "team" else principal[name])


def _holds(principal: Mapping[str, Any], words: list[str]) -> bool:
    if not words:
        return True
    owner, model = principal["owner"], principal["model"]
    said = [principal["name"], principal["purpose"], owner["person"], owner["team"], model["provider"], model["name"]]
    text = " ".join([*said, *principal["systems"], *principal["data"], principal["spiffe_id"]]).casefold()
    return all(word in text for word in words)


def counts(principals: Iterable[Mapping[str, Any]], today: dt.date) -> dict[str, int]:
    """Return how many principals there are in all, of each standing, that change state, and with something due."""
    found = list(principals)
    tally = {"all": len(found)} | dict.fromkeys((s.value for s in Standing), 0)
    for p in found:
        tally[p["standing"]] = tally.get(p["standing"], 0) + 1
    tally["state_changing"] = sum(1 for p in found if p["state_changing"])
    tally["due"] = sum(1 for p in found if {expiry(p, today).state, review_due(p, today).state} != {"later"})
    return tally
