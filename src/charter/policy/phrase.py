"""What a condition asks, what a call gives instead, and what would mend it, each as part of a sentence.

Numbers, days and objects are told. The text of an argument is not: it may hold what does not belong in a log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from charter.core.values import Source
from charter.policy.argument_tests import (
    Bound,
    ChoiceTest,
    EachLikeTest,
    EachTest,
    LikeTest,
    QuantityTest,
    SizeTest,
    Test,
)
from charter.policy.condition import ArgumentRule, Condition, DelegatedRule, ObjectRule, SumRule, WindowRule
from charter.policy.request import Request
from charter.policy.vocabulary import Argument, Question
from charter.registry.charter import DAYS, Quantity, Scalar
from charter.registry.unit import in_unit, told_in

MAX_SHOWN = 8  # of a list
MAX_OBJECT = 120  # characters of an object's path
COST = "cost"  # the argument that the door for models makes of a price
_ASKS: dict[Bound, str] = {"max": "up to", "min": "of at least", "over": "over", "under": "under"}
_ENTRIES = {"length": "characters", "items": "entries"}
_MENDS: dict[Bound, tuple[str, str]] = {
    "max": ("at most", "raise"),
    "min": ("at least", "lower"),
    "over": ("more than", "lower"),
    "under": ("less than", "raise"),
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """Why one condition failed."""

    allowed: str  # follows "may do … on …": "with `amount` up to 200 EUR"
    given: str  # "this call asks 350 EUR"
    mend: str
    source: Source | None


def words(values: Sequence[str], *, last: str = ", ") -> str:
    """Return values in backticks, the first MAX_SHOWN of them."""
    shown = [f"`{value}`" for value in values[:MAX_SHOWN]]
    if len(values) > MAX_SHOWN:
        return ", ".join(shown) + " …"
    return last.join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def widened(verb: str, field: str, source: Source | None) -> str:
    """Return how a person widens a field of the charter: "raise `max` at file:3:4 through plan and apply"."""
    where = f"at {source}" if source else "in its charter"
    return f"{verb} `{field}` {where} through plan and apply"


def phrase_of(condition: Condition, request: Request, question: Question) -> Phrase:
    """Return why `condition`, which the call does not satisfy, failed."""
    match condition:
        case ObjectRule():
            return _object_phrase(condition, question)
        case DelegatedRule():
            return _delegated_phrase(condition, question)
        case WindowRule():
            return _window_phrase(condition, question, request.at)
        case ArgumentRule():
            test = condition.test
            argument = question.argument(test.argument)
            return Phrase(f"with {asked(test)}", given(test, argument), _mend(test, argument), test.source)
        case SumRule():
            return _sum_phrase(condition, question.argument(condition.argument))


def _delegated_phrase(rule: DelegatedRule, question: Question) -> Phrase:
    chain, wanted = question.chain, rule.delegated
    field = next(name for name, holds in rule.parts(question) if not holds)
    match field:
        case "by":
            asked, mend = f"begun by {words(wanted.by or (), last=' or ')}", "have one of these delegate"
            given = f"this one was begun by {'a person' if chain['by_person'] else words((chain['initiator'],))}"
        case "roles":
            asked = f"begun by a person with the role {words(wanted.roles or (), last=' or ')}"
            given, mend = "whoever began this one holds none of them", "have someone who holds it delegate"
        case "purposes":
            asked, mend = f"for the purpose {words(wanted.purposes or (), last=' or ')}", "delegate for that purpose"
            given = f"this one is for {words((chain['purpose'],))}" if chain["purpose"] else "this one names no purpose"
        case "max_depth":
            asked, mend = f"at most {wanted.max_depth} deep", "delegate more directly"
            given = f"this one is {chain['depth']} deep"
        case _:
            asked, given, mend = "of somebody it acts for", "this call acts for nobody", "act under a delegation"
    widen = widened("widen", "delegated", rule.source)
    return Phrase(f"only under a delegation {asked}", given, f"{mend}, or {widen}", rule.source)


def _object_phrase(rule: ObjectRule, question: Question) -> Phrase:
    told = rule.told[:MAX_SHOWN]
    wanted = " or ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)
    shown = question.path if len(question.path) <= MAX_OBJECT else question.path[:MAX_OBJECT] + "…"
    return Phrase(
        f"only for objects like {wanted}",
        f"this call is for `{shown}`",
        f"ask for an object like {wanted}, or {widened('widen', 'objects', rule.source)}",
        rule.source,
    )


# --- arguments --------------------------------------------------------------------------------------------------------


def asked(test: Test) -> str:
    """Return what `test` asks: "`amount` up to 200 EUR"."""
    match test:
        case QuantityTest():
            return f"`{test.argument}` {_ASKS[test.bound]} {test.limit}"
        case ChoiceTest(choices=(choice,)):
            return f"`{test.argument}` equal to {_show(choice)}"
        case ChoiceTest():
            return f"`{test.argument}` one of {words([_bare(each) for each in test.choices])}"
        case LikeTest():
            return f"`{test.argument}` like `{test.pattern}`"
        case SizeTest() | EachTest() | EachLikeTest():
            return _asked_of_entries(test)


def _asked_of_entries(test: SizeTest | EachTest | EachLikeTest) -> str:
    match test:
        case SizeTest():
            return f"`{test.argument}` of at most {test.most} {_ENTRIES[test.form]}"
        case EachTest():
            return f"`{test.argument}` each one of {words(test.choices)}"
        case EachLikeTest():
            return f"`{test.argument}` each like `{test.pattern}`"


def given(test: Test, argument: Argument | None) -> str:
    """Return what the call gives in place of what `test` asks."""
    if argument is None:
        return f"this call gives no `{test.argument}`"
    if isinstance(test, SizeTest | EachTest | EachLikeTest):
        return _given_entries(test, argument)
    match test:
        case QuantityTest():
            return _given_quantity(test.argument, argument, test.limit.unit)
        case ChoiceTest():
            shown = argument.flag if argument.flag is not None else argument.number
            if shown is not None:
                return f"this call gives {_show(shown)}"
            return (
                f"this call's `{test.argument}` is another" if argument.text is not None else _formless(test.argument)
            )
        case LikeTest():
            return f"this call's `{test.argument}` is not" if argument.text is not None else _formless(test.argument)


def _given_entries(test: SizeTest | EachTest | EachLikeTest, argument: Argument) -> str:
    if isinstance(test, SizeTest):
        size = argument.form(test.form)
        return _formless(test.argument) if size is None else f"this call's has {size}"
    return _formless(test.argument) if argument.texts is None else "one of this call's is not"


def _given_quantity(name: str, argument: Argument, wanted: str | None) -> str:
    if argument.quantity is None:
        return f"this call's `{name}` is no exact amount"
    value, unit = argument.quantity
    if wanted is not None and unit == told_in(wanted):
        value, unit = in_unit(value, wanted), wanted
    return f"this call asks {Quantity(value=value, unit=unit or None)}{'' if unit else ' without a unit'}"


def _formless(name: str) -> str:
    return f"this call's `{name}` is not in a form that can be compared"


def _mend(test: Test, argument: Argument | None) -> str:
    match test:
        case QuantityTest():
            return _quantity_mend(test, argument)
        case ChoiceTest():
            field = "equals" if len(test.choices) == 1 else "one_of"
            wanted = words([_bare(each) for each in test.choices], last=" or ")
            return f"send {wanted} as `{test.argument}`, or {widened('widen', field, test.source)}"
        case LikeTest():
            return f"send `{test.argument}` like `{test.pattern}`, or {widened('widen', 'like', test.source)}"
        case SizeTest() | EachTest() | EachLikeTest():
            return _entries_mend(test)


def _entries_mend(test: SizeTest | EachTest | EachLikeTest) -> str:
    match test:
        case SizeTest():
            most = f"at most {test.most} {_ENTRIES[test.form]}"
            return f"send {most} as `{test.argument}`, or {widened('raise', f'max_{test.form}', test.source)}"
        case EachTest():
            wanted = words(test.choices, last=" and ")
            return f"send only {wanted} as `{test.argument}`, or {widened('widen', 'each_of', test.source)}"
        case EachLikeTest():
            return f"send only what is like `{test.pattern}`, or {widened('widen', 'each_like', test.source)}"


def _quantity_mend(test: QuantityTest, argument: Argument | None) -> str:
    most, verb = _MENDS[test.bound]
    wanted = f"{most} {test.limit}"
    if argument is None:
        return f"send `{test.argument}`, {wanted}"
    if argument.quantity is None:
        return f"send `{test.argument}` as a number with at most 4 decimals and its unit, {wanted}"
    if argument.quantity[1] != (told_in(test.limit.unit) or ""):
        return f"ask in {test.limit.unit}, for {wanted}" if test.limit.unit else f"ask without a unit, for {wanted}"
    return f"ask for {wanted}, or {widened(verb, test.bound, test.source)}"


def _sum_phrase(rule: SumRule, argument: Argument | None) -> Phrase:
    unit = f" in {rule.unit}" if rule.unit else " without a unit"
    got = (
        f"this call gives no `{rule.argument}`" if argument is None else _given_quantity(rule.argument, argument, None)
    )
    mend = f"send `{rule.argument}`{unit}, not below zero"
    if rule.argument == COST and argument is None:  # of a model nobody sends it: it is made of the price
        mend += ", or give the model a price in `prices` of the system's file"
    return Phrase(f"with `{rule.argument}`{unit}, not below zero, which its limit counts", got, mend, rule.source)


def _bare(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _show(value: Scalar) -> str:
    return f"`{_bare(value)}`"


def amount_text(scaled: int, scale: int, text: str) -> str:
    """Return a limit's amount, kept in parts of its unit, in the unit that `text` (`2000 EUR of …`) is told in."""
    unit = text.split(" of ", maxsplit=1)[0].partition(" ")[2]
    return str(Quantity(value=in_unit(Decimal(scaled) / scale, unit or None), unit=unit or None))


# --- time -------------------------------------------------------------------------------------------------------------


def days_text(days: Sequence[str]) -> str:
    """Return days as charters write them: `mon-fri`, `sat, sun`."""
    indices = [DAYS.index(day) for day in days]
    is_run = len(indices) > 2 and indices == list(range(indices[0], indices[-1] + 1))  # noqa: PLR2004 - two are a list
    return f"{days[0]}-{days[-1]}" if is_run else ", ".join(days)


def _window_phrase(rule: WindowRule, question: Question, at: dt.datetime) -> Phrase:
    here = at.astimezone(ZoneInfo(rule.zone))
    hours = f"{rule.hours}" if rule.hours else ""
    on = f"on {days_text(rule.days)}" if rule.days is not None else ""
    work = f"on working days of `{rule.workdays}`" if rule.workdays else ""
    zone = "" if rule.hours else " (UTC)"
    field, source = _blamed(rule, question)
    opening = next_opening(rule, at) if rule.workdays is None else None
    wait = f"wait until {opening:%a %Y-%m-%d %H:%M} there, or " if opening else ""
    if field == "workdays":
        wait = "wait for the next working day, or "
    day = f"{here:%a %Y-%m-%d %H:%M}" if rule.workdays else f"{here:%a %H:%M}"
    return Phrase(
        f"only {' '.join(part for part in (hours, on, work) if part)}{zone}",
        f"it is {day} there",
        wait + widened("widen", field, source),
        source,
    )


def _blamed(rule: WindowRule, question: Question) -> tuple[str, Source | None]:
    """Return which of the window's words the call's time does not satisfy: the first that fails by itself."""
    alone = (
        ("workdays", WindowRule(rule.hours, None, workdays=rule.workdays), rule.workdays, rule.workdays_source),
        ("days", WindowRule(rule.hours, rule.days), rule.days, rule.days_source),
        ("hours", WindowRule(rule.hours, None), rule.hours, rule.hours_source),
    )
    failing = {field for field, part, said, _ in alone if said is not None and not part.holds(question)}
    if rule.hours is not None and "hours" in failing:
        failing &= {"hours"}
    return next((field, source) for field, _, said, source in alone if said is not None and field in failing)


def next_opening(rule: WindowRule, at: dt.datetime) -> dt.datetime | None:
    """Return when the window next opens after `at`, in its own zone; None if it has no days."""
    zone = ZoneInfo(rule.zone)
    here = at.astimezone(zone)
    start = dt.timedelta(minutes=rule.hours.start if rule.hours else 0)
    for ahead in range(-1, 9):  # yesterday too: a start of 24:00 is today's midnight
        date = here.date() + dt.timedelta(days=ahead)
        if rule.days is None or DAYS[date.weekday()] in rule.days:
            opening = (dt.datetime.combine(date, dt.time()) + start).replace(tzinfo=zone)
            if opening > here:
                return opening
    return None
