"""Terms: what a proof is about, in a small logic of truth, whole numbers and texts.

A term is written by the functions below and by nothing else. They fold what is known as they go, so a question that is
decided by constants alone never reaches a solver, and they keep one object for equal terms: `one is other` says whether
two terms are written alike.

    truth      value, variable, not, and, or; equal; below (numbers); like, matches (texts); has, within (sets)
    numbers    value, variable, sum, times a constant, whole part and rest of a division by a constant
    texts      value, variable, texts put together; their length is a number

A *set* is known by its name and holds texts; it is spoken of by `has` (a text that is written out is in it) and
`within` (it holds nothing but such texts).

INVARIANT: `evaluate` gives each term the value that the solver gives it (`tests/contracts/test_prover.py`).
INVARIANT: numbers have no end here. Whoever writes sums of Cedar's longs says himself when they overflow (`cedar.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from weakref import WeakValueDictionary

from typing_extensions import override

from charter.policy.cedar_value import is_like


class Sort(StrEnum):
    """What a term stands for."""

    TRUTH = "truth"
    NUMBER = "number"
    TEXT = "text"


class TextForm(StrEnum):
    """Forms of text that a term can ask for by name."""

    SEGMENT = "segment"  # of a path: not empty, no slash
    TAIL = "tail"  # the rest of a path: not empty
    DIGITS = "digits"  # an amount as text
    PATH = "path"  # plain ones with slashes between
    PLAIN = "plain"  # what people like to read: small letters, digits and hyphens


FORMS: Final[Mapping[TextForm, re.Pattern[str]]] = {
    TextForm.SEGMENT: re.compile(r"[^/\\]+", re.DOTALL),
    TextForm.TAIL: re.compile(r".+", re.DOTALL),
    TextForm.DIGITS: re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,4})?"),
    TextForm.PATH: re.compile(r"[a-z0-9-]+(?:/[a-z0-9-]+)*"),
    TextForm.PLAIN: re.compile(r"[a-z0-9-]+"),
}


class Term:
    """One term. Two that are written alike are one object."""

    __slots__ = ("__weakref__", "args", "data", "negation", "op", "sort")

    def __init__(self, op: str, args: tuple[Term, ...], data: Any, sort: Sort) -> None:  # noqa: ANN401 - as `op` has it
        self.op = op
        self.args = args
        self.data = data
        self.sort = sort
        self.negation: Term | None = None  # once somebody asked

    @override
    def __repr__(self) -> str:
        inner = [repr(each) for each in self.args]
        if self.data is not None:
            inner.append(repr(self.data))
        return f"{self.op}({', '.join(inner)})"


_KNOWN: WeakValueDictionary[tuple[Any, ...], Term] = WeakValueDictionary()


def _term(op: str, args: tuple[Term, ...] = (), data: Any = None, sort: Sort = Sort.TRUTH) -> Term:  # noqa: ANN401
    key = (op, args, type(data), data, sort)
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = Term(op, args, data, sort)
    return found


def value(data: bool | int | str) -> Term:
    """Return a constant."""
    sort = {bool: Sort.TRUTH, int: Sort.NUMBER, str: Sort.TEXT}[type(data)]
    return _term("value", (), data, sort)


TRUE: Final = value(data=True)
FALSE: Final = value(data=False)


def truth(name: str) -> Term:
    """Return a variable that is true or false."""
    return _term("variable", (), name, Sort.TRUTH)


def number(name: str) -> Term:
    """Return a variable that is a whole number."""
    return _term("variable", (), name, Sort.NUMBER)


def text(name: str) -> Term:
    """Return a variable that is a text."""
    return _term("variable", (), name, Sort.TEXT)


def is_value(term: Term) -> bool:
    """Whether `term` is a constant."""
    return term.op == "value"


# --- truth ------------------------------------------------------------------------------------------------------------


def negated(term: Term) -> Term:
    """Return that `term` does not hold; `not` stands before nothing but single questions."""
    if term.negation is None:
        found = _negated(term)
        term.negation, found.negation = found, term
    return term.negation


def _negated(term: Term) -> Term:
    match term.op:
        case "value":
            return value(not term.data)
        case "not":
            return term.args[0]
        case "and":
            return some(map(negated, term.args))
        case "or":
            return every(map(negated, term.args))
        case _:
            return _term("not", (term,))


def every(terms: Iterable[Term]) -> Term:
    """Return that all of `terms` hold."""
    return _joined("and", terms, TRUE, FALSE)


def some(terms: Iterable[Term]) -> Term:
    """Return that one of `terms` holds, at least."""
    return _joined("or", terms, FALSE, TRUE)


def _joined(op: str, terms: Iterable[Term], neutral: Term, deciding: Term) -> Term:
    found: dict[Term, None] = {}
    waiting = [each for term in terms for each in (term.args if term.op == op else (term,))]
    for each in waiting:
        if each is deciding or negated(each) in found:
            return deciding
        if each is not neutral:
            found[each] = None
    other = "or" if op == "and" else "and"
    if any(each.op == other for each in found):
        kept = [_apart_from(each, found, other) for each in found]
        if any(new is not old for new, old in zip(kept, found, strict=True)):
            return _joined(op, [each for each in kept if each is not None], neutral, deciding)
    if len(found) <= 1:
        return next(iter(found), neutral)
    return _term(op, tuple(found))


def _apart_from(term: Term, known: Mapping[Term, None], op: str) -> Term | None:
    """Return what a part still says beside the `known` ones: `a or b` beside `not a` is `b`, and nothing beside `a`."""
    if term.op != op:
        return term
    if any(each in known for each in term.args):
        return None
    rest = [each for each in term.args if negated(each) not in known]
    if len(rest) == len(term.args):
        return term
    return every(rest) if op == "and" else some(rest)


def implied(condition: Term, then: Term) -> Term:
    """Return that `then` holds wherever `condition` does."""
    return some((negated(condition), then))


def either(condition: Term, then: Term, other: Term) -> Term:
    """Return `then` where `condition` holds, else `other`; of one sort."""
    if is_value(condition):
        return then if condition.data else other
    if then is other:
        return then
    if then.sort is Sort.TRUTH:
        return every((some((negated(condition), then)), some((condition, other))))
    return _term("if", (condition, then, other), None, then.sort)


def equal(one: Term, other: Term) -> Term:
    """Return that two terms of one sort are equal."""
    if one is other:
        return TRUE
    if is_value(one) and is_value(other):
        return FALSE
    if one.sort is Sort.TRUTH:
        return either(one, other, negated(other))
    if is_value(one):
        one, other = other, one
    if is_value(other) and one.op == "if":
        return either(one.args[0], equal(one.args[1], other), equal(one.args[2], other))
    if is_value(other) and one.op == "together":
        return _equal_to_joined(one, str(other.data))
    return _term("equal", (one, other))


def _equal_to_joined(term: Term, wanted: str) -> Term:
    """Return that texts put together are `wanted`, with the written-out ones at its ends taken off."""
    args = list(term.args)
    while args and is_value(args[0]):
        known = args.pop(0).data
        if not wanted.startswith(known):
            return FALSE
        wanted = wanted[len(known) :]
    while args and is_value(args[-1]):
        known = args.pop().data
        if not wanted.endswith(known):
            return FALSE
        wanted = wanted[: len(wanted) - len(known)]
    if len(args) > 1 and _is_segment(args[0]) and _begins_with_slash(args[1]):
        head, is_split, tail = wanted.partition("/")
        rest = equal(together(args[1:]), value(f"/{tail}")) if is_split else FALSE
        return every((equal(args[0], value(head)), rest))
    rest = together(args)
    return equal(rest, value(wanted)) if rest.op != "together" else _term("equal", (rest, value(wanted)))


# --- numbers ----------------------------------------------------------------------------------------------------------


def below(one: Term, other: Term, *, or_equal: bool = False) -> Term:
    """Return that a number is less than another."""
    if is_value(one) and is_value(other):
        return value(one.data <= other.data if or_equal else one.data < other.data)
    if one is other:
        return value(or_equal)
    return _term("at most" if or_equal else "less", (one, other))


def plus(*terms: Term) -> Term:
    """Return the sum of numbers."""
    known = sum(each.data for each in terms if is_value(each))
    rest = tuple(each for each in terms if not is_value(each))
    if not rest:
        return value(known)
    args = (*rest, value(known)) if known else rest
    return args[0] if len(args) == 1 else _term("plus", args, None, Sort.NUMBER)


def times(term: Term, factor: int) -> Term:
    """Return a number times a constant."""
    if is_value(term):
        return value(term.data * factor)
    if factor == 0:
        return value(0)
    return term if factor == 1 else _term("times", (term,), factor, Sort.NUMBER)


def divided(term: Term, divisor: int) -> Term:
    """Return the whole part of a number by a constant above zero, rounded down."""
    if is_value(term):
        return value(term.data // divisor)
    return term if divisor == 1 else _term("divided", (term,), divisor, Sort.NUMBER)


def rest_of(term: Term, divisor: int) -> Term:
    """Return what is left of a number by a constant above zero: never below zero."""
    return value(term.data % divisor) if is_value(term) else _term("rest", (term,), divisor, Sort.NUMBER)


# --- texts and sets ---------------------------------------------------------------------------------------------------


def together(terms: Sequence[Term]) -> Term:
    """Return texts put together."""
    args: list[Term] = []
    for each in terms:
        if is_value(each) and args and is_value(args[-1]):
            args[-1] = value(args[-1].data + each.data)
        elif each is not EMPTY:
            args.append(each)
    if len(args) <= 1:
        return args[0] if args else EMPTY
    return _term("together", tuple(args), None, Sort.TEXT)


EMPTY: Final = value("")


def length(term: Term) -> Term:
    """Return how many characters a text has."""
    return value(len(term.data)) if is_value(term) else _term("length", (term,), None, Sort.NUMBER)


def like(term: Term, parts: tuple[str, ...]) -> Term:
    """Return that a text is `parts` in their order, with anything between them."""
    parts = (parts[0], *(each for each in parts[1:-1] if each), *parts[1:][-1:])
    if len(parts) == 1:
        return equal(term, value(parts[0]))
    if parts == ("", ""):
        return TRUE
    if is_value(term):
        return value(is_like(term.data, parts))
    if term.op == "together" and is_value(term.args[0]):
        return _joined_like(term, parts)
    if term.op == "together" and _is_segment(term.args[0]) and _begins_with_slash(term.args[1]):
        return _segment_like(term, parts)
    return _term("like", (term,), parts)


PART: Final = "part:"  # begins the names of texts that hold no slash: segments within a path


def _is_segment(term: Term) -> bool:
    return term.op == "variable" and str(term.data).startswith(PART)


def _begins_with_slash(term: Term) -> bool:
    return is_value(term) and str(term.data).startswith("/")


def _segment_like(term: Term, parts: tuple[str, ...]) -> Term:
    """Return that a segment, a slash and more are like `parts`: told apart at the slash, where that is possible."""
    first, rest = term.args[0], together(term.args[1:])
    head, is_split, tail = parts[0].partition("/")
    if is_split:
        return every((equal(first, value(head)), like(rest, (f"/{tail}", *parts[1:]))))
    return like(first, parts) if parts == (head, "") else _term("like", (term,), parts)


def _joined_like(term: Term, parts: tuple[str, ...]) -> Term:
    """Return that a text with a known beginning is like `parts`."""
    known, wanted = term.args[0].data, parts[0]
    if not (known.startswith(wanted) or wanted.startswith(known)):
        return FALSE
    if wanted.startswith(known):  # `charge/` then anything, like `charge/c*`: the rest is like `c*`
        return like(together(term.args[1:]), (wanted[len(known) :], *parts[1:]))
    return TRUE if parts == (wanted, "") else _term("like", (term,), parts)


def matches(term: Term, form: TextForm) -> Term:
    """Return that a text is of a form."""
    return value(bool(FORMS[form].fullmatch(term.data))) if is_value(term) else _term("matches", (term,), form)


def has(name: str, entry: str) -> Term:
    """Return that the set `name` holds a text."""
    return _term("has", (), (name, entry))


def within(name: str, entries: Iterable[str]) -> Term:
    """Return that the set `name` holds nothing but `entries`."""
    return _term("within", (), (name, frozenset(entries)))


# --- what is in terms -------------------------------------------------------------------------------------------------


def parts_of(roots: Iterable[Term]) -> Iterator[Term]:
    """Yield every term within `roots`, themselves included, each once and after those within it."""
    seen: set[Term] = set()
    stack: list[tuple[Term, bool]] = [(each, False) for each in roots]
    while stack:
        term, is_done = stack.pop()
        if is_done:
            yield term
        elif term not in seen:
            seen.add(term)
            stack.append((term, True))
            stack += ((each, False) for each in reversed(term.args) if each not in seen)


def rewritten(root: Term, change: Mapping[Term, Term]) -> Term:
    """Return `root` with some of the terms in it changed for others."""
    made: dict[Term, Term] = {}
    for term in parts_of([root]):
        made[term] = change.get(term) or rebuilt(term, tuple(made[each] for each in term.args))
    return made[root]


def rebuilt(term: Term, args: tuple[Term, ...]) -> Term:
    """Return `term` with other terms within it."""
    write = _WRITTEN.get(term.op)
    return term if write is None else write(term.data, args)


_WRITTEN: Final[Mapping[str, Callable[[Any, tuple[Term, ...]], Term]]] = {
    "not": lambda _, args: negated(args[0]),
    "and": lambda _, args: every(args),
    "or": lambda _, args: some(args),
    "if": lambda _, args: either(*args),
    "equal": lambda _, args: equal(*args),
    "less": lambda _, args: below(*args),
    "at most": lambda _, args: below(*args, or_equal=True),
    "plus": lambda _, args: plus(*args),
    "times": lambda data, args: times(args[0], data),
    "divided": lambda data, args: divided(args[0], data),
    "rest": lambda data, args: rest_of(args[0], data),
    "together": lambda _, args: together(args),
    "length": lambda _, args: length(args[0]),
    "like": lambda data, args: like(args[0], data),
    "matches": lambda data, args: matches(args[0], data),
}

_UNSAID: Mapping[Sort, bool | int | str] = {Sort.TRUTH: False, Sort.NUMBER: 0, Sort.TEXT: ""}
Values = Mapping[str, Any]  # variable -> bool, int or str; set -> its texts


def evaluate(root: Term, values: Values) -> Any:  # noqa: ANN401 - of the term's sort
    """Return the value of a term; a variable that has none is false, 0 or empty."""
    return _evaluated(root, values, {})


def _evaluated(term: Term, values: Values, known: dict[Term, Any]) -> Any:  # noqa: ANN401
    if term.op == "value":
        return term.data
    if term in known:
        return known[term]
    found = _EVALUATED[term.op](term, values, (_evaluated(each, values, known) for each in term.args))
    known[term] = found
    return found


_EVALUATED: Final[Mapping[str, Callable[[Term, Values, Iterator[Any]], Any]]] = {
    "variable": lambda term, values, _: values.get(term.data, _UNSAID[term.sort]),
    "has": lambda term, values, _: term.data[1] in values.get(term.data[0], ()),
    "within": lambda term, values, _: term.data[1].issuperset(values.get(term.data[0], ())),
    "not": lambda _t, _v, args: not next(args),
    "and": lambda _t, _v, args: all(args),
    "or": lambda _t, _v, args: any(args),
    "if": lambda _t, _v, args: _chosen(*args),
    "equal": lambda _t, _v, args: next(args) == next(args),
    "less": lambda _t, _v, args: next(args) < next(args),
    "at most": lambda _t, _v, args: next(args) <= next(args),
    "plus": lambda _t, _v, args: sum(args),
    "times": lambda term, _, args: next(args) * term.data,
    "divided": lambda term, _, args: next(args) // term.data,
    "rest": lambda term, _, args: next(args) % term.data,
    "together": lambda _t, _v, args: "".join(args),
    "length": lambda _t, _v, args: len(next(args)),
    "like": lambda term, _, args: is_like(next(args), term.data),
    "matches": lambda term, _, args: bool(FORMS[term.data].fullmatch(next(args))),
}


def _chosen(condition: bool, then: Any, other: Any) -> Any:  # noqa: ANN401
    return then if condition else other


def digest_of_term(root: Term) -> str:
    """Return what two terms share exactly if they are written alike, in any process."""
    names: dict[Term, str] = {}
    for term in parts_of([root]):
        data = sorted(term.data[1]) if term.op == "within" else term.data
        told = repr((term.op, [names[each] for each in term.args], type(term.data).__name__, data, term.sort.value))
        told += repr(term.data[0]) if term.op == "within" else ""
        names[term] = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{names[root]}"
