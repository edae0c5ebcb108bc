"""The conditions of a grant, each in two tongues: as Cedar text, and as a question about one call.

Decisions are made by the Cedar text alone. The other tongue serves explanations, which must name the condition that
failed; property tests hold the two equal.

INVARIANT: `holds` and its text are true only of what is surely so. An argument that is missing, of another form, in
another unit or not an exact decimal satisfies nothing.
INVARIANT: `fails` and its text are true only of what is surely not so: an approval falls away only when its condition
surely does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from charter.core.values import Source
from charter.policy.cedar_text import any_of, attribute, decimal, entity, is_identifier, key, pattern, quoted, strings
from charter.policy.like import is_like
from charter.policy.vocabulary import Argument, Question, action_id
from charter.registry.charter import DAYS, ArgumentCondition, Hours, Quantity, Scalar
from charter.registry.delegation import HUMANS
from charter.registry.grant import Delegated
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


def _form_path(name: str, form: str) -> tuple[str, str]:
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
        guard, path = _form_path(self.argument, "quantity")
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
            guard, path = _form_path(self.argument, form)
            terms.append(f"{guard} && {_is_among(path, values)}")
        return " || ".join(f"({term})" for term in terms) if len(terms) > 1 else terms[0]

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        terms = []
        for form, values in self._by_form():
            guard, path = _form_path(self.argument, form)
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
        guard, path = _form_path(self.argument, "text")
        return f"{guard} && {path} like {pattern(self.pattern)}"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = _form_path(self.argument, "text")
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
        guard, path = _form_path(self.argument, self.form)
        return f"{guard} && {path} <= {self.most}"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = _form_path(self.argument, self.form)
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
        guard, path = _form_path(self.argument, "texts")
        return f"{guard} && {strings(self.choices)}.containsAll({path})"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = _form_path(self.argument, "texts")
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
        guard, path = _form_path(self.argument, "alike")
        return f"{guard} && {path}.contains({quoted(self.pattern)})"

    def fails_text(self) -> str:
        """Return `fails` in Cedar."""
        guard, path = _form_path(self.argument, "alike")
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


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """A test with the actions that are free of it: those that read and have no such amount (see grant.py)."""

    test: Test
    free: tuple[str, ...] = ()  # action ids

    def is_free(self, question: Question) -> bool:
        """Whether the test says nothing about this call."""
        return question.action in self.free and self.test.argument not in question.given

    def holds(self, question: Question) -> bool:
        """Whether the call surely satisfies the test, or is free of it."""
        argument = question.argument(self.test.argument)
        return self.is_free(question) or (argument is not None and self.test.holds(argument))

    def surely_not(self, question: Question) -> bool:
        """Whether the call surely does not satisfy the test, or is free of it."""
        argument = question.argument(self.test.argument)
        return self.is_free(question) or (argument is not None and self.test.fails(argument))

    def clauses(self) -> list[str]:
        """Return `holds` as the terms of a disjunction."""
        return self._with_free(self.test.holds_text())

    def surely_not_terms(self) -> list[str]:
        """Return `surely_not` as the terms of a disjunction."""
        return self._with_free(self.test.fails_text())

    def _with_free(self, text: str) -> list[str]:
        return [free_text(self.free, self.test.argument), f"({text})"] if self.free else [text]


def free_text(free: Sequence[str], argument: str) -> str:
    """Return, in Cedar, that the action is one of `free` and the call does not bring `argument`."""
    actions = ", ".join(entity("Action", action) for action in free)
    return f"(action in [{actions}] && !(context.arguments has {key(argument)}))"


@dataclass(frozen=True, slots=True)
class SumRule:
    """What a limit on a sum needs: an amount in its unit, not below zero, or it could not be counted."""

    argument: str
    unit: str
    free: tuple[str, ...] = ()
    source: Source | None = None

    def holds(self, question: Question) -> bool:
        """Whether the call can be counted, or is free of it."""
        argument = question.argument(self.argument)
        if argument is None:
            return question.action in self.free
        return argument.quantity is not None and argument.quantity[1] == self.unit and argument.quantity[0] >= 0

    def clauses(self) -> list[str]:
        """Return `holds` as the terms of a disjunction."""
        guard, path = _form_path(self.argument, "quantity")
        floor = f"{path}.value.greaterThanOrEqual({decimal(Decimal(0))})"
        text = f"{guard} && {path}.unit == {quoted(self.unit)} && {floor}"
        return [free_text(self.free, self.argument), f"({text})"] if self.free else [text]


@dataclass(frozen=True, slots=True)
class ObjectRule:
    """The call's object must match one of some patterns."""

    patterns: tuple[str, ...]
    source: Source | None = None
    told: tuple[str, ...] = ()  # as the charter says it: "`charge/*`", "anything under `page/hr`"

    def holds(self, question: Question) -> bool:
        """Whether the call's object matches."""
        return any(is_like(question.path, each) for each in self.patterns)

    def clauses(self) -> list[str]:
        """Return `holds` as the terms of a disjunction."""
        return [f"resource.path like {pattern(each)}" for each in self.patterns]


@dataclass(frozen=True, slots=True)
class WindowRule:
    """When the call may be made: hours of the day, days of the week, working days of a calendar, or some of these.

    A window that crosses midnight belongs to the day it opens on: `22:00-06:00` on `fri` ends on Saturday at six.
    Days without hours are days in UTC.
    """

    hours: Hours | None
    days: tuple[str, ...] | None
    hours_source: Source | None = None
    days_source: Source | None = None
    workdays: str | None = None  # the calendar's name
    workdays_source: Source | None = None

    @property
    def zone(self) -> str:
        """The time zone the window is told in."""
        return self.hours.zone if self.hours else "UTC"

    def holds(self, question: Question) -> bool:
        """Whether the call's time lies in the window."""
        local = question.local[self.zone]
        today = self._is_day(local["day"], self.days) and self._is_workday(local["workdays"])
        if self.hours is None:
            return today
        minute = local["minute"]
        if self.hours.start < self.hours.end:
            return bool(today and self.hours.start <= minute < self.hours.end)
        since_yesterday = self._is_day(local["day"], self.next_days) and self._is_workday(local["before"])
        return bool((today and minute >= self.hours.start) or (since_yesterday and minute < self.hours.end))

    @property
    def next_days(self) -> tuple[str, ...] | None:
        """The days after its days."""
        return None if self.days is None else following(self.days)

    def _is_day(self, day: str, days: tuple[str, ...] | None) -> bool:
        return days is None or day in days

    def _is_workday(self, calendars: Collection[str]) -> bool:
        return self.workdays is None or self.workdays in calendars

    def conditions(self) -> list[str]:
        """Return `holds` in Cedar, as texts that must all hold."""
        local = attribute("context.local", self.zone)
        today = self._day_texts(f"{local}.day", f"{local}.workdays", self.days)
        if self.hours is None:
            return today
        start, end = f"{local}.minute >= {self.hours.start}", f"{local}.minute < {self.hours.end}"
        if self.hours.start < self.hours.end:
            return [f"{start} && {end}", *today]
        if not today:
            return [f"{start} || {end}"]
        before = self._day_texts(f"{local}.day", f"{local}.before", self.next_days)
        return [f"({' && '.join([start, *today])}) || ({' && '.join([end, *before])})"]

    def _day_texts(self, day: str, calendars: str, days: tuple[str, ...] | None) -> list[str]:
        texts = [] if days is None else [f"{strings(days)}.contains({day})"]
        return texts if self.workdays is None else [*texts, f"{calendars}.contains({quoted(self.workdays)})"]


def following(days: Sequence[str]) -> tuple[str, ...]:
    """Return the days after `days`, in the week's order."""
    after = {DAYS[(DAYS.index(day) + 1) % len(DAYS)] for day in days}
    return tuple(day for day in DAYS if day in after)


@dataclass(frozen=True, slots=True)
class DelegatedRule:
    """The call must be made for somebody: begun by one of these, in one of these roles, for one of these purposes."""

    delegated: Delegated
    source: Source | None = None

    def holds(self, question: Question) -> bool:
        """Whether the call is made under such a delegation."""
        return all(holds for _, holds in self.parts(question))

    def parts(self, question: Question) -> list[tuple[str, bool]]:
        """Return what is asked of the delegation, and whether it is so: `depth` first, then the fields written."""
        chain, wanted = question.chain, self.delegated
        found = [("depth", chain["depth"] >= 1)]
        if wanted.by is not None:
            is_human = HUMANS in wanted.by and chain["by_person"]
            is_named = not chain["by_person"] and chain["initiator"] in set(wanted.by) - {HUMANS}
            found.append(("by", is_human or is_named))
        if wanted.roles is not None:
            found.append(("roles", not chain["initiator_roles"].isdisjoint(wanted.roles)))
        if wanted.purposes is not None:
            found.append(("purposes", chain["purpose"] in wanted.purposes))
        if wanted.max_depth is not None:
            found.append(("max_depth", chain["depth"] <= wanted.max_depth))
        return found

    def conditions(self) -> list[str]:
        """Return `holds` in Cedar, as texts that must all hold."""
        chain, wanted = "context.chain", self.delegated
        texts = [f"{chain}.depth >= 1"]
        if wanted.by is not None:
            texts.append(_begun_by(wanted.by))
        if wanted.roles is not None:
            texts.append(f"{chain}.initiator_roles.containsAny({strings(wanted.roles)})")
        if wanted.purposes is not None:
            texts.append(f"{strings(wanted.purposes)}.contains({chain}.purpose)")
        if wanted.max_depth is not None:
            texts.append(f"{chain}.depth <= {wanted.max_depth}")
        return texts


def _begun_by(names: Sequence[str]) -> str:
    principals = [name for name in names if name != HUMANS]
    terms = ["context.chain.by_person"] if HUMANS in names else []
    if principals:
        terms.append(f"(!context.chain.by_person && {strings(principals)}.contains(context.chain.initiator))")
    return any_of(terms)


Condition = ObjectRule | WindowRule | DelegatedRule | ArgumentRule | SumRule


def texts_of(condition: Condition) -> list[str]:
    """Return `condition` in Cedar, as texts that must all hold."""
    if isinstance(condition, WindowRule | DelegatedRule):
        return condition.conditions()
    return [any_of(condition.clauses())]


def action_ids(system: str, actions: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of a system's actions."""
    return tuple(action_id(system, action) for action in actions)
