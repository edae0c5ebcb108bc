"""What changed files would change, held against other files: a plan without a registry, for reviews and hooks.

The other files stand where a plan has what is registered, as if they had been applied and nothing been done by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.bootstrap import proofs
from charter.bootstrap.estate import check_texts
from charter.bootstrap.worlds import principal_of
from charter.core.clock import Clock
from charter.proof.plan_review import needs_of
from charter.registry import plan as planning
from charter.registry.estate import Estate
from charter.registry.manifest import parse_estate
from charter.registry.plan import parts_of
from charter.registry.principal import SystemRecord
from charter.registry.problem import EstateError
from charter.registry.record import ManagedBy, RegisteredEstate, RegisteredPrincipal, RegisteredSystem
from charter.registry.standing import Standing


def compare(before: Mapping[str, str] | None, files: Mapping[str, str], clock: Clock, seconds: float) -> dict[str, Any]:
    """Return what `files` change of the estate that `before` is, with what principals may then do (`effects`).

    Before an estate there is nothing; one that is none counts as nothing, and `note` says so. `before` is None where
    there is no such revision.

    Raises:
        EstateError: `files` are not valid.
    """
    estate = check_texts(files, clock.now().date())
    note, current = None, RegisteredEstate()
    if before:
        try:
            current = as_registered(parse_estate(before))
        except EstateError as err:
            note = f"the base is no valid estate, so all counts as new: {err.problems[0]}"
    else:
        held = "holds no estate" if before is not None else "is no revision here (git fetch may bring it)"
        note = f"the base {held}, so all counts as new"
    plan = planning.plan(estate, current)
    effects = proofs.consequences_of(plan, estate, current, clock, seconds, is_tried_again=True)
    needs = needs_of(plan.changes, effects, estate.teams.value.changes)
    review = {"required": estate.teams.value.changes is not None, "needs": [each.to_json() for each in needs]}
    return plan.to_json() | {"effects": proofs.told(effects), "review": review, "note": note}


def as_registered(estate: Estate) -> RegisteredEstate:
    """Return an estate as if exactly its files had been applied."""
    principals = {}
    for name, part in estate.charters.items():
        principal = principal_of(f"file:{name}", part.value)
        principals[name] = RegisteredPrincipal(
            principal, ManagedBy.GIT, principal.digest, is_intact=True, charter=part.value.to_json()
        )
    systems = {}
    for name, system in estate.systems.items():
        record = SystemRecord(name, 1, system.value.digest, Standing.ACTIVE, system.value)
        systems[name] = RegisteredSystem(
            name,
            1,
            record.digest,
            is_withdrawn=False,
            managed_by=ManagedBy.GIT,
            applied_digest=record.digest,
            is_intact=True,
            record=record,
        )
    return RegisteredEstate(principals, systems, parts_of(estate))
