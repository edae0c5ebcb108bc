"""Texts decided here, by automata, so that a solver need not: its logic of texts is slow beside that of truth.

A text that is only asked single questions (is it like `charge/*`, is it `EUR`, is it a segment of a path) is told
apart from others by the answers alone. Which sets of answers some text gives is found by walking through all
questions at once, letter by letter; the first text that gives them, which is a shortest, stands for all that do.

    path like "charge/*"   path like "*/frozen"       a text
    yes                    yes                        charge/frozen
    yes                    no                         charge/1, and so on

INVARIANT: the sets of answers found are exactly those that some text gives. Where that takes too many steps, or a
text is asked something together with another one, it is left to the solver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from charter.proof.term import (
    FORMS,
    Sort,
    Term,
    TextForm,
    Values,
    equal,
    evaluate,
    every,
    is_value,
    parts_of,
    rewritten,
    some,
    truth,
    value,
)

MAX_QUESTIONS = 24  # about one text
MAX_STATES = 6_000
MAX_ANSWERS = 96
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_DIGITS = frozenset("0123456789")
_ALWAYS = "1a-./\\"
_OTHER = "ZQ~§Ж߷"  # of which the first that no question names stands for every other character


class _Automaton(Protocol):
    """A question about a text, asked letter by letter."""

    def start(self) -> Hashable:
        """Return the state before the first letter."""
        ...

    def step(self, state: Any, char: str) -> Hashable:  # noqa: ANN401 - its own states
        """Return the state after a letter."""
        ...

    def accepts(self, state: Any) -> bool:  # noqa: ANN401
        """Whether the answer is yes for a text that ends here."""
        ...


@dataclass(frozen=True, slots=True)
class _Like:
    """Whether a text is some parts in their order, with anything between them."""

    tokens: tuple[str | None, ...]  # None: anything

    @classmethod
    def of(cls, parts: Sequence[str]) -> _Like:
        tokens: list[str | None] = list(parts[0])
        for part in parts[1:]:
            tokens += [None, *part]
        return cls(tuple(tokens))

    def start(self) -> Hashable:
        return self._closed({0})

    def step(self, state: frozenset[int], char: str) -> Hashable:
        after = {at for at in state if at < len(self.tokens) and self.tokens[at] is None}
        after |= {at + 1 for at in state if at < len(self.tokens) and self.tokens[at] == char}
        return self._closed(after)

    def accepts(self, state: frozenset[int]) -> bool:
        return len(self.tokens) in state

    def _closed(self, places: set[int]) -> frozenset[int]:
        found = set(places)
        for at in places:
            while at < len(self.tokens) and self.tokens[at] is None:
                at += 1  # noqa: PLW2901 - it walks over what may be nothing
                found.add(at)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Formed:
    """Whether a text is of a form; the state is the place in it, None where it cannot be any more."""

    form: TextForm

    def start(self) -> Hashable:
        return 0

    def step(self, state: int | None, char: str) -> Hashable:
        return None if state is None else _STEPS[self.form](state, char)

    def accepts(self, state: int | None) -> bool:
        return state is not None and _ACCEPTS[self.form](state)


def _digits(state: int, char: str) -> int | None:
    r"""Walk through `-?[0-9]{1,12}(\.[0-9]{1,4})?`: 0, 1 after the sign, 2-13 digits, 20 the point, 21-24 after it."""
    if char == "-":
        return 1 if state == 0 else None
    if char == ".":
        return 20 if 2 <= state <= 13 else None  # noqa: PLR2004 - places
    if char not in _DIGITS:
        return None
    if state <= 1:
        return 2
    return state + 1 if state <= 12 or 20 <= state <= 23 else None  # noqa: PLR2004


def _path(state: int, char: str) -> int | None:
    if char in _PLAIN:
        return 1
    return 2 if char == "/" and state == 1 else None


_STEPS: Mapping[TextForm, Callable[[int, str], int | None]] = {
    TextForm.SEGMENT: lambda _, char: None if char in "/\\" else 1,
    TextForm.TAIL: lambda _state, _char: 1,
    TextForm.PLAIN: lambda _, char: 1 if char in _PLAIN else None,
    TextForm.PATH: _path,
    TextForm.DIGITS: _digits,
}
_ACCEPTS: Mapping[TextForm, Callable[[int], bool]] = {
    form: (lambda state: 2 <= state <= 13 or state >= 21) if form is TextForm.DIGITS else (lambda state: state == 1)  # noqa: PLR2004
    for form in FORMS
}


Question = tuple[str, Any]  # "like" and parts, "equal" and the text, "matches" and the form


def _automaton(question: Question) -> _Automaton:
    kind, told = question
    if kind == "matches":
        return _Formed(told)
    return _Like.of(told if kind == "like" else (told,))


@lru_cache(maxsize=4096)
def answers_of(questions: tuple[Question, ...]) -> Mapping[tuple[bool, ...], str] | None:
    """Return each set of answers that some text gives, with a shortest such text; None if that takes too long."""
    machines = [_automaton(each) for each in questions]
    alphabet = _alphabet(questions)
    start = tuple(each.start() for each in machines)
    seen = {start}
    found: dict[tuple[bool, ...], str] = {_answered(machines, start): ""}
    waiting: deque[tuple[tuple[Hashable, ...], str]] = deque([(start, "")])
    while waiting:
        state, text = waiting.popleft()
        for char in alphabet:
            after = tuple(each.step(own, char) for each, own in zip(machines, state, strict=True))
            if after not in seen:
                seen.add(after)
                waiting.append((after, text + char))
                found.setdefault(_answered(machines, after), text + char)
        if len(seen) > MAX_STATES or len(found) > MAX_ANSWERS:
            return None
    return found


def _answered(machines: Sequence[_Automaton], state: Sequence[Hashable]) -> tuple[bool, ...]:
    return tuple(each.accepts(own) for each, own in zip(machines, state, strict=True))


def _alphabet(questions: Sequence[Question]) -> str:
    """Return the letters that questions tell apart, and one for each kind of those they do not; plain ones first."""
    named = {char for kind, told in questions if kind != "matches" for char in "".join(told)}
    unnamed = [next((char for char in kind if char not in named), "") for kind in ("0123456789", "bcdxyz", _OTHER)]
    return "".join(dict.fromkeys((*_ALWAYS, *unnamed[:2], *sorted(named), *unnamed[2:])))


@dataclass(frozen=True, slots=True)
class Decided:
    """Terms without the texts that were decided here, and how these are found again."""

    roots: tuple[Term, ...]
    texts: Mapping[str, tuple[tuple[Term, ...], Mapping[tuple[bool, ...], str]]]  # the truths that stand for answers

    def with_texts(self, values: Values) -> dict[str, Any]:
        """Return the values with those of the texts."""
        found = {name: each for name, each in values.items() if not name.startswith(_STANDS)}
        for name, (asked, answers) in self.texts.items():
            found[name] = answers.get(tuple(bool(evaluate(each, values)) for each in asked), "")
        return found


_STANDS = "⊢"


def decided(roots: Sequence[Term]) -> Decided:
    """Return terms in which every text that is only asked single questions is decided; the first is the claim."""
    asked = _single_questions(roots)
    change: dict[Term, Term] = {}
    texts: dict[str, tuple[tuple[Term, ...], Mapping[tuple[bool, ...], str]]] = {}
    possible: list[Term] = []
    for name, atoms in asked.items():
        answers = answers_of(tuple(atoms)) if len(atoms) <= MAX_QUESTIONS else None
        if answers is None:
            continue
        stand = tuple(truth(f"{_STANDS}{name}:{number}") for number in range(len(atoms)))
        change |= dict(zip(atoms.values(), stand, strict=True))
        texts[name] = (stand, answers)
        possible.append(
            some(every(equal(each, value(yes)) for each, yes in zip(stand, told, strict=True)) for told in answers)
        )
    claim, *others = (rewritten(root, change) for root in roots)
    return Decided((every((claim, *possible)), *others), texts)


def _single_questions(roots: Sequence[Term]) -> dict[str, dict[Question, Term]]:
    """Return by the name of each text that is asked single questions alone these questions, with the terms they are."""
    found: dict[str, dict[Question, Term]] = {}
    others: set[str] = set()
    for term in parts_of(roots):
        unknown = [each for each in term.args if each.sort is Sort.TEXT and each.op == "variable"]
        question = _question(term)
        for each in unknown:
            if question is None:
                others.add(each.data)
            else:
                found.setdefault(each.data, {})[question] = term
    return {name: atoms for name, atoms in found.items() if name not in others}


def _question(term: Term) -> Question | None:
    if term.op in ("like", "matches") and term.args[0].op == "variable":
        return term.op, term.data
    if term.op == "equal" and term.args[0].op == "variable" and is_value(term.args[1]):
        return "equal", term.args[1].data
    return None
