"""People's yes to plans: asked for, given and counted. Each is an entry of the evidence, bound to one plan's digest.

INVARIANT: a plan's digest names its files and what was registered when it was made, so a yes is good for nothing else.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from charter.adapters.evidence_store import entries_of
from charter.bootstrap import proofs
from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.proof.plan_review import Need, Yes, missing, needs_of, refused, seats_of
from charter.registry import plan as planning

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.proof.consequence import Consequence
    from charter.registry.estate import Estate
    from charter.registry.plan import Plan
    from charter.registry.record import RegisteredEstate

GOOD_FOR = dt.timedelta(days=14)  # a yes
_SHOWN = 3  # examples in an entry
_LONG = 400  # characters of one


def told(house: House, plan: Plan, found: Sequence[Consequence]) -> dict[str, Any]:
    """Return whose yes a plan needs, whose it has, and whether apply asks for it."""

    def read(tx: HouseTransaction) -> dict[str, Any]:
        teams = tx.registry.teams()
        needs = needs_of(plan.changes, found, teams.changes)
        given = _given(tx, plan.digest, house.clock.now())
        said = {each.seat: [yes.person for yes in given if yes.seat == each.seat] for each in needs}
        listed = [each.to_json() | {"given": said[each.seat]} for each in needs]
        return {"required": teams.changes is not None, "needs": listed}

    return house.database.read(read)


async def approve(house: House, estate: Estate, *, plan_digest: str, person: str, reason: str) -> dict[str, Any]:
    """Record a person's yes to a plan, at every seat that it needs and they may take.

    Raises:
        ConflictError: the plan is another one by now.
        DeniedError: they may take none.
    """
    current = house.database.read(lambda tx: tx.registry.registered(estate))
    plan = planning.plan(estate, current)
    if plan.digest != plan_digest:
        raise ConflictError(ErrorCode.STALE, "the plan is another one by now", help="look at a new plan")
    found = await asyncio.to_thread(proofs.effects_of, house, plan, estate, current)

    def work(tx: HouseTransaction) -> dict[str, Any]:
        teams = tx.registry.teams()
        needs = needs_of(plan.changes, found, teams.changes)
        seats = seats_of(person, needs, teams, _owners(estate, current))
        sentences = [change.sentence[:_LONG] for each in found for change in each.effect.gains]
        for seat in seats:
            body = {"plan": plan.digest, "seat": seat, "reason": reason, "examples": sentences[:_SHOWN]}
            tx.record(Draft(EntryKind.PLAN_APPROVED, person, None, body))
        return {"plan": plan.digest, "person": person, "seats": list(seats)}

    return await house.database.awrite(work)


def check(
    tx: HouseTransaction,
    plan: Plan,
    found: Sequence[Consequence],
    people: Mapping[str, str],
    actor: str,
    at: dt.datetime,
) -> None:
    """Refuse to apply a plan that lacks somebody's yes. Part of the work that applies it.

    `people`: the owners of principals, before and after.

    Raises:
        DeniedError: somebody's yes is missing.
    """
    teams = tx.registry.teams()
    if teams.changes is None:
        return
    needs: tuple[Need, ...] = needs_of(plan.changes, found, teams.changes)
    lacking = missing(needs, _given(tx, plan.digest, at), actor=actor, teams=teams, owners=people)
    if lacking:
        raise refused(lacking)


def is_required(house: House) -> bool:
    """Whether apply asks for people's yes."""
    return house.database.read(lambda tx: tx.registry.teams().changes is not None)


def reviews(
    tx: HouseTransaction, plan: Plan, found: Sequence[Consequence], at: dt.datetime
) -> dict[str, dict[str, Any]]:
    """Return what evidence of an applied plan says of each principal's change: what it came to, and who said yes."""
    given = _given(tx, plan.digest, at)
    return {
        name: {
            "conclusion": each.conclusion.value,
            "seat": each.route.name or None,
            "approved_by": [yes.person for yes in given if yes.seat == each.route.name],
            "examples": [change.sentence[:_LONG] for change in each.effect.gains[:_SHOWN]],
            "duties": [breach.broken.sentence[:_LONG] for breach in each.breaches[:_SHOWN]],
        }
        for each in found
        for name in (each.principal, *each.others)
    }


def _owners(estate: Estate, current: RegisteredEstate) -> dict[str, str]:
    owners = {name: each.principal.owner_person for name, each in current.principals.items()}
    return owners | {name: part.value.owner.person for name, part in estate.charters.items()}


def _given(tx: HouseTransaction, digest: str, at: dt.datetime) -> list[Yes]:
    found = entries_of(tx.connection, EntryKind.PLAN_APPROVED.value, rfc3339(at - GOOD_FOR), tx.payloads)
    return [Yes(each["body"]["seat"], each["actor"]) for each in found if each["body"].get("plan") == digest]


owners = _owners
