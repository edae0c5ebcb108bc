"""A call that takes long: how its caller stops it, and how the caller's client is asked something meanwhile.

INVARIANT: what is asked goes into the stream of the very call that it is for, and its answer is taken from the same
session alone, which belongs to one principal, one delegation and one system.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from charter.core.clock import Deadline
from charter.gateway.mcp_answers import Message
from charter.gateway.mcp_asking import Ability, abilities_of
from charter.gateway.mcp_protocol import CLIENT_CAPABILITIES_KEY, LEGACY_VERSIONS, RpcCode
from charter.gateway.mcp_questions import FORM, ROOTS, SAMPLING, Questions, take_answer
from charter.server.gateway_http import Reply

if TYPE_CHECKING:
    from charter.server.gateway_mcp import Asked

WRITE_GRACE_SECONDS = 10.0  # beyond a call's deadline, for a slow reader to take the answer


class Cancellable:
    """Lets what is done in the context end when its caller says so, or goes away, or after `seconds` and some grace.

    Before 2026-07-28 a lost connection was no cancellation (2025-11-25 basic/transports): there the call goes on.
    """

    def __init__(self, asked: Asked, reply: Reply, seconds: float) -> None:
        self._asked, self._reply, self._seconds = asked, reply, seconds

    async def __aenter__(self) -> None:
        self._stop = stop = _Stop()
        self._late = asyncio.get_running_loop().call_later(self._seconds + WRITE_GRACE_SECONDS, stop)
        self._reply.watch(stop if self._asked.modern else None)
        if self._asked.session is not None:
            self._asked.session.running[self._asked.frame.id] = stop

    async def __aexit__(self, _kind: object, err: BaseException | None, _trace: object) -> bool:
        try:
            is_stopped = isinstance(err, asyncio.CancelledError) and self._stop.is_mine()
            if is_stopped:
                await self._reply.end()
            return is_stopped
        finally:
            self._late.cancel()
            self._reply.close()
            running = self._asked.session.running if self._asked.session is not None else {}
            if running.get(self._asked.frame.id) is self._stop:
                del running[self._asked.frame.id]


class _Stop:
    """Cancels the task it was made in, once, and tells that cancellation from any other."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._called = False

    def __call__(self) -> None:
        if not self._called and self._task is not None:
            self._called = True
            self._task.cancel()

    def is_mine(self) -> bool:
        """Whether the cancellation that was just caught is this one's, and the only one."""
        return self._called and self._task is not None and self._task.uncancel() == 0


def can_ask(asked: Asked) -> frozenset[str]:
    """Return what a server may have the caller's client asked, if the system's file allows it besides."""
    known = abilities(asked)
    words = {Ability.FORM: FORM, Ability.SAMPLING: SAMPLING, Ability.ROOTS: ROOTS}
    return frozenset(word for ability, word in words.items() if ability in known)


def abilities(asked: Asked) -> frozenset[Ability]:
    """Return what the caller's client can be asked for."""
    if asked.session is None:
        return abilities_of(asked.frame.meta.get(CLIENT_CAPABILITIES_KEY))
    known = asked.session.abilities
    return known if asked.session.version == LEGACY_VERSIONS[0] else known - {Ability.URL}  # new in 2025-11-25


async def put_to_client(asked: Asked, reply: Reply, questions: Questions, deadline: Deadline) -> None:
    """Put a server's questions to the client of a session; each holds its answer then, if there was one."""
    for question in questions.values():
        with suppress(TimeoutError):
            seconds = deadline.remaining()
            response = await ask_client(asked, reply, question.method, question.params, seconds, question.closed)
            take_answer(question, response.get("result"))


async def ask_client(
    asked: Asked, reply: Reply, method: str, params: Message, seconds: float, closed: asyncio.Event | None = None
) -> dict[str, Any]:
    """Ask the client of a session something in the stream of its call; return its response.

    Raises:
        TimeoutError: none came in time, or before `closed` was set.
    """
    assert asked.session is not None  # noqa: S101 - modern clients are asked by results
    request_id, answer = asked.session.expect()
    try:
        await reply.event({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        async with asyncio.timeout(seconds):
            ends = asyncio.create_task(_unless(closed, answer))
            try:
                return await answer
            finally:
                ends.cancel()
    finally:
        asked.session.waiting.pop(request_id, None)


async def _unless(closed: asyncio.Event | None, answer: asyncio.Future[dict[str, Any]]) -> None:
    """Give an answer up once its call is closed."""
    await (closed or asyncio.Event()).wait()
    if not answer.done():
        answer.set_exception(TimeoutError())


def error_for(asked: Asked, error: Message) -> tuple[Message, int]:
    """Return an upstream's error as the caller is told it, and the HTTP status that goes with it.

    A server that lacks something of its client is told on where the caller's client lacks it; where Charter did not let
    the server ask, that is no fault of the caller's.
    """
    if error.get("code") != RpcCode.MISSING_CAPABILITY:
        return error, 200
    data, declared = error.get("data"), asked.frame.meta.get(CLIENT_CAPABILITIES_KEY)
    needed = data.get("requiredCapabilities") if isinstance(data, dict) else None
    lacking = set(needed) - set(declared) if isinstance(needed, dict) and isinstance(declared, dict) else set()
    if asked.modern and lacking:
        return error, 400
    text = f"the upstream wants to ask the client something that `asks` of `{asked.system}` does not allow"
    return {"code": int(RpcCode.INTERNAL_ERROR), "message": text}, 200
