"""How access requests are told: what a denial says of them, tasks, and what a re-evaluation says of its approval.

The shapes are those of the AuthZEN Access Request and Approval Profile, Draft 1. No approver is named in any of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from charter.core.clock import rfc3339
from charter.gateway.access_request import DENIAL_MINUTES, DenialTokens, status_of, status_of_all
from charter.gateway.chain import approval_digest
from charter.gateway.decisions import Answered
from charter.gateway.evaluation import Json
from charter.gateway.vouching import Understood
from charter.identity.resource import DECISION_PATH
from charter.policy.verdict import Allow, Escalate
from charter.registry.approval import Approval
from charter.registry.seat import told as told_seats

REQUESTS_PATH = f"{DECISION_PATH}/requests"
RETRY_SECONDS = 5
UNVERIFIABLE, PENDING = "approval_unverifiable", "grant_pending"
_MAX_TEMPLATE = 200


def requestable(answered: Answered, tokens: DenialTokens, base: str) -> Json:
    """Return what a denial says of how it can be requested; nothing if it cannot."""
    found = answered.understood
    if found is None or not isinstance(answered.verdict, Escalate):
        return {}
    expires = (answered.at + dt.timedelta(minutes=DENIAL_MINUTES)).replace(microsecond=0)
    text = f"{told_seats(answered.verdict.approvers)} must say yes before this is allowed".replace("`", "")
    return {
        "access_request": {
            "endpoint": base + REQUESTS_PATH,
            "template": ",".join(answered.verdict.approvers)[:_MAX_TEMPLATE],
            "expires_at": rfc3339(expires),
            "binding_token": tokens.sign(answered.id, found, answered.question, expires),
            "display": {"title": "Request access", "description": text},
        }
    }


def rested_on(answered: Answered, approval: Approval | None) -> Json:
    """Return what a re-evaluation says of the approval that it named (completion semantics)."""
    found = answered.understood
    if found is None:
        return {}
    if isinstance(answered.verdict, Allow):
        was_spent = approval is not None and answered.approval_id == approval.id
        return {"approval": _reference(approval)} if approval is not None and was_spent else {}
    can_be_asked = isinstance(answered.verdict, Escalate)
    reason = _why_not(answered, found, approval, can_be_asked=can_be_asked)
    if reason == PENDING:
        return {"next_action": "retry", "retry_after": RETRY_SECONDS, "reason": reason}
    again = can_be_asked and reason != UNVERIFIABLE
    return {"next_action": "request" if again else "none", "reason": reason}


def _why_not(answered: Answered, found: Understood, approval: Approval | None, *, can_be_asked: bool) -> str:
    if approval is None or approval.principal_id != found.bearer.principal_id:
        return UNVERIFIABLE
    if approval.call_digest != approval_digest(found.bearer, found.call):
        return "out_of_scope"
    if not can_be_asked:
        return "policy_denied"
    return PENDING if status_of(approval, answered.at) == "pending" else "approval_expired"


def task(name: str, approvals: Sequence[Approval], base: str, at: dt.datetime) -> Json:
    """Return a task: its status, and each item's."""
    items = [_item(each, at) for each in approvals]
    status = status_of_all([each["status"] for each in items])
    place = f"{base}{REQUESTS_PATH}/{name}"
    seats = sum(len(each.roles) for each in approvals)
    done = sum(len(each.given) for each in approvals)
    told: Json = {
        "id": name,
        "status": status,
        "status_endpoint": place,
        "expires_at": rfc3339(min(each.expires_at for each in approvals)),
        "progress": {"current_step": min(done + 1, seats), "total_steps": seats},
        "items": items,
    }
    if status == "pending":
        told["links"] = {"cancel": f"{place}/cancel"}
    return {"task": told} | ({"result": items[0]["result"]} if len(items) == 1 and status == "approved" else {})


def _item(approval: Approval, at: dt.datetime) -> Json:
    asked: Any = approval.call.get("question") or {
        "resource": {"type": approval.call["system"], "id": approval.call["object"]},
        "action": {"name": approval.call["action"]},
    }
    status = status_of(approval, at)
    result = {"result": {"mode": "reevaluate", "approval": _reference(approval)}} if status == "approved" else {}
    return {"resource": asked["resource"], "action": asked["action"], "status": status} | result


def _reference(approval: Approval) -> Json:
    return {"id": approval.id, "approved_until": rfc3339(approval.expires_at)}
