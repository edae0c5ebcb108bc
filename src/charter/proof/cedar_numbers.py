"""Cedar's numbers as terms: orderings, sums that err beyond 64 bits, moments and spans, values that are written out."""

from __future__ import annotations

from collections.abc import Callable

from charter.policy.cedar_value import DAY, MAX_LONG, MIN_LONG
from charter.policy.engine import Json
from charter.policy.expression import NotModelledError
from charter.proof.reading import ERROR, Read, Reading, Reads, truth_value
from charter.proof.symbol import Kind, Scalar
from charter.proof.term import Term, below, divided, either, every, is_value, plus, rest_of, times, value

_ORDERED = frozenset({Kind.LONG, Kind.DATETIME, Kind.DURATION})


def ordering(*, or_equal: bool = False, turned: bool = False) -> Read:
    """Return the reader of an ordering of numbers, moments or spans."""

    def read(reader: Reads, given: Json, depth: int) -> Reading:
        left, right = reader.read(given["left"], depth), reader.read(given["right"], depth)
        one, other = (right.symbol, left.symbol) if turned else (left.symbol, right.symbol)
        if not (isinstance(one, Scalar) and isinstance(other, Scalar)):
            return ERROR
        if one.kind is not other.kind or one.kind not in _ORDERED:
            return ERROR
        return truth_value(below(one.term, other.term, or_equal=or_equal), every((left.holds_up, right.holds_up)))

    return read


def decimal_ordering(*, or_equal: bool = False, turned: bool = False) -> Read:
    """Return the reader of an ordering of decimals."""

    def read(reader: Reads, given: list[Json], depth: int) -> Reading:
        (left, left_up), (right, right_up) = (reader.scalar(each, Kind.DECIMAL, depth) for each in given)
        one, other = (right, left) if turned else (left, right)
        return truth_value(below(one, other, or_equal=or_equal), every((left_up, right_up)))

    return read


def _bounded(kind: Kind, term: Term, holds_up: Term) -> Reading:
    """Return a number that errs where 64 bits do not hold it."""
    low = below(value(MIN_LONG), term, or_equal=True)
    high = below(term, value(MAX_LONG), or_equal=True)
    return Reading(Scalar(kind, term), every((holds_up, low, high)))


def adding(sign: int) -> Read:
    """Return the reader of a sum, or with -1 a difference."""

    def read(reader: Reads, given: Json, depth: int) -> Reading:
        (left, left_up), (right, right_up) = (
            reader.scalar(given[side], Kind.LONG, depth) for side in ("left", "right")
        )
        return _bounded(Kind.LONG, plus(left, times(right, sign)), every((left_up, right_up)))

    return read


def product(reader: Reads, given: Json, depth: int) -> Reading:
    """Read a product, one factor of which is written out."""
    (left, left_up), (right, right_up) = (reader.scalar(given[side], Kind.LONG, depth) for side in ("left", "right"))
    if is_value(left):
        left, right = right, left
    if not is_value(right):
        raise NotModelledError("a product of two numbers of which neither is written out")
    return _bounded(Kind.LONG, times(left, right.data), every((left_up, right_up)))


def negative(reader: Reads, given: Json, depth: int) -> Reading:
    """Read a number with the other sign."""
    term, holds_up = reader.scalar(given["arg"], Kind.LONG, depth)
    return _bounded(Kind.LONG, times(term, -1), holds_up)


def offset(reader: Reads, given: list[Json], depth: int) -> Reading:
    """Read a moment moved by a span."""
    moment, moment_up = reader.scalar(given[0], Kind.DATETIME, depth)
    span, span_up = reader.scalar(given[1], Kind.DURATION, depth)
    return _bounded(Kind.DATETIME, plus(moment, span), every((moment_up, span_up)))


def since(reader: Reads, given: list[Json], depth: int) -> Reading:
    """Read the span between two moments."""
    (one, one_up), (other, other_up) = (reader.scalar(each, Kind.DATETIME, depth) for each in given)
    return _bounded(Kind.DURATION, plus(one, times(other, -1)), every((one_up, other_up)))


def date_of(reader: Reads, given: list[Json], depth: int) -> Reading:
    """Read the day of a moment."""
    moment, holds_up = reader.scalar(given[0], Kind.DATETIME, depth)
    return _bounded(Kind.DATETIME, times(divided(moment, DAY), DAY), holds_up)


def time_of(reader: Reads, given: list[Json], depth: int) -> Reading:
    """Read the span since its day began."""
    moment, holds_up = reader.scalar(given[0], Kind.DATETIME, depth)
    return Reading(Scalar(Kind.DURATION, rest_of(moment, DAY)), holds_up)


def whole(unit: int) -> Read:
    """Return the reader of a span in whole units of so many milliseconds, towards zero."""

    def read(reader: Reads, given: list[Json], depth: int) -> Reading:
        span, holds_up = reader.scalar(given[0], Kind.DURATION, depth)
        is_negative = below(span, value(0))
        towards_zero = either(is_negative, times(divided(times(span, -1), unit), -1), divided(span, unit))
        return Reading(Scalar(Kind.LONG, towards_zero), holds_up)

    return read


def literal(kind: Kind, read_text: Callable[[str], int | None]) -> Read:
    """Return the reader of an extension value that is written out."""

    def read(_reader: Reads, given: list[Json], _depth: int) -> Reading:
        match given:
            case [{"Value": str(text)}]:
                found = read_text(text)
                if found is not None:
                    return Reading(Scalar(kind, value(int(found))))
            case _:
                pass
        raise NotModelledError("an extension value that is not written out")

    return read
