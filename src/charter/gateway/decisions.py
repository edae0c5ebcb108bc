"""Questions of enforcement points, answered: each by the one pipeline, each durable before it is answered.

    one        an evaluation: decided, counted against limits, recorded
    several    evaluations together: all of them, or one after the other until the first deny or permit
    searched   what would be allowed (access_search.py): nothing is counted, and nobody asked; the page is recorded

INVARIANT: an evaluation that is not reached because another ended the request is not decided, counted or recorded.
INVARIANT: a question that means nothing here (no such subject, resource or token) is denied, and recorded as refused.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from charter.core.clock import Clock, Deadline
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, MalformedError
from charter.core.work import Transaction, Writer
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.evaluation import Evaluation, Evaluations, Semantic
from charter.gateway.pipeline import Pipeline
from charter.gateway.vouching import Asking, Understood, Vouching
from charter.policy.verdict import Allow, Deny, Verdict

SOURCE = "access"  # the door, in evidence
MAX_TOLD = 256  # characters of each word of a refused question that evidence keeps
MAX_SUPPORTED = 32


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, durable."""

    id: str  # vrd_…
    verdict: Verdict
    at: dt.datetime
    index: int  # of its evidence entry
    question: Evaluation
    understood: Understood | None = None  # None: it means nothing here
    approval_id: str | None = None


@dataclass(slots=True)
class Decisions:
    """Answers evaluations."""

    pipeline: Pipeline
    vouching: Vouching
    writer: Writer[Transaction]
    clock: Clock
    entropy: Entropy
    seconds: float  # that an answer may take
    obligations: frozenset[str] = frozenset()  # types that points can be told of; none: the profile is off
    asks: bool = True  # whether people are asked by the evaluation itself, and not by an access request

    async def one(self, asking: Asking, question: Evaluation) -> Answered:
        """Return the answer to one question.

        Raises:
            MalformedError: what the point says of itself in the context is of another form.
            UnavailableError: it could not be recorded.
        """
        fulfils = self.fulfils(question.context)
        at = self.clock.now()
        found = self.vouching.understood(asking, question, at)
        if isinstance(found, Deny):
            return await self._refused(asking, question, found, at)
        call = structs.replace(found.call, fulfils=fulfils, approval=None if self.asks else _approval(question))
        found = replace(found, call=call)
        deadline = Deadline.after(self.clock, self.seconds)
        recorded = await self.pipeline.answer(found.bearer, call, deadline, source=SOURCE, asks=self.asks)
        return Answered(
            recorded.verdict_id, recorded.verdict, at, recorded.index, question, found, recorded.approval_id
        )

    async def several(self, asking: Asking, questions: Evaluations) -> list[Answered | MalformedError]:
        """Return the answers, in the questions' order, up to the one that ended the request.

        Raises:
            UnavailableError: one of them could not be recorded.
        """
        if questions.semantic is Semantic.EXECUTE_ALL:
            return list(await asyncio.gather(*(self._each(asking, each) for each in questions.items)))
        answers: list[Answered | MalformedError] = []
        for each in questions.items:
            answers.append(await self._each(asking, each))
            permitted = is_permit(answers[-1])
            if permitted is (questions.semantic is Semantic.PERMIT_ON_FIRST_PERMIT):
                break
        return answers

    async def _each(self, asking: Asking, item: Evaluation | MalformedError) -> Answered | MalformedError:
        if isinstance(item, MalformedError):
            return item
        try:
            return await self.one(asking, item)
        except MalformedError as err:
            return err

    async def _refused(self, asking: Asking, question: Evaluation, found: Deny, at: dt.datetime) -> Answered:
        verdict_id = self.entropy.identifier("vrd")
        body = {
            "verdict_id": verdict_id,
            "point": asking.point.name,
            "request": asking.request_id,
            "subject": _short(question.subject.type, question.subject.id),
            "action": _short(question.action.name),
            "resource": _short(question.resource.type, question.resource.id),
            "reasons": [reason.to_json() for reason in found.reasons],
        }
        draft = Draft(EntryKind.QUESTION_REFUSED, asking.bearer.principal_id, asking.bearer.principal_id, body)
        index = await self.writer.awrite(lambda tx: tx.record(draft))
        return Answered(verdict_id, found, at, index, question)

    def fulfils(self, context: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the types of obligations that the point says it can fulfil (Obligations Profile, negotiation).

        Raises:
            MalformedError: it says so in another form.
        """
        said = context.get("supported_obligations") if self.obligations else None
        return None if said is None else self.obligations.intersection(texts_in(said, "supported_obligations"))


def texts_in(value: object, name: str) -> Sequence[str]:
    """Return the texts of a list in a context.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, list) or len(value) > MAX_SUPPORTED or not all(isinstance(each, str) for each in value):
        text = f"`context.{name}` is no array of at most {MAX_SUPPORTED} texts"
        raise MalformedError(ErrorCode.BAD_REQUEST, text, help="see docs/decision-api.md")
    return value


def is_permit(answer: Answered | MalformedError) -> bool:
    """Whether an answer is a permit."""
    return isinstance(answer, Answered) and isinstance(answer.verdict, Allow)


def _approval(question: Evaluation) -> str | None:
    """Return the approval that a re-evaluation says it rests on (Access Request and Approval Profile)."""
    said = question.context.get("approval")
    named: Any = said.get("id") if isinstance(said, dict) else None
    return named if isinstance(named, str) else None


def _short(*words: str) -> list[str]:
    return [word[:MAX_TOLD] for word in words]
