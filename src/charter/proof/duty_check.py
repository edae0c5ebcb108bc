"""Duties held against what principals may do: whether all parts of one come together, in one hand or in two tied ones.

INVARIANT: a part counts as out of a principal's reach only where that is proven. What is not proven counts as reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from charter.policy.expression import NotModelledError
from charter.proof.authority import reach_of
from charter.proof.effect import Side
from charter.proof.search import Means, Shown, Unproven, find_call
from charter.proof.setting import OBJECT, path_of, template_of
from charter.proof.term import every, like, some
from charter.registry.charter import Charter
from charter.registry.duty import Duty, DutyPart, Tie


@dataclass(frozen=True, slots=True)
class Broken:
    """A duty that is broken: by whom, what ties them, and one call for each part."""

    duty: str
    reason: str
    principals: tuple[str, ...]
    tie: Tie | None
    calls: tuple[Mapping[str, Any], ...]  # in the order of the duty's parts; who makes it, and the call
    is_proven: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "duty": self.duty,
            "reason": self.reason,
            "principals": list(self.principals),
            "tie": self.tie.value if self.tie else None,
            "calls": [dict(each) for each in self.calls],
            "proven": self.is_proven,
            "sentence": self.sentence,
        }

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        who = " and ".join(f"`{name}`" for name in self.principals)
        together = f" together (tied by {self.tie.value})" if self.tie else ""
        surely = "may" if self.is_proven else "perhaps may"
        return f"{who}{together} {surely} do all parts of `{self.duty}`: {self.reason}"


@dataclass(frozen=True, slots=True)
class Hand:
    """One principal: its charter, and what it may do."""

    charter: Charter
    side: Side


def broken_duties(duties: Sequence[Duty], hands: Mapping[str, Hand], means: Means) -> Iterator[Broken]:
    """Yield every duty that is broken, by whom."""
    for duty in duties:
        reached = {name: _parts(duty, hand, means) for name, hand in hands.items()}
        reached = {name: parts for name, parts in reached.items() if any(parts)}
        alone = {name for name, parts in reached.items() if all(parts)}
        for name in sorted(alone):
            yield _broken(duty, (name,), None, reached)
        others = sorted(reached.keys() - alone)
        for one, other in combinations(others, 2):
            tie = _tie(duty, hands[one].charter, hands[other].charter)
            if tie and all(a or b for a, b in zip(reached[one], reached[other], strict=True)):
                yield _broken(duty, (one, other), tie, reached)


Parts = Sequence[Shown | Unproven | None]


def _parts(duty: Duty, hand: Hand, means: Means) -> Parts:
    return [_part(part, hand.side, means) for part in duty.parts]


def _part(part: DutyPart, side: Side, means: Means) -> Shown | Unproven | None:
    """Return a call of this part that the principal may make by itself."""
    unknown: Unproven | None = None
    for name in part.actions:
        action = (part.system, name)
        if action not in side.actions:
            continue
        try:
            reach = reach_of(side.bound, side.systems, action, means.engine)
        except NotModelledError as err:
            unknown = Unproven(str(err))
            continue
        template = template_of(side.systems[part.system], name)
        path = OBJECT if template is None else path_of(template)
        is_of_it = some(like(path, tuple(each.split("*"))) for each in part.objects)
        found = find_call(every((reach.allowed_unasked, is_of_it)), (reach,), means)
        if isinstance(found, Shown):
            return found
        unknown = found or unknown
    return unknown


def _tie(duty: Duty, one: Charter, other: Charter) -> Tie | None:
    ties = {
        Tie.OWNER: one.owner.person == other.owner.person,
        Tie.TEAM: one.owner.team == other.owner.team,
        Tie.DELEGATION: _lends(one, other) or _lends(other, one),
    }
    return next((tie for tie in duty.tied if ties[tie]), None)


def _lends(lender: Charter, borrower: Charter) -> bool:
    to, source = lender.delegation, borrower.delegation
    return bool(to and source and borrower.principal in to.to and lender.principal in source.source)


def _broken(duty: Duty, names: tuple[str, ...], tie: Tie | None, reached: Mapping[str, Parts]) -> Broken:
    calls: list[dict[str, Any]] = []
    proven = True
    for index in range(len(duty.parts)):
        found = {name: reached[name][index] for name in names if reached[name][index] is not None}
        shown = {name: each for name, each in found.items() if isinstance(each, Shown)}
        proven = proven and bool(shown)
        for name, each in list(shown.items())[:1]:
            calls.append({"principal": name, "call": each.example.to_json()})
    return Broken(duty.id, duty.reason, names, tie, tuple(calls), proven)
