"""Enforcement points, held against the rest of the estate: each is a principal, and each word means one thing to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from charter.registry.charter import Charter
from charter.registry.estate import Sourced
from charter.registry.problem import Problem, suggestion
from charter.registry.system import System


def problems_of_points(
    systems: Mapping[str, Sourced[System]], charters: Mapping[str, Sourced[Charter]], broken: Collection[str]
) -> Iterator[Problem]:
    """Yield what is wrong with the systems' `enforcement`; `broken` are files that could not be read."""
    meant: dict[tuple[str, str], str] = {}
    for part in systems.values():
        enforcement, name = part.value.enforcement, part.value.system
        if enforcement is None:
            continue
        for index, point in enumerate(enforcement.points):
            if point not in charters and f"principals/{point}.yaml" not in broken:
                where = part.source_of(f"enforcement.points.{index}")
                yield Problem.at(where, f"`{point}` is no principal", suggestion(point, charters))
        for known in enforcement.subjects.known:
            if known not in charters and f"principals/{known}.yaml" not in broken:
                where = part.source_of(f"enforcement.subjects.known.{known}")
                yield Problem.at(where, f"`{known}` is no principal", suggestion(known, charters))
        for kind in enforcement.resources:
            where = part.source_of(f"enforcement.resources.{kind}")
            if kind in systems:
                text = f"`{kind}` is the name of a system, and cannot be a type of resource too"
                yield Problem.at(where, text, "call the type otherwise")
            shared = [point for point in enforcement.points if meant.setdefault((point, kind), name) != name]
            if shared:
                other = meant[shared[0], kind]
                text = f"to `{shared[0]}`, `{kind}` means something on `{other}` already"
                yield Problem.at(where, text, "give the two types different names, or the systems different points")
