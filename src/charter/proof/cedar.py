"""Cedar's expressions as terms: for each its value, and whether it has one.

    resource.path like "charge/*" && context.arguments has amount

Each expression comes to a `Reading`: its value as a symbol, and the term that says where evaluating it makes no
error. So an erring policy is one that is not satisfied, as in Cedar, and a sum that passes 64 bits errs here where it
errs there.

Outside, and so never proven (`docs/proof.md` tells it to readers): tags, `ip`, extension values that are not written
out, slots, products of two unknown numbers, attributes of an entity other than principal and resource, an unknown
text asked of an unknown set, two unknown sets compared, branches of `if` of two types or of sets, and what nests
deeper than the bounds.

INVARIANT: what is not modelled raises `NotModelledError`; nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from charter.policy.cedar_literal import read_datetime, read_decimal, read_duration
from charter.policy.cedar_value import DAY, MAX_LONG, MIN_LONG
from charter.policy.engine import Json
from charter.policy.expression import NotModelledError, uid_of
from charter.proof.symbol import Fields, Kind, Listed, Named, Scalar, Symbol, Thing
from charter.proof.term import (
    FALSE,
    TRUE,
    Term,
    below,
    divided,
    either,
    equal,
    every,
    has,
    implied,
    is_value,
    like,
    negated,
    plus,
    rest_of,
    some,
    times,
    value,
    within,
)

MAX_DEPTH = 60
MAX_NODES = 4_000
MAX_CHARACTER = 0x2FFFF  # of texts in the solver's logic
_ORDERED = frozenset({Kind.LONG, Kind.DATETIME, Kind.DURATION})


@dataclass(frozen=True, slots=True)
class Reading:
    """What an expression comes to: its value, and where it has one."""

    symbol: Symbol
    holds_up: Term = TRUE  # evaluating it makes no error


ERROR = Reading(Scalar(Kind.BOOL, FALSE), FALSE)
Variables = Mapping[str, Symbol]  # principal, action, resource, context


@dataclass(slots=True)
class Reader:
    """Reads the expressions of one policy."""

    variables: Variables
    nodes: int = 0

    def read(self, node: Json, depth: int = 0) -> Reading:
        """Return what an expression comes to.

        Raises:
            NotModelledError: it is outside.
        """
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise NotModelledError("it is too large")
        ((operator, given),) = node.items()
        read = _READERS.get(operator)
        if read is None:
            raise NotModelledError(f"`{operator}` is not modelled")
        return read(self, given, depth + 1)

    def truth(self, node: Json, depth: int) -> tuple[Term, Term]:
        """Return where an expression is true, and where it is true or false rather than an error."""
        return self.scalar(node, Kind.BOOL, depth)

    def scalar(self, node: Json, kind: Kind, depth: int) -> tuple[Term, Term]:
        """Return the term of an expression of this kind, and where it has a value; another kind is an error."""
        found = self.read(node, depth)
        if isinstance(found.symbol, Scalar) and found.symbol.kind is kind:
            return found.symbol.term, found.holds_up
        return (FALSE if kind is Kind.BOOL else value("" if kind is Kind.TEXT else 0)), FALSE


_Read = Callable[[Reader, Any, int], Reading]


def _bool(term: Term, holds_up: Term = TRUE) -> Reading:
    return Reading(Scalar(Kind.BOOL, term), holds_up)


def _plain(text: str) -> str:
    if any(ord(char) > MAX_CHARACTER for char in text):
        raise NotModelledError("a character beyond those that texts are proven over")
    return text


def constant(given: Any) -> Symbol:  # noqa: ANN401 - any value of Cedar's JSON
    """Return a value that is written out.

    Raises:
        NotModelledError: it is none that is plain.
    """
    if type(given) is bool:
        return Scalar(Kind.BOOL, value(given))
    if type(given) is int:
        return Scalar(Kind.LONG, value(given))
    if type(given) is str:
        return Scalar(Kind.TEXT, value(_plain(given)))
    if isinstance(given, dict) and given.keys() == {"__entity"}:
        kind, name = uid_of(given["__entity"])
        return Thing(kind, value(_plain(name)))
    raise NotModelledError("a value that is not written plainly")


def _value(_reader: Reader, given: Any, _depth: int) -> Reading:  # noqa: ANN401
    return Reading(constant(given))


def _variable(reader: Reader, name: str, _depth: int) -> Reading:
    if name not in reader.variables:
        raise NotModelledError(f"`{name}` is not modelled")
    return Reading(reader.variables[name])


def _fields(found: Reading) -> Fields | None:
    if isinstance(found.symbol, Thing):
        if found.symbol.attributes is None:
            raise NotModelledError("attributes of an entity that is written out")
        return found.symbol.attributes
    return found.symbol if isinstance(found.symbol, Fields) else None


def _get(reader: Reader, given: Json, depth: int) -> Reading:
    base = reader.read(given["left"], depth)
    fields = _fields(base)
    found = None if fields is None else fields.members.get(given["attr"])
    if found is None:
        return ERROR
    return Reading(found[1], every((base.holds_up, found[0])))


def _has(reader: Reader, given: Json, depth: int) -> Reading:
    base = reader.read(given["left"], depth)
    fields = _fields(base)
    return ERROR if fields is None else _bool(fields.presence(given["attr"]), base.holds_up)


# --- truth ------------------------------------------------------------------------------------------------------------


def _and(reader: Reader, given: Json, depth: int) -> Reading:
    left, left_up = reader.truth(given["left"], depth)
    if left is FALSE:
        return _bool(FALSE, left_up)
    right, right_up = reader.truth(given["right"], depth)
    return _bool(every((left, right)), every((left_up, implied(left, right_up))))


def _or(reader: Reader, given: Json, depth: int) -> Reading:
    left, left_up = reader.truth(given["left"], depth)
    if left is TRUE:
        return _bool(TRUE, left_up)
    right, right_up = reader.truth(given["right"], depth)
    return _bool(some((left, right)), every((left_up, some((left, right_up)))))


def _not(reader: Reader, given: Json, depth: int) -> Reading:
    term, holds_up = reader.truth(given["arg"], depth)
    return _bool(negated(term), holds_up)


def _if(reader: Reader, given: Json, depth: int) -> Reading:
    asked, asked_up = reader.truth(given["if"], depth)
    if is_value(asked):
        taken = reader.read(given["then" if asked.data else "else"], depth)
        return Reading(taken.symbol, every((asked_up, taken.holds_up)))
    then, other = reader.read(given["then"], depth), reader.read(given["else"], depth)
    holds_up = every((asked_up, implied(asked, then.holds_up), some((asked, other.holds_up))))
    return Reading(_chosen(asked, then, other), holds_up)


def _chosen(asked: Term, then: Reading, other: Reading) -> Symbol:
    if then.holds_up is FALSE:
        return other.symbol
    if other.holds_up is FALSE or then.symbol == other.symbol:
        return then.symbol
    one, two = then.symbol, other.symbol
    if isinstance(one, Scalar) and isinstance(two, Scalar) and one.kind is two.kind:
        return Scalar(one.kind, either(asked, one.term, two.term))
    if isinstance(one, Thing) and isinstance(two, Thing) and (one.type, one.within) == (two.type, two.within):
        return Thing(one.type, either(asked, one.id, two.id), one.within)
    raise NotModelledError("branches of `if` that are of two types, or sets or records")


def same(one: Symbol, other: Symbol) -> Term:
    """Return that two values are equal; values of two types are not.

    Raises:
        NotModelledError: both are sets that nothing is known of.
    """
    match one, other:
        case Scalar(), Scalar():
            return equal(one.term, other.term) if one.kind is other.kind else FALSE
        case Thing(), Thing():
            return equal(one.id, other.id) if one.type == other.type else FALSE
        case Fields(), Fields():
            names = one.members.keys() | other.members.keys()
            return every(_same_member(one, other, name) for name in sorted(names))
        case ((Listed() | Named()), (Listed() | Named())):
            return every((_holds_all(one, other), _holds_all(other, one)))
        case _:
            return FALSE


def _same_member(one: Fields, other: Fields, name: str) -> Term:
    left, right = one.presence(name), other.presence(name)
    if left is FALSE or right is FALSE:
        return negated(some((left, right)))
    values = same(one.members[name][1], other.members[name][1])
    return every((equal(left, right), implied(left, values)))


def _equal(reader: Reader, given: Json, depth: int) -> Reading:
    left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
    holds_up = every((left.holds_up, right.holds_up))
    return _bool(FALSE if holds_up is FALSE else same(left.symbol, right.symbol), holds_up)


def _unequal(reader: Reader, given: Json, depth: int) -> Reading:
    found = _equal(reader, given, depth)
    return _bool(negated(_term_of(found)), found.holds_up)


def _term_of(found: Reading) -> Term:
    if not isinstance(found.symbol, Scalar):
        raise TypeError("no plain value")
    return found.symbol.term


# --- numbers ----------------------------------------------------------------------------------------------------------


def _ordering(*, or_equal: bool = False, turned: bool = False) -> _Read:
    def read(reader: Reader, given: Json, depth: int) -> Reading:
        left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
        one, other = (right.symbol, left.symbol) if turned else (left.symbol, right.symbol)
        if not (isinstance(one, Scalar) and isinstance(other, Scalar)):
            return ERROR
        if one.kind is not other.kind or one.kind not in _ORDERED:
            return ERROR
        return _bool(below(one.term, other.term, or_equal=or_equal), every((left.holds_up, right.holds_up)))

    return read


def _decimal_ordering(*, or_equal: bool = False, turned: bool = False) -> _Read:
    def read(reader: Reader, given: list[Json], depth: int) -> Reading:
        (left, left_up), (right, right_up) = (reader.scalar(each, Kind.DECIMAL, depth) for each in given)
        one, other = (right, left) if turned else (left, right)
        return _bool(below(one, other, or_equal=or_equal), every((left_up, right_up)))

    return read


def _bounded(kind: Kind, term: Term, holds_up: Term) -> Reading:
    """Return a number that errs where 64 bits do not hold it."""
    low = below(value(MIN_LONG), term, or_equal=True)
    high = below(term, value(MAX_LONG), or_equal=True)
    return Reading(Scalar(kind, term), every((holds_up, low, high)))


def _sum(sign: int) -> _Read:
    def read(reader: Reader, given: Json, depth: int) -> Reading:
        (left, left_up), (right, right_up) = (
            reader.scalar(given[side], Kind.LONG, depth) for side in ("left", "right")
        )
        return _bounded(Kind.LONG, plus(left, times(right, sign)), every((left_up, right_up)))

    return read


def _product(reader: Reader, given: Json, depth: int) -> Reading:
    (left, left_up), (right, right_up) = (reader.scalar(given[side], Kind.LONG, depth) for side in ("left", "right"))
    if is_value(left):
        left, right = right, left
    if not is_value(right):
        raise NotModelledError("a product of two numbers of which neither is written out")
    return _bounded(Kind.LONG, times(left, right.data), every((left_up, right_up)))


def _negative(reader: Reader, given: Json, depth: int) -> Reading:
    term, holds_up = reader.scalar(given["arg"], Kind.LONG, depth)
    return _bounded(Kind.LONG, times(term, -1), holds_up)


def _offset(reader: Reader, given: list[Json], depth: int) -> Reading:
    moment, moment_up = reader.scalar(given[0], Kind.DATETIME, depth)
    span, span_up = reader.scalar(given[1], Kind.DURATION, depth)
    return _bounded(Kind.DATETIME, plus(moment, span), every((moment_up, span_up)))


def _since(reader: Reader, given: list[Json], depth: int) -> Reading:
    (one, one_up), (other, other_up) = (reader.scalar(each, Kind.DATETIME, depth) for each in given)
    return _bounded(Kind.DURATION, plus(one, times(other, -1)), every((one_up, other_up)))


def _date(reader: Reader, given: list[Json], depth: int) -> Reading:
    moment, holds_up = reader.scalar(given[0], Kind.DATETIME, depth)
    return _bounded(Kind.DATETIME, times(divided(moment, DAY), DAY), holds_up)


def _time(reader: Reader, given: list[Json], depth: int) -> Reading:
    moment, holds_up = reader.scalar(given[0], Kind.DATETIME, depth)
    return Reading(Scalar(Kind.DURATION, rest_of(moment, DAY)), holds_up)


def _whole(unit: int) -> _Read:
    def read(reader: Reader, given: list[Json], depth: int) -> Reading:
        span, holds_up = reader.scalar(given[0], Kind.DURATION, depth)
        is_negative = below(span, value(0))
        towards_zero = either(is_negative, times(divided(times(span, -1), unit), -1), divided(span, unit))
        return Reading(Scalar(Kind.LONG, towards_zero), holds_up)

    return read


def _literal(kind: Kind, read_text: Callable[[str], int | None]) -> _Read:
    def read(_reader: Reader, given: list[Json], _depth: int) -> Reading:
        match given:
            case [{"Value": str(text)}]:
                found = read_text(text)
                if found is not None:
                    return Reading(Scalar(kind, value(int(found))))
            case _:
                pass
        raise NotModelledError("an extension value that is not written out")

    return read


# --- texts, sets, records ---------------------------------------------------------------------------------------------


def _like(reader: Reader, given: Json, depth: int) -> Reading:
    text, holds_up = reader.scalar(given["left"], Kind.TEXT, depth)
    parts = [""]
    for each in given["pattern"]:
        if each == "Wildcard":
            parts.append("")
        else:
            parts[-1] += _plain(each["Literal"])
    return _bool(like(text, tuple(parts)), holds_up)


def _set(reader: Reader, given: list[Json], depth: int) -> Reading:
    found = [reader.read(each, depth) for each in given]
    return Reading(Listed(tuple(each.symbol for each in found)), every(each.holds_up for each in found))


def _record(reader: Reader, given: Json, depth: int) -> Reading:
    found = {name: reader.read(each, depth) for name, each in given.items()}
    holds_up = every(each.holds_up for each in found.values())
    return Reading(Fields({name: (TRUE, each.symbol) for name, each in found.items()}), holds_up)


def _is_set(found: Reading) -> bool:
    return isinstance(found.symbol, Listed | Named)


def _holds(held: Symbol, one: Symbol) -> Term:
    """Return that a set holds a value."""
    match held, one:
        case Listed(entries), _:
            return some(same(each, one) for each in entries)
        case Named(), Scalar(Kind.TEXT, term) if is_value(term):
            entry = held.entry(str(term.data))
            return FALSE if entry is None else has(held.name, entry)
        case Named(), Scalar(Kind.TEXT, _):
            raise NotModelledError("an unknown text asked of an unknown set")
        case _:
            return FALSE


def _holds_all(held: Symbol, others: Symbol) -> Term:
    """Return that a set holds all that another one holds."""
    match held, others:
        case _, Listed(entries):
            return every(_holds(held, each) for each in entries)
        case Listed(entries), Named(name, None):
            return within(name, _texts(entries))
        case Named(), Named() if held == others:
            return TRUE
        case _:
            raise NotModelledError("two unknown sets compared")


def _texts(entries: tuple[Symbol, ...]) -> list[str]:
    """Return the texts that are written out among the entries; an entry of another type is no text that is held."""
    found = []
    for each in entries:
        if isinstance(each, Scalar) and each.kind is Kind.TEXT:
            if not is_value(each.term):
                raise NotModelledError("an unknown text asked of an unknown set")
            found.append(str(each.term.data))
    return found


def _holds_any(held: Symbol, others: Symbol) -> Term:
    match held, others:
        case _, Listed(entries):
            return some(_holds(held, each) for each in entries)
        case Listed(entries), Named():
            return some(_holds(others, each) for each in entries)
        case _:
            raise NotModelledError("two unknown sets compared")


def _contains(reader: Reader, given: Json, depth: int) -> Reading:
    held, one = reader.read(given["left"], depth), reader.read(given["right"], depth)
    holds_up = every((held.holds_up, one.holds_up))
    if not _is_set(held) or holds_up is FALSE:
        return ERROR
    return _bool(_holds(held.symbol, one.symbol), holds_up)


def _comparing(compare: Callable[[Symbol, Symbol], Term]) -> _Read:
    def read(reader: Reader, given: Json, depth: int) -> Reading:
        left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
        holds_up = every((left.holds_up, right.holds_up))
        if not (_is_set(left) and _is_set(right)) or holds_up is FALSE:
            return ERROR
        return _bool(compare(left.symbol, right.symbol), holds_up)

    return read


def _is_empty(reader: Reader, given: Json, depth: int) -> Reading:
    found = reader.read(given["arg"], depth)
    match found.symbol:
        case Listed(entries):
            return _bool(value(not entries), found.holds_up)
        case Named(name, None):
            return _bool(within(name, ()), found.holds_up)
        case Named():
            raise NotModelledError("whether an unknown set is empty")
        case _:
            return ERROR


# --- entities ---------------------------------------------------------------------------------------------------------


def _is_within(thing: Thing, group: Symbol) -> Term | None:
    """Return that an entity is another, or in it; None if the other is no entity."""
    if not isinstance(group, Thing):
        return None
    if not is_value(group.id):
        return _is_itself(thing, group)
    is_below = value((group.type, str(group.id.data)) in thing.within)
    return some((is_below, same(thing, group)))


def _is_itself(thing: Thing, group: Thing) -> Term:
    if any(kind == group.type for kind, _ in thing.within):
        raise NotModelledError("`in` an entity that is not written out")
    return same(thing, group)


def _in(reader: Reader, given: Json, depth: int) -> Reading:
    left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
    return _among(left, right)


def _among(left: Reading, right: Reading) -> Reading:
    holds_up = every((left.holds_up, right.holds_up))
    if not isinstance(left.symbol, Thing) or holds_up is FALSE:
        return ERROR
    entries = right.symbol.entries if isinstance(right.symbol, Listed) else (right.symbol,)
    found = [_is_within(left.symbol, each) for each in entries]
    terms = [each for each in found if each is not None]
    return _bool(some(terms), holds_up) if len(terms) == len(found) else ERROR


def _is(reader: Reader, given: Json, depth: int) -> Reading:
    left = reader.read(given["left"], depth)
    if not isinstance(left.symbol, Thing):
        return ERROR
    is_type = value(left.symbol.type == given["entity_type"])
    if given.get("in") is None or is_type is FALSE:
        return _bool(is_type, left.holds_up)
    return _among(left, reader.read(given["in"], depth))


_READERS: dict[str, _Read] = {
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
    "<": _ordering(),
    "<=": _ordering(or_equal=True),
    ">": _ordering(turned=True),
    ">=": _ordering(or_equal=True, turned=True),
    "+": _sum(1),
    "-": _sum(-1),
    "*": _product,
    "neg": _negative,
    "in": _in,
    "is": _is,
    "like": _like,
    "Set": _set,
    "Record": _record,
    "contains": _contains,
    "containsAll": _comparing(_holds_all),
    "containsAny": _comparing(_holds_any),
    "isEmpty": _is_empty,
    "decimal": _literal(Kind.DECIMAL, read_decimal),
    "datetime": _literal(Kind.DATETIME, read_datetime),
    "duration": _literal(Kind.DURATION, read_duration),
    "lessThan": _decimal_ordering(),
    "lessThanOrEqual": _decimal_ordering(or_equal=True),
    "greaterThan": _decimal_ordering(turned=True),
    "greaterThanOrEqual": _decimal_ordering(or_equal=True, turned=True),
    "offset": _offset,
    "durationSince": _since,
    "toDate": _date,
    "toTime": _time,
    "toMilliseconds": _whole(1),
    "toSeconds": _whole(1_000),
    "toMinutes": _whole(60_000),
    "toHours": _whole(3_600_000),
    "toDays": _whole(86_400_000),
}


# --- policies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy: where it is satisfied, and where evaluating it errs."""

    satisfied: Term
    errs: Term


def rule_of(policy: Json, variables: Variables) -> Rule:
    """Return a policy, in Cedar's JSON format, as terms.

    Raises:
        NotModelledError: it is outside.
    """
    reader = Reader(variables)
    holds = every(_scope(policy[each], variables[each]) for each in ("principal", "action", "resource"))
    errs: Term = FALSE
    for condition in policy["conditions"]:
        if holds is FALSE:
            break
        term, holds_up = reader.truth(condition["body"], 0)
        errs = some((errs, every((holds, negated(holds_up)))))
        holds = every((holds, holds_up, term if condition["kind"] == "when" else negated(term)))
    return Rule(holds, errs)


def _scope(constraint: Json, variable: Symbol) -> Term:
    if not isinstance(variable, Thing):
        raise TypeError("a scope is of entities")
    match constraint:
        case {"op": "All"}:
            return TRUE
        case {"op": "==", "entity": entity}:
            return same(variable, constant({"__entity": entity}))
        case {"op": "in", "entities": entities}:
            return some(_in_group(variable, each) for each in entities)
        case {"op": "in", "entity": entity}:
            return _in_group(variable, entity)
        case {"op": "is", "entity_type": kind, **rest}:
            inner = rest.get("in")
            is_type = value(variable.type == kind)
            return is_type if inner is None else every((is_type, _scope({"op": "in"} | inner, variable)))
        case _:
            raise NotModelledError("its scope has a slot")


def _in_group(thing: Thing, entity: Json) -> Term:
    return _is_within(thing, constant({"__entity": entity})) or FALSE
