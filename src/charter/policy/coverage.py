"""What an estate's tests touch: for each rule, what it can do, and whether some case has shown it do that.

    a grant        that it allows; of each condition, a call that it lets through and one that it stops; of its
                   approval, a call that waits for it and one that need not
    a guardrail    a call that it stops, and one that it lets pass
    a permit       that it allows

So a charter whose bound nobody has tried to exceed is covered in part, and is told so by the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from charter.core.values import Source
from charter.policy.central import DATA
from charter.policy.chain import ChainCase, Party
from charter.policy.grant import GrantRule
from charter.policy.guardrail import UNREADABLE, Guardrail
from charter.policy.passed import asked_of
from charter.policy.request import Request
from charter.policy.slice import Slice
from charter.policy.verdict import Allow, Deny, Escalate, Verdict
from charter.policy.vocabulary import Question, action_id, question_of


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that a rule can do."""

    rule: str
    what: str  # "allows", "`amount` up to 200 EUR: lets through"
    source: Source | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is touched of all there is."""

    points: tuple[Point, ...]
    touched: frozenset[Point]

    @property
    def missing(self) -> tuple[Point, ...]:
        """What no case shows."""
        return tuple(each for each in self.points if each not in self.touched)

    @property
    def percent(self) -> float:
        """How much is touched, in whole tenths, rounded down; of nothing, all."""
        whole = len(self.points)
        return 100.0 if not whole else (whole - len(self.missing)) * 1000 // whole / 10


def points_of(slices: Mapping[str, Slice], guardrails: Sequence[Guardrail]) -> tuple[Point, ...]:
    """Return everything that the rules of an estate can do; what data.yaml says of providers is left out.

    That is one comparison, and few estates have a call that would show it.
    """
    found: list[Point] = []
    for each in guardrails:
        if not each.id.startswith(DATA):
            found += _of_guardrail(each)
    for bound in slices.values():
        for grant in bound.grants:
            found += _of_grant(grant)
        for rule in bound.guardrails.values():
            found += _of_guardrail(rule) if "/policy/" in rule.id else ()
        found += [Point(permit.id, "allows", permit.source) for permit in bound.permits.values()]
    return tuple(dict.fromkeys(found))


def _of_guardrail(rule: Guardrail) -> Iterator[Point]:
    yield Point(rule.id, "stops a call", rule.source)
    yield Point(rule.id, "lets a call pass", rule.source)


def _of_grant(grant: GrantRule) -> Iterator[Point]:
    yield Point(grant.id, "allows", grant.source)
    for condition in grant.conditions:
        for way in ("lets through", "stops"):
            yield Point(grant.id, f"{asked_of(condition)}: {way}", grant.source)
    if grant.approval is not None:
        yield Point(grant.id, "a call waits for its approval", grant.approval.source)
        if grant.approval.rules:
            yield Point(grant.id, "a call needs no approval", grant.approval.source)


def touched_by(case: ChainCase, request: Request, verdict: Verdict) -> frozenset[Point]:
    """Return what one decided call shows of the rules of every link."""
    return frozenset(point for party in case.parties for point in _touched(party, request, verdict))


def _touched(party: Party, request: Request, verdict: Verdict) -> Iterator[Point]:
    bound = party.bound
    action = action_id(request.system, request.action)
    if action not in bound.granted:
        return
    rules = {reason.rule for reason in verdict.reasons}
    question = question_of(request, bound.words)
    for grant in bound.covering(request.system, request.action):
        yield from _touched_of_grant(grant, question, verdict, is_deciding=grant.id in rules)
    for each in bound.guardrails.values():
        if each.concerns(bound.principal, {action: request.effect.value}):
            stopped = each.id in rules or each.id + UNREADABLE in rules
            yield Point(each.id, "stops a call" if stopped else "lets a call pass")
    for permit in bound.permits.values():
        if permit.id in rules and isinstance(verdict, Allow):
            yield Point(permit.id, "allows")


def _touched_of_grant(grant: GrantRule, question: Question, verdict: Verdict, *, is_deciding: bool) -> Iterator[Point]:
    for condition in grant.conditions:
        yield Point(grant.id, f"{asked_of(condition)}: {'lets through' if condition.holds(question) else 'stops'}")
    if not is_deciding or isinstance(verdict, Deny):
        return
    yield Point(grant.id, "allows")
    if grant.approval is not None and isinstance(verdict, Escalate):
        yield Point(grant.id, "a call waits for its approval")
    if grant.approval is not None and not grant.approval.is_needed(question):
        yield Point(grant.id, "a call needs no approval")
