r"""Claims solved by z3, in this process, within bounds of time and memory.

What its Python binding does that its callers must not have to know:

* `\u{41}` within a text given to it is read as `A`; so every character but plain ones is written as such an escape.
* A context is not safe in two threads; each solver has its own, behind a lock. * Its logic of texts is slow beside
  that of numbers. A text that is only ever compared with texts that are written out is therefore handed over as a
  number: its place among them.

INVARIANT: what is not decided within the bounds is `Unknown`, never refuted.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from charter.proof.prover import Found, Model, Refuted, Unknown
from charter.proof.reading import MAX_CHARACTER
from charter.proof.term import Sort, Term, TextForm, parts_of

if TYPE_CHECKING:
    import z3

MAX_SECONDS = 5.0  # for one claim
WISH_SECONDS = 0.25  # for each wish
MAX_MEGABYTES = 1_024
MAX_TERMS = 50_000
_ESCAPE = re.compile(r"\\u\{([0-9a-fA-F]+)\}")  # a backslash of the text itself is told as one too
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_./:@*")


class Z3Solver:
    """Satisfies proof.prover.Solver. z3 is loaded at the first claim."""

    def __init__(self, seconds: float = MAX_SECONDS, megabytes: int = MAX_MEGABYTES) -> None:
        self._seconds = seconds
        self._megabytes = megabytes
        self._lock = threading.Lock()
        self.asked = 0  # claims that were put to z3

    def solve(self, claim: Term, wishes: Sequence[Term]) -> Found:
        """Return where `claim` holds, if anywhere, with as many of `wishes` as can be had."""
        import z3

        with self._lock:
            self.asked += 1
            try:
                return _Query(z3.Context(), self._seconds, self._megabytes).answer(claim, wishes)
            except z3.Z3Exception as err:
                return Unknown(f"the solver gave up: {str(err)[:120]}")


class _Query:
    """One claim before z3."""

    def __init__(self, context: z3.Context, seconds: float, megabytes: int) -> None:
        import z3

        self.z3 = z3
        self.context = context
        self.solver = z3.Solver(ctx=context)
        self.solver.set("max_memory", megabytes)
        self.seconds = seconds
        self.terms: dict[Term, Any] = {}
        self.variables: dict[Term, Any] = {}
        self.places: dict[str, int] = {}  # of texts that stand as numbers

    def answer(self, claim: Term, wishes: Sequence[Term]) -> Found:
        parts = list(parts_of([claim, *wishes]))
        if len(parts) > MAX_TERMS:
            return Unknown(f"the question has more than {MAX_TERMS} terms")
        self._number_texts(parts)
        self.solver.add(self._write(claim))
        found = self._check(self.seconds)
        if isinstance(found, Unknown | Refuted):
            return found
        values: Mapping[str, Any] = self._values()
        for wish in wishes:
            values = self._granted(wish, values)
        return Model(values)

    def _granted(self, wish: Term, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return values with which the wish holds too if there are any, and hold on to it then."""
        self.solver.push()
        self.solver.add(self._write(wish))
        if isinstance(self._check(WISH_SECONDS), Model):
            return self._values()
        self.solver.pop()
        return values

    def _check(self, seconds: float) -> Found:
        self.solver.set("timeout", max(1, int(seconds * 1000)))
        said = self.solver.check()
        if said == self.z3.unsat:
            return Refuted()
        if said == self.z3.sat:
            return Model()
        return Unknown(f"the solver gave up: {self.solver.reason_unknown()[:120]}")

    # --- texts as numbers ---

    def _number_texts(self, parts: Sequence[Term]) -> None:
        """Find the texts that are only compared as wholes with others of their like, and number those written out."""
        texts = [each for each in parts if each.sort is Sort.TEXT]
        real = {each for each in texts if each.op not in ("variable", "value")}
        for each in parts:
            if each.op not in ("equal", "value", "variable"):
                real.update(arg for arg in each.args if arg.sort is Sort.TEXT and arg.op == "variable")
        is_growing = True
        while is_growing:
            found = {
                arg
                for each in parts
                if each.op == "equal" and not real.isdisjoint(each.args)
                for arg in each.args
                if arg.op == "variable" and arg not in real
            }
            real |= found
            is_growing = bool(found)
        self.numbered = {each for each in texts if each.op == "variable" and each not in real}
        for each in texts:
            if each.op == "value":
                self.places.setdefault(each.data, len(self.places))

    def _other_text(self, place: int) -> str:
        known = {index: text for text, index in self.places.items()}
        if place in known:
            return known[place]
        name = "other" if place < 0 or place - len(known) == 0 else f"other-{abs(place - len(known))}"
        while name in self.places:
            name += "-"
        return name

    # --- terms ---

    def _write(self, root: Term) -> Any:  # noqa: ANN401 - z3's expressions
        for term in parts_of([root]):
            if term not in self.terms:
                self.terms[term] = self._written(term)
        return self.terms[root]

    def _written(self, term: Term) -> Any:  # noqa: ANN401
        if term.op == "value":
            return self._value(term)
        if term.op == "variable":
            return self._variable(term)
        if term.op == "equal" and not self.numbered.isdisjoint(term.args):
            left, right = (self._place(each) for each in term.args)
            return left == right
        write = _WRITERS[term.op]
        return write(self, term, [self.terms[each] for each in term.args])

    def _place(self, term: Term) -> Any:  # noqa: ANN401
        return self.z3.IntVal(self.places[term.data], self.context) if term.op == "value" else self.terms[term]

    def _value(self, term: Term) -> Any:  # noqa: ANN401
        match term.sort:
            case Sort.TRUTH:
                return self.z3.BoolVal(term.data, self.context)
            case Sort.NUMBER:
                return self.z3.IntVal(term.data, self.context)
            case Sort.TEXT:
                return self.text(term.data)

    def _variable(self, term: Term) -> Any:  # noqa: ANN401
        name = f"{term.sort.value}:{term.data}"
        if term.sort is Sort.TRUTH:
            made = self.z3.Bool(name, self.context)
        elif term.sort is Sort.NUMBER or term in self.numbered:
            made = self.z3.Int(name, self.context)
        else:
            made = self.z3.String(name, self.context)
        self.variables[term] = made
        return made

    def made(self, ast: Any) -> Any:  # noqa: ANN401
        """Return a truth that z3's core made: its own wrappers look at every argument, and take most of the time."""
        return self.z3.BoolRef(ast, self.context)

    def listed(self, args: Sequence[Any]) -> Any:  # noqa: ANN401
        """Return arguments as z3's core takes them."""
        return (self.z3.Ast * len(args))(*(each.as_ast() for each in args))

    def text(self, text: str) -> Any:  # noqa: ANN401
        """Return a text as z3 reads it back."""
        escaped = "".join(char if char in _PLAIN else f"\\u{{{ord(char):x}}}" for char in text)
        return self.z3.StringVal(escaped, self.context)

    def anything(self) -> Any:  # noqa: ANN401
        """Return the expression that any text matches."""
        return self.z3.Full(self.z3.ReSort(self.z3.StringSort(self.context)))

    def _values(self) -> dict[str, Any]:
        model = self.solver.model()
        return {term.data: self._read(term, made, model) for term, made in self.variables.items()}

    def _read(self, term: Term, made: Any, model: Any) -> Any:  # noqa: ANN401
        found = model.eval(made, model_completion=True)
        if term.sort is Sort.TRUTH:
            return self.z3.is_true(found)
        if term in self.numbered:
            return self._other_text(found.as_long())
        if term.sort is Sort.NUMBER:
            return found.as_long()
        return _ESCAPE.sub(lambda hit: chr(int(hit[1], 16)), found.as_string())


def _like(query: _Query, term: Term, args: list[Any]) -> Any:  # noqa: ANN401
    z3, parts = query.z3, term.data
    if len(parts) == 2 and not parts[1]:  # noqa: PLR2004 - a beginning, and anything
        return z3.PrefixOf(query.text(parts[0]), args[0])
    if len(parts) == 2 and not parts[0]:  # noqa: PLR2004
        return z3.SuffixOf(query.text(parts[1]), args[0])
    pieces = []
    for index, part in enumerate(parts):
        if index:
            pieces.append(query.anything())
        if part:
            pieces.append(z3.Re(query.text(part)))
    return z3.InRe(args[0], z3.Concat(*pieces) if len(pieces) > 1 else pieces[0])


def _matches(query: _Query, term: Term, args: list[Any]) -> Any:  # noqa: ANN401
    z3 = query.z3

    def one(text: str) -> Any:  # noqa: ANN401
        return z3.Re(query.text(text))

    def span(first: str, last: str) -> Any:  # noqa: ANN401
        return z3.Range(query.text(first), query.text(last))

    digit = span("0", "9")
    match term.data:
        case TextForm.SEGMENT:
            other = z3.Union(span("\0", "."), span("0", "["), span("]", chr(MAX_CHARACTER)))
            return z3.InRe(args[0], z3.Plus(other))
        case TextForm.TAIL:
            return z3.Length(args[0]) > 0
        case TextForm.DIGITS:
            rest = z3.Option(z3.Concat(one("."), z3.Loop(digit, 1, 4)))
            return z3.InRe(args[0], z3.Concat(z3.Option(one("-")), z3.Loop(digit, 1, 12), rest))
        case _:
            word = z3.Plus(z3.Union(span("a", "z"), digit, one("-")))
            path = z3.Concat(word, z3.Star(z3.Concat(one("/"), word)))
            return z3.InRe(args[0], word if term.data is TextForm.PLAIN else path)


_WRITERS: dict[str, Any] = {
    "not": lambda q, _, args: q.made(q.z3.Z3_mk_not(q.context.ref(), args[0].as_ast())),
    "and": lambda q, _, args: q.made(q.z3.Z3_mk_and(q.context.ref(), len(args), q.listed(args))),
    "or": lambda q, _, args: q.made(q.z3.Z3_mk_or(q.context.ref(), len(args), q.listed(args))),
    "if": lambda q, _, args: q.z3.If(*args),
    "equal": lambda _q, _t, args: args[0] == args[1],
    "less": lambda _q, _t, args: args[0] < args[1],
    "at most": lambda _q, _t, args: args[0] <= args[1],
    "plus": lambda q, _, args: q.z3.Sum(*args),
    "times": lambda _, term, args: args[0] * term.data,
    "divided": lambda _, term, args: args[0] / term.data,
    "rest": lambda _, term, args: args[0] % term.data,
    "together": lambda q, _, args: q.z3.Concat(*args),
    "length": lambda q, _, args: q.z3.Length(args[0]),
    "like": _like,
    "matches": _matches,
}
