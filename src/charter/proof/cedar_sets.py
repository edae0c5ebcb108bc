"""Cedar's sets and records as terms, and when two values are equal, which is the same question for sets."""

from __future__ import annotations

from collections.abc import Callable

from charter.policy.engine import Json
from charter.policy.expression import NotModelledError
from charter.proof.reading import ERROR, Read, Reading, Reads, truth_value
from charter.proof.symbol import Fields, Kind, Listed, Named, Scalar, Symbol, Thing
from charter.proof.term import FALSE, TRUE, Term, equal, every, has, implied, is_value, negated, some, value, within


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
            return every((holds_all(one, other), holds_all(other, one)))
        case _:
            return FALSE


def _same_member(one: Fields, other: Fields, name: str) -> Term:
    left, right = one.presence(name), other.presence(name)
    if left is FALSE or right is FALSE:
        return negated(some((left, right)))
    values = same(one.members[name][1], other.members[name][1])
    return every((equal(left, right), implied(left, values)))


def listed(reader: Reads, given: list[Json], depth: int) -> Reading:
    """Read a set that is written out."""
    found = [reader.read(each, depth) for each in given]
    return Reading(Listed(tuple(each.symbol for each in found)), every(each.holds_up for each in found))


def record(reader: Reads, given: Json, depth: int) -> Reading:
    """Read a record that is written out."""
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


def holds_all(held: Symbol, others: Symbol) -> Term:
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


def holds_any(held: Symbol, others: Symbol) -> Term:
    """Return that a set holds one of those that another one holds."""
    match held, others:
        case _, Listed(entries):
            return some(_holds(held, each) for each in entries)
        case Listed(entries), Named():
            return some(_holds(others, each) for each in entries)
        case _:
            raise NotModelledError("two unknown sets compared")


def contains(reader: Reads, given: Json, depth: int) -> Reading:
    """Read whether a set holds a value."""
    held, one = reader.read(given["left"], depth), reader.read(given["right"], depth)
    holds_up = every((held.holds_up, one.holds_up))
    if not _is_set(held) or holds_up is FALSE:
        return ERROR
    return truth_value(_holds(held.symbol, one.symbol), holds_up)


def comparing(compare: Callable[[Symbol, Symbol], Term]) -> Read:
    """Return the reader of a comparison of two sets."""

    def read(reader: Reads, given: Json, depth: int) -> Reading:
        left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
        holds_up = every((left.holds_up, right.holds_up))
        if not (_is_set(left) and _is_set(right)) or holds_up is FALSE:
            return ERROR
        return truth_value(compare(left.symbol, right.symbol), holds_up)

    return read


def is_empty(reader: Reads, given: Json, depth: int) -> Reading:
    """Read whether a set is empty."""
    found = reader.read(given["arg"], depth)
    match found.symbol:
        case Listed(entries):
            return truth_value(value(not entries), found.holds_up)
        case Named(name, None):
            return truth_value(within(name, ()), found.holds_up)
        case Named():
            raise NotModelledError("whether an unknown set is empty")
        case _:
            return ERROR
