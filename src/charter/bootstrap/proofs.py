"""Proofs of an estate: what a plan does to what principals may do, and what their rules come to over all calls."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.adapters.cedar import CedarEngine
from charter.core.clock import Clock, Deadline
from charter.core.errors import AbsentError, CharterError, ErrorCode
from charter.proof.consequence import Consequence, Review, Times, consequences
from charter.proof.duty_check import Broken, Hand, broken_duties
from charter.proof.effect import Side
from charter.proof.equal_authority import equal_authorities
from charter.proof.inspection import Inspection, idle_guardrails, inspect
from charter.proof.prover import Prover
from charter.proof.search import Means, plain_noon
from charter.proof.surroundings import planned, registered
from charter.registry.change_terms import ChangeTerms
from charter.registry.problem import suggestion
from charter.registry.record import PartKind
from charter.registry.risk import Tier
from charter.registry.system import Teams

if TYPE_CHECKING:
    from charter.registry.estate import Estate
    from charter.registry.plan import Plan
    from charter.registry.record import RegisteredEstate

PLAN_SECONDS = 20.0  # for the proofs of one plan; what is left then is not proven


def means_of(clock: Clock) -> Means:
    """Return what proofs are made with, from today on. z3 is loaded only if something is left to solve."""
    from charter.adapters.z3_solver import Z3Solver

    now, engine = clock.now(), CedarEngine()
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Means(Prover(Z3Solver()), engine, engine, start, plain_noon(now))


def consequences_of(plan: Plan, estate: Estate, current: RegisteredEstate, clock: Clock) -> tuple[Consequence, ...]:
    """Return what `plan`, made from `estate` and what is registered, does to what principals may do.

    Plans are looked at, approved and applied one after the other: the last few are remembered, for the day.
    """
    key = f"{plan.digest} {clock.now().date()}"
    with _LOCK:
        known = _LAST.get(key)
    if known is None:
        known = _found(plan, estate, current, clock)
        with _LOCK:
            _LAST[key] = known
            while len(_LAST) > _REMEMBERED:
                _LAST.popitem(last=False)
    return known


_REMEMBERED = 8  # plans
_LAST: OrderedDict[str, tuple[Consequence, ...]] = OrderedDict()
_LOCK = threading.Lock()


def _found(plan: Plan, estate: Estate, current: RegisteredEstate, clock: Clock) -> tuple[Consequence, ...]:
    if not plan.changes:
        return ()
    terms = _terms_in_force(current)
    means = means_of(clock)
    after = planned(estate, means.engine)
    try:
        before = registered(current, means.engine)
    except (CharterError, ValueError):
        before = None
    team_up_to = Tier(terms.team_up_to) if terms else Tier.LOW
    review = Review(means, Deadline.after(clock, PLAN_SECONDS), team_up_to)
    return consequences(plan, estate, current, Times(before, after), review)


def _terms_in_force(current: RegisteredEstate) -> ChangeTerms | None:
    teams = next((each for each in current.parts.values() if each.kind is PartKind.TEAMS and each.is_intact), None)
    return Teams.model_validate_json(teams.body).changes if teams else None


def told(found: tuple[Consequence, ...]) -> list[dict[str, Any]]:
    """Return consequences as plans show them."""
    return [each.to_json() for each in found]


@dataclass(frozen=True, slots=True)
class Proven:
    """What the rules of an estate come to."""

    inspections: tuple[Inspection, ...]
    duties: tuple[Broken, ...]
    equal: tuple[tuple[str, ...], ...]
    idle: tuple[str, ...]  # guardrails that stop nothing of what anybody is granted

    @property
    def is_clean(self) -> bool:
        """Whether every rule says something, no duty is broken, and nothing is left unproven."""
        return not self.duties and all(not each.faults and not each.gaps for each in self.inspections)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "clean": self.is_clean,
            "principals": [each.to_json() for each in self.inspections],
            "duties": [each.to_json() for each in self.duties],
            "same_authority": [list(each) for each in self.equal],
            "idle_guardrails": list(self.idle),
        }


def prove(estate: Estate, clock: Clock, only: str | None = None) -> Proven:
    """Return what the rules of `estate`, which was checked, come to; with `only`, those of one principal.

    Raises:
        AbsentError: there is no such principal.
    """
    if only is not None and only not in estate.charters:
        raise AbsentError(
            ErrorCode.UNKNOWN_PRINCIPAL,
            f"there is no principal {only[:64]!a} in the estate",
            help=suggestion(only, estate.charters) or "charter validate",
        )
    means = means_of(clock)
    among = planned(estate, means.engine)
    charters = {name: part.value for name, part in estate.charters.items()}
    sides = {
        name: Side(among.bind(charter, means.engine, estate.charters[name].sources), among.systems)
        for name, charter in charters.items()
    }
    wanted = [only] if only is not None else sorted(sides)
    inspections = tuple(inspect(sides[name], means) for name in wanted)
    hands = {name: Hand(charters[name], side) for name, side in sides.items()}
    broken = tuple(
        each
        for each in broken_duties(estate.central.duties.value.duties, hands, means)
        if only is None or only in each.principals
    )
    if only is not None:
        return Proven(inspections, broken, (), ())
    equal = tuple(equal_authorities(charters, among, means))
    return Proven(inspections, broken, equal, idle_guardrails(list(sides.values()), inspections))
