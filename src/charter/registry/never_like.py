"""What a grant's objects rule out: patterns like no object of its actions, and actions none of whose objects is named.

An action's objects are what its template can become (`ticket/{queue}/{ticket_id}`): a placeholder is one segment, and
the last one may hold slashes; no object has an empty segment, `.` or `..`. A pattern is only told of where that rules
it out for certain. Where enforcement points name the objects themselves, nothing is known of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from charter.registry.field import EVERY_ACTION
from charter.registry.grant import Grant
from charter.registry.never_met import NeverMet
from charter.registry.system import System

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_MAX_PAIRS = 4000  # of patterns and actions of one grant: a warning must not cost seconds


def never_like(grant: Grant, system: System) -> Iterator[NeverMet]:
    """Yield what can never be true of an object of `system` under `grant`, in the order of its file."""
    templates = {name: system.actions[name].object for name in system.granted(grant)}
    named = dict(_named(grant, system))
    if system.enforcement is not None or len(templates) * sum(map(len, named.values())) > _MAX_PAIRS:
        return
    idle = {at: words for at, words in named.items() if not _any_like(words, templates.values())}
    for at, words in idle.items():
        text = f"no object of {_told(templates)} is like `{words[0]}`, so it lets nothing by"
        yield NeverMet(at, text, f"theirs are {_listed(templates.values())}")
    if len(idle) == len(named):
        return  # then no action has one either
    for index, name in enumerate(grant.actions):
        every = [each for words in named.values() for each in words]
        if name != EVERY_ACTION and name in templates and not _any_like(every, [templates[name]]):
            text = f"no object of `{name}` is among those that are named, so it is never allowed"
            yield NeverMet(f"actions.{index}", text, f"its objects are `{templates[name]}`; name them, or remove it")


def _named(grant: Grant, system: System) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the dotted place of each word for objects, with the patterns that it stands for."""
    yield from ((f"objects.{index}", (each,)) for index, each in enumerate(grant.objects))
    yield from ((f"under.{index}", (each, f"{each}/*")) for index, each in enumerate(grant.under or ()))
    for index, group in enumerate(grant.groups or ()):
        if group in (system.groups or {}):
            yield f"groups.{index}", system.patterns_of(group)


def _any_like(patterns: Iterable[str], templates: Iterable[str]) -> bool:
    known = tuple(templates)
    return any(could_be(template, pattern) for pattern in patterns for template in known)


@lru_cache(maxsize=16_384)
def could_be(template: str, pattern: str) -> bool:
    """Whether an object that `template` makes could be like `pattern`; yes where nobody knows."""
    if "*" in template:  # an action that says nothing of its objects
        return True
    start, star, _ = pattern.partition("*")
    if _is_impossible(pattern) and not _is_impossible(template):
        return False
    if not star:
        return _objects(template).fullmatch(pattern) is not None
    end = pattern.rpartition("*")[2]
    literals = _PLACEHOLDER.split(template)
    if len(literals) == 1:
        return template.startswith(start) and template.endswith(end) and len(template) >= len(start) + len(end)
    first, last = literals[0], literals[-1]
    return (first.startswith(start) or start.startswith(first)) and (last.endswith(end) or end.endswith(last))


def _is_impossible(pattern: str) -> bool:
    """Whether a segment that is written out in full is one that no object has."""
    _, _, path = pattern.rpartition("://")
    segments = path.split("/")
    return any(each in (".", "..") for each in segments) or "" in segments[1:-1]


@lru_cache(maxsize=1024)
def _objects(template: str) -> re.Pattern[str]:
    """Return what the objects of a template look like: a placeholder is a segment, the last one any that end there."""
    literals = _PLACEHOLDER.split(template)
    *inner, last = [re.escape(each) for each in literals]
    ends_open = len(literals) > 1 and not literals[-1]
    holes = [r"[^/\\]+"] * (len(literals) - 2) + [r".+" if ends_open else r"[^/\\]+"] * (len(literals) > 1)
    return re.compile("".join(f"{piece}{hole}" for piece, hole in zip(inner, holes, strict=True)) + last, re.DOTALL)


def _told(templates: dict[str, str]) -> str:
    names = list(templates)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""  # noqa: PLR2004 - two are named
    return " or ".join(f"`{name}`" for name in names[:2]) + more


def _listed(templates: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in tuple(dict.fromkeys(templates))[:3])
