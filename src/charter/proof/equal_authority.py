"""Charters with the same authority: two principals that may do exactly the same, proven over all calls.

They are worth a look: a principal that nobody uses any more beside its successor, or one job with two identities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from charter.core.errors import CharterError
from charter.policy.expression import NotModelledError
from charter.proof.authority import reach_of
from charter.proof.effect import Effect, Side, effect_of
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings
from charter.proof.term import Term, value
from charter.registry.charter import Charter

MAX_COMPARED = 12  # of the same actions that are written differently; of more, only those written alike are found


@dataclass(slots=True)
class _Alike:
    """Principals of the same kind, environment and actions, by what their authority comes to in terms."""

    by_terms: dict[tuple[Term, ...], list[str]] = field(default_factory=dict)


def equal_authorities(
    charters: Mapping[str, Charter], sides: Mapping[str, Side], among: Surroundings, means: Means
) -> list[tuple[str, ...]]:
    """Return the groups of principals of which each may do what the others may, and no more.

    `sides`: what each may do, as bound for itself: the terms of that say a name only where a policy does.
    """
    groups: dict[tuple[object, ...], _Alike] = {}
    for name, charter in sorted(charters.items()):
        side = sides[name] if charter.grants and charter.policy is None else None
        terms = None if side is None else _terms(side, means)
        if side is not None and terms is not None:
            known = groups.setdefault((charter.kind, charter.environment, side.actions), _Alike())
            known.by_terms.setdefault(terms, []).append(name)
    found: list[tuple[str, ...]] = []
    for group in groups.values():
        found += _joined(list(group.by_terms.values()), charters, among, means)
    return found


def _joined(
    classes: list[list[str]], charters: Mapping[str, Charter], among: Surroundings, means: Means
) -> Iterator[tuple[str, ...]]:
    """Yield classes that are more than one, those joined that provably come to the same though written differently."""
    joined: list[list[str]] = []
    for names in classes:
        few = len(classes) <= MAX_COMPARED
        same = (each for each in joined if few and _are_equal(charters[each[0]], charters[names[0]], among, means))
        found = next(same, None)
        if found is None:
            joined.append(list(names))
        else:
            found += names
    yield from (tuple(sorted(each)) for each in joined if len(each) > 1)


def _terms(side: Side, means: Means) -> tuple[Term, ...] | None:
    """Return what an authority allows, action by action, with the limits it is under; None if it is not modelled."""
    found = []
    try:
        for action in sorted(side.actions):
            reach = reach_of(side.bound, side.systems, action, means.engine)
            limits = [each.text for lane in reach.lanes for each in lane.limits]
            found += [reach.allowed, value(" ".join(limits))]
    except NotModelledError:
        return None
    return tuple(found)


def _side(charter: Charter, among: Surroundings, means: Means) -> Side | None:
    """Return the authority of a charter as if its principal were anybody: names tell equal authorities apart.

    What stands beside a charter is about its own principal alone, so such a charter is like no other.
    """
    if charter.policy is not None:
        return None
    try:
        renamed = charter.model_copy(update={"principal": ANYBODY})
        return Side(among.bind(renamed, means.engine), among.systems)
    except CharterError:
        return None


def _are_equal(one: Charter, other: Charter, among: Surroundings, means: Means) -> bool:
    left, right = _side(one, among, means), _side(other, among, means)
    return left is not None and right is not None and effect_of(left, right, means) == Effect()


ANYBODY = "anybody"
