"""What servers ask while they are called, as far as it may be passed on; and what they are answered.

A question goes up the way that answers come: the call yields it, is taken up again once it was put to the client, and
finds the answer in it. So there is one question at a time, in its own call, under its own deadline.

INVARIANT: only what the system's file allows (`asks`), and the caller's client can be asked for, is passed on; a server
that asks for anything else is told that nobody answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from charter.adapters.upstream_rpc import Message, nonsense
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.gateway.mcp_protocol import CLIENT_CAPABILITIES_KEY, RpcCode
from charter.gateway.mcp_questions import FORM, MAX_QUESTIONS, METHODS, Question, read_question

MAX_LEGS = 8  # of a call that a modern server answers by questions
MAX_STATE = 65_536  # characters
_UNASKED = "Charter answers no such question"
_ALONE = "asked"  # the name of a question that came without one
_DECLINED = -1  # as sampling has it (2025-11-25 client/sampling "Error Handling")


def capabilities_of(asks: Sequence[str]) -> dict[str, Any]:
    """Return the capabilities that Charter declares towards a server that may ask for `asks`."""
    return {what: {"form": {}} if what == FORM else {} for what in asks}


class Asking:
    """The questions of one call."""

    def __init__(self, call: Call, asks: Sequence[str]) -> None:
        self._system = call.system
        self.allowed = [what for what in asks if what in call.can_ask]
        self._asked = 0
        self._legs = 0

    def declare(self, message: Message) -> Message:
        """Return a modern request that says what this call's caller can be asked for."""
        if not self.allowed:
            return message
        meta = message["params"]["_meta"] | {CLIENT_CAPABILITIES_KEY: capabilities_of(self.allowed)}
        return message | {"params": message["params"] | {"_meta": meta}}

    def read(self, method: object, params: object) -> Question:
        """Return a question that may be passed on.

        Raises:
            MalformedError: it may not.
        """
        if METHODS.get(str(method)) not in self.allowed or self._asked >= MAX_QUESTIONS:
            raise no_such_question()
        self._asked += 1
        return read_question(params, system=self._system, method=str(method))

    def required(self, message: Message) -> dict[str, Question] | None:
        """Return what a modern server needs to know before it answers, by its names; None if it does answer.

        Raises:
            UpstreamError: it asks for what may not be passed on.
        """
        result = message.get("result")
        if not isinstance(result, dict) or result.get("resultType") != "input_required" or not self.allowed:
            return None
        self._legs += 1
        wanted, state = result.get("inputRequests", {}), result.get("requestState")
        is_state = state is None or (isinstance(state, str) and len(state) <= MAX_STATE)
        if not isinstance(wanted, dict) or not is_state or self._legs > MAX_LEGS or not (wanted or state):
            raise nonsense("questions without an end, or none that can be asked", sent=True)
        try:
            return {str(name)[:128]: self._named(each) for name, each in wanted.items()}
        except MalformedError as err:
            raise nonsense(f"a question that is not passed on: {err.detail}", sent=True) from err

    def _named(self, given: object) -> Question:
        if not isinstance(given, dict):
            raise no_such_question()
        return self.read(given.get("method"), given.get("params"))


async def put(asking: Asking, message: Message, answer: Callable[[Message], object]) -> AsyncGenerator[Message]:
    """Yield a legacy server's question if it may be passed on; give its `answer` once it was."""
    try:
        question = asking.read(message["method"], message.get("params"))
    except MalformedError as err:
        answer(answer_to(message["id"], err))
        return
    yield {"method": question.method, "questions": {_ALONE: question}}
    answer(answer_to(message["id"], question))


def again(params: Message, message: Message, asked: Mapping[str, Question]) -> Message:
    """Return the parameters of a call's next leg: the same, with the answers, and the state that the server gave.

    Raises:
        UpstreamError: something was not answered, so that there is no next leg.
    """
    missing = next((each for each in asked.values() if each.answer is None), None)
    if missing is not None:
        raise nonsense(f"a question ({missing.what}) that was not answered", sent=True)
    state = message["result"].get("requestState")
    given = params | {"inputResponses": {name: each.answer for name, each in asked.items()}}
    return given if state is None else given | {"requestState": state}


def answer_to(request_id: object, question: Question | MalformedError) -> Message:
    """Return the response to a legacy server's question, or to one that nobody is asked."""
    answer: Message = {"jsonrpc": "2.0", "id": request_id}
    if isinstance(question, MalformedError):
        code = RpcCode.METHOD_NOT_FOUND if question.detail == _UNASKED else RpcCode.INVALID_PARAMS
        return answer | {"error": {"code": int(code), "message": question.detail}}
    if question.answer is None:
        return answer | {"error": {"code": _DECLINED, "message": "nobody answered"}}
    return answer | {"result": question.answer}


def no_such_question() -> MalformedError:
    """Return the error for what is not asked of anyone."""
    return MalformedError(ErrorCode.BAD_REQUEST, _UNASKED)
