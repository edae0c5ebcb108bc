"""Access requests: from a denial that people can lift to their answer (AuthZEN Access Request and Approval, Draft 1).

    1  an evaluation escalates; the point is told so, with a *denial token*: which denial, of what, for whom, until when
    2  the point sends the question back with the token: people are asked, and an approval waits (one for each item)
    3  the point looks at the *task* until it is over
    4  the point evaluates again, naming the approval; the pipeline decides, and spends it

The token is a JWT of ours: nothing is kept between 1 and 2, and any node can verify it. A task is its approvals.

INVARIANT: nobody is asked about anything but what was denied, to that very point: the token binds subject, action,
resource, the context that policies may read, the delegation and the point.
INVARIANT: an access request allows nothing. Only a new evaluation does, by the state of the approval then.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.gateway.chain import approval_digest
from charter.gateway.evaluation import Evaluation, Json, read_evaluation
from charter.gateway.mcp_json import parse_json
from charter.gateway.vouching import Asking, Understood, without_actor
from charter.identity.jose import parse_compact, sign_compact, verify_compact
from charter.identity.keys import KeyRing
from charter.registry.approval import Approval, ApprovalState

DENIAL_MINUTES = 10  # in which a denial can be taken to people
TYPE = "authzen-denial+jwt"
MAX_ITEMS = 16
MAX_SAID = 4096  # bytes of canonical JSON that approvers are shown of what a point says besides
MACHINERY = frozenset({"access_request", "evaluation_id", "evaluated_at", "reason", "approval", "access_token"})
_HEADER = frozenset({"alg", "typ", "kid"})
_WHAT = "the denial's binding token"
_JOIN = "~"  # between the approvals of one task


class Problem(StrEnum):
    """The problem types of the draft (error responses)."""

    NOT_REQUESTABLE = "not_requestable"
    EXPIRED_DENIAL = "expired_denial"
    INVALID_BINDING = "invalid_denial_binding"
    DUPLICATE = "duplicate_request"
    UNKNOWN_TASK = "unknown_task"
    TASK_EXPIRED = "task_expired"
    INVALID_STATE = "invalid_task_state"


class RequestProblem(Exception):  # noqa: N818 - an answer rather than an accident
    """An access request that is refused, in the draft's words."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Denied:
    """One question that was denied, and what says so."""

    question: Evaluation
    token: str
    expires_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What a point asks people for."""

    items: tuple[Denied, ...]
    said: Json  # what approvers are shown besides
    actors: tuple[str, ...]  # ids of the actors that the point claims
    digest: str  # of the body, for retries


def parse_access_request(data: bytes) -> AccessRequest:
    """Return the access request that a body is.

    Raises:
        MalformedError: it is none.
        RequestProblem: an item has nothing that binds it to a denial.
    """
    body = parse_json(data)
    if not isinstance(body, dict):
        raise _malformed("the body is no object")
    if body.get("callback") is not None:
        raise _malformed("callbacks are not sent; look at `status_endpoint`")
    items = body.get("items")
    if items is not None and (not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS):
        raise _malformed(f"`items` is no array of 1 to {MAX_ITEMS} items")
    if items is not None and ("resource" in body or "action" in body):
        raise _malformed("`resource` and `action` stand in the items alone")
    denied = tuple(_denied(body, each) for each in (items if items is not None else [{}]))
    said = {name: body[name] for name in ("requested_access", "client") if isinstance(body.get(name), dict)}
    digest = hashlib.sha256(canonical(body)).hexdigest()
    return AccessRequest(denied, said, tuple(_actors(body.get("client"))), digest)


def _denied(body: Mapping[str, Any], item: object) -> Denied:
    if not isinstance(item, dict):
        raise _malformed("an item is an object")
    named = {name: item[name] for name in ("resource", "action") if name in item}
    question = read_evaluation({k: v for k, v in body.items() if k != "items"} | named)
    denial = item.get("denial", body.get("denial"))
    token = denial.get("binding_token") if isinstance(denial, dict) else None
    if not isinstance(denial, dict) or not isinstance(token, str):
        raise RequestProblem(Problem.INVALID_BINDING, "`denial.binding_token` is missing")
    expires = denial.get("expires_at")
    if not isinstance(expires, str):
        raise RequestProblem(Problem.INVALID_BINDING, "`denial.expires_at` is missing")
    try:
        return Denied(question, token, parse_rfc3339(expires))
    except ValueError as err:
        raise RequestProblem(Problem.INVALID_BINDING, "`denial.expires_at` is no moment") from err


def _actors(client: object) -> list[str]:
    """Return the ids of the actors that a point claims, from the immediate one on."""
    actor: Any = client.get("actor") if isinstance(client, dict) else None
    found: list[str] = []
    while isinstance(actor, dict) and len(found) < MAX_ITEMS:
        named = actor.get("id", actor.get("sub"))
        found.append(named if isinstance(named, str) else "")
        actor = actor.get("act")
    return found


# --- the denial token ---


@dataclass(frozen=True, slots=True)
class DenialTokens:
    """Makes and verifies what binds an access request to the denial that it is about."""

    ring: KeyRing
    issuer: str
    audience: str  # the access request endpoint
    entropy: Entropy

    def sign(self, verdict_id: str, found: Understood, question: Evaluation, expires: dt.datetime) -> str:
        """Return the token of a recorded denial."""
        key = self.ring.token_key()
        members = list(found.place.enforcement.context)
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int((expires - dt.timedelta(minutes=DENIAL_MINUTES)).timestamp()),
            "exp": int(expires.timestamp()),
            "jti": self.entropy.token(16),
            "evaluation_id": verdict_id,
            "denial_expires_at": rfc3339(expires),
            "binding_context_members": members,
            "binding_hash": binding_hash(question, members),
            "client_id": found.bearer.point.principal_id,
            "call": approval_digest(found.bearer, found.call),
        }
        return sign_compact({"alg": "ES256", "kid": key.id, "typ": TYPE}, claims, key.private)

    def verdict_of(self, item: Denied, asking: Asking, found: Understood, at: dt.datetime) -> str:
        """Return the verdict that denied what is asked for.

        Raises:
            RequestProblem: the token is none of ours, for something else, or over.
        """
        claims = self._claims(item.token, at)
        bound = {
            "client_id": asking.bearer.principal_id,
            "call": approval_digest(found.bearer, found.call),
            "binding_hash": binding_hash(item.question, claims["binding_context_members"]),
        }
        if any(not hmac.compare_digest(str(claims.get(name)), value) for name, value in bound.items()):
            raise RequestProblem(Problem.INVALID_BINDING, "what is asked for is not what was denied")
        told = parse_rfc3339(str(claims["denial_expires_at"]))
        if item.expires_at != told:
            raise RequestProblem(Problem.INVALID_BINDING, "`denial.expires_at` is not the denial's")
        if at >= told:
            raise RequestProblem(Problem.EXPIRED_DENIAL, "the denial is over: evaluate again")
        return str(claims["evaluation_id"])

    def _claims(self, token: str, at: dt.datetime) -> dict[str, Any]:
        try:
            parts = parse_compact(token, _WHAT, members=_HEADER)
            kid = parts.header.get("kid")
            key = self.ring.token_verifier(kid, at) if isinstance(kid, str) else None
            if key is None or (parts.header.get("typ"), parts.header.get("alg")) != (TYPE, "ES256"):
                raise RequestProblem(Problem.INVALID_BINDING, f"{_WHAT} is none of ours")
            verify_compact(parts, key, _WHAT)
        except CharterError as err:
            raise RequestProblem(Problem.INVALID_BINDING, err.detail) from err
        if (parts.claims.get("iss"), parts.claims.get("aud")) != (self.issuer, self.audience):
            raise RequestProblem(Problem.INVALID_BINDING, f"{_WHAT} is for another endpoint")
        return parts.claims


def binding_hash(question: Evaluation, members: Sequence[str]) -> str:
    """Return the digest that binds a question: SHA-256 over JCS (binding token integrity, hashed form)."""
    subject = replace(question.subject, properties=without_actor(question.subject.properties))
    context = {name: question.context[name] for name in members if name in question.context}
    bound = {
        "subject": subject.to_json(),
        "resource": question.resource.to_json(),
        "action": question.action.to_json(),
        "context": context,
    }
    return base64.urlsafe_b64encode(hashlib.sha256(canonical(bound)).digest()).rstrip(b"=").decode()


def told_of(request: AccessRequest, asking: Asking, question: Evaluation, members: Sequence[str]) -> Json:
    """Return what approvers are shown besides the call: who asks for it, and what the requester says.

    Raises:
        MalformedError: it is too much for a person to read.
    """
    further = MACHINERY.union(members)
    said = {name: value for name, value in question.context.items() if name not in further} | request.said
    if len(canonical(said)) > MAX_SAID:
        raise _malformed(f"what is said besides the question is more than {MAX_SAID} bytes")
    asked = {"resource": question.resource.named(), "action": {"name": question.action.name}}
    return {"point": asking.point.name, "question": asked} | ({"said": said} if said else {})


# --- tasks ---


def task_id(approvals: Sequence[Approval]) -> str:
    """Return the name of the task that these approvals are."""
    return _JOIN.join(each.id for each in approvals)


def approvals_of(task: str) -> list[str]:
    """Return the ids of a task's approvals; none if it is no task's name."""
    found = task.split(_JOIN)
    return found if len(found) <= MAX_ITEMS and all(each.startswith("apr_") for each in found) else []


def status_of(approval: Approval, at: dt.datetime) -> str:
    """Return where an approval stands, in the draft's words (task status values)."""
    if not approval.missing():  # everybody said yes, whether or not that was used since
        return "approved"
    match approval.state:
        case ApprovalState.REFUSED:
            return "denied"
        case ApprovalState.CANCELLED:
            return "cancelled"
        case ApprovalState.EXPIRED:
            return "expired"
        case _:
            return "pending" if at < approval.expires_at else "expired"


def status_of_all(statuses: Sequence[str]) -> str:
    """Return the aggregate status of a task's items."""
    if "pending" in statuses:
        return "pending"
    return statuses[0] if len(set(statuses)) == 1 else "partial"


def _malformed(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, why, help="see docs/decision-api.md")
