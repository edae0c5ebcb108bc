"""What a charter says besides its grants, compared field by field: who lends, until when, by which credential.

No policy decides about these, so nothing is proven of them: each has an order of its own here, and a field that has
none is not comparable, whatever it may be.

INVARIANT: a field that is added to charters counts as "not comparable" until it is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from charter.registry.charter import Charter, DelegationTerms, write_duration


class Turn(StrEnum):
    """What a change does to authority."""

    NARROWS = "narrows"
    WIDENS = "widens"
    UNCLEAR = "not comparable"


@dataclass(frozen=True, slots=True)
class TermChange:
    """One field that changed."""

    field: str
    turn: Turn
    text: str  # what changes, in a sentence without its end

    def to_json(self) -> dict[str, str]:
        """Return the change as plain JSON."""
        return {"field": self.field, "turn": self.turn.value, "text": self.text}


# what policy decides about, or what is no authority: the text of the purpose, who approved
_ELSEWHERE = frozenset(
    {"charter", "principal", "kind", "environment", "purpose", "data", "data_flow", "approved", "grants", "policy"}
)


def term_changes(before: Charter, after: Charter, rules: frozenset[str] = frozenset()) -> tuple[TermChange, ...]:
    """Return how two versions of a charter differ in what no policy decides about.

    `rules`: the ids of rules on charters, of which a charter can be an exception. (Exceptions from rules on calls are
    policy's: what they let through is proven.)
    """
    found: list[TermChange] = []
    for name in type(after).model_fields:
        if name not in _ELSEWHERE and getattr(before, name) != getattr(after, name):
            compare = _COMPARED.get(name)
            found += compare(before, after, rules) if compare else [_unclear(name, f"`{name}` changes")]
    return tuple(found)


def _unclear(field: str, text: str) -> TermChange:
    return TermChange(field, Turn.UNCLEAR, text)


def _ordered(field: str, text: str, *, is_more: bool) -> TermChange:
    return TermChange(field, Turn.WIDENS if is_more else Turn.NARROWS, text)


Compare = Callable[[Charter, Charter, frozenset[str]], Iterator[TermChange]]


def _expires(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    is_more = after.expires > before.expires
    yield _ordered("expires", f"it lasts until {after.expires} instead of {before.expires}", is_more=is_more)


def _review(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    was, becomes = write_duration(before.review), write_duration(after.review)
    yield _ordered("review", f"it is reviewed every {becomes} instead of {was}", is_more=after.review > before.review)


def _owner(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    yield _unclear(
        "owner", f"`{after.owner.person}` of `{after.owner.team}` answers for it instead of `{_who(before)}`"
    )


def _who(charter: Charter) -> str:
    return charter.owner.person


def _model(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    was, becomes = (f"{each.model.provider} {each.model.name}" for each in (before, after))
    yield _unclear("model", f"`{becomes}` decides what it does instead of `{was}`")


def _credential(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    old, new = before.credential, after.credential
    others = {"tokens", "bearer"}
    if old.model_dump(exclude=others) != new.model_dump(exclude=others):
        yield _unclear("credential", "it proves itself in another way")
    if old.bearer != new.bearer:
        text = "its tokens may be used without a key" if new.bearer else "its tokens are bound to a key"
        yield _ordered("credential.bearer", text, is_more=new.bearer is not None)
    if old.tokens != new.tokens:
        is_more = new.tokens is None or (old.tokens is not None and new.tokens > old.tokens)
        yield _ordered("credential.tokens", "the lifetime of its tokens changes", is_more=is_more)


def _exceptions(before: Charter, after: Charter, rules: frozenset[str]) -> Iterator[TermChange]:
    old = {each.rule: each for each in before.exceptions or ()}
    new = {each.rule: each for each in after.exceptions or ()}
    for name in sorted((old.keys() | new.keys()) & rules):
        was, becomes = old.get(name), new.get(name)
        if becomes is None:
            yield _ordered("exceptions", f"it follows the rule `{name}` again", is_more=False)
        elif was is None:
            yield _ordered("exceptions", f"it sets the rule `{name}` aside", is_more=True)
        elif was.until != becomes.until:
            is_more = becomes.until is None or (was.until is not None and becomes.until > was.until)
            yield _ordered("exceptions", f"it sets the rule `{name}` aside for another time", is_more=is_more)


def _delegation(before: Charter, after: Charter, _rules: frozenset[str]) -> Iterator[TermChange]:
    old, new = before.delegation, after.delegation
    if old is None or new is None:
        text = "authority may be lent to it, or by it" if new else "no authority is lent to it or by it any more"
        yield _ordered("delegation", text, is_more=new is not None)
        return
    yield from _parties(old, new)
    if old.max_ttl != new.max_ttl:
        was, becomes = write_duration(old.max_ttl), write_duration(new.max_ttl)
        text = f"what is lent lasts {becomes} at most instead of {was}"
        yield _ordered("delegation.max_ttl", text, is_more=new.max_ttl > old.max_ttl)
    if old.max_depth != new.max_depth:
        text = f"chains are {new.max_depth} deep at most instead of {old.max_depth}"
        yield _ordered("delegation.max_depth", text, is_more=new.max_depth > old.max_depth)
    if old.ceiling != new.ceiling:
        if old.ceiling is None or new.ceiling is None:
            text = "what people may lend it at most is " + ("bounded" if new.ceiling is not None else "bounded no more")
            yield _ordered("delegation.ceiling", text, is_more=new.ceiling is None)
        else:
            yield _unclear("delegation.ceiling", "what people may lend it at most changes")


def _parties(old: DelegationTerms, new: DelegationTerms) -> Iterator[TermChange]:
    told = {"source": "lend it authority", "to": "borrow authority of it", "purposes": "be what it is lent for"}
    for field, text in told.items():
        was, becomes = set(getattr(old, field)), set(getattr(new, field))
        if field == "purposes" and was != becomes and not (was and becomes):  # none: any purpose
            yield _ordered("delegation.purposes", "the purposes of what is lent change", is_more=not becomes)
            continue
        for names, is_more in ((becomes - was, True), (was - becomes, False)):
            if names:
                shown = ", ".join(f"`{each}`" for each in sorted(names)[:8])
                word = "may" if is_more else "may no longer"
                yield _ordered(
                    f"delegation.{'from' if field == 'source' else field}", f"{shown} {word} {text}", is_more=is_more
                )


_COMPARED: dict[str, Compare] = {
    "expires": _expires,
    "review": _review,
    "owner": _owner,
    "model": _model,
    "credential": _credential,
    "exceptions": _exceptions,
    "delegation": _delegation,
}
