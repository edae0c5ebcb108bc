"""Central rules held against each other: what no charter could meet, what another rule settles, what nobody approves.

Principals that the same rules are for are looked at together: what matters of a kind, an environment, a team or a tier
is which rules name it, so there are few such classes however many teams there are.

Two rules that no charter meets are a problem where both are firm; where one of them is a default, a charter can name it
in `exceptions`, and it is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter.core.values import Source
from charter.registry.charter import Environment, Kind, write_duration
from charter.registry.problem import Problem
from charter.registry.risk import Tier
from charter.registry.rule import CharterRule, Force
from charter.registry.sourced import Sourced
from charter.registry.team import Teams

_MUST_BE_ONE = {  # fields of `only` of which every charter has exactly one
    "approved_by": "role that approves",
    "credentials": "type of credential",
    "providers": "provider of models",
}
_BOUNDS = ("review", "expires", "ttl", "depth")
_MAX_CLASSES = 20_000


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What is wrong with central rules among each other."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Found:
    problems: dict[Any, Problem] = field(default_factory=dict)
    warnings: dict[Any, Problem] = field(default_factory=dict)


Placed = tuple[CharterRule, Source]


def conflicts(rules: Sequence[Placed], teams: Sourced[Teams]) -> Conflicts:
    """Return where rules contradict each other, each with both places."""
    found = _Found()
    for together in _classes([rule for rule, _ in rules], teams.value):
        here = [rules[index] for index in together]
        for name, what in _MUST_BE_ONE.items():
            _hold_only(name, what, here, found)
        _hold_bounds(here, found)
        _hold_approvers(here, teams, found)
    return Conflicts(tuple(found.problems.values()), tuple(found.warnings.values()))


def _classes(rules: Sequence[CharterRule], teams: Teams) -> Iterator[tuple[int, ...]]:
    """Yield the sets of rules (by index) that are together for some principal."""
    values: tuple[tuple[str, Iterable[str]], ...] = (
        ("kinds", Kind),
        ("environments", Environment),
        ("teams", teams.teams or ("",)),
        ("tiers", Tier),
    )
    masks = {(1 << len(rules)) - 1}
    for name, each_of in values:
        own = {_mask(name, value, rules) for value in each_of}
        masks = {before & here for before in masks for here in own}
        if len(masks) > _MAX_CLASSES:
            return  # so many rules for so many teams are for nobody to read either
    for mask in sorted(masks):
        yield tuple(index for index in range(len(rules)) if mask >> index & 1)


def _mask(name: str, value: str, rules: Sequence[CharterRule]) -> int:
    mask = 0
    for index, rule in enumerate(rules):
        wanted = getattr(rule.scope, name)
        if wanted is None or value in wanted:
            mask |= 1 << index
    return mask


def _hold_only(name: str, what: str, here: Sequence[Placed], found: _Found) -> None:
    """Note the rules of which no word is left that all of them allow."""
    asking = [(rule, at, getattr(rule.only, name)) for rule, at in here if rule.only and getattr(rule.only, name)]
    left: frozenset[str] | None = None
    for index, (rule, at, words) in enumerate(asking):
        left = frozenset(words) if left is None else left & set(words)
        if left:
            continue
        apart = [each for each in asking[:index] if set(each[2]).isdisjoint(words)] or asking[:index]
        firm = all(each[0].force is not Force.DEFAULT for each in (*apart[:1], asking[index]))
        others = " and ".join(f"`{each[0].id}` at {each[1]}" for each in apart[:3])
        text = f"`{rule.id}` and {others} leave no {what}, so no charter that both are for can meet them"
        help = "let them have a word in common, or tell apart under `for` whom they are for"
        _note(found, (name, rule.id, apart[0][0].id), Problem.at(at, text, help), is_firm=firm)
        return


def _hold_bounds(here: Sequence[Placed], found: _Found) -> None:
    """Note defaults that allow more than a firm rule that is for the same principals, and so settle nothing."""
    for name in _BOUNDS:
        asking = [(rule, at, getattr(rule.at_most, name)) for rule, at in here if rule.at_most]
        for rule, at, most in asking:
            if rule.force is not Force.DEFAULT or most is None:
                continue
            firmer = [each for each in asking if each[0].force is not Force.DEFAULT and each[2] is not None]
            tighter = next((each for each in firmer if each[2] < most), None)
            if tighter is not None:
                other, place, bound = tighter
                text = (
                    f"`{rule.id}` lets `{name}` be {_told(most)} unless a charter says otherwise, and `{other.id}` "
                    f"({other.force.value}, at {place}) allows {_told(bound)} at most"
                )
                help = f"write {_told(bound)} or less, or tell apart under `for` whom they are for"
                _note(found, (name, rule.id, other.id), Problem.at(at, text, help), is_firm=False)


def _hold_approvers(here: Sequence[Placed], teams: Sourced[Teams], found: _Found) -> None:
    """Note rules on who approves by which nobody does: no one holds a role that they all allow."""
    asking = [(rule, at) for rule, at in here if rule.only and rule.only.approved_by]
    for rule, at in asking:
        roles = rule.only.approved_by if rule.only and rule.only.approved_by else ()
        if not any(teams.value.roles.get(role) for role in roles):
            places = ", ".join(f"`{role}` at {teams.source_of(f'roles.{role}')}" for role in roles[:3])
            text = f"nobody holds a role by which `{rule.id}` lets charters be approved: {places}"
            problem = Problem.at(at, text, "name a person there, or another role here")
            _note(found, ("nobody", rule.id, ""), problem, is_firm=rule.force is not Force.DEFAULT)


def _note(found: _Found, key: tuple[str, str, str], problem: Problem, *, is_firm: bool) -> None:
    (found.problems if is_firm else found.warnings).setdefault(key, problem)


def _told(bound: Any) -> str:  # noqa: ANN401 - a duration or a number
    return str(bound) if isinstance(bound, int) else write_duration(bound)
