"""What one argument of a call is put to, each in two tongues: as Cedar text, and as a question about the argument.

INVARIANT: `holds` and its text are true only of what is surely so. An argument that is missing, of another form, in
another unit or not an exact decimal satisfies nothing.
INVARIANT: `fails` and its text are true only of what is surely not so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from charter.core.values import Source
from charter.policy.cedar_text import attribute, decimal, is_identifier, key, pattern, quoted, strings
from charter.policy.like import is_like
from charter.policy.vocabulary import Argument
from charter.registry.charter import ArgumentCondition, Quantity, Scalar
from charter.registry.unit import normal

Bound = Literal["max", "min", "over", "under"]
_METHODS: dict[Bound, str] = {
    "max": "lessThanOrEqual",
    "min": "greaterThanOrEqual",
    "over": "greaterThan",
    "under": "lessThan",
}
SizeForm = Literal["length", "items"]
_SIZES: dict[str, SizeForm] = {"max_length": "length", "max_items": "items"}
_OPPOSITES: dict[Bound, Bound] = {"max": "over", "min": "under", "over": "max", "under": "min"}


def form_path(name: str, form: str) -> tuple[str, str]:
    """Return the guard that an argument has a form, and the path to it."""
    base = attribute("context.arguments", name)
    if is_identifier(name):
        return f"context.arguments has {name}.{form}", f"{base}.{form}"
    return f"context.arguments has {key(name)} && {base} has {form}", f"{base}.{form}"


@dataclass(frozen=True, slots=True)
class QuantityTest:
    """An argument compared with a quantity: `amount: {max: 200 EUR}`."""

    argument: str
    bound: Bound
    limit: Quantity
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether `argument` surely satisfies the test."""
        return self._is_comparable(argument) and _compare(self.bound, argument.quantity, self._limit[0])

    def fails(self, argument: Argument) -> bool:
        """Whether `argument` surely does not satisfy the test."""
        return self._is_comparable(argument) and not _compare(self.bound, argument.quantity, self._limit[0])

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        return self._text(self.bound)

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        return self._text(_OPPOSITES[self.bound])

    def _text(self, bound: Bound) -> str:
        guard, path = form_path(self.argument, "quantity")
        value, unit = self._limit
        same = f"{path}.unit == {quoted(unit)}"
        return f"{guard} && {same} && {path}.value.{_METHODS[bound]}({decimal(value)})"

    @property
    def _limit(self) -> tuple[Decimal, str]:
        """The limit, in the unit that amounts are told in."""
        value, unit = normal(self.limit.value, self.limit.unit)
        return value, unit or ""

    def _is_comparable(self, argument: Argument) -> bool:
        return argument.quantity is not None and argument.quantity[1] == self._limit[1]


def _compare(bound: Bound, quantity: tuple[Decimal, str] | None, limit: Decimal) -> bool:
    if quantity is None:
        return False
    value = quantity[0]
    match bound:
        case "max":
            return value <= limit
        case "min":
            return value >= limit
        case "over":
            return value > limit
        case "under":
            return value < limit


@dataclass(frozen=True, slots=True)
class ChoiceTest:
    """An argument that must be one of some values: `equals` is one of one."""

    argument: str
    choices: tuple[Scalar, ...]
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether `argument` surely is one of the choices."""
        return any(argument.form(form) in values for form, values in self._by_form())

    def fails(self, argument: Argument) -> bool:
        """Whether `argument` surely is none of the choices: it has the form of each, and the value of none."""
        return all(
            argument.form(form) is not None and argument.form(form) not in values for form, values in self._by_form()
        )

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        terms = []
        for form, values in self._by_form():
            guard, path = form_path(self.argument, form)
            terms.append(f"{guard} && {_is_among(path, values)}")
        return " || ".join(f"({term})" for term in terms) if len(terms) > 1 else terms[0]

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        terms = []
        for form, values in self._by_form():
            guard, path = form_path(self.argument, form)
            terms.append(f"{guard} && !({_is_among(path, values)})")
        return " && ".join(terms)

    def _by_form(self) -> list[tuple[str, list[Any]]]:
        """Return the choices under the form of argument they can equal."""
        forms: dict[str, list[Any]] = {}
        for choice in self.choices:
            form = "flag" if isinstance(choice, bool) else "text" if isinstance(choice, str) else "number"
            forms.setdefault(form, []).append(choice)
        return list(forms.items())


def _is_among(path: str, values: Sequence[Scalar]) -> str:
    literals = [_literal(value) for value in values]
    return f"{path} == {literals[0]}" if len(literals) == 1 else f"[{', '.join(literals)}].contains({path})"


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True)
class LikeTest:
    """An argument whose text must match a pattern."""

    argument: str
    pattern: str
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether `argument` surely matches."""
        return argument.text is not None and is_like(argument.text, self.pattern)

    def fails(self, argument: Argument) -> bool:
        """Whether `argument` surely does not match."""
        return argument.text is not None and not is_like(argument.text, self.pattern)

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        guard, path = form_path(self.argument, "text")
        return f"{guard} && {path} like {pattern(self.pattern)}"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = form_path(self.argument, "text")
        return f"{guard} && !({path} like {pattern(self.pattern)})"


@dataclass(frozen=True, slots=True)
class SizeTest:
    """A text of at most some characters, or a list of at most some entries."""

    argument: str
    form: SizeForm
    most: int
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether `argument` surely is no longer."""
        size = argument.form(self.form)
        return size is not None and size <= self.most

    def fails(self, argument: Argument) -> bool:
        """Whether `argument` surely is longer."""
        size = argument.form(self.form)
        return size is not None and size > self.most

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        guard, path = form_path(self.argument, self.form)
        return f"{guard} && {path} <= {self.most}"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = form_path(self.argument, self.form)
        return f"{guard} && {path} > {self.most}"


@dataclass(frozen=True, slots=True)
class EachTest:
    """A list of texts, or one text, each of which must be one of some values."""

    argument: str
    choices: tuple[str, ...]
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether every entry surely is one of the choices."""
        return argument.texts is not None and argument.texts <= set(self.choices)

    def fails(self, argument: Argument) -> bool:
        """Whether some entry surely is none of the choices."""
        return argument.texts is not None and not argument.texts <= set(self.choices)

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        guard, path = form_path(self.argument, "texts")
        return f"{guard} && {strings(self.choices)}.containsAll({path})"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = form_path(self.argument, "texts")
        return f"{guard} && !({strings(self.choices)}.containsAll({path}))"


@dataclass(frozen=True, slots=True)
class EachLikeTest:
    """A list of texts, or one text, each of which must match a pattern: the call is told with those that all match."""

    argument: str
    pattern: str
    source: Source | None = None

    def holds(self, argument: Argument) -> bool:
        """Whether every entry surely matches."""
        return argument.alike is not None and self.pattern in argument.alike

    def fails(self, argument: Argument) -> bool:
        """Whether some entry surely does not match."""
        return argument.alike is not None and self.pattern not in argument.alike

    def holds_text(self) -> str:
        """Return `holds` in Cedar."""
        guard, path = form_path(self.argument, "alike")
        return f"{guard} && {path}.contains({quoted(self.pattern)})"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = form_path(self.argument, "alike")
        return f"{guard} && !({path}.contains({quoted(self.pattern)}))"


Test = QuantityTest | ChoiceTest | LikeTest | SizeTest | EachTest | EachLikeTest


def tests_of(argument: str, condition: ArgumentCondition, places: dict[str, Source | None]) -> tuple[Test, ...]:
    """Return the tests that `condition` puts `argument` to, each with its place; all must hold."""
    tests: list[Test] = []
    for bound in _METHODS:
        limit: Quantity | None = getattr(condition, bound)
        if limit is not None:
            tests.append(QuantityTest(argument, bound, limit, places.get(bound)))
    if condition.equals is not None:
        tests.append(ChoiceTest(argument, (condition.equals,), places.get("equals")))
    if condition.one_of is not None:
        tests.append(ChoiceTest(argument, condition.one_of, places.get("one_of")))
    if condition.like is not None:
        tests.append(LikeTest(argument, condition.like, places.get("like")))
    for field, form in _SIZES.items():
        most: int | None = getattr(condition, field)
        if most is not None:
            tests.append(SizeTest(argument, form, most, places.get(field)))
    if condition.each_of is not None:
        tests.append(EachTest(argument, condition.each_of, places.get("each_of")))
    if condition.each_like is not None:
        tests.append(EachLikeTest(argument, condition.each_like, places.get("each_like")))
    return tuple(tests)
