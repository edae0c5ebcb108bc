"""The words of a property that other files must know: a misspelt one would make it speak of nothing, and hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from charter.registry.problem import Problem, suggestion
from charter.registry.property import CallClass, Property, Where, Who
from charter.registry.sourced import Sourced
from charter.registry.system import System
from charter.registry.team import Teams


@dataclass(frozen=True, slots=True)
class Known:
    """What an estate's files name."""

    charters: Mapping[str, Any]
    systems: Mapping[str, System]
    teams: Teams


def problems_of_property(part: Sourced[Property], known: Known) -> Iterator[Problem]:
    """Yield a problem for each word that names nothing."""
    found, at = part.value, part.value.place
    yield from _of_class(part, found.of, at, known)
    if found.only is not None:
        yield from _of_who(part, found.only, "only", known)
    yield from _unknown(part, "approved_by", found.approved_by, known.teams.roles, "role in teams.yaml")


def _of_class(part: Sourced[Property], calls: CallClass, at: str, known: Known) -> Iterator[Problem]:
    if calls.principals is not None:
        yield from _of_who(part, calls.principals, f"{at}.principals", known)
    if calls.systems is not None:
        yield from _of_where(part, calls.systems, f"{at}.systems", known)
    classes = {name for system in known.systems.values() for name in system.classes}
    yield from _unknown(part, f"{at}.data", calls.data, classes, "data class of any system")
    whole = [f"{name}/{action}" for name, system in known.systems.items() for action in system.actions]
    every = [*dict.fromkeys(action for system in known.systems.values() for action in system.actions), *whole]
    yield from _unknown(part, f"{at}.actions", calls.actions, every, "action of any system")


def _of_who(part: Sourced[Property], who: Who, at: str, known: Known) -> Iterator[Problem]:
    for each, where in ((who, at), (who.excluded, f"{at}.not")):
        if each is not None:
            yield from _unknown(part, f"{where}.name", each.name, known.charters, "principal")
            yield from _unknown(part, f"{where}.team", each.team, known.teams.teams, "team in teams.yaml")


def _of_where(part: Sourced[Property], systems: Where, at: str, known: Known) -> Iterator[Problem]:
    for each, where in ((systems, at), (systems.excluded, f"{at}.not")):
        if each is not None:
            yield from _unknown(part, f"{where}.name", each.name, known.systems, "system")


def _unknown(
    part: Sourced[Property], at: str, words: Iterable[str] | None, valid: Iterable[str], what: str
) -> Iterator[Problem]:
    known = list(valid)
    for index, word in enumerate(words or ()):
        if word not in known:
            where = part.source_of(f"{at}.{index}")
            yield Problem.at(where, f"`{word[:80]}` is no {what}", suggestion(word[:80], known))
