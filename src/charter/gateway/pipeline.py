"""The pipeline: authenticate, resolve, decide, settle, record, permit, forward, outcome. The only such sequence.

Every enforcement point runs it; they differ only in how they read a request and how they answer.

INVARIANT: no permit is issued before the verdict is durable, and no upstream is called without a permit.
INVARIANT: the open streams that rest on a withdrawn principal or delegation end, and unspent permits are forgotten,
before the withdrawal is answered.
INVARIANT: each admitted call closes with one outcome entry, also when the client has gone away.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from charter.core.clock import Clock, Deadline
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, ErrorCode, IntegrityError, UnauthenticatedError, UnavailableError
from charter.core.work import Writer
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.call import Bearer, Call
from charter.gateway.chain import Slices, rests_on
from charter.gateway.facts import MODEL_RULE, Facts, resolve
from charter.gateway.flow import Flows, key_of, told_labels
from charter.gateway.look import Look
from charter.gateway.mcp_logs import Hearing, text_of
from charter.gateway.mcp_protocol import RpcCode
from charter.gateway.mcp_questions import Question
from charter.gateway.model_answer import ProposedCall
from charter.gateway.model_use import other_model
from charter.gateway.obligations import held_to_obligations
from charter.gateway.outcome import Message, Outcome
from charter.gateway.permit import Permit, PermitLedger
from charter.gateway.pins import ToolDefinition, UpstreamError
from charter.gateway.proposals import Answer, Proposals
from charter.gateway.reserve import correct, give_back
from charter.gateway.sequence import KnownBy, Parent, Sequences, Step
from charter.gateway.settle import GatewayWork, Recorded, Ticket, ask_people, record_denial, settle_and_record
from charter.gateway.streams import OpenStream, OpenStreams
from charter.gateway.visible import visible_tools
from charter.identity.authority import refusal
from charter.identity.bearer import NOTHING, Shown, Vouched
from charter.identity.dpop import ProofMemory, read_proof
from charter.policy.decide import Evaluator
from charter.policy.narrow import Narrowed, decide_narrowed
from charter.policy.request import NO_FLOW
from charter.policy.verdict import Allow, Deny, Escalate, Layer, Reason, Verdict
from charter.registry.approval import Approval
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.system import SystemKind

MAX_READINGS = 8  # how often facts may change under one call before it is given up


class TokenVerifier(Protocol):
    """Checks access tokens."""

    def verify(self, token: str, *, audience: str, at: dt.datetime, shown: Shown = NOTHING) -> Bearer:
        """Return what `token` proves; `shown` are the keys that came with it.

        Raises:
            UnauthenticatedError: it proves nothing here.
        """
        ...


class Upstream(Protocol):
    """Where allowed calls go."""

    async def tools(self, record: SystemRecord, deadline: Deadline) -> tuple[ToolDefinition, ...]:
        """Return the definitions of the tools the system has right now."""
        ...

    def call(self, permit: Permit, call: Call, deadline: Deadline) -> AsyncGenerator[Message]:
        """Spend `permit` on `call`; yield notifications, then one result or error."""
        ...


class Came(msgspec.Struct, frozen=True):
    """How a token came."""

    method: str = "POST"
    url: str = ""  # the address that was called; none: the audience itself
    proof: str | None = None  # the DPoP proof beside it
    certificate: str | None = None  # x5t#S256 of the connection's client certificate


PLAINLY = Came()


class Admitted(msgspec.Struct, frozen=True):
    """Allowed and recorded; iterating `messages` calls the upstream."""

    verdict_id: str
    entry_index: int
    messages: AsyncIterator[Message]
    is_approved: bool  # whether a person's approval was spent on it
    reasons: tuple[Reason, ...]  # by which rules it is allowed
    give_up: Callable[[], None]  # in place of iterating: the permit is forgotten, the verdict closed, limits given back


class Refused(msgspec.Struct, frozen=True):
    """Denied or escalated, and recorded."""

    verdict_id: str
    verdict: Deny | Escalate
    approval_id: str | None


@dataclass(slots=True)
class Pipeline:
    """The parts the sequence is made of. Built once, by bootstrap."""

    live: LiveEstate
    slices: Slices
    evaluator: Evaluator
    verifier: TokenVerifier
    proofs: ProofMemory
    writer: Writer[GatewayWork]
    upstream: Upstream
    permits: PermitLedger
    streams: OpenStreams
    clock: Clock
    entropy: Entropy
    issuer: str  # the control plane that vouches for callers
    flows: Flows
    proposals: Proposals
    noticed: Callable[[str, str, str], None]  # who asked for which model that nobody accepted, at which system
    sequences: Sequences = field(default_factory=Sequences)
    _closing: set[asyncio.Future[None]] = field(default_factory=set)

    def authenticate(self, token: str, *, audience: str, at: dt.datetime, came: Came = PLAINLY) -> Bearer:
        """Return who presents `token`, if it is good for `audience` and its principal may act at all.

        `came` says how it came: in which request, with which proof, over which connection.

        Raises:
            UnauthenticatedError: it is not, or it may not.
        """
        url = came.url or audience
        proof = read_proof(came.proof, method=came.method, url=url, at=at, token=token) if came.proof else None
        shown = Shown(proof.key if proof else None, came.certificate)
        bearer = self.verifier.verify(token, audience=audience, at=at, shown=shown)
        if proof is not None:
            self.proofs.use(proof, at=at)
        stopped = refusal(self.live, bearer, None, at=at)
        if stopped is not None:
            raise UnauthenticatedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
        return bearer

    async def submit(
        self, bearer: Bearer, call: Call, deadline: Deadline, *, source: str, cut: Callable[[], None] | None = None
    ) -> Admitted | Refused:
        """Decide `call`, record the verdict durably, and give the way to make the call if it is allowed.

        `cut` ends the connection of a caller who takes nothing of an answer that may not go on.

        Raises:
            UnavailableError: the verdict could not be recorded, so nothing is allowed.
        """
        recorded = await self._decide_and_record(bearer, call, deadline, source)
        match recorded.verdict:
            case Allow():
                permit = self.permits.issue(
                    verdict_id=recorded.verdict_id,
                    principal_id=bearer.principal_id,
                    call=call,
                    delegation=bearer.delegation,
                    rests_on=frozenset(rests_on(self.live, bearer)),
                )
                if recorded.facts is not None and recorded.facts.record.system.kind is SystemKind.EGRESS:
                    self.flows.take_in_unseen(key_of(bearer, call), recorded.facts, self.clock.now())
                self.sequences.began(key_of(bearer, call), recorded.verdict_id)
                look = self.admit_stream(bearer, call.system)
                look.stream.cut = cut
                messages = self._forward(permit, look, call, deadline, recorded)

                def give_up() -> None:
                    self._give_up(permit, bearer, call, recorded)

                is_approved = bool(recorded.verdict.approvals_used)
                return Admitted(
                    recorded.verdict_id, recorded.index, messages, is_approved, recorded.verdict.reasons, give_up
                )
            case Deny() | Escalate() as verdict:
                self._notice(bearer, call, verdict)
                return Refused(recorded.verdict_id, verdict, recorded.approval_id)

    def _notice(self, bearer: Bearer, call: Call, verdict: Deny | Escalate) -> None:
        """Tell of a model that a call asked for and nobody accepted: its caller is not what it was."""
        if isinstance(verdict, Deny) and verdict.reasons[0].rule == MODEL_RULE:
            principal, record = self.live.principals.get(bearer.principal_id), self.live.systems.get(call.system)
            model = other_model(self.live, principal, record, call) if principal and record else None
            if model is not None:
                self.noticed(bearer.principal_id, model, call.system)

    async def answer(
        self, bearer: Bearer, call: Call, deadline: Deadline, *, source: str, asks: bool = True
    ) -> Recorded:
        """Decide `call` for an enforcement point, which carries the verdict out itself; record the verdict durably.

        Without `asks`, nobody is asked yet where the verdict waits for people. Nothing is forwarded, so there is no
        permit; a withdrawal that came after the record step is seen here, and the point never hears of the allow.

        Raises:
            UnavailableError: the verdict could not be recorded, so nothing is allowed.
        """
        recorded = await self._decide_and_record(bearer, call, deadline, source, asks=asks)
        if not isinstance(recorded.verdict, Allow):
            self._notice(bearer, call, recorded.verdict)
            return recorded
        stopped = refusal(self.live, bearer, self.live.systems.get(call.system), at=self.clock.now())
        if stopped is None:
            if recorded.facts is not None:
                self.flows.take_in_unseen(key_of(bearer, call), recorded.facts, self.clock.now())
            return recorded
        outcome = Outcome(self.clock.monotonic())
        outcome.end("withdrawn", sent=False)
        self._record_outcome(outcome, bearer, call, recorded)
        reason = Reason(Layer.STANDING, "built-in/standing", stopped.text, stopped.mend, stopped.link)
        return replace(recorded, verdict=Deny((reason,)))

    async def ask(
        self, bearer: Vouched, call: Call, deadline: Deadline, *, verdict_id: str, told: Mapping[str, Any]
    ) -> Approval | Verdict:
        """Ask people to approve `call`, which was denied by the verdict `verdict_id`; return what waits for them.

        Returns a verdict if it is denied now, or needs nobody's yes any more. `told` is shown to those who are asked.

        Raises:
            UnavailableError: it could not be recorded.
        """
        for _ in range(MAX_READINGS):
            if deadline.is_past:
                break
            facts, verdict = self.would(bearer, call, self.clock.now())
            if facts is None or not isinstance(verdict, Escalate):
                return verdict
            ticket = Ticket(verdict_id, self.entropy.identifier("apr"), "access", issuer=self.issuer, told=told)
            asked = await self.writer.awrite(_asking(bearer, call, facts, verdict, ticket))
            if isinstance(asked, Approval):
                self.flows.asked(key_of(bearer, call), asked.id, self.clock.now())
            if asked is not None:
                return asked
        raise _keeps_changing()

    def hear(self, bearer: Bearer, call: Call, text: str) -> None:
        """Keep what the caller's program says that a person asked for, in the session that `call` belongs to."""
        self.flows.hear(key_of(bearer, call), text, self.clock.now())

    def proposed(self, bearer: Bearer, call: Call, calls: Sequence[ProposedCall], answer: Answer) -> None:
        """Keep what a model that `call` asked proposes: those words are the model's, whoever says them."""
        at = self.clock.now()
        self.proposals.remember(bearer.principal_id, calls, answer, at)
        self.flows.written(key_of(bearer, call), (each.arguments for each in calls), at)

    def would(self, bearer: Bearer, call: Call, at: dt.datetime) -> tuple[Facts | None, Verdict]:
        """Return what would be said of `call`, and what that rests on: nothing is recorded, counted or asked."""
        facts = self._resolve(bearer, call, at)
        return (None, facts) if isinstance(facts, Deny) else (facts, self.decide(facts, bearer, call))

    def visible(
        self, bearer: Bearer, system: str, tools: Sequence[ToolDefinition]
    ) -> tuple[list[ToolDefinition], str | None]:
        """Return the tools this principal could be allowed to call, and why there are none if so."""
        return visible_tools(self.live, self.slices, bearer, system, tools, self.clock.now())

    def listed(self, bearer: Bearer, call: Call, listed: Sequence[Mapping[str, Any]]) -> None:
        """Keep in the session what a list told, as if `call` had answered it."""
        at = self.clock.now()
        facts = self._resolve(bearer, call, at)
        if isinstance(facts, Facts):
            self.flows.take_in(key_of(bearer, call), facts, {"structuredContent": list(listed)}, at)

    def systems_of(self, bearer: Bearer) -> frozenset[str]:
        """Return the names of the systems that a principal's charter grants anything on."""
        principal = self.live.principals.get(bearer.principal_id)
        try:
            return frozenset(self.slices.of(principal).systems) if principal is not None else frozenset()
        except CharterError:  # its policy cannot be bound: each call would be denied for that
            return frozenset()

    def admit_stream(self, bearer: Bearer, system: str | None = None) -> Look:
        """Register a stream of `bearer` for as long as the context lasts; it is closed as soon as it may not go on.

        A withdrawal closes it at once. Whatever else ends authority (a charter's expiry, a token or system taken back)
        is found by asking again every second; the first time at once, for what happened since the token was verified.
        """
        return Look(self.live, self.clock, bearer, system, self.streams.open(*rests_on(self.live, bearer)))

    def withdrawn(self, id: str, why: str) -> tuple[int, int]:  # noqa: A002 - of a principal or a delegation
        """End all that is under way on a principal's or a delegation's authority; return how many streams and permits.

        Permits first: a stream that opens after the streams were closed then finds its permit gone.
        """
        permits = self.permits.withdraw(id)
        return self.streams.close(id, why), permits

    async def settled(self) -> None:
        """Wait until every outcome under way is recorded."""
        loop = asyncio.get_running_loop()
        while here := [each for each in self._closing if each.get_loop() is loop]:
            await asyncio.gather(*here, return_exceptions=True)

    def _resolve(self, bearer: Bearer, call: Call, at: dt.datetime) -> Facts | Deny:
        """Return the facts of a call, with what its session has read."""
        facts = resolve(self.live, self.slices, bearer, call, at)
        if isinstance(facts, Deny):
            return facts
        flow = self.flows.facts(key_of(bearer, call), call, facts, at)
        return facts if flow is NO_FLOW else replace(facts, request=replace(facts.request, flow=flow))

    async def _decide_and_record(
        self, bearer: Bearer, call: Call, deadline: Deadline, source: str, *, asks: bool = True
    ) -> Recorded:
        began, key = self.clock.now(), key_of(bearer, call)
        decided = self._decided_by(bearer, call, began)
        step = self._step(bearer, call, decided, began).to_json()
        for _ in range(MAX_READINGS):
            if deadline.is_past:
                break
            started = self.clock.monotonic()
            at = self.clock.now()
            facts = self._resolve(bearer, call, at)
            verdict = facts if isinstance(facts, Deny) else self.decide(facts, bearer, call)
            timing = {"decide": round((self.clock.monotonic() - started) * 1e6)}
            asking = self.entropy.identifier("apr") if isinstance(verdict, Escalate) else ""
            told = {"point": bearer.point.principal_name} if isinstance(bearer, Vouched) else {}
            brings = self.flows.brings(key, facts, at) if isinstance(facts, Facts) else None
            verdict_id = self.entropy.identifier("vrd")
            ticket = Ticket(verdict_id, asking, source, timing, self.issuer, asks, brings, decided, told, step)
            recorded = await self.writer.awrite(_work(bearer, call, facts, verdict, ticket))
            if recorded is not None:
                if brings is not None and isinstance(recorded.verdict, Allow):
                    self.flows.told(key, at)
                self._note(bearer, call, recorded, at)
                return recorded if isinstance(facts, Deny) else replace(recorded, facts=facts)
        raise _keeps_changing()

    def _decided_by(self, bearer: Bearer, call: Call, at: dt.datetime) -> Mapping[str, Any] | None:
        """Return what evidence says of who decided on a call: the model's answer that proposed it, or that none did."""
        record = self.live.systems.get(call.system)
        is_model = record is not None and record.system.kind is SystemKind.MODEL
        if is_model or not self.proposals.knows(bearer.principal_id, at):
            return None
        answer = self.proposals.decided_by(bearer.principal_id, call.tool, call.arguments, at)
        return {"decided_by": answer.to_json() if answer is not None else None}

    def _step(self, bearer: Bearer, call: Call, decided: Mapping[str, Any] | None, at: dt.datetime) -> Step:
        """Return which step of its session a call is, and what it came of."""
        answer = (decided or {}).get("decided_by")
        proposed = Parent(KnownBy.PROPOSAL, verdict=answer["verdict"]) if answer is not None else None
        lent = self.sequences.lender(self.live.delegations.chain_of(bearer.delegation), call.run, at)
        return self.sequences.step(key_of(bearer, call), at, (each for each in (proposed, lent) if each is not None))

    def _note(self, bearer: Bearer, call: Call, recorded: Recorded, at: dt.datetime) -> None:
        """Let the session know what people were asked, and what they said yes to."""
        match recorded.verdict:
            case Escalate() if recorded.approval_id is not None:
                self.flows.asked(key_of(bearer, call), recorded.approval_id, at)
            case Allow() as allow if allow.approvals_used:
                self.flows.vouch(key_of(bearer, call), call, at)
            case _:
                pass

    def decide(self, facts: Facts, bearer: Bearer, call: Call) -> Verdict:
        """Return what policy says of a call: every link of its chain, what its token was narrowed to, what it owes."""
        by = bearer.narrowing
        narrowed = Narrowed(by, bearer.token_id, bearer.expires_at) if by is not None else None
        verdict = decide_narrowed(facts.chain.case, facts.request, self.evaluator, narrowed)
        return held_to_obligations(verdict, facts, call) if facts.record.system.enforcement is not None else verdict

    async def _forward(
        self, permit: Permit, look: Look, call: Call, deadline: Deadline, recorded: Recorded
    ) -> AsyncIterator[Message]:
        """Yield what the upstream says, and close the verdict with an outcome however it ends."""
        bearer, outcome, hearing = look.bearer, Outcome(self.clock.monotonic()), Hearing(call.logs)
        try:
            with look as stream:
                if stream.is_closed():  # withdrawn since the verdict was recorded; later, it finds permit or stream
                    raise IntegrityError(ErrorCode.BAD_PERMIT, stream.why or "")
                async with aclosing(self.upstream.call(permit, call, deadline)) as messages:
                    while (message := await stream.next(messages)) is not None:
                        questions = message.get("questions")
                        if questions is not None:
                            await self._put(bearer, call, recorded, tuple(questions.values()), stream)
                            outcome.asked.extend(questions.values())
                            yield message
                            continue
                        if not hearing.lets(message):
                            continue
                        outcome.see(message)
                        self._take_in(bearer, call, recorded, message)
                        yield message
                if stream.why is not None:
                    outcome.end("withdrawn", sent=True)
                    yield withdrawn_message(stream.why)
        except UpstreamError as err:
            outcome.end("failed", sent=err.sent)
            raise
        except CharterError as err:
            is_gone = err.code is ErrorCode.BAD_PERMIT
            stopped = (
                refusal(self.live, bearer, self.live.systems.get(call.system), at=self.clock.now()) if is_gone else None
            )
            outcome.end("withdrawn" if stopped else "failed", sent=False)
            if stopped is None:
                raise
            yield withdrawn_message(stopped.text)  # the permit went with what it rested on, before it was spent
        finally:
            self.permits.discard(permit)
            outcome.stopped(look.stream.why)
            self._record_outcome(outcome, bearer, call, recorded)

    async def _put(
        self, bearer: Bearer, call: Call, recorded: Recorded, questions: tuple[Question, ...], stream: OpenStream
    ) -> None:
        """Record what a server asks, and keep it in the session as a stranger's word, before anyone is asked."""
        told = {"verdict_id": recorded.verdict_id, "principal": bearer.principal_name}
        drafts: list[Draft] = []
        for question in questions:
            question.closed = stream.closed
            body = told | {"system": call.system, "tool": call.tool, "what": question.what, "digest": question.digest}
            drafts.append(Draft(EntryKind.CLIENT_ASKED, bearer.principal_id, bearer.principal_id, body))
            brings = self.flows.take_in_question(key_of(bearer, call), question.text, self.clock.now())
            if brings is not None:
                said = brings | told
                drafts.append(Draft(EntryKind.CONTEXT_CHANGED, bearer.principal_id, bearer.principal_id, said))

        def work(tx: GatewayWork) -> None:
            for draft in drafts:
                tx.record(draft)

        try:
            await self.writer.awrite(work)
        except CharterError as err:  # the call is under way: what it spent is spent
            raise UpstreamError(err.code, err.detail, sent=True, help=err.help) from err

    def _take_in(self, bearer: Bearer, call: Call, recorded: Recorded, message: Message) -> None:
        """Keep what comes back in the session, before the caller sees it."""
        is_tunnel = recorded.facts is not None and recorded.facts.record.system.kind is SystemKind.EGRESS
        if recorded.facts is None or is_tunnel:
            return
        result, at = message.get("result"), self.clock.now()
        if "method" in message:
            if said := text_of(message):
                told = {"content": [{"type": "text", "text": said}]}
                self.flows.take_in(key_of(bearer, call), recorded.facts, told, at)
        elif isinstance(result, dict):
            self.flows.take_in(key_of(bearer, call), recorded.facts, result, at, call)
        elif "error" in message:
            told = {"content": [{"type": "text", "text": str(message["error"])}]}
            self.flows.take_in(key_of(bearer, call), recorded.facts, told, at)

    def _give_up(self, permit: Permit, bearer: Bearer, call: Call, recorded: Recorded) -> None:
        """Close the verdict of a call that is not made after all."""
        self.permits.discard(permit)
        outcome = Outcome(self.clock.monotonic())
        outcome.end("given-up", sent=False)
        self._record_outcome(outcome, bearer, call, recorded)

    def _record_outcome(self, outcome: Outcome, bearer: Bearer, call: Call, recorded: Recorded) -> None:
        """Record how the call ended, and give limits back if it surely did not happen, without making anyone wait."""
        self.sequences.ended(recorded.verdict_id)
        body = outcome.to_json(self.clock.monotonic()) | {
            "verdict_id": recorded.verdict_id,
            "principal": bearer.principal_name,
            "system": call.system,
            "tool": call.tool,
            "session": key_of(bearer, call).id,
        }
        if outcome.digest is not None and recorded.facts is not None:
            body["labels"] = told_labels(recorded.facts)
        draft = Draft(EntryKind.OUTCOME, bearer.principal_id, bearer.principal_id, body)
        unused = () if outcome.sent else recorded.reserved

        def work(tx: GatewayWork) -> None:
            give_back(tx.limits, unused)
            correct(tx.limits, () if unused else recorded.reserved, outcome.took)
            tx.record(draft)

        task = asyncio.ensure_future(self.writer.awrite(work, patient=True))
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Future[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # a store that fails has stopped the node from allowing anything; there is no one to tell


def withdrawn_message(why: str) -> Message:
    """Return the last message of a stream whose principal's authority was withdrawn."""
    return {"error": {"code": int(RpcCode.DENIED), "message": why, "data": {"layer": "standing"}}}


def _keeps_changing() -> UnavailableError:
    text = "what the decision rests on kept changing, or time ran out"
    return UnavailableError(ErrorCode.STALE, text, help="try again")


def _asking(
    bearer: Bearer, call: Call, facts: Facts, verdict: Escalate, ticket: Ticket
) -> Callable[[GatewayWork], Approval | Deny | None]:
    return lambda tx: ask_people(tx, bearer, call, facts, verdict, ticket)


def _work(
    bearer: Bearer, call: Call, facts: Facts | Deny, verdict: Verdict, ticket: Ticket
) -> Callable[[GatewayWork], Recorded | None]:
    if isinstance(facts, Deny):
        return lambda tx: record_denial(tx, bearer, call, facts, ticket)
    return lambda tx: settle_and_record(tx, bearer, call, facts, verdict, ticket)
