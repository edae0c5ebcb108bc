"""Grants that many principals hold alike: compiled once for nobody, and seen as each holder's own.

Compiled for nobody, a grant is called `/grant-1`, and its parts stand at places that are named and not yet found:
`grants.0.when.amount.max`. As a holder's it is called `refund-agent/grant-1`, and its parts stand in the holder's file.

INVARIANT: a held grant is, in every attribute, what compiling the holder's own charter would give. Apart from that are
its text, and the places of the rules under which its approval is needed, which nobody is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import structs
from typing_extensions import override

from charter.core.values import Source
from charter.policy.condition import Condition
from charter.policy.grant import ApprovalNeed, GrantRule, LimitRule, Sources, place
from charter.policy.verdict import LimitDue
from charter.policy.vocabulary import Question

NOBODY = ""  # no principal is called so
T = TypeVar("T")
_HEADING = ".arguments."  # arguments stand under it in a file only if one is called like a field beside them


class Place(Source):
    """A part of a charter by its dotted path, wherever that will be found."""

    __slots__ = ()


class _Everywhere(Mapping[str, Source]):
    """The sources of nobody's charter: every part has a place, which is its name."""

    @override
    def __contains__(self, dotted: object) -> bool:
        return _HEADING not in str(dotted)

    @override
    def __getitem__(self, dotted: str) -> Source:
        return Place(dotted, 0)

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(())

    @override
    def __len__(self) -> int:
        return 0


EVERYWHERE: Sources = _Everywhere()


def found(source: Source | None, sources: Sources) -> Source | None:
    """Return where a place is in a holder's file; a source that is no place is itself."""
    if type(source) is not Place:
        return source
    exact = sources.get(source.path) or sources.get(source.path.replace(".when.", f".when{_HEADING}", 1))
    return exact or place(sources, source.path)


def located(value: T, sources: Sources) -> T:
    """Return `value`, a condition or the like, with every place in it found."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Source):
        at: Any = found(value, sources)
        return at  # type: ignore[no-any-return]
    if isinstance(value, tuple):
        some = [located(each, sources) for each in value]
        is_same = all(new is old for new, old in zip(some, value, strict=True))
        return value if is_same else kind(some)
    changed: dict[str, Any] = {}
    for name in _parts_of(kind):
        old = getattr(value, name)
        new = located(old, sources)
        if new is not old:
            changed[name] = new
    return replace(value, **changed) if changed else value  # type: ignore[type-var]


_PLAIN = frozenset({str, int, bool, float, type(None), frozenset})


@lru_cache(maxsize=256)
def _parts_of(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass that are given to it, none for another type."""
    return tuple(each.name for each in fields(kind) if each.init) if is_dataclass(kind) else ()


class Held(GrantRule):
    """One grant as its holder's own. Made whenever it is asked for, and light: it finds what is asked of it."""

    __slots__ = ("_holder", "_id", "_rule", "_sources")
    _rule: GrantRule
    _id: str
    _holder: str
    _sources: Sources

    def __init__(self, rule: GrantRule, holder: str, sources: Sources) -> None:
        object.__setattr__(self, "_rule", rule)
        object.__setattr__(self, "_id", holder + rule.id)
        object.__setattr__(self, "_holder", holder)
        object.__setattr__(self, "_sources", sources)

    @property
    @override
    def id(self) -> str:
        return self._id

    @property
    @override
    def system(self) -> str:
        return self._rule.system

    @property
    @override
    def actions(self) -> tuple[str, ...]:
        return self._rule.actions

    @property
    @override
    def conditions(self) -> tuple[Condition, ...]:
        return located(self._rule.conditions, self._sources)

    @property
    @override
    def approval(self) -> ApprovalNeed | None:
        need = self._rule.approval
        return None if need is None else replace(need, source=found(need.source, self._sources))

    @property
    @override
    def limits(self) -> tuple[LimitRule, ...]:
        own = located(self._rule.limits, self._sources)
        return tuple(replace(each, key=self._holder + each.key) for each in own)

    @property
    @override
    def text(self) -> str:
        raise RuntimeError("a held grant has no text: bind its holder's charter by itself for that")

    @property
    @override
    def place(self) -> str:
        return self._rule.place

    @property
    @override
    def source(self) -> Source | None:
        return found(self._rule.source, self._sources)

    @override
    def failures(self, question: Question) -> tuple[Condition, ...]:
        return located(self._rule.failures(question), self._sources)

    @override
    def dues(self, question: Question) -> tuple[LimitDue, ...]:
        dues = self._rule.dues(question)
        return dues and tuple(
            structs.replace(due, key=self._holder + due.key, source=found(due.source, self._sources)) for due in dues
        )

    @override
    def __repr__(self) -> str:
        return f"Held({self._id!r})"
