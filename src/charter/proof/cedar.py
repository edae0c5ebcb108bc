"""Cedar's expressions as terms: for each its value, and whether it has one.

    resource.path like "charge/*" && context.arguments has amount

Each expression comes to a `Reading`: its value as a symbol, and the term that says where evaluating it makes no
error. So an erring policy is one that is not satisfied, as in Cedar, and a sum that passes 64 bits errs here where it
errs there. Numbers stand in `cedar_numbers.py`, sets and equality in `cedar_sets.py`.

Outside, and so never proven (`docs/proof.md` tells it to readers): tags, `ip`, extension values that are not written
out, slots, products of two unknown numbers, attributes of an entity other than principal and resource, an unknown
text asked of an unknown set, two unknown sets compared, branches of `if` of two types or of sets, and what nests
deeper than the bounds.

INVARIANT: what is not modelled raises `NotModelledError`; nothing is approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from charter.policy.cedar_literal import read_datetime, read_decimal, read_duration
from charter.policy.engine import Json
from charter.policy.expression import NotModelledError, uid_of
from charter.proof.cedar_numbers import (
    adding,
    date_of,
    decimal_ordering,
    literal,
    negative,
    offset,
    ordering,
    product,
    since,
    time_of,
    whole,
)
from charter.proof.cedar_sets import comparing, contains, holds_all, holds_any, is_empty, listed, record, same
from charter.proof.reading import ERROR, Read, Reading, Reads, Variables, plain_text, truth_value
from charter.proof.symbol import Fields, Kind, Listed, Scalar, Symbol, Thing
from charter.proof.term import (
    FALSE,
    TRUE,
    Term,
    either,
    every,
    implied,
    is_value,
    like,
    negated,
    some,
    value,
)

MAX_DEPTH = 60
MAX_NODES = 4_000


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
        return Scalar(Kind.TEXT, value(plain_text(given)))
    if isinstance(given, dict) and given.keys() == {"__entity"}:
        kind, name = uid_of(given["__entity"])
        return Thing(kind, value(plain_text(name)))
    raise NotModelledError("a value that is not written plainly")


def _value(_reader: Reads, given: Any, _depth: int) -> Reading:  # noqa: ANN401
    return Reading(constant(given))


def _variable(reader: Reads, name: str, _depth: int) -> Reading:
    if name not in reader.variables:
        raise NotModelledError(f"`{name}` is not modelled")
    return Reading(reader.variables[name])


def _fields(found: Reading) -> Fields | None:
    if isinstance(found.symbol, Thing):
        if found.symbol.attributes is None:
            raise NotModelledError("attributes of an entity that is written out")
        return found.symbol.attributes
    return found.symbol if isinstance(found.symbol, Fields) else None


def _get(reader: Reads, given: Json, depth: int) -> Reading:
    base = reader.read(given["left"], depth)
    fields = _fields(base)
    found = None if fields is None else fields.members.get(given["attr"])
    if found is None:
        return ERROR
    return Reading(found[1], every((base.holds_up, found[0])))


def _has(reader: Reads, given: Json, depth: int) -> Reading:
    base = reader.read(given["left"], depth)
    fields = _fields(base)
    return ERROR if fields is None else truth_value(fields.presence(given["attr"]), base.holds_up)


# --- truth ------------------------------------------------------------------------------------------------------------


def _and(reader: Reads, given: Json, depth: int) -> Reading:
    left, left_up = reader.truth(given["left"], depth)
    if left is FALSE:
        return truth_value(FALSE, left_up)
    right, right_up = reader.truth(given["right"], depth)
    return truth_value(every((left, right)), every((left_up, implied(left, right_up))))


def _or(reader: Reads, given: Json, depth: int) -> Reading:
    left, left_up = reader.truth(given["left"], depth)
    if left is TRUE:
        return truth_value(TRUE, left_up)
    right, right_up = reader.truth(given["right"], depth)
    return truth_value(some((left, right)), every((left_up, some((left, right_up)))))


def _not(reader: Reads, given: Json, depth: int) -> Reading:
    term, holds_up = reader.truth(given["arg"], depth)
    return truth_value(negated(term), holds_up)


def _if(reader: Reads, given: Json, depth: int) -> Reading:
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


def _equal(reader: Reads, given: Json, depth: int) -> Reading:
    left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
    holds_up = every((left.holds_up, right.holds_up))
    return truth_value(FALSE if holds_up is FALSE else same(left.symbol, right.symbol), holds_up)


def _unequal(reader: Reads, given: Json, depth: int) -> Reading:
    found = _equal(reader, given, depth)
    return truth_value(negated(_term_of(found)), found.holds_up)


def _term_of(found: Reading) -> Term:
    if not isinstance(found.symbol, Scalar):
        raise TypeError("no plain value")
    return found.symbol.term


# --- texts ------------------------------------------------------------------------------------------------------------


def _like(reader: Reads, given: Json, depth: int) -> Reading:
    text, holds_up = reader.scalar(given["left"], Kind.TEXT, depth)
    parts = [""]
    for each in given["pattern"]:
        if each == "Wildcard":
            parts.append("")
        else:
            parts[-1] += plain_text(each["Literal"])
    return truth_value(like(text, tuple(parts)), holds_up)


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


def _in(reader: Reads, given: Json, depth: int) -> Reading:
    left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
    return _among(left, right)


def _among(left: Reading, right: Reading) -> Reading:
    holds_up = every((left.holds_up, right.holds_up))
    if not isinstance(left.symbol, Thing) or holds_up is FALSE:
        return ERROR
    entries = right.symbol.entries if isinstance(right.symbol, Listed) else (right.symbol,)
    found = [_is_within(left.symbol, each) for each in entries]
    terms = [each for each in found if each is not None]
    return truth_value(some(terms), holds_up) if len(terms) == len(found) else ERROR


def _is(reader: Reads, given: Json, depth: int) -> Reading:
    left = reader.read(given["left"], depth)
    if not isinstance(left.symbol, Thing):
        return ERROR
    is_type = value(left.symbol.type == given["entity_type"])
    if given.get("in") is None or is_type is FALSE:
        return truth_value(is_type, left.holds_up)
    return _among(left, reader.read(given["in"], depth))


_READERS: dict[str, Read] = {
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
    "<": ordering(),
    "<=": ordering(or_equal=True),
    ">": ordering(turned=True),
    ">=": ordering(or_equal=True, turned=True),
    "+": adding(1),
    "-": adding(-1),
    "*": product,
    "neg": negative,
    "in": _in,
    "is": _is,
    "like": _like,
    "Set": listed,
    "Record": record,
    "contains": contains,
    "containsAll": comparing(holds_all),
    "containsAny": comparing(holds_any),
    "isEmpty": is_empty,
    "decimal": literal(Kind.DECIMAL, read_decimal),
    "datetime": literal(Kind.DATETIME, read_datetime),
    "duration": literal(Kind.DURATION, read_duration),
    "lessThan": decimal_ordering(),
    "lessThanOrEqual": decimal_ordering(or_equal=True),
    "greaterThan": decimal_ordering(turned=True),
    "greaterThanOrEqual": decimal_ordering(or_equal=True, turned=True),
    "offset": offset,
    "durationSince": since,
    "toDate": date_of,
    "toTime": time_of,
    "toMilliseconds": whole(1),
    "toSeconds": whole(1_000),
    "toMinutes": whole(60_000),
    "toHours": whole(3_600_000),
    "toDays": whole(86_400_000),
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
