"""One question to the prover: is there a call of which a claim holds? The answer is a call, none, or "not proven".

A call is shown once the real engine has been asked about it (`witness.py`). Of several calls the plainest is looked
for: nobody's yes, no chain, few arguments, whole amounts, a working day at noon.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charter.policy.decide import Evaluator
from charter.policy.engine import Engine
from charter.policy.program import moment
from charter.proof.authority import Reach
from charter.proof.moment import FAR, NEAR, Moments, is_of_time, moments_of, time_questions
from charter.proof.prover import Model, Prover, Refuted, Unknown
from charter.proof.setting import SCALE, Form, Setting
from charter.proof.term import (
    PART,
    Sort,
    Term,
    TextForm,
    Values,
    below,
    equal,
    evaluate,
    every,
    matches,
    negated,
    number,
    parts_of,
    rest_of,
    some,
    text,
    truth,
    value,
    within,
)
from charter.proof.witness import Example, Replayed, Unreal, example_of, replay

TRIES = 4  # examples that no call makes, before the answer is "not proven"


@dataclass(frozen=True, slots=True)
class Means:
    """What proofs are made with. `start`: calls are made from then on; `noon`: a moment people find plain."""

    prover: Prover
    engine: Engine
    evaluator: Evaluator
    start: dt.datetime
    noon: dt.datetime


def plain_noon(now: dt.datetime) -> dt.datetime:
    """Return noon, in UTC, of the next Tuesday: no weekend anywhere on Earth."""
    day = now.astimezone(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return day + dt.timedelta(days=(1 - day.weekday()) % 7 or 7)


@dataclass(frozen=True, slots=True)
class Shown:
    """A call of which the claim holds, and what the engine says of it for each slice."""

    example: Example
    replayed: tuple[Replayed | None, ...]


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nobody knows whether there is such a call."""

    why: str


def is_nowhere(claim: Term, reaches: Sequence[Reach], means: Means, known: list[Values]) -> bool | Unproven:
    """Whether there is no call of which `claim` holds, as far as that is proven; which one there is is left open.

    `known`: values that were found before, of which one may do; what is found is added.
    """
    settings = [each.setting for each in reaches if each.setting is not None]
    whole = every((claim, *_facts(claim, settings, means.start)))
    if any(evaluate(whole, values) for values in known):
        return False
    found = means.prover.find(whole)
    match found:
        case Refuted():
            return True
        case Unknown(why):
            return Unproven(why)
        case Model():
            known.append(found.values)
            return False


def find_call(claim: Term, reaches: Sequence[Reach], means: Means) -> Shown | Unproven | None:
    """Return a call of which `claim` holds; None is the proof that there is none."""
    if claim.op == "value" and not claim.data:
        return None
    settings = [each.setting for each in reaches if each.setting is not None]
    whole = every((claim, *_facts(claim, settings, means.start)))
    found = means.prover.find(whole)
    match found:
        case Refuted():
            return None
        case Unknown(why):
            return Unproven(why)
        case Model():
            return _example(whole, reaches, settings, means)


def _facts(claim: Term, settings: Sequence[Setting], start: dt.datetime) -> Iterator[Term]:
    for each in settings:
        yield from each.facts([claim])
    if any(each.op == "variable" and each.data == "now" for each in parts_of([claim])):
        yield below(value(int(moment(start))), number("now"), or_equal=True)


def _example(whole: Term, reaches: Sequence[Reach], settings: Sequence[Setting], means: Means) -> Shown | Unproven:
    questions = time_questions([whole])
    why = "the clocks and calendars that it would need never show so together"
    for span in (NEAR, FAR) if questions else (NEAR,):
        times = moments_of(questions, settings, means.noon, span)
        claim = every((whole, times.claim)) if questions else whole
        for _ in range(TRIES):
            found = means.prover.find(claim, list(_wishes(whole, times, settings, means)))
            if not isinstance(found, Model):
                why = found.why if isinstance(found, Unknown) else why
                break
            try:
                return _shown(found.values, times, reaches, settings, means)
            except Unreal as err:
                why = str(err)
                claim = every((claim, negated(_same(claim, found.values))))
    return Unproven(why)


def _shown(
    values: Values, times: Moments, reaches: Sequence[Reach], settings: Sequence[Setting], means: Means
) -> Shown:
    at = times.of(values) or means.noon
    example = example_of(values, settings, at)
    replayed = [replay(example, each, values, means.evaluator) for each in reaches]
    return Shown(example, tuple(replayed))


def _same(claim: Term, values: Values) -> Term:
    """Return that a call is this one, apart from its time: another is looked for."""
    unknowns = (each for each in parts_of([claim]) if each.op == "variable" and each.data in values)
    return every(equal(each, value(values[each.data])) for each in unknowns if not is_of_time(each.data))


def _wishes(whole: Term, times: Moments, settings: Sequence[Setting], means: Means) -> Iterator[Term]:
    """Yield what a plain call is like, the most welcome first."""
    unknowns = {each.data: each.sort for each in parts_of([whole]) if each.op == "variable"}
    yield within("approvals", ())
    yield negated(truth("restrained"))
    yield negated(truth("flow exposed"))
    yield truth("flow known")
    yield truth("flow spoken")
    yield equal(number("depth"), value(0))
    if times.questions:
        yield times.wish(means.noon, settings)
    for each in dict.fromkeys(argument for setting in settings for argument in setting.arguments):
        if f"form:{each.name}" in unknowns:
            yield each.of_form(Form.ABSENT)
            yield some((each.of_form(Form.ABSENT), each.one_of(Form.TEXT, Form.WHOLE, Form.FLAG, Form.LIST)))
        if f"quantity:{each.tag}" in unknowns:
            yield each.one_of(Form.ABSENT, Form.WHOLE)
            yield equal(rest_of(each.quantity, SCALE), value(0))
            yield below(value(0), each.quantity)
            yield below(each.quantity, value(1_000_000 * SCALE))
    for name, sort in unknowns.items():
        if sort is Sort.TEXT and (name == "object" or name.startswith(("segment:", PART, "text:", "other:"))):
            yield matches(text(name), TextForm.PATH)
            yield matches(text(name), TextForm.PLAIN)
