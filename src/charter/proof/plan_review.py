"""Whose yes a plan needs, who may give it, and what is still missing.

    what widens what a principal may do     the owner's team, or the role that approves its charter (`route.py`)
    what concerns everybody                 the central role: teams, issuers, rules, guardrails, patterns, systems

INVARIANT: nobody's yes counts for a plan that they apply themselves, nor in a role for a principal that they own.
INVARIANT: who holds a role is what teams.yaml in force says, not the one that is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter.core.errors import DeniedError, ErrorCode
from charter.proof.consequence import Consequence
from charter.registry.change_terms import ChangeTerms
from charter.registry.plan import Change, What
from charter.registry.team import Teams

MAX_NAMED = 8
_ROLE, _TEAM = "role:", "team:"


@dataclass(frozen=True, slots=True)
class Need:
    """One seat whose yes a plan needs."""

    seat: str  # `role:payments-risk`, `team:support`
    subjects: tuple[str, ...]  # what it is about
    why: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the need as plain JSON."""
        return {"seat": self.seat, "for": list(self.subjects), "why": list(self.why[:MAX_NAMED])}


@dataclass(frozen=True, slots=True)
class Yes:
    """Somebody's yes to one plan, at a seat."""

    seat: str
    person: str


@dataclass(frozen=True, slots=True)
class _Gathered:
    subjects: dict[str, None] = field(default_factory=dict)
    why: dict[str, None] = field(default_factory=dict)


def needs_of(
    changes: Sequence[Change], consequences: Sequence[Consequence], terms: ChangeTerms | None
) -> tuple[Need, ...]:
    """Return whose yes a plan needs, each seat once; `terms` as they are in force."""
    found: dict[str, _Gathered] = {}
    for each in consequences:
        if each.route.name:
            seat = found.setdefault(each.route.name, _Gathered())
            seat.subjects.update(dict.fromkeys((each.principal, *each.others)))
            seat.why[f"{each.principal}: {each.route.why}"] = None
    central = [each for each in changes if each.what is not What.PRINCIPAL]
    if terms is not None and central:
        seat = found.setdefault(f"{_ROLE}{terms.central}", _Gathered())
        seat.subjects.update(dict.fromkeys(f"{each.what.value} {each.name}" for each in central))
        seat.why["what concerns everybody changes"] = None
    return tuple(Need(name, tuple(each.subjects), tuple(each.why)) for name, each in sorted(found.items()))


def holders(seat: str, teams: Teams) -> frozenset[str]:
    """Return the people who may sit there."""
    if seat.startswith(_ROLE):
        return frozenset(teams.roles.get(seat.removeprefix(_ROLE), ()))
    team = teams.teams.get(seat.removeprefix(_TEAM))
    return frozenset() if team is None else frozenset((team.lead, *team.members))


def seats_of(person: str, needs: Sequence[Need], teams: Teams, owners: Mapping[str, str]) -> tuple[str, ...]:
    """Return at which seats a person may say yes to a plan; `owners`: of principals, by name.

    Raises:
        DeniedError: at none.
    """
    if not needs:
        raise DeniedError(ErrorCode.POLICY_DENIED, "this plan needs nobody's yes", help="charter apply")
    held = [each for each in needs if person in holders(each.seat, teams)]
    if not held:
        seats = ", ".join(f"`{each.seat}`" for each in needs)
        text = f"`{person}` holds none of the seats whose yes this plan needs: {seats}"
        raise DeniedError(ErrorCode.POLICY_DENIED, text, help="someone who does, by teams.yaml in force, must say yes")
    free = tuple(each.seat for each in held if not _owns(person, each, owners))
    if not free:
        text = f"`{person}` owns what this plan widens, and cannot approve that"
        raise DeniedError(ErrorCode.POLICY_DENIED, text, help="someone else who holds the role must say yes")
    return free


def _owns(person: str, need: Need, owners: Mapping[str, str]) -> bool:
    return need.seat.startswith(_ROLE) and any(owners.get(name) == person for name in need.subjects)


def missing(
    needs: Sequence[Need], given: Iterable[Yes], *, actor: str, teams: Teams, owners: Mapping[str, str]
) -> tuple[Need, ...]:
    """Return the seats whose yes a plan that `actor` applies still lacks."""
    said = {(each.seat, each.person) for each in given if each.person != actor}
    return tuple(
        need
        for need in needs
        if not any(
            seat == need.seat and person in holders(seat, teams) and not _owns(person, need, owners)
            for seat, person in said
        )
    )


def refused(lacking: Sequence[Need]) -> DeniedError:
    """Return the error of applying a plan that lacks somebody's yes."""
    told = "; ".join(f"`{each.seat}` for {', '.join(each.subjects[:MAX_NAMED])}" for each in lacking)
    return DeniedError(
        ErrorCode.APPROVAL_NEEDED,
        f"this plan is not applied before somebody says yes as {told}",
        help="look at `charter plan`, and say yes with `charter plan --approve --as PERSON`; not who applies it",
    )
