"""What a delegation lends: systems, actions and objects, as a value that can only be narrowed.

A scope says no more than "at most this". What a link may really do is also bounded by its own charter, so a scope of
`EVERYTHING` lends whatever the lender may do, and never more.

INVARIANT: `scope.lacking(other)` is None only if every call that `other` allows is allowed by `scope` too. It may name
something that is in fact covered (three patterns that together cover a fourth); it never misses anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from charter.core.canonical import canonical
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.core.values import parse_action, parse_name

ANY = "*"
MAX_PARTS = 32
MAX_WORDS = 100  # actions, or objects, of one part
MAX_PATTERN = 512
MAX_BYTES = 4096  # of the canonical JSON: a million delegations may each have a scope of its own
_MEMBERS = frozenset({"system", "actions", "objects"})
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")


@dataclass(frozen=True, slots=True)
class ScopePart:
    """Some actions on some objects of one system; `*` alone stands for every action."""

    system: str
    actions: tuple[str, ...] = (ANY,)
    objects: tuple[str, ...] = (ANY,)  # patterns in which `*` stands for any run of characters

    def allows(self, action: str, path: str) -> bool:
        """Whether `action` on the object at `path` is within the part."""
        return self.allows_action(action) and any(is_within(path, pattern) for pattern in self.objects)

    def allows_action(self, action: str) -> bool:
        """Whether `action` is within the part, on some object."""
        return ANY in self.actions or action in self.actions

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain JSON."""
        return {"system": self.system, "actions": list(self.actions), "objects": list(self.objects)}


@dataclass(frozen=True, slots=True)
class Scope:
    """What is lent at most; without parts named (None), whatever the lender may do."""

    parts: tuple[ScopePart, ...] | None = None

    def allows(self, system: str, action: str, path: str) -> bool:
        """Whether the scope covers one call."""
        return self.parts is None or any(p.system == system and p.allows(action, path) for p in self.parts)

    def allows_action(self, system: str, action: str) -> bool:
        """Whether the scope covers an action on some object."""
        return self.parts is None or any(p.system == system and p.allows_action(action) for p in self.parts)

    def reaches(self, system: str) -> bool:
        """Whether the scope covers anything on a system."""
        return self.parts is None or any(p.system == system for p in self.parts)

    def on(self, system: str) -> Scope:
        """Return what of the scope is on one system."""
        if self.parts is None:
            return Scope((ScopePart(system),))
        return Scope(tuple(part for part in self.parts if part.system == system))

    def lacking(self, other: Scope) -> str | None:
        """Return in words the first thing that `other` covers and this scope does not, None if there is none."""
        if self.parts is None:
            return None
        if other.parts is None:
            return "everything"
        for part in other.parts:
            missing = self._lacking(part, self.parts)
            if missing:
                return missing
        return None

    def _lacking(self, part: ScopePart, parts: Iterable[ScopePart]) -> str | None:
        own = [each for each in parts if each.system == part.system]
        if not own:
            return f"anything on `{part.system}`"
        for action in part.actions:
            fitting = [each for each in own if each.allows_action(action)]
            if not fitting:
                every = "every action" if action == ANY else f"`{action}`"
                return f"{every} on `{part.system}`"
            for pattern in part.objects:
                if not any(is_within(pattern, wide) for each in fitting for wide in each.objects):
                    return f"`{pattern}` on `{part.system}`"
        return None

    def to_json(self) -> list[dict[str, Any]] | None:
        """Return the scope as plain JSON; None for everything."""
        return None if self.parts is None else [part.to_json() for part in self.parts]


EVERYTHING = Scope()


@lru_cache(maxsize=4096)
def is_within(narrow: str, wide: str) -> bool:
    """Whether every path that the pattern `narrow` matches is matched by the pattern `wide`; a path is a pattern too.

    A `*` of `narrow` is taken for a character of its own, which only a `*` of `wide` can match.
    """
    at = mark = 0
    star: int | None = None
    position = 0
    while position < len(narrow):
        if at < len(wide) and wide[at] == ANY:
            star, mark = at, position
            at += 1
        elif at < len(wide) and wide[at] == narrow[position] != ANY:
            at, position = at + 1, position + 1
        elif star is not None:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return all(rest == ANY for rest in wide[at:])


def parse_scope(value: object) -> Scope:
    """Return the scope that plain JSON spells: a list of parts, or None for everything.

    Raises:
        MalformedError: it spells none; the message says which part is wrong.
    """
    if value is None:
        return EVERYTHING
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not 0 < len(value) <= MAX_PARTS:
        _refuse(f"is no list of 1 to {MAX_PARTS} parts")
    scope = Scope(tuple(_part(each) for each in value))
    if len(canonical(scope.to_json())) > MAX_BYTES:
        _refuse(f"is longer than {MAX_BYTES} bytes")
    return scope


def _part(value: object) -> ScopePart:
    if not isinstance(value, Mapping) or not value.keys() <= _MEMBERS or not isinstance(value.get("system"), str):
        _refuse("has a part that is not written `{system, actions, objects}`")
    try:
        system = parse_name(value["system"], "system")
        actions = tuple(each if each == ANY else parse_action(each) for each in _words(value, "actions"))
    except CharterError as err:
        raise MalformedError(ErrorCode.BAD_VALUE, f"the scope names a thing that cannot be: {err.detail}") from err
    objects = _words(value, "objects")
    if any(len(each) > MAX_PATTERN or not _PRINTABLE.fullmatch(each) for each in objects):
        _refuse(f"has an object that is longer than {MAX_PATTERN}, or holds an invisible character")
    if ANY in actions and len(actions) > 1:
        _refuse("names actions beside `*`, which means every action")
    return ScopePart(system, tuple(dict.fromkeys(actions)), tuple(dict.fromkeys(objects)))


def _words(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    words = value.get(name, (ANY,))
    if not isinstance(words, list | tuple) or not 0 < len(words) <= MAX_WORDS:
        _refuse(f"has `{name}` that are no list of 1 to {MAX_WORDS}")
    if not all(isinstance(word, str) for word in words):
        _refuse(f"has `{name}` that are no texts")
    return tuple(words)


def _refuse(why: str) -> NoReturn:
    raise MalformedError(
        ErrorCode.BAD_VALUE, f"the scope {why}", help='write [{"system": "payments", "actions": ["charge.read"]}]'
    )
