"""A call that waits for people while policy moves on: whether it would be denied by now, whatever they say.

What its session has read is left out: that can only ask for more. Nothing is recorded, counted or asked.
"""

from __future__ import annotations

import datetime as dt

from msgspec.structs import replace

from charter.core.errors import CharterError
from charter.gateway.chain import ReadChain, Slices, read_alone, read_links
from charter.identity.authority import chain_refusal, refusal
from charter.policy.decide import Evaluator
from charter.policy.narrow import decide_narrowed
from charter.policy.request import build_request
from charter.policy.verdict import Deny, Layer, Reason, Verdict
from charter.registry.approval import Approval
from charter.registry.principal import LiveEstate


def denied_now(
    approval: Approval, live: LiveEstate, slices: Slices, evaluator: Evaluator, at: dt.datetime
) -> str | None:
    """Return why the call of `approval` would be denied at `at` with every yes it waits for; None: it would not be."""
    told = approval.call.get("chain")
    chain = live.delegations.chain_of(str(told["delegation"])) if told else None
    if told and chain is None:
        return "the delegation that it was made under is not known any more"
    stopped = refusal(live, approval.principal_id, live.systems.get(str(approval.call["system"])), at=at)
    stopped = stopped or (chain_refusal(live, chain, at=at) if chain is not None else None)
    if stopped is not None:
        return stopped.text
    own = live.principals[approval.principal_id]
    read = read_alone(slices, own) if chain is None else read_links(live.principals, slices, chain)
    verdict = read if isinstance(read, Deny) else _decided(approval, live, read, evaluator, at)
    return verdict.reasons[0].text if isinstance(verdict, Deny) else None


def _decided(approval: Approval, live: LiveEstate, read: ReadChain, evaluator: Evaluator, at: dt.datetime) -> Verdict:
    call, record = approval.call, live.systems.get(str(approval.call["system"]))
    action = record.system.action_of_tool(str(call["tool"])) if record else None
    asker, where = read.case.parties[-1].asker, str(call["object"]) if "point" in call else None
    if record is None or action is None:
        text = f"`{call['system']}` has no tool `{call['tool']}` any more"
        return Deny((Reason(Layer.SYSTEM, "built-in/known-tools", text, "let it be asked again", asker.name),))
    try:
        yes = frozenset(approval.roles)
        request = build_request(asker, record.system, action, call.get("arguments") or {}, at, yes, object=where)
    except CharterError as err:
        return Deny((Reason(Layer.CHARTER, "built-in/arguments", err.detail, "let it be asked again", asker.name),))
    request = replace(request, chain=read.facts) if read.facts else request
    return decide_narrowed(read.case, request, evaluator, None)
