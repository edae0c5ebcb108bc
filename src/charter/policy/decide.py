"""Facts and a request in, a verdict out. Pure: equal inputs, equal verdicts.

    the action is not granted      → deny, without asking Cedar
    any policy errs, or none decides → deny: Cedar itself would skip a `forbid` that errs
    Cedar allows                   → allow, under the limits of one of the grants (or own permits) that allow
    Cedar denies                   → deny, or escalate if the yes of some roles would turn it

INVARIANT: `Allow` is returned only where Cedar said so, about exactly this request and approvals, without any error.
INVARIANT: the approvals of an `Escalate` suffice: Cedar was asked with exactly those, and no smaller set was found to.

A denied call is put a second time, with all approvals that could matter, only if there are such. So a denial costs one
evaluation where nothing could lift it, and two where something might have; only an escalation that several roles could
answer costs more, bounded by MAX_TRIES.

**Which grant allows.** Several grants may allow one call. Each stands for itself: a call is within limits if it is
within those of any one of them. `Allow.limits` are those of the first choice: a grant without limits if there is one,
else the first in the charter's order; `Allow.alternatives` those of the others, to be tried in order when the first
choice has no room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple, Protocol

import msgspec

from charter.policy import explain
from charter.policy.grant import GrantRule
from charter.policy.own import OwnPermit
from charter.policy.request import Asker, Request
from charter.policy.slice import Slice
from charter.policy.verdict import Allow, Deny, Escalate, LimitDue, Reason, Verdict
from charter.policy.vocabulary import Question, action_id, question_of

MAX_TRIES = 32  # evaluations spent on finding the fewest people to ask
_NONE: frozenset[str] = frozenset()


class Answer(NamedTuple):
    """What Cedar says of one question: whether it is allowed (None: it cannot tell), by which rules, and what erred."""

    allowed: bool | None
    rules: tuple[str, ...]  # ids of the policies that determined it
    errors: tuple[str, ...]


class Evaluator(Protocol):
    """Evaluates the policies of a slice, as Cedar defines it."""

    def evaluate(self, program: object, question: Question, approvals: frozenset[str]) -> Answer:
        """Return the answer; what cannot be evaluated is an answer too, with its errors."""
        ...


class _UntrustedError(Exception):
    """An evaluation that nothing may rest on."""

    def __init__(self, rule: str, said: str) -> None:
        super().__init__(said)
        self.rule = rule
        self.said = said


def decide(
    bound: Slice | None, request: Request, evaluator: Evaluator, *, only: frozenset[str] | None = None
) -> Verdict:
    """Return the verdict on `request` by the policies of `bound`, the slice of the request's asker.

    With `only`, it is allowed by one of those grants or not at all.
    """
    if bound is None:
        return Deny((explain.no_policy(request.asker.name),))
    if not _is_of(bound, request.asker):
        return Deny((explain.other_policy(request.asker.name, bound.principal),))
    if action_id(request.system, request.action) not in bound.granted:
        return Deny((explain.not_granted(bound, request),))
    question = question_of(request, bound.words)
    case = _Case(bound, request, question, evaluator, only)
    try:
        return case.verdict()
    except _UntrustedError as err:
        return Deny((explain.policy_error(bound, err.rule, err.said),))


def _is_of(bound: Slice, asker: Asker) -> bool:
    """Whether the bound is the asker's, and of the charter that the registry knows it by."""
    return (bound.principal, bound.kind, bound.environment, bound.team) == (
        asker.name,
        asker.kind,
        asker.environment,
        asker.team,
    )


class _Case(msgspec.Struct, frozen=True):
    """One question before one slice."""

    bound: Slice
    request: Request
    question: Question
    evaluator: Evaluator
    only: frozenset[str] | None = None

    def verdict(self) -> Verdict:
        given = self.request.approvals
        answer = self._ask(given)
        if self._permits(answer):
            return self._allow(answer, given)
        roles = self._roles_that_matter(answer)
        if not roles:
            return Deny(self._why_denied(answer, answer.rules))
        lifted = self._ask(given | roles)
        if not self._permits(lifted):
            held = [rule for rule in answer.rules if rule not in lifted.rules]
            return Deny(self._why_denied(lifted, [*lifted.rules, *held], lifted.rules))
        return self._escalate(answer, given | roles, lifted)

    def _ask(self, approvals: frozenset[str]) -> Answer:
        """Return what Cedar says, if it can be trusted."""
        answer = self.evaluator.evaluate(self.bound.program, self.question, approvals)
        if answer.errors or answer.allowed is None:
            said = answer.errors[0] if answer.errors else "it could not decide"
            raise _UntrustedError(_rule_in(said), said)
        if answer.allowed and not (answer.rules and all(map(self.bound.may_allow, answer.rules))):
            raise _UntrustedError("?", "it allowed the call by no grant of this charter")
        return answer

    def _allow(self, answer: Answer, given: frozenset[str]) -> Allow | Deny:
        """Return the allow, resting on as few of the approvals given as it can."""
        if given:
            used, fewer = self._fewest(given, answer, least=0)
            found = self._within_limits(fewer, used)
            if isinstance(found, Allow) or used == given:
                return found  # else a grant that allows by fewer has no room, and one that needs them all may have
        return self._within_limits(answer, given)

    def _within_limits(self, answer: Answer, used: frozenset[str]) -> Allow | Deny:
        grants = self._deciding(answer)
        options = sorted(((grant, grant.dues(self.question)) for grant in grants), key=lambda option: bool(option[1]))
        possible = [
            (grant, dues) for grant, dues in options if not dues or all(due.amount <= due.ceiling for due in dues)
        ]
        if not possible:
            over = next(due for due in options[0][1] if due.amount > due.ceiling)
            return Deny((explain.over_limit(self.bound, self.request, over),))
        limits: list[tuple[LimitDue, ...]] = [dues for _, dues in possible]
        return Allow(
            reasons=tuple(explain.allowed(self.bound, grant) for grant, _ in possible),
            limits=limits[0],
            approvals_used=tuple(sorted(used)),
            alternatives=tuple(limits[1:]) if limits[0] else (),
        )

    def _roles_that_matter(self, answer: Answer) -> frozenset[str]:
        """Return the roles whose yes might turn the denial `answer`; none if a rule forbids that nothing lifts."""
        lifting = [] if answer.allowed else [self.bound.roles_lifting(rule) for rule in answer.rules]
        if not all(lifting):
            return _NONE
        system, action = self.request.system, self.request.action
        covering = self.bound.covering(system, action)
        needed = {seat for grant in covering if grant.approval and self._counts(grant) for seat in grant.approval.seats}
        own = (each.roles for each in self.bound.permitting(system, action) if self._counts(each))
        return frozenset(needed.union(*lifting, *own)) - self.request.approvals

    def _deciding(self, answer: Answer) -> list[GrantRule | OwnPermit]:
        """Return the grants and own permits by which the call is allowed, grants first."""
        return [rule for rule in self.bound.allowing(answer.rules) if self._counts(rule)]

    def _counts(self, rule: GrantRule | OwnPermit) -> bool:
        return self.only is None or rule.id in self.only

    def _permits(self, answer: Answer) -> bool:
        """Whether the call is allowed, by a rule that may allow it."""
        return bool(answer.allowed) and (self.only is None or not self.only.isdisjoint(answer.rules))

    def _escalate(self, denied: Answer, roles: frozenset[str], lifted: Answer) -> Escalate | Deny:
        needed, answer = self._fewest(roles, lifted, least=1)
        within = self._within_limits(answer, needed)
        if isinstance(within, Deny):
            return within  # nobody is asked for what a limit rules out
        grants = self._deciding(answer)
        reasons = explain.held(
            self.bound, self.request, self.question, (() if denied.allowed else denied.rules, grants, needed)
        )
        waits = [grant.approval.within for grant in grants if grant.approval and grant.approval.within]
        return Escalate(reasons, tuple(sorted(needed)), min(waits, default=None))

    def _fewest(self, roles: frozenset[str], answer: Answer, *, least: int) -> tuple[frozenset[str], Answer]:
        """Return the smallest set of `roles` found that allows the call, with its answer; `answer` is that of all."""
        answers = {roles: answer}

        def suffices(some: frozenset[str]) -> bool:
            if some not in answers:
                answers[some] = self._ask(some)
            return self._permits(answers[some])

        found = smallest(roles, suffices, least=least)
        return found, answers[found]

    def _why_denied(self, answer: Answer, rules: Iterable[str], unmoved: Sequence[str] = ()) -> tuple[Reason, ...]:
        if answer.allowed:
            return (explain.only_others(self.bound, answer.rules),)
        return explain.denied(self.bound, self.request, self.question, tuple(rules), unmoved)


def smallest(roles: frozenset[str], suffices: Callable[[frozenset[str]], bool], *, least: int) -> frozenset[str]:
    """Return a smallest subset of `roles`, of `least` or more, that suffices; `roles` itself does.

    Subsets are tried by size, then by name, MAX_TRIES at most; after that roles are dropped one by one, so that what is
    returned always suffices and can spare none.
    """
    ordered = sorted(roles)
    for tries, some in enumerate(_by_size(ordered, least)):
        if tries >= MAX_TRIES:
            break
        if suffices(some):
            return some
    kept = roles
    for role in ordered:
        if len(kept) > least and suffices(kept - {role}):
            kept -= {role}
    return kept


def _by_size(roles: Sequence[str], least: int) -> Iterable[frozenset[str]]:
    return (frozenset(some) for size in range(least, len(roles) + 1) for some in combinations(roles, size))


def _rule_in(said: str) -> str:
    found = re.search(r"policy `([^`]+)`", said)
    return found[1] if found else "?"
