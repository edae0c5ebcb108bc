"""Settle and record: carry out what an allow still asks for, and make the verdict durable, in one transaction.

INVARIANT: limits are reserved, an approval is spent, and the verdict is written together or not at all.
INVARIANT: the facts are compared with the live estate inside the writer, where nothing can change meanwhile; facts that
no longer hold yield None and the pipeline reads again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from charter.core.canonical import canonical
from charter.core.clock import rfc3339
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.call import Bearer, Call
from charter.gateway.chain import told_chain
from charter.gateway.facts import Facts
from charter.gateway.model_use import ARGUMENT
from charter.gateway.repeated import Repeats, approve_by, standing_yes
from charter.gateway.reserve import LimitStore, Reserved, owed, reserve
from charter.identity.bearer import Vouched
from charter.policy.asked import told_asked
from charter.policy.verdict import Allow, Deny, Escalate, Layer, Reason, Verdict, word
from charter.registry.approval import WAITING_HOURS, Approval, ApprovalState
from charter.registry.principal import LiveEstate
from charter.registry.standing import Standing
from charter.registry.system import SystemKind

MAX_WAITING_PER_PRINCIPAL = 100
MAX_MODEL = 200  # characters of a model's name, which is the caller's word
MAX_SHOWN_ARGUMENTS = 16_384  # bytes of canonical JSON an approver is shown


class ApprovalStore(Protocol):
    """The approvals kept."""

    def add(self, approval: Approval) -> None:
        """Keep a new one."""
        ...

    def get(self, approval_id: str) -> Approval:
        """Return the approval, or raise AbsentError."""
        ...

    def update(self, approval: Approval) -> None:
        """Replace the one with the same id."""
        ...

    def waiting_count(self, principal_id: str) -> int:
        """Return how many of a principal's wait."""
        ...


class GatewayWork(Transaction, Protocol):
    """The slice of the work that the gateway needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def limits(self) -> LimitStore:
        """The counters."""
        ...

    @property
    def approvals(self) -> ApprovalStore:
        """The approvals."""
        ...

    @property
    def repeats(self) -> Repeats:
        """The yeses to further calls."""
        ...


class Ticket(msgspec.Struct, frozen=True):
    """What one attempt is recorded under, made before the transaction so that it may run twice."""

    verdict_id: str
    approval_id: str  # of what is asked if the verdict escalates
    source: str  # which door it came in by
    timing_us: dict[str, int] = msgspec.field(default_factory=dict)
    issuer: str = ""  # the control plane that vouched for the caller
    asks: bool = True  # whether people are asked at once where the verdict waits for them
    brings: Mapping[str, Any] | None = None  # what an allowed call brings into its session
    decided: Mapping[str, Any] | None = None  # who decided on it, where the principal's models are asked here
    told: Mapping[str, Any] = msgspec.field(default_factory=dict)  # what those who are asked are told besides the call
    sequence: Mapping[str, Any] | None = None  # which step of its session it is, and what it came of


class Recorded(msgspec.Struct, frozen=True):
    """A verdict that is durable, with its place in the log."""

    verdict_id: str
    verdict: Verdict
    index: int
    approval_id: str | None = None
    reserved: tuple[Reserved, ...] = ()  # what can be given back
    facts: Facts | None = None  # what it rests on


def settle_and_record(
    tx: GatewayWork, bearer: Bearer, call: Call, facts: Facts, verdict: Verdict, ticket: Ticket
) -> Recorded | None:
    """Reserve, spend or ask; record the verdict; return it, or None if the facts no longer hold."""
    if not facts.still_hold(tx.live):
        return None
    reserved: tuple[Reserved, ...] = ()
    approval_id = facts.approval.id if facts.approval else None
    if isinstance(verdict, Allow):
        links = owed(facts.principal.id, facts.principal.name, verdict)
        outcome = reserve(tx.limits, links, facts.record.name, facts.request.at)
        if isinstance(outcome, Deny):
            verdict = outcome
        else:
            reserved = outcome
            if verdict.approvals_used and facts.approval:
                _spend(tx, facts.approval, ticket)
            else:
                approval_id = None  # one may wait for just this call from when rules were others: it rests on none
    elif isinstance(verdict, Escalate) and ticket.asks:
        given = standing_yes(tx.live, bearer, call, facts, verdict)
        if given is not None:
            approve_by(tx, facts, facts.approval or _approval(tx, bearer, call, facts, verdict, ticket), given)
            return None  # it is decided again, now that somebody said yes
        asked = _ask(tx, bearer, call, facts, verdict, ticket)
        if isinstance(asked, Deny):
            verdict = asked
        else:
            approval_id = asked
    body = verdict_body(tx, bearer, call, facts, verdict, ticket) | {"approval": approval_id}
    if reserved:
        body["limits"] = [told for each in reserved for told in each.told()]
    index = tx.record(Draft(EntryKind.VERDICT, facts.principal.id, facts.principal.id, body))
    if ticket.brings is not None and isinstance(verdict, Allow):
        said = {**ticket.brings, "verdict_id": ticket.verdict_id}
        tx.record(Draft(EntryKind.CONTEXT_CHANGED, facts.principal.id, facts.principal.id, said))
    return Recorded(ticket.verdict_id, verdict, index, approval_id, reserved)


def ask_people(
    tx: GatewayWork, bearer: Bearer, call: Call, facts: Facts, verdict: Escalate, ticket: Ticket
) -> Approval | Deny | None:
    """Return the approval that waits for a call whose verdict is recorded already; None if the facts no longer hold.

    `ticket` names that verdict. Nothing is decided, counted or spent.
    """
    if not facts.still_hold(tx.live):
        return None
    asked = _ask(tx, bearer, call, facts, verdict, ticket)
    return asked if isinstance(asked, Deny) else tx.approvals.get(asked)


def record_denial(tx: GatewayWork, bearer: Bearer, call: Call, denial: Deny, ticket: Ticket) -> Recorded:
    """Record a denial that needed no policy."""
    body = denial_body(tx, bearer, call, denial, ticket)
    index = tx.record(Draft(EntryKind.VERDICT, bearer.principal_id, bearer.principal_id, body))
    return Recorded(ticket.verdict_id, denial, index)


def denial_body(tx: GatewayWork, bearer: Bearer, call: Call, denial: Deny, ticket: Ticket) -> dict[str, Any]:
    """Return what the entry of a denial says that needed no policy: the call is told as far as it is known."""
    principal, record = tx.live.principals.get(bearer.principal_id), tx.live.systems.get(call.system)
    return _call_body(tx.live, bearer, call, ticket) | {
        "verdict": "deny",
        "team": principal.owner_team if principal else None,
        "kind": principal.kind.value if principal else None,
        "environment": principal.environment.value if principal else None,
        "charter": {"version": principal.version, "digest": principal.digest} if principal else None,
        "action": record.system.action_of_tool(call.tool) if record else None,  # so that it is told as others of it are
        "effect": None,
        "object": None,
        "data": [],
        "sensitive": False,
        "reasons": [reason.to_json() for reason in denial.reasons],
        "slice": None,
        "tier": None,
        "asked": {"tool_pin": call.tool_pin},
        "approval": None,
    }


def verdict_body(
    tx: GatewayWork, bearer: Bearer, call: Call, facts: Facts, verdict: Verdict, ticket: Ticket
) -> dict[str, Any]:
    """Return what a verdict's evidence entry says."""
    principal, request = facts.principal, facts.request
    return (
        _call_body(tx.live, bearer, call, ticket)
        | {
            "verdict": word(verdict),
            "team": principal.owner_team,
            "kind": principal.kind.value,
            "environment": principal.environment.value,
            "charter": {"version": principal.version, "digest": principal.digest},
            "action": facts.action,
            "effect": request.effect.value,
            "object": request.object,
            "data": list(request.data),
            "sensitive": request.sensitive,
            "reasons": [reason.to_json() for reason in verdict.reasons],
            "slice": facts.slice.digest,
            "tier": facts.slice.risk.tier.value,
            "asked": _asked(facts, call),
        }
        | _obligations(facts, verdict)
    )


def _obligations(facts: Facts, verdict: Verdict) -> dict[str, Any]:
    """Return which obligations went with the answer to an enforcement point."""
    enforcement = facts.record.system.enforcement
    if enforcement is None:
        return {}
    due = enforcement.due(facts.action, "allow" if isinstance(verdict, Allow) else "deny")
    return {"obligations": [rule.id for rule in due]}


def _asked(facts: Facts, call: Call) -> dict[str, Any]:
    """Return what policy read of the call, so that it can be decided again."""
    named = {name for party in facts.chain.case.parties for name in party.bound.arguments}
    declared = facts.record.system.actions[facts.action].amounts
    parties = [(each.name, each.version, each.standing is Standing.RESTRAINED) for each in facts.chain.principals]
    return told_asked(facts.request, named.union(declared), parties, call.tool_pin)


def _call_body(live: LiveEstate, bearer: Bearer, call: Call, ticket: Ticket) -> dict[str, Any]:
    told = {
        "verdict_id": ticket.verdict_id,
        "principal": bearer.principal_name,
        "system": call.system,
        "tool": call.tool,
        "call_digest": call.digest,
        "session": call.session,
        "token": bearer.token_id or None,
        "token_charter": bearer.charter_digest,
        "narrowed_to": bearer.narrowing.to_json() if bearer.narrowing else None,
        "chain": told_chain(live, bearer, ticket.issuer),
        "door": ticket.source,
        "timing_us": ticket.timing_us,
    }
    told |= {name: said for name, said in (("source", call.source), ("client", call.client)) if said is not None}
    told |= ticket.decided or {}
    told |= {"sequence": dict(ticket.sequence)} if ticket.sequence is not None else {}
    told |= _model(live, call)
    return told | (_asked_by(bearer, call) if isinstance(bearer, Vouched) else {})


def _model(live: LiveEstate, call: Call) -> dict[str, Any]:
    """Return which model a call to a provider asks for; what it took stands in its outcome."""
    record, asked = live.systems.get(call.system), call.arguments.get(ARGUMENT)
    if record is None or record.system.kind is not SystemKind.MODEL or not isinstance(asked, str):
        return {}
    return {"model": {"provider": record.system.provider or record.name, "name": asked[:MAX_MODEL]}}


def _asked_by(bearer: Vouched, call: Call) -> dict[str, Any]:
    """Return what evidence says of the enforcement point that asked, and of what it says that it can carry out."""
    point = bearer.point
    return {
        "asked_by": {
            "point": point.principal_name,
            "id": point.principal_id,
            "token": point.token_id,
            "proof": bearer.proof.value,
            "request": call.request_id,
            "fulfils": sorted(call.fulfils) if call.fulfils is not None else None,
        }
    }


def _spend(tx: GatewayWork, approval: Approval, ticket: Ticket) -> None:
    """Spend an approval on the verdict that rests on it."""
    tx.approvals.update(replace(approval, state=ApprovalState.SPENT))
    body = {"approval": approval.id, "verdict_id": ticket.verdict_id, "given": approval.given}
    tx.record(Draft(EntryKind.APPROVAL_SPENT, approval.principal_id, approval.principal_id, body))
    key = (approval.principal_id, approval.call_digest)

    def forget() -> None:
        tx.live.approvals.pop(key, None)

    tx.after_commit(forget)


def _ask(tx: GatewayWork, bearer: Bearer, call: Call, facts: Facts, verdict: Escalate, ticket: Ticket) -> str | Deny:
    """Return the id of the approval that waits for this call, asking people if none does yet."""
    if facts.approval and set(verdict.approvers) <= set(facts.approval.roles):
        return facts.approval.id
    if tx.approvals.waiting_count(facts.principal.id) >= MAX_WAITING_PER_PRINCIPAL:
        return _too_much(facts, f"`{facts.principal.name}` has {MAX_WAITING_PER_PRINCIPAL} questions waiting already")
    if len(canonical(call.arguments)) > MAX_SHOWN_ARGUMENTS:
        return _too_much(facts, "the arguments are too large for a person to judge")
    approval = _approval(tx, bearer, call, facts, verdict, ticket)
    tx.approvals.add(approval)
    body = {
        "approval": approval.id,
        "roles": list(approval.roles),
        "call_digest": approval.call_digest,
        "verdict_id": ticket.verdict_id,
        "expires_at": rfc3339(approval.expires_at),
        "delegation": bearer.delegation,  # with the run: which session, whose questions are counted after a restart too
        "run": call.run,
    }
    tx.record(Draft(EntryKind.APPROVAL_ASKED, facts.principal.id, facts.principal.id, body))
    key = (approval.principal_id, approval.call_digest)
    tx.after_commit(lambda: tx.live.approvals.__setitem__(key, approval))
    return approval.id


def _approval(tx: GatewayWork, bearer: Bearer, call: Call, facts: Facts, verdict: Escalate, ticket: Ticket) -> Approval:
    """Return the question that a call puts to people; one that lapsed before is closed."""
    at = facts.request.at
    if facts.shown is not None and facts.approval is None:
        tx.approvals.update(replace(facts.shown, state=ApprovalState.EXPIRED))
    return Approval(
        id=ticket.approval_id,
        principal_id=facts.principal.id,
        call_digest=facts.asked,
        call={
            "principal": facts.principal.name,
            "system": call.system,
            "tool": call.tool,
            "action": facts.action,
            "effect": facts.request.effect.value,
            "object": facts.request.object,
            "arguments": call.arguments,
            "chain": told_chain(tx.live, bearer, ticket.issuer),
            "restrained": [each.id for each in facts.chain.principals if each.standing is Standing.RESTRAINED],
            "why": [reason.text for reason in verdict.reasons],
        }
        | ({"doubted": sorted(facts.request.flow.doubted)} if facts.request.flow.doubted else {})
        | dict(ticket.told),
        roles=verdict.approvers,
        given={},
        state=ApprovalState.WAITING,
        asked_at=at,
        expires_at=at + (verdict.within or dt.timedelta(hours=WAITING_HOURS)),
        verdict_id=ticket.verdict_id,
    )


def _too_much(facts: Facts, text: str) -> Deny:
    mend = "answer or refuse what waits: charter approvals ls"
    return Deny((Reason(Layer.APPROVAL, "built-in/approvals", text, mend, facts.principal.name),))
