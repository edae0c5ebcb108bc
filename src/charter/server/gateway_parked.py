"""Calls of modern clients whose server asked something: each waits for its caller to come back with the answer.

2026-07-28 knows no requests from servers: the client gets a result `input_required`, asks the person or model, and
sends the call again with the answers and `requestState`. Here the call itself waits meanwhile, under the permit and the
verdict that it has: going on with it is no new call.

INVARIANT: a state is good once, for the very same call (system, tool, arguments) of the same principal under the same
delegation, and for a while. To anyone else it is as unknown as one that never was.
INVARIANT: a call goes on once each of its questions has an answer; until then its caller is asked again.
INVARIANT: a call that waits ends with its authority, or when its time is up; its server is told, its verdict closed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charter.core.clock import Deadline
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, ThrottledError
from charter.gateway.mcp_answers import WireError
from charter.gateway.mcp_asking import input_required
from charter.gateway.mcp_protocol import RpcCode
from charter.gateway.mcp_questions import Questions, take_answer
from charter.gateway.pipeline import Admitted

if TYPE_CHECKING:
    from charter.gateway.call import Call
    from charter.server.gateway_mcp import Asked

MAX_PER_PRINCIPAL = 32
MAX_PARKED = 1024
Binding = tuple[str, str | None, str, str]  # principal, delegation, system, digest of the call


@dataclass(eq=False, slots=True)
class Parked:
    """A call that waits for answers to `questions`."""

    admitted: Admitted
    questions: Questions
    deadline: Deadline
    binding: Binding | None = None
    waiting: asyncio.Task[None] | None = None


@dataclass(slots=True)
class ParkedCalls:
    """The calls that wait for their callers."""

    entropy: Entropy
    _parked: dict[str, Parked] = field(default_factory=dict)
    _of: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, asked: Asked, call: Call, parked: Parked) -> dict[str, Any]:
        """Let a call wait; return the result that has its caller answer what it waits for.

        Raises:
            ThrottledError: too many wait.
        """
        who = asked.bearer.principal_id
        if self._of[who] >= MAX_PER_PRINCIPAL or len(self._parked) >= MAX_PARKED:
            text = f"{self._of[who]} calls of `{asked.bearer.principal_name}` wait for answers"
            raise ThrottledError(ErrorCode.TOO_MANY, text, help="answer or let go some of them")
        state = self.entropy.token(32)
        parked.binding = _binding(asked, call)
        self._parked[state] = parked
        self._of[who] += 1
        parked.waiting = asyncio.create_task(self._wait(state, parked))
        return _asking(parked, state)

    def take(self, asked: Asked, call: Call, state: str, answers: dict[str, Any]) -> Parked | dict[str, Any]:
        """Return the call that waits under `state`, with its answers put in; what asks for them again if one is none.

        Raises:
            WireError: no call waits there, or it is another one.
        """
        parked = self._parked.get(state)
        if parked is None or parked.binding != _binding(asked, call):
            text = "no such call waits under this `requestState`: it is used, or its time is up; call anew"
            raise WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id)
        for name, question in parked.questions.items():
            take_answer(question, answers.get(name))
        if any(question.answer is None for question in parked.questions.values()):
            return _asking(parked, state)
        self._forget(state, parked)
        if parked.waiting is not None:
            parked.waiting.cancel()
        return parked

    def _forget(self, state: str, parked: Parked) -> None:
        del self._parked[state]
        who = parked.binding[0] if parked.binding is not None else ""
        self._of[who] -= 1
        if not self._of[who]:
            del self._of[who]

    async def _wait(self, state: str, parked: Parked) -> None:
        """End the call once its time is up or its authority withdrawn, unless its caller comes first."""
        closed = next((each.closed for each in parked.questions.values() if each.closed is not None), asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(parked.deadline.remaining()):
                await closed.wait()
        if self._parked.get(state) is parked:
            self._forget(state, parked)
            await close(parked.admitted)


async def close(admitted: Admitted) -> None:
    """End a call that nobody waits for any more."""
    end = getattr(admitted.messages, "aclose", None)
    if end is not None:
        await end()


def _asking(parked: Parked, state: str) -> dict[str, Any]:
    asked = {name: {"method": each.method, "params": each.params} for name, each in parked.questions.items()}
    return input_required(asked, state)


def _binding(asked: Asked, call: Call) -> Binding:
    return asked.bearer.principal_id, asked.bearer.delegation, call.system, call.digest
