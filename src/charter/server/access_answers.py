"""What the decision API answers, as the specification spells it (OpenID AuthZEN Authorization API 1.0).

decision         a boolean: true for an allow alone
context          `evaluation_id`, the verdict's id, which the caller can quote; `reason`, a word for programs;
                 `reason_admin` and `reason_user`, a sentence each; `charter`, the verdict with all its reasons
"""

from __future__ import annotations

from typing import Any

from charter.core.clock import rfc3339
from charter.core.errors import MalformedError
from charter.gateway.access_search import Found
from charter.gateway.decisions import Answered
from charter.policy.verdict import Allow, Escalate, word

Body = dict[str, Any]
APPROVAL_REQUIRED = "approval_required"
_STATUS = "403"  # under which sentences stand that say no, as in the specification's examples


def decision(answered: Answered, obligations: list[Body] | None = None) -> Body:
    """Return one decision, with the obligations that go with it."""
    verdict = answered.verdict
    is_permit = isinstance(verdict, Allow)
    context: Body = {
        "evaluation_id": answered.id,
        "evaluated_at": rfc3339(answered.at),
        "reason": reason_code(answered),
    }
    if not is_permit and verdict.reasons:
        context["reason_admin"] = {_STATUS: verdict.reasons[0].text}
        context["reason_user"] = {_STATUS: verdict.reasons[0].mend}
    context["charter"] = {
        "verdict": word(verdict),
        "entry": answered.index,
        "approval": answered.approval_id,
        "reasons": [reason.to_json() for reason in verdict.reasons],
    } | ({"approvers": list(verdict.approvers)} if isinstance(verdict, Escalate) else {})
    if obligations:
        context["obligations"] = obligations
    return {"decision": is_permit, "context": context}


def reason_code(answered: Answered) -> str:
    """Return a word for programs that says why."""
    match answered.verdict:
        case Allow():
            return "permitted"
        case Escalate():
            return APPROVAL_REQUIRED
        case verdict:
            layer = verdict.reasons[0].layer.value if verdict.reasons else "denied"
            return layer.replace("-", "_")


def malformed(error: MalformedError) -> Body:
    """Return the decision on one question of several that is none (section 7.2.1)."""
    return {"decision": False, "context": {"error": {"status": 400, "message": error.detail}}}


def search_results(found: Found, results: list[Body], *, asked_for_page: bool) -> Body:
    """Return a page of what was found; `page` comes first, as the specification recommends."""
    told: Body = {}
    if found.next or asked_for_page:
        told["page"] = {"next_token": found.next, "count": len(results)}
    charter: Body = {"search": found.id, "looked_at": found.looked_at}
    if found.unlisted:
        charter["unlisted"] = list(found.unlisted)  # objects match these that no one can list
    return told | {"context": {"charter": charter}, "results": results}
