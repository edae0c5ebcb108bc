"""The conditions of a grant, each in two tongues: as Cedar text, and as a question about one call.

What an argument is put to stands in `argument_tests.py`; here is what a call as a whole must be: which arguments, which
object, at which time, for whom.

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

from charter.core.values import Source
from charter.policy.argument_tests import Test, form_path
from charter.policy.cedar_text import any_of, attribute, decimal, entity, key, pattern, quoted, strings
from charter.policy.like import is_like
from charter.policy.vocabulary import Question, action_id
from charter.registry.charter import DAYS, Hours
from charter.registry.delegation import HUMANS
from charter.registry.grant import Delegated


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
        guard, path = form_path(self.argument, "quantity")
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
