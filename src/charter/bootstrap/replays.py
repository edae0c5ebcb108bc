"""`charter replay`: recorded sessions through the real pipeline, against the files at hand and without any upstream.

A house of its own is built in a folder that is gone afterwards; the estate is applied to it; each call is authenticated
as its principal, decided, settled, recorded durably and, if allowed, "forwarded" to what was recorded as its answer. A
tool that nobody accepted yet counts as accepted, since there is no server to ask for its definition.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from charter.bootstrap import authority
from charter.bootstrap import estate as estates
from charter.bootstrap.building import build
from charter.config import Settings
from charter.core.canonical import digest_of
from charter.core.clock import Clock, Deadline, SystemClock
from charter.core.errors import CharterError
from charter.gateway.call import Bearer, Call
from charter.gateway.flow import SessionKey
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition
from charter.gateway.pipeline import Admitted, Refused, Upstream
from charter.gateway.session_file import RecordedSession, RecordedStep, Said
from charter.identity.bearer import Binding, Confirmation
from charter.identity.keys import p256_jwk
from charter.policy.verdict import Escalate, Reason, word
from charter.registry.principal import SystemRecord
from charter.registry.seat import role_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House

T = TypeVar("T")
ACTOR = "replay@localhost"
SECONDS = 60.0
_PIN = "sha256:" + "0" * 64


@dataclass(slots=True)
class RecordedClock:
    """The time of the session at hand, going on as the machine's does."""

    real: Clock = field(default_factory=SystemClock)
    offset: dt.timedelta = dt.timedelta()

    def now(self) -> dt.datetime:
        """Return the session's present."""
        return self.real.now() + self.offset

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return self.real.monotonic()


class Answering(Upstream, Protocol):
    """An upstream that is told what the next call answers: a JSON value, or what gives one if the call is made."""

    answer: Any


@dataclass(slots=True)
class RecordedUpstream:
    """Answers each call with what was recorded of it; the permit is spent first."""

    permits: PermitLedger
    answer: Any = None

    async def tools(self, _record: SystemRecord, _deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return nothing: no server is asked."""
        return ()

    async def call(self, permit: Permit, call: Call, _deadline: Deadline) -> AsyncGenerator[dict[str, Any]]:
        """Spend `permit` on `call`; yield the recorded answer."""
        self.permits.redeem(permit, call)
        yield {"result": as_result(self.answer() if callable(self.answer) else self.answer)}

    async def aclose(self) -> None:
        """Close nothing."""


def as_result(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return a recorded answer as an MCP result."""
    if isinstance(answer, dict) and isinstance(answer.get("content"), list):
        return answer
    if isinstance(answer, str):
        return {"content": [{"type": "text", "text": answer}]}
    return {"content": []} if answer is None else {"content": [], "structuredContent": answer}


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """What became of one call."""

    line: int
    session: int  # line of its session
    principal: str
    system: str
    tool: str
    verdict: str  # allow, deny or escalate, as first decided
    passed: bool  # whether it was made: allowed, or approved when a person was asked
    reasons: tuple[Reason, ...]
    approvers: tuple[str, ...] = ()
    expected: str | None = None
    action: str | None = None  # None: the system has no such tool
    run: str | None = None  # as its session names it
    unanswered: str | None = None  # why a yes that was recorded came to nothing

    @property
    def is_expected(self) -> bool:
        """Whether the verdict is the one that the file expects, if it does."""
        return self.expected in (None, self.verdict)

    def to_json(self) -> dict[str, Any]:
        """Return it as programs read it."""
        return {
            "line": self.line,
            "session": self.session,
            "principal": self.principal,
            "system": self.system,
            "tool": self.tool,
            "action": self.action,
            "run": self.run,
            "verdict": self.verdict,
            "asked": self.verdict == "escalate",
            "approved": self.verdict == "escalate" and self.passed,
            "made": self.passed,
            "reasons": [reason.to_json() for reason in self.reasons],
            "approvers": list(self.approvers),
            "unanswered": self.unanswered,
            "expected": self.expected,
        }


@dataclass(frozen=True, slots=True)
class Played:
    """A session under way, as its principal's."""

    recorded: RecordedSession
    bearer: Bearer
    run: str


@dataclass(slots=True)
class Replay:
    """A house that recorded sessions are put to."""

    house: House
    clock: RecordedClock
    upstream: Answering
    choices: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)  # by system and tool
    _bearers: dict[str, Bearer] = field(default_factory=dict)

    def answered_by(self, upstream: Answering) -> None:
        """Let `upstream` answer the calls that are made."""
        self.upstream = self.house.pipeline.upstream = upstream

    async def session(self, recorded: RecordedSession) -> AsyncIterator[ReplayedCall]:
        """Yield what becomes of each call of a session."""
        played = await self.begin(recorded)
        for step in recorded.steps:
            if isinstance(step, Said):
                self.hear(played, step.text)
            else:
                yield await self.step(played, step)

    async def begin(self, recorded: RecordedSession) -> Played:
        """Begin a session, of which its `line` tells it from others; its steps are left to the caller.

        Raises:
            AbsentError: there is no such principal.
        """
        if recorded.at is not None:
            self.clock.offset = recorded.at - self.clock.real.now()
        bearer = await self._bearer(recorded.principal)
        played = Played(recorded, bearer, f"{recorded.line}/{recorded.run or ''}")
        if recorded.request is not None:
            self.hear(played, recorded.request)
        return played

    def hear(self, played: Played, words: str) -> None:
        """Take in what the person of a session says."""
        key = SessionKey(played.bearer.principal_id, None, played.run)
        self.house.pipeline.flows.hear(key, words, self.clock.now())

    async def step(self, played: Played, step: RecordedStep) -> ReplayedCall:
        """Return what becomes of the next call of a session."""
        recorded, bearer = played.recorded, played.bearer
        call = self._call(step, played.run)
        self.upstream.answer = step.result
        first = await self._submit(bearer, call)
        told = ReplayedCall(
            step.line,
            recorded.line,
            recorded.principal,
            step.system,
            call.tool,
            "allow",
            passed=True,
            reasons=(),
            expected=step.expect,
            action=_action_of(self.house, step.system, call.tool),
            run=recorded.run,
        )
        if isinstance(first, Admitted):
            await _drain(first)
            return replace(told, reasons=first.reasons)
        approvers = first.verdict.approvers if isinstance(first.verdict, Escalate) else ()
        said = word(first.verdict)
        told = replace(told, verdict=said, passed=False, reasons=first.verdict.reasons, approvers=approvers)
        if first.approval_id is None or not step.approve:
            return told
        unanswered = await self._approve(first, recorded.principal)
        if unanswered is not None:
            return replace(told, unanswered=unanswered)
        again = await self._submit(bearer, call)
        if isinstance(again, Admitted):
            await _drain(again)
            return replace(told, passed=True)
        return replace(told, reasons=again.verdict.reasons)

    async def _submit(self, bearer: Bearer, call: Call) -> Admitted | Refused:
        deadline = Deadline.after(self.clock, SECONDS)
        return await self.house.pipeline.submit(bearer, call, deadline, source="replay")

    async def _approve(self, refused: Refused, principal: str) -> str | None:
        """Let people of the roles that are asked say yes, each another; return why not, if they cannot."""
        teams = self.house.database.read(lambda tx: tx.registry.teams())
        owner = self.house.principal(principal).owner_person
        asked = refused.verdict.approvers if isinstance(refused.verdict, Escalate) else ()
        given: set[str] = set()
        for seat in asked:
            people = [each for each in teams.roles.get(role_of(seat), ()) if each not in given and each != owner]
            if not people:
                return f"nobody else than the owner of `{principal}` holds the role `{role_of(seat)}` (teams.yaml)"
            given.add(people[0])
            try:
                await authority.answer(
                    self.house, str(refused.approval_id), yes=True, person=people[0], reason="as recorded"
                )
            except CharterError as err:
                return err.detail
        return None

    def _call(self, step: RecordedStep, run: str) -> Call:
        record = self.house.live.systems.get(step.system)
        known = record.system.actions if record is not None else {}
        tool = step.tool or (known[step.action].tool if step.action in known else step.action) or ""
        action = _action_of(self.house, step.system, tool)
        pin = known[action].pin if action is not None else None
        digest = digest_of({"system": step.system, "tool": tool, "arguments": step.arguments})
        choices = self.choices.get((step.system, tool), frozenset())
        return Call(step.system, tool, step.arguments, digest, pin, run=run, choices=choices)

    async def _bearer(self, name: str) -> Bearer:
        if name not in self._bearers:
            principal = self.house.principal(name)
            jwk = p256_jwk(ec.generate_private_key(ec.SECP256R1()))
            await authority.register_key(self.house, name, jwk, actor=ACTOR, reason="a recorded session")
            shown = self.house.live.keys_of(principal.id)[0].thumbprint
            bound = Confirmation(Binding.JKT, shown)
            self._bearers[name] = Bearer(
                principal.id, name, principal.epoch, principal.digest, f"replay-{name}", shown, 2**33, bound
            )
        return self._bearers[name]


@dataclass(frozen=True, slots=True)
class Stage:
    """A replay, and what runs it to its end for callers that wait."""

    replay: Replay
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work`, one of the replay's, returns."""
        return self.runner.run(work)


def _action_of(house: House, system: str, tool: str) -> str | None:
    """Return the action that a tool performs; None if the estate knows of none."""
    record = house.live.systems.get(system)
    return record.system.action_of_tool(tool) if record is not None else None


async def _drain(admitted: Admitted) -> None:
    async for _ in admitted.messages:
        pass


def replay(
    files: Mapping[str, str],
    sessions: Iterable[RecordedSession],
    choices: Mapping[tuple[str, str], frozenset[str]] | None = None,
) -> Iterator[ReplayedCall]:
    """Yield what becomes of each call of recorded sessions under the estate that `files` are.

    `choices`: the arguments that take one of a few values alone, by system and tool (`bootstrap.tools.known_choices`).

    Raises:
        EstateError: the files are not valid.
        AbsentError: a session is of a principal that there is none of.
    """
    with staged(files, choices) as stage:
        for each in sessions:
            yield from stage.run(_all(stage.replay, each))


@asynccontextmanager
async def opened(
    folder: Path, files: Mapping[str, str], *, clock: RecordedClock | None = None, operator: str = ACTOR
) -> AsyncIterator[Replay]:
    """Give a house in `folder` of the estate that `files` are, for sessions to be put to.

    Raises:
        EstateError: the files are not valid.
    """
    clock = clock or RecordedClock()
    house = build(Settings(estate=folder), operator=operator, clock=clock)
    try:
        await estates.apply(house, files, plan_digest=None, actor=operator, reason="a replay")
        _accept_all(house)
        replay = Replay(house, clock, RecordedUpstream(house.pipeline.permits))
        replay.answered_by(replay.upstream)
        yield replay
        await house.pipeline.settled()
    finally:
        await house.aclose()


@contextmanager
def staged(
    files: Mapping[str, str], choices: Mapping[tuple[str, str], frozenset[str]] | None = None
) -> Iterator[Stage]:
    """Give a house of the estate that `files` are, for sessions to be put to; it is gone afterwards.

    Raises:
        EstateError: the files are not valid.
    """
    with tempfile.TemporaryDirectory(prefix="charter-replay-") as folder, asyncio.Runner() as runner:
        house = AsyncExitStack()
        try:
            replay = runner.run(house.enter_async_context(opened(Path(folder), files)))
            replay.choices = choices or {}
            yield Stage(replay, runner)
        finally:
            runner.run(house.aclose())


async def _all(replay: Replay, session: RecordedSession) -> list[ReplayedCall]:
    return [each async for each in replay.session(session)]


def _accept_all(house: House) -> None:
    """Let every tool of the house count as accepted: there is no server to ask for its definition."""
    for name, record in tuple(house.live.systems.items()):
        actions = {
            key: action.model_copy(update={"pin": action.pin or _PIN}) for key, action in record.system.actions.items()
        }
        system = record.system.model_copy(update={"actions": actions})
        house.live.systems[name] = replace(record, system=system)


__all__ = ["Played", "Replay", "ReplayedCall", "Stage", "as_result", "opened", "replay", "staged"]
