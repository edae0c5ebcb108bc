"""Charters with the same authority: two principals that may do exactly the same, proven over all calls.

They are worth a look: a principal that nobody uses any more beside its successor, or one job with two identities.
"""

from __future__ import annotations

from collections.abc import Mapping

from charter.core.errors import CharterError
from charter.proof.effect import Effect, Side, effect_of
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings
from charter.registry.charter import Charter

MAX_COMPARED = 200  # charters with the same actions that are compared one by one


def equal_authorities(charters: Mapping[str, Charter], among: Surroundings, means: Means) -> list[tuple[str, ...]]:
    """Return the groups of principals of which each may do what the others may, and no more."""
    groups: dict[tuple[object, ...], list[list[str]]] = {}
    for name, charter in sorted(charters.items()):
        if not charter.grants and charter.policy is None:
            continue
        actions = _side(charter, charter, among, means)
        if actions is None:
            continue
        known = groups.setdefault((charter.kind, charter.environment, actions.actions), [])
        found = next(
            (each for each in known[:MAX_COMPARED] if _are_equal(charters[each[0]], charter, among, means)), None
        )
        if found is None:
            known.append([name])
        else:
            found.append(name)
    return [tuple(each) for known in groups.values() for each in known if len(each) > 1]


def _side(charter: Charter, as_if: Charter, among: Surroundings, means: Means) -> Side | None:
    """Return the authority of a charter as if its principal were another's: names tell equal authorities apart."""
    if charter.policy is not None and charter.principal != as_if.principal:
        return None  # what stands beside a charter is about its own principal alone
    try:
        renamed = charter.model_copy(update={"principal": as_if.principal})
        return Side(among.bind(renamed, means.engine), among.systems)
    except CharterError:
        return None


def _are_equal(one: Charter, other: Charter, among: Surroundings, means: Means) -> bool:
    left, right = _side(one, one, among, means), _side(other, one, among, means)
    return left is not None and right is not None and effect_of(left, right, means) == Effect()
