"""Proofs of a house: what a plan does to what principals may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charter.adapters.cedar import CedarEngine
from charter.core.clock import Clock, Deadline
from charter.core.errors import CharterError
from charter.proof.consequence import Consequence, Review, Times, consequences
from charter.proof.prover import Prover
from charter.proof.search import Means, plain_noon
from charter.proof.surroundings import planned, registered

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
    """Return what `plan`, made from `estate` and what is registered, does to what principals may do."""
    if not plan.changes:
        return ()
    means = means_of(clock)
    after = planned(estate, means.engine)
    try:
        before = registered(current, means.engine)
    except (CharterError, ValueError):
        before = None
    review = Review(means, Deadline.after(clock, PLAN_SECONDS))
    return consequences(plan, estate, current, Times(before, after), review)


def told(found: tuple[Consequence, ...]) -> list[dict[str, Any]]:
    """Return consequences as plans show them."""
    return [each.to_json() for each in found]
