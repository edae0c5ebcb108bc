"""Patterns that bound nothing where a bound is meant: any model, any text, any host, any object in other words.

What is left out bounds nothing by itself, and says so: a grant without `objects` is one for any object. A pattern that
matches everything reads like a bound and is none. Both are warnings; a rule on charters may ask for bounds (`bounded`,
registry/rule.py), and then they are problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from charter.registry.charter import Charter
from charter.registry.grant import Grant
from charter.registry.system import System, SystemKind


class Unbounded(NamedTuple):
    """Where a pattern bounds nothing: the dotted path, what is wrong, and how to mend it."""

    at: str
    text: str
    help: str


def matches_everything(pattern: str) -> bool:
    """Whether every text is like `pattern`."""
    return set(pattern) == {"*"}


def unbounded(charter: Charter, systems: Mapping[str, System]) -> Iterator[Unbounded]:
    """Yield what bounds nothing in a charter, in the order of its file."""
    if is_any_model(charter):
        yield _any_model("model.name", charter.model.provider)
    for index, grant in enumerate(charter.grants):
        yield from unbounded_grant(grant, systems.get(grant.system), f"grants.{index}")
    for index, grant in enumerate((charter.delegation.ceiling if charter.delegation else None) or ()):
        yield from unbounded_grant(grant, systems.get(grant.system), f"delegation.ceiling.{index}")


def unbounded_template(template: Mapping[str, Any], systems: Mapping[str, System]) -> Iterator[Unbounded]:
    """Yield what bounds nothing in the template of a pattern, as far as its parameters leave that open."""
    model, grants = template.get("model"), template.get("grants")
    name = model.get("name") if isinstance(model, dict) else None
    pinned = template.get("composition")
    if isinstance(name, str) and matches_everything(name) and not (isinstance(pinned, dict) and pinned.get("model")):
        yield _any_model("template.model.name", str(model.get("provider") if isinstance(model, dict) else ""))
    for index, written in enumerate(grants if isinstance(grants, list) else ()):
        try:
            grant = Grant.model_validate(written)
        except ValidationError:
            continue  # a parameter stands where no text can be: what it becomes is told when it is made
        yield from unbounded_grant(grant, systems.get(grant.system), f"template.grants.{index}")


def is_any_model(charter: Charter) -> bool:
    """Whether a charter names no model: neither by its name nor by what is pinned."""
    pinned = charter.composition is not None and charter.composition.model is not None
    return matches_everything(charter.model.name) and not pinned


def is_any_object(grant: Grant) -> bool:
    """Whether a grant is for every object of its system."""
    return any(map(matches_everything, grant.objects))


def unbounded_grant(grant: Grant, system: System | None, at: str) -> Iterator[Unbounded]:
    """Yield what bounds nothing in a grant that stands at `at`."""
    yield from _objects(grant, f"{at}.objects")
    if system is not None and system.kind is SystemKind.EGRESS:
        yield from _hosts(grant, at)
    conditions = [("when", grant.when.arguments if grant.when else {})]
    conditions.append(("approval.when", grant.approval.when if grant.approval else {}))
    for where, arguments in conditions:
        for name, condition in arguments.items():
            for word in ("like", "each_like"):
                pattern = getattr(condition, word)
                if pattern is not None and matches_everything(pattern):
                    text = f"every text is like `{pattern[:20]}`, so `{name}` may be any"
                    yield Unbounded(f"{at}.{where}.{name}.{word}", text, f"write what is meant, or remove `{word}`")
    yield from _open_below(grant, at)


def _open_below(grant: Grant, at: str) -> Iterator[Unbounded]:
    """Yield bounds that everything below zero is within: to many a tool, -1 rows are all of them.

    A limit that adds the amount up asks for one that is not below zero by itself.
    """
    summed = {limit.sum for limit in grant.limit}
    for name, condition in (grant.when.arguments if grant.when else {}).items():
        most = condition.max or condition.under
        settled = (condition.min, condition.over, condition.equals, condition.one_of)
        if most is None or name in summed or any(each is not None for each in settled):
            continue
        word = "max" if condition.max else "under"
        zero = f"0 {most.unit}" if most.unit else "0"
        text = f"`{word}` bounds one side: any `{name}` below zero is within it"
        yield Unbounded(f"{at}.when.{name}.{word}", text, f"add `min: {zero}`, or as little as is meant")


def _objects(grant: Grant, at: str) -> Iterator[Unbounded]:
    for index, pattern in enumerate(grant.objects):
        if not matches_everything(pattern):
            continue
        if len(grant.objects) > 1 or grant.under or grant.groups:
            text = f"`{pattern[:20]}` matches every object, so what stands beside it bounds nothing"
            yield Unbounded(f"{at}.{index}", text, "remove it, or what is beside it")
            return
        if pattern != "*":
            text = f"`{pattern[:20]}` matches every object, as `*` does"
            yield Unbounded(f"{at}.{index}", text, "write what is meant, as in charge/*, or leave `objects` out")
            return


def _hosts(grant: Grant, at: str) -> Iterator[Unbounded]:
    if is_any_object(grant) and grant.objects == ("*",):
        text = f"the grant reaches every host there is through `{grant.system}`"
        yield Unbounded(f"{at}.objects", text, 'name hosts: `objects: ["api.example.com:443"]`')
        return
    for index, pattern in enumerate(grant.objects):
        host = pattern.rpartition(":")[0] or pattern
        name = host.removeprefix("*.")
        if not matches_everything(pattern) and (
            matches_everything(host) or (name != host and not set(name) & set(".*:"))
        ):
            yield Unbounded(f"{at}.objects.{index}", f"`{pattern[:80]}` matches hosts of everybody", "name a domain")


def groups_of_everything(system: System) -> Iterator[Unbounded]:
    """Yield the groups of a system's objects that every object is in."""
    for name, group in (system.groups or {}).items():
        for index, pattern in enumerate(group.objects):
            if matches_everything(pattern):
                text = f"every object is in the group `{name}`"
                yield Unbounded(f"groups.{name}.objects.{index}", text, "write what is meant, as in page/hr/*")


def odd_patterns(patterns: Iterable[str], at: str) -> Iterator[Unbounded]:
    """Yield patterns that match everything in another way than `*`."""
    for index, pattern in enumerate(patterns):
        if matches_everything(pattern) and pattern != "*":
            text = f"`{pattern[:20]}` matches every object, as `*` does"
            yield Unbounded(f"{at}.{index}", text, "write what is meant, or `*`")


def _any_model(at: str, provider: str) -> Unbounded:
    text = f"`*` is any model of `{provider[:63]}`, those that come later too"
    return Unbounded(at, text, "name those that were assessed, as in claude-*, or pin them under `composition`")
