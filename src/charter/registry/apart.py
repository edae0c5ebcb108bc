"""One credential, one principal: which sets of exact conditions could be met by one and the same thing.

Two sets are apart if both name something and give it different values. Sets are looked up by value and not compared
pair by pair: estates hold principals by the hundred thousand.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

from charter.registry.issuer import Claim

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conditions(Generic[T]):
    """One set of conditions, whose it is, and what it belongs to."""

    holder: str
    wanted: Mapping[str, Claim]
    of: T


def meetings(sets: Iterable[Conditions[T]]) -> Iterator[tuple[Conditions[T], Conditions[T]]]:
    """Yield pairs of sets of different holders that are not apart: at least one for each set that has any."""
    groups: dict[frozenset[str], list[Conditions[T]]] = {}
    for each in sets:
        groups.setdefault(frozenset(each.wanted), []).append(each)
    for names, group in groups.items():
        yield from _within(names, group)
    for (names, group), (others, other) in combinations(groups.items(), 2):
        yield from _between(names & others, group, other)


_Known = dict[Hashable, list[Conditions[T]]]  # by value; two of different holders are enough to find one for anybody


def _within(names: frozenset[str], group: list[Conditions[T]]) -> Iterator[tuple[Conditions[T], Conditions[T]]]:
    """Yield those of a group, which all name the same, whose values are also another's."""
    known: _Known[T] = {}
    for each in group:
        alike = known.setdefault(_values(each, names), [])
        yield from ((one, each) for one in alike if one.holder != each.holder)
        _keep(alike, each)


def _between(
    names: frozenset[str], these: list[Conditions[T]], those: list[Conditions[T]]
) -> Iterator[tuple[Conditions[T], Conditions[T]]]:
    """Yield those of one group whose values for what both groups name are also another's of the other group."""
    known: _Known[T] = {}
    for each in these:
        _keep(known.setdefault(_values(each, names), []), each)
    for each in those:
        alike = known.get(_values(each, names), [])
        yield from ((one, each) for one in alike if one.holder != each.holder)


def _keep(alike: list[Conditions[T]], each: Conditions[T]) -> None:
    if len(alike) < 2 and all(other.holder != each.holder for other in alike):  # noqa: PLR2004 - as said above
        alike.append(each)


def _values(each: Conditions[T], names: frozenset[str]) -> frozenset[tuple[str, str, Claim]]:
    return frozenset((name, type(each.wanted[name]).__name__, each.wanted[name]) for name in names)
