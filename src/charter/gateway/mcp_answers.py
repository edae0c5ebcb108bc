"""What the gateway answers in MCP's words: results, refusals, errors. No decisions are made here.

A refusal is a tool result with `isError`, not a JSON-RPC error. The specification has a client give a tool's errors to
its model, so that it can do something else, and lets it keep protocol errors to itself (2026-07-28 server/tools,
"Error Handling"); the official client raises an exception for the latter, which ends most agents' loops. The text says
what was refused, why, and what would make it allowed; `_meta["charter/refusal"]` holds the same for programs:

    {"verdict": "deny" | "escalate", "verdict_id": "vrd_…", "layer", "rule", "text", "mend", "link", "source",
     "reasons": [all of them], "approval": "apr_…" | null, "approvers": [roles], "how": command | null}

INVARIANT: keys `charter/…` in `_meta` are Charter's own; whatever an upstream puts there is taken out.
"""

from __future__ import annotations

from typing import Any, Protocol

from charter import __version__
from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.gateway.mcp_protocol import REFUSAL_KEY, SERVER_INFO_KEY, VERDICT_KEY, RpcCode
from charter.gateway.pins import UpstreamError
from charter.policy.verdict import Deny, Escalate, Reason
from charter.registry.seat import told

Message = dict[str, Any]
RequestId = str | int
SERVER_INFO = {"name": "charter", "title": "Charter gateway", "version": __version__}


class Refusal(Protocol):
    """What the pipeline says of a call it did not admit."""

    @property
    def verdict_id(self) -> str:
        """The id of the recorded verdict."""
        ...

    @property
    def verdict(self) -> Deny | Escalate:
        """The verdict."""
        ...

    @property
    def approval_id(self) -> str | None:
        """The approval that waits for a person, if one does."""
        ...


class WireError(MalformedError):
    """A message that breaks a rule of the protocol: the HTTP status and JSON-RPC error it is answered with."""

    def __init__(
        self,
        rpc: RpcCode,
        detail: str,
        *,
        status: int = 400,
        request_id: RequestId | None = None,
        data: dict[str, Any] | None = None,
        answer: dict[str, Any] | None = None,
    ) -> None:
        """`answer` is the message, where that is a response: an error unless the request was ours."""
        super().__init__(ErrorCode.BAD_REQUEST, detail)
        self.answer = answer
        self.rpc = rpc
        self.status = status
        self.request_id = request_id
        self.data = data


def result_message(request_id: RequestId | None, result: dict[str, Any]) -> Message:
    """Return the JSON-RPC response that carries `result`."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def error_message(request_id: RequestId | None, error: dict[str, Any]) -> Message:
    """Return the JSON-RPC response that carries `error`; the id is null if the request's could not be read."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def error_of(err: CharterError) -> dict[str, Any]:
    """Return `err` as a JSON-RPC error object."""
    message = f"{err.detail}; {err.help}" if err.help else err.detail
    if isinstance(err, WireError):
        return {"code": int(err.rpc), "message": message} | ({"data": err.data} if err.data is not None else {})
    data: dict[str, Any] = {"code": err.code.value, "help": err.help}
    if isinstance(err, ThrottledError | UnavailableError):
        data["retry_after_seconds"] = err.retry_after_seconds
    if isinstance(err, UpstreamError):
        data["sent"] = err.sent  # False: the call surely did not happen
    if isinstance(err, DeniedError) and err.verdict_id:
        data["verdict_id"] = err.verdict_id
    return {"code": int(_rpc_code(err)), "message": message, "data": data}


def _rpc_code(err: CharterError) -> RpcCode:  # noqa: PLR0911 - one line for each of the family
    match err:
        case MalformedError():
            return RpcCode.INVALID_PARAMS
        case UnauthenticatedError():
            return RpcCode.UNAUTHENTICATED
        case DeniedError():
            return RpcCode.DENIED
        case AbsentError():
            return RpcCode.ABSENT
        case ConflictError():
            return RpcCode.CONFLICT
        case ThrottledError():
            return RpcCode.THROTTLED
        case UnavailableError():
            return RpcCode.UNAVAILABLE
        case IntegrityError():
            return RpcCode.INTERNAL_ERROR
        case _:
            return RpcCode.INTERNAL_ERROR


def complete(result: dict[str, Any], *, modern: bool) -> dict[str, Any]:
    """Return `result` as the caller's era spells a finished one."""
    meta = {key: value for key, value in _meta_of(result).items() if key != SERVER_INFO_KEY}
    if modern:
        return result | {"resultType": "complete", "_meta": {SERVER_INFO_KEY: SERVER_INFO, **meta}}
    spelt = {key: value for key, value in result.items() if key not in ("resultType", "_meta")}
    return spelt | {"_meta": meta} if meta else spelt


def tool_result(result: dict[str, Any], verdict_id: str, *, modern: bool) -> dict[str, Any]:
    """Return an upstream's tool result as the caller gets it: the verdict named, what is Charter's to say taken out."""
    own = {key: value for key, value in _meta_of(result).items() if not str(key).startswith("charter/")}
    kept = result | {"_meta": own | {VERDICT_KEY: verdict_id}}
    if not modern and not isinstance(result.get("structuredContent", {}), dict):
        del kept["structuredContent"]  # before 2026-07-28 it had to be an object; the text content says the same
    return complete(kept, modern=modern)


def refusal_result(refused: Refusal, *, modern: bool) -> dict[str, Any]:
    """Return the tool result that tells a caller its call was refused, why, and what would make it allowed."""
    text, facts = _told(refused)
    result = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {VERDICT_KEY: refused.verdict_id, REFUSAL_KEY: facts},
    }
    return complete(result, modern=modern)


def refusal_error(refused: Refusal) -> dict[str, Any]:
    """Return the JSON-RPC error that tells the same where results have no place for it: of resources and prompts."""
    text, facts = _told(refused)
    return {"code": int(RpcCode.DENIED), "message": text, "data": {REFUSAL_KEY: facts}}


def _told(refused: Refusal) -> tuple[str, dict[str, Any]]:
    verdict, first = refused.verdict, refused.verdict.reasons[0]
    is_held = isinstance(verdict, Escalate)
    how = f"charter approvals approve {refused.approval_id}" if is_held and refused.approval_id else None
    facts: dict[str, Any] = {
        "verdict": "escalate" if is_held else "deny",
        "verdict_id": refused.verdict_id,
        **first.to_json(),
        "reasons": [reason.to_json() for reason in verdict.reasons],
        "approval": refused.approval_id,
        "approvers": list(verdict.approvers) if isinstance(verdict, Escalate) else [],
        "how": how,
    }
    text = _held_text(verdict.approvers, first, how) if isinstance(verdict, Escalate) else _denied_text(first)
    where = f" at {first.source}" if first.source else ""
    text += f" (rule {first.rule}{where}, layer {first.layer.value}, verdict {refused.verdict_id})"
    return text, facts


def _denied_text(reason: Reason) -> str:
    return f"Charter denied this call: {_sentence(reason.text)} To have it allowed: {_sentence(reason.mend)}"


def _held_text(roles: tuple[str, ...], reason: Reason, how: str | None) -> str:
    is_one, who = len(roles) == 1, told(roles)
    asked = f"Someone with the role {who} can approve it" if is_one else f"People can approve it together ({who})"
    ask = f"{asked}: {how}." if how else _sentence(reason.mend)
    again = "Then call again with exactly the same arguments."
    return f"Charter holds this call until a person approves it: {_sentence(reason.text)} {ask} {again}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _meta_of(result: dict[str, Any]) -> dict[str, Any]:
    meta = result.get("_meta")
    return meta if isinstance(meta, dict) else {}
