"""What a policy names, found in its parsed form: entities, zones, calendars, arguments, roles, words it compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.policy.engine import Json
from charter.policy.vocabulary import GROUPS


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a policy names, found in its parsed form."""

    entities: frozenset[tuple[str, str]] = frozenset()  # (type, id)
    zones: frozenset[str] = frozenset()
    arguments: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # argument -> forms read; none: asked for only
    roles: frozenset[str] = frozenset()
    has_loose_approvals: bool = False  # approvals are used otherwise than by `contains` of a role written out
    calendars: frozenset[tuple[str, str]] = frozenset()  # (zone of their days, name)
    comparisons: frozenset[tuple[str, str, str]] = frozenset()  # (variable, attribute, text it is compared with)

    @property
    def actions(self) -> frozenset[str]:
        """The ids of the actions named, groups left out."""
        return frozenset(name for kind, name in self.entities if kind == "Charter::Action" and name not in GROUPS)


def mentions_of(policy: Json) -> Mentions:
    """Return what `policy` names. Reads Cedar's JSON policy format."""
    found = _Finder()
    for place in ("principal", "action", "resource"):
        found.scope(policy[place])
    for condition in policy["conditions"]:
        found.walk(condition["body"])
    return Mentions(
        frozenset(found.entities),
        frozenset(found.zones),
        {name: frozenset(forms) for name, forms in found.arguments.items()},
        frozenset(found.roles),
        found.approvals > found.asked,
        frozenset(found.calendars),
        frozenset(found.comparisons),
    )


def _path(node: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """Return `("context", "arguments", "amount")` for such a chain of accesses, () for anything else."""
    if not isinstance(node, dict) or len(node) != 1:
        return ()
    if "Var" in node:
        return (str(node["Var"]),)
    access = node.get(".")
    base = _path(access["left"]) if access else ()
    return (*base, str(access["attr"])) if base and access else ()


def _texts(node: Any) -> list[str] | None:  # noqa: ANN401
    """Return the string, or the strings of the set, that `node` writes out; None if it is anything else."""
    if not isinstance(node, dict):
        return None
    if isinstance(node.get("Value"), str):
        return [node["Value"]]
    if isinstance(node.get("Set"), list):
        inner = [_texts(each) for each in node["Set"]]
        return [text for each in inner if each for text in each] if all(inner) else None
    return None


@dataclass(slots=True)
class _Finder:
    entities: set[tuple[str, str]] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    arguments: dict[str, set[str]] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    calendars: set[tuple[str, str]] = field(default_factory=set)
    comparisons: set[tuple[str, str, str]] = field(default_factory=set)
    approvals: int = 0  # how often they are read
    asked: int = 0  # … of which for roles written out

    def scope(self, constraint: Json) -> None:
        within = constraint.get("in") or {}
        for each in (constraint.get("entity"), within.get("entity"), *constraint.get("entities", ())):
            if each and "type" in each:
                self.entities.add((each["type"], each["id"]))

    def walk(self, root: Any) -> None:  # noqa: ANN401
        stack = [root]
        while stack:
            node = stack.pop()
            if isinstance(node, list):
                stack += node
            elif isinstance(node, dict) and isinstance(node.get("Record"), dict):
                stack += node["Record"].values()  # its keys are an author's words, not Cedar's
            elif isinstance(node, dict):
                self._see(node)
                stack += node.values()

    def _see(self, node: Json) -> None:
        if "__entity" in node:
            self.entities.add((node["__entity"]["type"], node["__entity"]["id"]))
        self._see_access(_path(node))
        if isinstance(node.get("has"), dict):
            self._see_has((*_path(node["has"]["left"]), str(node["has"]["attr"])))
        for operator in ("==", "contains", "containsAny", "containsAll"):
            if isinstance(node.get(operator), dict):
                self._see_comparison(operator, node[operator].get("left"), node[operator].get("right"))

    def _see_access(self, path: tuple[str, ...]) -> None:
        match path:
            case ("context", "local", zone):
                self.zones.add(zone)
            case ("context", "arguments", name):
                self.arguments.setdefault(name, set())
            case ("context", "arguments", name, form):
                self.arguments.setdefault(name, set()).add(form)
            case ("context", "approvals"):
                self.approvals += 1
            case _:
                pass

    def _see_has(self, path: tuple[str, ...]) -> None:
        match path:
            case ("context", "local", zone):
                self.zones.add(zone)
            case ("context", "arguments", name):
                self.arguments.setdefault(name, set())
            case _:
                pass

    def _see_comparison(self, operator: str, left: Any, right: Any) -> None:  # noqa: ANN401
        for one, other in ((left, right), (right, left)):
            path, texts = _path(one), _texts(other)
            if path == ("context", "approvals") and texts and one is left and operator != "==":
                self.asked += 1
                self.roles.update(texts)
            elif path[:2] == ("context", "local") and path[3:] in (("workdays",), ("before",)) and texts:
                self.calendars.update((path[2], text) for text in texts)
            elif len(path) == 2 and texts:  # noqa: PLR2004 - a variable and its attribute
                self.comparisons.update((path[0], path[1], text) for text in texts)
