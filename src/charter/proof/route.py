"""Who must approve a change: nobody, the owner's team, or the reviewer whom the charter names.

    only narrows                                      nobody: less authority needs no review
    widens, within an approved pattern, at low risk   the owner's team
    widens otherwise, or is not proven                the role that approves the charter, with the examples before it
    breaks a duty, or is not proven to keep it        the same, whatever else it comes to

INVARIANT: what is not proven goes to the reviewer. Nothing is approved by itself but what was proven to narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.proof.duty_change import Breach
from charter.proof.effect import Effect
from charter.proof.terms_of_charter import TermChange, Turn
from charter.registry.charter import Charter
from charter.registry.risk import Tier

TIERS = tuple(Tier)
MAX_NAMED = 8  # duties


class Conclusion(StrEnum):
    """What a change comes to."""

    SAME = "same"
    NARROWS = "narrows"
    WIDENS = "widens"
    UNPROVEN = "not proven"


class Seat(StrEnum):
    """Whose yes a change needs."""

    NOBODY = "nobody"
    TEAM = "team"
    REVIEWER = "reviewer"


@dataclass(frozen=True, slots=True)
class Route:
    """Whose yes a change needs, and why."""

    seat: Seat
    who: str  # the team, or the role
    why: str

    @property
    def name(self) -> str:
        """The seat as approvals know it: `team:payments-ops`, `role:payments-risk`; empty for nobody."""
        match self.seat:
            case Seat.NOBODY:
                return ""
            case Seat.TEAM:
                return f"team:{self.who}"
            case Seat.REVIEWER:
                return f"role:{self.who}"

    def to_json(self) -> dict[str, Any]:
        """Return the route as plain JSON."""
        return {"seat": self.name or None, "who": self.who or None, "why": self.why}


def conclusion_of(effect: Effect, terms: Sequence[TermChange]) -> Conclusion:
    """Return what the effect of a change and the changes of its terms come to together."""
    turns = {each.turn for each in terms}
    if effect.gains or Turn.WIDENS in turns:
        return Conclusion.WIDENS
    if effect.gaps or Turn.UNCLEAR in turns:
        return Conclusion.UNPROVEN
    if effect.losses or effect.unknown_losses or Turn.NARROWS in turns:
        return Conclusion.NARROWS
    return Conclusion.SAME


def route_past_duties(route: Route, charter: Charter, breaches: Sequence[Breach]) -> Route:
    """Return whose yes a change needs that has this route, and after which these duties are broken."""
    new = [each.broken for each in breaches if each.is_new]
    if not new:
        return route
    broken = sorted({each.duty for each in new if each.is_proven})
    word = "it breaks the duty" if broken else "it is not proven to keep the duty"
    named = ", ".join(f"`{each}`" for each in (broken or sorted({each.duty for each in new}))[:MAX_NAMED])
    why = f"{word} {named}" if route.seat is Seat.NOBODY else f"{word} {named}; {route.why}"
    return Route(Seat.REVIEWER, charter.approved.role, why)


def route_of(conclusion: Conclusion, charter: Charter, tier: Tier, pattern: str | None, team_up_to: Tier) -> Route:
    """Return whose yes a change needs.

    Args:
        conclusion: what it comes to.
        charter: the charter after it, or the last one of a principal that is withdrawn.
        tier: of its risk.
        pattern: the approved pattern that the charter provably stays within, if there is one.
        team_up_to: the highest tier at which the owner's team decides by itself.
    """
    if conclusion in (Conclusion.SAME, Conclusion.NARROWS):
        why = "it only narrows" if conclusion is Conclusion.NARROWS else "what it may do stays the same"
        return Route(Seat.NOBODY, "", why)
    told = "it widens" if conclusion is Conclusion.WIDENS else "that it only narrows is not proven"
    is_low = TIERS.index(tier) <= TIERS.index(team_up_to)
    if pattern is not None and is_low:
        return Route(
            Seat.TEAM, charter.owner.team, f"{told}, within the pattern `{pattern}`, and its risk is {tier.value}"
        )
    beyond = "no pattern holds it" if is_low else f"its risk is {tier.value}"
    return Route(Seat.REVIEWER, charter.approved.role, f"{told}, and {beyond}")
