"""Resolve: one consistent reading of everything a verdict depends on.

Facts hold the very records they were read from. The record step compares them with the live estate by identity, so a
charter, system or standing that changed in between sends the call back here.

The order of the checks is the order of the answers a person wants: may this principal act at all; is the system known
and in order; is the tool known, and still what was accepted; does the chain hold; what would policy be asked.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from msgspec.structs import replace

from charter.core.errors import CharterError
from charter.gateway.call import Bearer, Call
from charter.gateway.chain import ReadChain, Slices, approval_digest, read_chain
from charter.gateway.model_use import other_model
from charter.identity.authority import refusal
from charter.identity.bearer import Proof, Vouched
from charter.policy.request import Request, build_request
from charter.policy.slice import Slice
from charter.policy.verdict import Deny, Layer, Reason
from charter.registry.approval import Approval, ApprovalState
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.problem import nearest

RULE_POINTS = "built-in/enforcement-points"
MODEL_RULE = "built-in/pinned-models"
MAX_SHOWN = 120  # characters of a model's name


class Facts(msgspec.Struct, frozen=True):
    """What one decision rests on."""

    principal: Principal
    record: SystemRecord
    action: str
    chain: ReadChain
    request: Request
    approval: Approval | None  # open: it can be answered or spent
    shown: Approval | None  # what the live estate shows for this call, be it lapsed
    asked: str  # digest that an approval is bound to
    generation: int

    @property
    def slice(self) -> Slice:
        """The caller's own policy."""
        return self.chain.case.parties[-1].bound

    def still_hold(self, live: LiveEstate) -> bool:
        """Whether the live estate still shows exactly these facts."""
        return (
            live.principals.get(self.principal.id) is self.principal
            and live.systems.get(self.record.name) is self.record
            and live.policy_generation == self.generation
            and live.approvals.get((self.principal.id, self.asked)) is self.shown
            and self.chain.still_holds(live)
        )


def resolve(live: LiveEstate, slices: Slices, bearer: Bearer, call: Call, at: dt.datetime) -> Facts | Deny:
    """Return the facts of `call`, or the denial that needs no policy."""
    generation = live.policy_generation
    record = live.systems.get(call.system)
    stopped = refusal(live, bearer, record, at=at)
    principal = live.principals.get(bearer.principal_id)
    if stopped is not None or principal is None:
        text, mend, link = (stopped.text, stopped.mend, stopped.link) if stopped else ("unknown principal", "", "?")
        return _deny(Layer.STANDING, "built-in/standing", text, mend, link)
    if record is None:
        close = nearest(call.system, live.systems)
        return _deny(
            Layer.SYSTEM,
            "built-in/known-systems",
            f"there is no system `{call.system}`",
            f"did you mean `{close}`?" if close else "add it to the estate's systems/ and apply",
            principal.name,
        )
    action = _barred(record, bearer, call) or _asked(live, principal, record, call)
    if isinstance(action, Deny):
        return action
    asked = approval_digest(bearer, call)
    shown = live.approvals.get((principal.id, asked))
    approval = shown if shown is not None and shown.is_open(at) and call.approval in (None, shown.id) else None
    chain = read_chain(live, slices, bearer, principal)
    if isinstance(chain, Deny):
        return chain
    roles = approval.roles if approval and approval.state is ApprovalState.APPROVED else ()
    try:
        request = build_request(
            chain.case.parties[-1].asker,
            record.system,
            action,
            call.arguments,
            at,
            frozenset(roles),
            object=call.object,
        )
    except CharterError as err:
        return _deny(Layer.CHARTER, "built-in/arguments", err.detail, err.help or "mend the arguments", principal.name)
    request = replace(request, chain=chain.facts) if chain.facts else request
    return Facts(principal, record, action, chain, request, approval, shown, asked, generation)


def _barred(record: SystemRecord, bearer: Bearer, call: Call) -> Deny | None:
    """Return the denial of a call that came by a way which the system's file does not have."""
    enforcement, name = record.system.enforcement, record.name
    if not isinstance(bearer, Vouched):
        has_proxy = enforcement is not None and enforcement.proxy is not None
        if enforcement is None or (call.by_proxy and has_proxy):
            return None
        text, mend = (
            f"`{name}` has enforcement points of its own, and Charter forwards nothing to it",
            "go through them",
        )
        return _deny(Layer.SYSTEM, RULE_POINTS, text, mend, bearer.principal_name)
    point = bearer.point.principal_name
    if enforcement is None or point not in enforcement.points:
        text = f"`{point}` is no enforcement point of `{name}`, and may not ask what is allowed there"
        return _deny(Layer.SYSTEM, RULE_POINTS, text, f"name it under `enforcement` in systems/{name}.yaml", point)
    if bearer.proof is Proof.WORD and enforcement.vouching is None:
        text = f"the word of `{point}` alone does not prove `{bearer.principal_name}` on `{name}`"
        mend = "send the principal's own access token, or let the system's file say `vouching: allowed`"
        return _deny(Layer.SYSTEM, RULE_POINTS, text, mend, point)
    return None


def _asked(live: LiveEstate, principal: Principal, record: SystemRecord, call: Call) -> str | Deny:
    """Return the action that a call asks for, if it is one that is known, of a model that was accepted."""
    action = _known_action(record, call, principal.name)
    model = None if isinstance(action, Deny) else other_model(live, principal, record, call)
    if model is None:
        return action
    return _deny(Layer.CHARTER, MODEL_RULE, *_told(principal.name, model), principal.name)


def _told(name: str, model: str) -> tuple[str, str]:
    """Return what is wrong with a call for a model that nobody accepted, and what would mend it."""
    shown = model if model.isprintable() and len(model) <= MAX_SHOWN else ascii(model[:MAX_SHOWN])
    return f"`{name}` asks for the model `{shown}`, which nobody accepted", f"charter composition show {name}"


def _known_action(record: SystemRecord, call: Call, link: str) -> str | Deny:
    """Return the action that the call's tool performs, if the tool is known and is what was accepted."""
    system = record.system
    action = system.action_of_tool(call.tool)
    if action is None and system.enforcement is not None:
        close = nearest(call.tool, system.actions)
        text = f"`{system.system}` has no action `{call.tool[:128]}`"
        mend = f"did you mean `{close}`?" if close else "add it to the actions of the system's file, and apply"
        return _deny(Layer.SYSTEM, "built-in/known-tools", text, mend, link)
    if action is None:
        close = nearest(call.tool, [a.tool for a in system.actions.values()])
        return _deny(
            Layer.SYSTEM,
            "built-in/known-tools",
            f"`{system.system}` has no tool `{call.tool}` that anyone accepted",
            f"did you mean `{close}`?" if close else f"import it: charter systems import {system.system}",
            link,
        )
    if not system.has_pins:  # its file says what the action is, no definition elsewhere
        return action
    pin = system.actions[action].pin
    if pin is None or call.tool_pin is None or pin != call.tool_pin:
        why = (
            "has never been accepted"
            if pin is None
            else "is missing upstream"
            if call.tool_pin is None
            else "is not the one that was accepted"
        )
        return _deny(
            Layer.SYSTEM,
            "built-in/pinned-tools",
            f"the definition of the tool `{call.tool}` on `{system.system}` {why}, so it is held",
            f"look at it and accept it: charter systems import {system.system} --accept, then plan and apply",
            link,
        )
    return action


def _deny(layer: Layer, rule: str, text: str, mend: str, link: str) -> Deny:
    return Deny((Reason(layer, rule, text, mend, link),))
