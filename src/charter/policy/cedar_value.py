"""Cedar's values as Python holds them, and what Cedar does with them where Python would do otherwise.

    Bool, Long, String   bool, int, str, by their exact types     Set      frozenset of `element`s
    decimal              Fixed: an int of 1/10,000                Record   dict
    datetime, duration   Moment, Span: ints of milliseconds       entity   its uid, (type, id)

Python is laxer than Cedar: `True + 1` is 2, `'x' * 9` repeats, `1 == True`, and a number has no end. So:

INVARIANT: nothing here takes a value of another exact type than it names; what Cedar would call an error raises
`EvaluationError`.
INVARIANT: two values are the same only if they are of one type: `1`, `true` and `decimal("0.0001")` are three values,
also within sets and records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
DAY = 86_400_000  # milliseconds
Value = Any
Uid = tuple[str, str]  # type, id
Record = dict[str, Value]


class EvaluationError(Exception):
    """What Cedar would report as an error of the policy."""


class Fixed(int):
    """A decimal, in 1/10,000."""

    __slots__ = ()


class Moment(int):
    """A datetime, in milliseconds since 1970."""

    __slots__ = ()


class Span(int):
    """A duration, in milliseconds."""

    __slots__ = ()


def fail() -> Any:  # noqa: ANN401 - it stands where a value would
    """Raise: a value is of a type that Cedar does not take here."""
    raise EvaluationError("type error")


def element(value: Value) -> Any:  # noqa: ANN401 - a hashable form
    """Return `value` as sets hold it: equal forms are equal values of one type.

    Texts and uids stand for themselves; all else is tagged by its type, which no uid begins with.
    """
    kind = type(value)
    if kind is str or kind is tuple:
        return value
    if kind is dict:
        return (kind, frozenset((name, element(each)) for name, each in value.items()))
    return (kind, value)


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal; values of different types are not."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is dict:
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(left == right)


def are_ordered(left: Value, right: Value) -> bool:
    """Whether `<` is defined between two values."""
    kind = type(left)
    return kind is type(right) and kind in (int, Moment, Span)


def _long(value: int) -> int:
    if MIN_LONG <= value <= MAX_LONG:
        return value
    raise EvaluationError("overflow")


def add(left: Value, right: Value) -> int:
    """Return the sum of two longs."""
    return _long(left + right) if type(left) is type(right) is int else fail()


def subtract(left: Value, right: Value) -> int:
    """Return the difference of two longs."""
    return _long(left - right) if type(left) is type(right) is int else fail()


def multiply(left: Value, right: Value) -> int:
    """Return the product of two longs."""
    return _long(left * right) if type(left) is type(right) is int else fail()


def negate(value: Value) -> int:
    """Return a long with the other sign."""
    return _long(-value) if type(value) is int else fail()


def is_like(text: str, parts: Sequence[str]) -> bool:
    """Whether `text` is `parts` in their order, with anything between them; two at least.

    Takes the leftmost place of each part, which is enough where only the whole matters: linear, whatever the text.
    """
    first, last = parts[0], parts[-1]
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


# --- dates and times (RFC 80 of Cedar) --------------------------------------------------------------------------------


def offset(moment: Value, span: Value) -> Moment:
    """Return `datetime.offset(duration)`."""
    return Moment(_long(moment + span)) if type(moment) is Moment and type(span) is Span else fail()


def duration_since(moment: Value, other: Value) -> Span:
    """Return `datetime.durationSince(datetime)`."""
    return Span(_long(moment - other)) if type(moment) is type(other) is Moment else fail()


def to_date(moment: Value) -> Moment:
    """Return midnight of the moment's day."""
    return Moment(_long(moment // DAY * DAY)) if type(moment) is Moment else fail()


def to_time(moment: Value) -> Span:
    """Return how long after midnight the moment is."""
    return Span(moment % DAY) if type(moment) is Moment else fail()


def whole(span: Value, unit: int) -> int:
    """Return how many units of `unit` milliseconds the span holds, towards zero."""
    if type(span) is not Span:
        return int(fail())
    return -(-span // unit) if span < 0 else span // unit
