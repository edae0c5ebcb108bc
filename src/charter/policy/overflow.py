"""Arithmetic in Cedar that leaves Cedar's range: told when files are checked, not first when a call is denied for it.

Each number is bounded from below and above: what is written out exactly, what a call gives by what it can be. An
overflow is *sure* where even the bounds nearest to zero lie outside; it is *possible* where some number that a call may
well give (a million millions) leads out of range.

Cedar errs where arithmetic overflows, and an error denies; so nothing is let through, but a rule means another thing
than it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charter.policy.cedar_literal import read_datetime, read_duration
from charter.policy.cedar_value import MAX_LONG, MIN_LONG
from charter.policy.engine import Json
from charter.registry.field import MINUTES_A_DAY

LIKELY = 10**12  # of a number that a call gives
_LAST_MOMENT = 253_402_300_799_999  # the last millisecond of the year 9999
_KNOWN: dict[str, tuple[int, int]] = {
    "minute": (0, MINUTES_A_DAY),
    "depth": (0, 8),
    "length": (0, LIKELY),
    "items": (0, LIKELY),
    "now": (0, _LAST_MOMENT),
}
_SPELLED = frozenset({"+", "-", "*", "neg", "offset", "durationSince"})
_AS = {"neg": "-", "offset": "+", "durationSince": "-"}  # what an operation does to numbers


@dataclass(frozen=True, slots=True)
class Overflow:
    """An operation whose outcome leaves the range of a Long."""

    operator: str  # as it is written: `*`, `offset`
    literals: tuple[str, ...]  # what is written out beside it, by which its place is found
    is_sure: bool


@dataclass(frozen=True, slots=True)
class _Range:
    low: int
    high: int

    @property
    def is_outside(self) -> bool:
        return self.high < MIN_LONG or self.low > MAX_LONG

    @property
    def leads_outside(self) -> bool:
        return self.low < MIN_LONG or self.high > MAX_LONG

    @property
    def held(self) -> _Range:
        """The range as far as it is within a Long, so that one overflow is told once."""
        return _Range(max(MIN_LONG, min(self.low, MAX_LONG)), min(MAX_LONG, max(self.high, MIN_LONG)))


_ANY = _Range(-LIKELY, LIKELY)


def overflows(policy: Json) -> Iterator[Overflow]:
    """Yield the arithmetic of a parsed policy that leaves the range, each operation once."""
    for condition in policy["conditions"]:
        found: list[Overflow] = []
        _bounds(condition["body"], found)
        yield from found


def _bounds(node: Any, found: list[Overflow]) -> _Range:  # noqa: ANN401 - any JSON value
    """Return the bounds of a number, a moment or a span, in milliseconds; those of anything else mean nothing."""
    known = _literal(node)
    if known is not None:
        return _Range(known, known)
    match node:
        case {".": {"left": left, "attr": str() as name}}:
            _bounds(left, found)
            return _Range(*_KNOWN[name]) if name in _KNOWN else _ANY
        case {"if-then-else": {"if": test, "then": one, "else": other}}:
            _bounds(test, found)
            ways = (_bounds(one, found), _bounds(other, found))
            return _Range(min(each.low for each in ways), max(each.high for each in ways))
        case dict() if len(node) == 1 and (name := next(iter(node))) in _SPELLED:
            return _counted(name, node[name], found)
        case dict() | list():
            for each in node.values() if isinstance(node, dict) else node:
                _bounds(each, found)
        case _:
            pass
    return _ANY


def _literal(node: Any) -> int | None:  # noqa: ANN401
    """Return the number that a node writes out, or the milliseconds; None if it writes out none."""
    match node:
        case {"Value": int() as number}:
            return int(number)
        case {"datetime": [{"Value": str() as text}]}:
            return read_datetime(text)
        case {"duration": [{"Value": str() as text}]}:
            return read_duration(text)
        case _:
            return None


def _counted(name: str, given: Any, found: list[Overflow]) -> _Range:  # noqa: ANN401
    """Return the bounds of an operation's outcome, and note where it leaves the range."""
    operands = list(given.values()) if isinstance(given, dict) else list(given)
    bounds = [_bounds(each, found) for each in operands]
    outcome = (
        _combined(_AS.get(name, name), _Range(0, 0), bounds[0])
        if len(bounds) == 1
        else _combined(_AS.get(name, name), bounds[0], bounds[1])
    )
    if outcome.leads_outside:
        literals = tuple(text for each in operands for text in _literals(each))
        found.append(Overflow("-" if name == "neg" else name, literals, outcome.is_outside))
    return outcome.held


def _combined(operator: str, left: _Range, right: _Range) -> _Range:
    if operator == "+":
        return _Range(left.low + right.low, left.high + right.high)
    if operator == "-":
        return _Range(left.low - right.high, left.high - right.low)
    corners = [one * other for one in (left.low, left.high) for other in (right.low, right.high)]
    return _Range(min(corners), max(corners))


def _literals(node: Any) -> Iterator[str]:  # noqa: ANN401
    match node:
        case {"Value": int() as number}:
            yield str(abs(number))
        case {"datetime": [{"Value": str() as text}]} | {"duration": [{"Value": str() as text}]}:
            yield text
        case _:
            pass
