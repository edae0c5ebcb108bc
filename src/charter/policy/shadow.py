"""Compiled policies in use, with Cedar itself as the reference beside them.

    engine = CompiledEngine(CedarEngine(), disagreed)      # satisfies engine.Engine and decide.Evaluator

Cedar parses, validates and binds every slice. What the compiler models is evaluated compiled; what it does not is left
to Cedar. So is every evaluation in which a policy errs: what the error says is the reference's word.

The two are compared on the first evaluations of every slice and action, and then on one in `every`. Where they differ,

INVARIANT: the decision in hand denies, whichever of the two would have denied it;
INVARIANT: no compiled policy is evaluated any more, of any slice, until the process starts again;
INVARIANT: `disagreed` is told, once, and sees to it that the evidence and the findings hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from charter.core.errors import ErrorCode, IntegrityError
from charter.policy.compile import NotModelledError
from charter.policy.decide import Answer, Evaluator
from charter.policy.engine import Engine, Json
from charter.policy.program import Found, Program, program_of
from charter.policy.vocabulary import Question

DISAGREED = "its compiled form and Cedar do not agree on this call; all policies are Cedar's to evaluate from now on"
EVERY = 1_000
FIRST = 2  # evaluations of each action of a slice that are compared, whatever their number


class Reference(Engine, Evaluator, Protocol):
    """Cedar itself."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question on which a compiled slice and Cedar said different things."""

    principal: str
    action: str
    compiled: Answer
    reference: Answer


@dataclass(slots=True)
class _Slice:
    """A bound slice: as the reference bound it, and compiled if the compiler models it."""

    reference: object
    program: Program | None
    fresh: dict[str, int]  # action -> how many of its first evaluations are still to be compared


@dataclass(slots=True)
class CompiledEngine:
    """Evaluates compiled policies under the eye of `reference`."""

    reference: Reference
    disagreed: Callable[[Disagreement], None]
    every: int = EVERY
    is_trusted: bool = True  # whether compiled policies are in use
    _count: int = 0

    def parse(self, text: str) -> list[Json]:
        """Return the policies of `text`, as the reference reads it."""
        return self.reference.parse(text)

    def faults(self, text: str, schema: str) -> list[tuple[int, str]]:
        """Return what the reference's strict validation says."""
        return self.reference.faults(text, schema)

    def bind(self, policies: Mapping[str, Json], groups: Mapping[str, str]) -> object:
        """Return the policies bound by the reference, and compiled."""
        try:
            program = program_of(policies, groups)
        except NotModelledError:
            program = None
        fresh = dict.fromkeys(groups, FIRST) if program else {}
        return _Slice(self.reference.bind(policies, groups), program, fresh)

    def evaluate(self, program: object, question: Question, approvals: frozenset[str]) -> Answer:
        """Return the answer; see the module's docstring for whose it is."""
        if not isinstance(program, _Slice):
            raise IntegrityError(ErrorCode.BAD_REQUEST, "these policies were bound by another engine")
        found = program.program.find(question, approvals) if program.program and self.is_trusted else None
        if found is None:
            return self.reference.evaluate(program.reference, question, approvals)
        self._count += 1
        is_usual = not (found[2] or program.fresh or self._count % self.every == 0)
        if is_usual or not (found[2] or self._is_due(program, question.action)):
            return _answer(found, question.principal["name"])
        return self._compared(program, question, approvals, found)

    def _is_due(self, program: _Slice, action: str) -> bool:
        """Whether this evaluation is to be compared: among the first of its action, or one in `every`."""
        left = program.fresh.get(action, 0)
        if left > 1:
            program.fresh[action] = left - 1
        elif left:
            del program.fresh[action]
        return left > 0 or self._count % self.every == 0

    def _compared(self, program: _Slice, question: Question, approvals: frozenset[str], found: Found) -> Answer:
        """Return the reference's answer if the compiled one is the same."""
        said = self.reference.evaluate(program.reference, question, approvals)
        ours = _answer(found, question.principal["name"])
        if (said.allowed, said.rules, bool(said.errors)) == (ours.allowed, ours.rules, bool(ours.errors)):
            return said
        was_trusted, self.is_trusted = self.is_trusted, False
        if was_trusted:
            self.disagreed(Disagreement(question.principal["name"], question.action, ours, said))
        return Answer(None, (), (DISAGREED,))


def _answer(found: Found, name: str) -> Answer:
    """Return what Cedar says where these permit, forbid and err: any `forbid` denies, else any `permit` allows."""
    permits, forbids, erred = found
    errors = tuple(f"error while evaluating policy `{_told(each, name)}`" for each in erred) if erred else ()
    if forbids:
        return Answer(False, tuple(forbids), errors)  # noqa: FBT003 - the decision
    return Answer(bool(permits), tuple([_told(each, name) for each in permits]), errors)


def _told(rule: str, name: str) -> str:
    """Return a policy's id as its principal's own (engine.py)."""
    return name + rule if rule[0] == "/" else rule
