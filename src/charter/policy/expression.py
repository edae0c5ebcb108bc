"""Cedar expressions written as Python expressions, for `compile.py`.

Not modelled, and so left to Cedar: tags, `ip`, extension values that are not written out, slots, the context as a
value, attributes of anything but principal, resource, context and the records they hold, entities other than principal,
action and resource on the left of `in` and `is`, and what is deeper or longer than the bounds below.

INVARIANT: an expression of Cedar and its Python give the same value, or an error both.
What was reached and found to be of a type is not reached again where it surely was before: `known` holds its names. A
part of `&&`, `||` and `if` is run only sometimes, so what it found is known afterwards only where it surely ran.

INVARIANT: an expression's Python is written in the order in which it is run, or a name could be read before it is set.
INVARIANT: no attribute of principal, resource or context is an entity (`vocabulary.py` has none), so what is reached
from them by `.` is a record where it has attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from charter.policy import cedar_value
from charter.policy.cedar_literal import read_datetime, read_decimal, read_duration
from charter.policy.cedar_text import is_identifier
from charter.policy.cedar_value import Fixed, Moment, Span, Uid, element
from charter.policy.engine import Json

MAX_DEPTH = 40
MAX_NODES = 2_000


class NotModelledError(Exception):
    """The policy says something that is left to Cedar."""


class Term(NamedTuple):
    """An expression in Python, the type its value has (None: any), and its value if it is written out."""

    text: str
    kind: type | None = None
    constant: Any = None


Path = tuple[str, ...]
Known = dict[tuple[Path, type], str]  # what is reached by a path, of a type -> the name that holds it
_BRANCHING = frozenset({"&&", "||", "!", "if-then-else"})
_VARIABLES = {"principal": 0, "action": 2, "resource": 4}  # where `e` has the uid; what it is in comes after
_RECORDS = {"principal": "p", "resource": "r", "context": "c"}
_ORDERED = (int, Moment, Span)
NAMES: dict[str, Any] = {
    name: getattr(cedar_value, name)
    for name in (
        "Fixed", "Moment", "Span", "fail", "element", "same", "are_ordered", "add", "subtract", "multiply", "negate",
        "is_like", "offset", "duration_since", "to_date", "to_time", "whole",
    )
}  # fmt: skip


@dataclass(slots=True)
class Writer:
    """Writes one policy's code and gathers its values."""

    values: list[Any] = field(default_factory=list)
    known: Known = field(default_factory=dict)  # at the point that is written
    known_if: dict[bool, Known] = field(default_factory=dict)  # after the last expression, if it was true, or false
    temporaries: int = 0
    nodes: int = 0

    def slot(self, value: Any) -> str:  # noqa: ANN401 - any value
        """Return where `value` is found at run time."""
        self.values.append(value)
        return f"v[{len(self.values) - 1}]"

    def key(self, name: str) -> str:
        """Return the name of an attribute: in the code if it is an identifier, else in a slot."""
        return f'"{name}"' if is_identifier(name) else self.slot(name)

    def constant(self, value: Any) -> Term:  # noqa: ANN401
        """Return a value that is written out."""
        return Term(self.slot(value), type(value), value)

    def term(self, node: Json, depth: int) -> Term:
        """Return the code of an expression."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise NotModelledError("it is too large")
        ((operator, given),) = node.items()
        write = _WRITERS.get(operator)
        if write is None:
            raise NotModelledError(f"`{operator}` is not modelled")
        self.known_if = {}
        written = write(self, given, depth + 1)
        if operator not in _BRANCHING:
            self.known_if = {True: self.known, False: self.known}
        return written

    def taken(self, node: Json, kind: type, depth: int) -> str:
        """Return the code of an expression where only a value of exactly this type is taken."""
        path = _path(node)
        if path and (path, kind) in self.known:
            self.known_if = {True: self.known, False: self.known}
            return self.known[path, kind]
        return self.guarded(self.term(node, depth), kind, path)

    def guarded(self, term: Term, kind: type, path: Path = ()) -> str:
        """Return the code of a term, with the question whether its value is of this type."""
        if term.kind is kind:
            return term.text
        if term.kind is not None:
            return "fail()"
        name = self.temporary()
        if path:
            self.known = self.known | {(path, kind): name}
            self.known_if = {word: known | {(path, kind): name} for word, known in self.known_if.items()}
        return f"({name} if type({name} := {term.text}) is {kind.__name__} else fail())"

    def settle(self, if_true: Known, if_false: Known) -> None:
        """Say what is known after an expression, by its word; after it whatever its word is what both have."""
        self.known_if = {True: if_true, False: if_false}
        self.known = _both(if_true, if_false)

    def temporary(self) -> str:
        """Return a fresh name."""
        self.temporaries += 1
        return f"t{self.temporaries - 1}"

    def attributes(self, node: Json, depth: int) -> str:
        """Return the code of what has attributes: a variable, or a record reached from one."""
        match node:
            case {"Var": name} if name in _RECORDS:
                return _RECORDS[name]
            case {".": _}:
                return self.taken(node, dict, depth)
            case _:
                raise NotModelledError("attributes of what may be an entity")


_Write = Callable[[Writer, Any, int], Term]


def _both(one: Known, other: Known) -> Known:
    """Return what is known either way."""
    return one if one is other else {each: name for each, name in one.items() if other.get(each) == name}


def _path(node: Json) -> Path:
    """Return `("context", "arguments", "amount")` for such a chain of accesses, () for anything else."""
    names: list[str] = []
    while "." in node:
        names.append(node["."]["attr"])
        node = node["."]["left"]
    return (node["Var"], *reversed(names)) if names and "Var" in node else ()


def uid_of(entity: Json) -> Uid:
    """Return an entity that is written out."""
    return (entity["type"], entity["id"])


def _value(writer: Writer, given: Any, _depth: int) -> Term:  # noqa: ANN401 - any JSON value
    if type(given) in (bool, int, str):
        return writer.constant(given)
    if isinstance(given, dict) and given.keys() == {"__entity"}:
        return writer.constant(uid_of(given["__entity"]))
    raise NotModelledError("a value that is not written plainly")


def _variable(_writer: Writer, name: str, _depth: int) -> Term:
    if name not in _VARIABLES:
        raise NotModelledError(f"`{name}` is not modelled")
    return Term(f"e[{_VARIABLES[name]}]", tuple)


def _get(writer: Writer, given: Json, depth: int) -> Term:
    base = writer.attributes(given["left"], depth)
    return Term(f"{base}[{writer.key(given['attr'])}]")


def _has(writer: Writer, given: Json, depth: int) -> Term:
    base = writer.attributes(given["left"], depth)
    return Term(f"({writer.key(given['attr'])} in {base})", bool)


def _and(writer: Writer, given: Json, depth: int) -> Term:
    left = writer.taken(given["left"], bool, depth)
    if_left = writer.known_if
    writer.known = if_left[True]
    right = writer.taken(given["right"], bool, depth)
    writer.settle(writer.known_if[True], _both(if_left[False], writer.known_if[False]))
    return Term(f"({left} and {right})", bool)


def _or(writer: Writer, given: Json, depth: int) -> Term:
    left = writer.taken(given["left"], bool, depth)
    if_left = writer.known_if
    writer.known = if_left[False]
    right = writer.taken(given["right"], bool, depth)
    writer.settle(_both(if_left[True], writer.known_if[True]), writer.known_if[False])
    return Term(f"({left} or {right})", bool)


def _not(writer: Writer, given: Json, depth: int) -> Term:
    text = writer.taken(given["arg"], bool, depth)
    writer.settle(writer.known_if[False], writer.known_if[True])
    return Term(f"(not {text})", bool)


def _if(writer: Writer, given: Json, depth: int) -> Term:
    asked = writer.taken(given["if"], bool, depth)
    if_asked = writer.known_if
    writer.known = if_asked[True]
    then = writer.term(given["then"], depth)
    if_then = writer.known_if
    writer.known = if_asked[False]
    other = writer.term(given["else"], depth)
    writer.settle(*(_both(if_then[word], writer.known_if[word]) for word in (True, False)))
    return Term(f"({then.text} if {asked} else {other.text})", then.kind if then.kind is other.kind else None)


def _equal(writer: Writer, given: Json, depth: int) -> Term:
    left, right = (writer.term(given[side], depth) for side in ("left", "right"))
    is_plain = left.kind in (str, tuple) or right.kind in (str, tuple)  # equal to nothing of another type
    text = f"({left.text} == {right.text})" if is_plain else f"same({left.text}, {right.text})"
    return Term(text, bool)


def _unequal(writer: Writer, given: Json, depth: int) -> Term:
    return Term(f"(not {_equal(writer, given, depth).text})", bool)


def _ordered_kind(node: Json) -> type | None:
    """Return the type of a number, date or duration that is written out."""
    match node:
        case {"Value": value} if type(value) is int:
            return int
        case {"datetime": _}:
            return Moment
        case {"duration": _}:
            return Span
        case _:
            return None


def _ordering(operator: str) -> _Write:
    def write(writer: Writer, given: Json, depth: int) -> Term:
        sides = [given["left"], given["right"]]
        written_out = [kind for kind in map(_ordered_kind, sides) if kind]
        if written_out:
            left, right = (writer.taken(side, written_out[0], depth) for side in sides)
            return Term(f"({left} {operator} {right})", bool)
        return compared(writer, *(writer.term(side, depth) for side in sides))

    def compared(writer: Writer, left: Term, right: Term) -> Term:
        kind = left.kind or right.kind
        if kind is not None:
            if kind not in _ORDERED:
                return Term("fail()", bool)
            return Term(f"({writer.guarded(left, kind)} {operator} {writer.guarded(right, kind)})", bool)
        one, other = writer.temporary(), writer.temporary()
        asked = f"are_ordered({one} := {left.text}, {other} := {right.text})"
        return Term(f"({one} {operator} {other} if {asked} else fail())", bool)

    return write


def _within(writer: Writer, given: Json, depth: int) -> Term:
    match given["left"]:
        case {"Var": name} if name in _VARIABLES:
            return Term(_among(writer, given["right"], f"e[{_VARIABLES[name] + 1}]", depth), bool)
        case _:
            raise NotModelledError("`in` of what is no variable")


def _among(writer: Writer, node: Json, within: str, depth: int) -> str:
    """Return the code of whether `within` holds the entity, or one of the entities, that `node` names."""
    right = writer.term(node, depth)
    if right.kind is tuple:
        return f"({right.text} in {within})"
    if right.kind is frozenset and right.constant is not None and all(_is_uid(each) for each in right.constant):
        return f"(not {right.text}.isdisjoint({within}))"
    raise NotModelledError("`in` of what is not written out")


def _is_uid(form: Any) -> bool:  # noqa: ANN401 - as `element` gives it
    return type(form) is tuple and type(form[0]) is str


def _is(writer: Writer, given: Json, depth: int) -> Term:
    match given["left"]:
        case {"Var": name} if name in _VARIABLES:
            at = _VARIABLES[name]
            text = f"(e[{at}][0] == {writer.slot(given['entity_type'])})"
            if given.get("in") is not None:
                text = f"({text} and {_among(writer, given['in'], f'e[{at + 1}]', depth)})"
            return Term(text, bool)
        case _:
            raise NotModelledError("`is` of what is no variable")


def _like(writer: Writer, given: Json, depth: int) -> Term:
    text = writer.taken(given["left"], str, depth)
    parts = [""]
    for each in given["pattern"]:
        if each == "Wildcard":
            parts.append("")
        else:
            parts[-1] += each["Literal"]
    parts = [parts[0], *(part for part in parts[1:-1] if part), *parts[1:][-1:]]
    match parts:
        case [whole]:
            return Term(f"({text} == {writer.slot(whole)})", bool)
        case [start, ""]:
            return Term(f"{text}.startswith({writer.slot(start)})", bool)
        case ["", end]:
            return Term(f"{text}.endswith({writer.slot(end)})", bool)
        case _:
            return Term(f"is_like({text}, {writer.slot(tuple(parts))})", bool)


def _set(writer: Writer, given: list[Json], depth: int) -> Term:
    before = len(writer.values)
    terms = [writer.term(each, depth) for each in given]
    if all(term.constant is not None for term in terms):
        del writer.values[before:]  # the set takes the place of its elements
        return writer.constant(frozenset(element(term.constant) for term in terms))
    return Term(f"frozenset(({' '.join(f'{_form(term)},' for term in terms)}))", frozenset)


def _form(term: Term) -> str:
    return term.text if term.kind in (str, tuple) else f"element({term.text})"


def _record(writer: Writer, given: Json, depth: int) -> Term:
    items = [f"{writer.key(name)}: {writer.term(each, depth).text}" for name, each in given.items()]
    return Term("{" + ", ".join(items) + "}", dict)


def _contains(writer: Writer, given: Json, depth: int) -> Term:
    one = writer.term(given["right"], depth)  # Python runs it first
    held = writer.term(given["left"], depth)
    if one.kind is None and type(held.constant) is frozenset and all(type(each) is str for each in held.constant):
        name = writer.temporary()
        return Term(f"(type({name} := {one.text}) is str and {name} in {held.text})", bool)
    return Term(f"({_form(one)} in {writer.guarded(held, frozenset)})", bool)


def _contains_all(writer: Writer, given: Json, depth: int) -> Term:
    left, right = (writer.taken(given[side], frozenset, depth) for side in ("left", "right"))
    return Term(f"({left} >= {right})", bool)


def _contains_any(writer: Writer, given: Json, depth: int) -> Term:
    left, right = (writer.taken(given[side], frozenset, depth) for side in ("left", "right"))
    return Term(f"(not {left}.isdisjoint({right}))", bool)


def _is_empty(writer: Writer, given: Json, depth: int) -> Term:
    return Term(f"(not {writer.taken(given['arg'], frozenset, depth)})", bool)


def _calling(name: str, kind: type, sides: Sequence[str] = ("left", "right")) -> _Write:
    def write(writer: Writer, given: Json, depth: int) -> Term:
        terms = [writer.term(given[side], depth).text for side in sides]
        return Term(f"{name}({', '.join(terms)})", kind)

    return write


def _literal(read: Callable[[str], Any]) -> _Write:
    def write(writer: Writer, given: list[Json], _depth: int) -> Term:
        match given:
            case [{"Value": str(text)}]:
                value = read(text)
                if value is not None:
                    return writer.constant(value)
            case _:
                pass
        raise NotModelledError("an extension value that is not written out")

    return write


def _decimal_ordering(operator: str) -> _Write:
    def write(writer: Writer, given: list[Json], depth: int) -> Term:
        left, right = (writer.taken(each, Fixed, depth) for each in given)
        return Term(f"({left} {operator} {right})", bool)

    return write


def _method(name: str, kind: type, *more: int) -> _Write:
    def write(writer: Writer, given: list[Json], depth: int) -> Term:
        terms = [writer.term(each, depth).text for each in given]
        return Term(f"{name}({', '.join([*terms, *map(str, more)])})", kind)

    return write


_WRITERS: dict[str, _Write] = {
    "Value": _value,
    "Var": _variable,
    ".": _get,
    "has": _has,
    "&&": _and,
    "||": _or,
    "!": _not,
    "if-then-else": _if,
    "==": _equal,
    "!=": _unequal,
    **{operator: _ordering(operator) for operator in ("<", "<=", ">", ">=")},
    "+": _calling("add", int),
    "-": _calling("subtract", int),
    "*": _calling("multiply", int),
    "neg": _calling("negate", int, ("arg",)),
    "in": _within,
    "is": _is,
    "like": _like,
    "Set": _set,
    "Record": _record,
    "contains": _contains,
    "containsAll": _contains_all,
    "containsAny": _contains_any,
    "isEmpty": _is_empty,
    "decimal": _literal(read_decimal),
    "datetime": _literal(read_datetime),
    "duration": _literal(read_duration),
    "lessThan": _decimal_ordering("<"),
    "lessThanOrEqual": _decimal_ordering("<="),
    "greaterThan": _decimal_ordering(">"),
    "greaterThanOrEqual": _decimal_ordering(">="),
    "offset": _method("offset", Moment),
    "durationSince": _method("duration_since", Span),
    "toDate": _method("to_date", Moment),
    "toTime": _method("to_time", Span),
    "toMilliseconds": _method("whole", int, 1),
    "toSeconds": _method("whole", int, 1_000),
    "toMinutes": _method("whole", int, 60_000),
    "toHours": _method("whole", int, 3_600_000),
    "toDays": _method("whole", int, 86_400_000),
}
