"""The tables from the error family to HTTP: problem details (RFC 9457) and OAuth errors (RFC 6749, 8707, 9449).

                        HTTP  OAuth, at its endpoints
  MalformedError         400  invalid_request, unsupported_grant_type, unsupported_response_type, invalid_scope,
                              invalid_target
  UnauthenticatedError   401  invalid_client; invalid_dpop_proof (400)
  DeniedError            403  unauthorized_client, invalid_target, invalid_grant (all 400)
  AbsentError            404  invalid_request (400)
  ConflictError          409  temporarily_unavailable (503)
  ThrottledError         429  temporarily_unavailable
  UnavailableError       503  temporarily_unavailable
  IntegrityError         500  server_error

The table to JSON-RPC stands with the protocol it belongs to, in gateway/mcp_answers.py. docs/error-codes.md explains
each code to those who meet it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
from charter.registry.problem import EstateError, Problem

Body = dict[str, Any]
_STATUS: dict[type[CharterError], int] = {
    MalformedError: 400,
    UnauthenticatedError: 401,
    DeniedError: 403,
    AbsentError: 404,
    ConflictError: 409,
    ThrottledError: 429,
    UnavailableError: 503,
    IntegrityError: 500,
}
_TITLES = {kind.__name__.removesuffix("Error").lower(): kind for kind in _STATUS}
_MAX_DESCRIPTION = 500
_MAX_SAID = 120  # characters of what one fault says
_PREFIX = "Value error, "  # what pydantic puts before the sentence of a validator of ours
_MAX_SHOWN = 5  # faults, or parts of a place
_UNREADABLE = (400, 422)  # FastAPI's own complaints about a body


def family_of(error: CharterError) -> type[CharterError]:
    """Return which of the family `error` is, whatever its own class adds.

    Raises:
        RuntimeError: it is none of them: a bug, since the base is never raised.
    """
    for kind in _STATUS:
        if isinstance(error, kind):
            return kind
    raise RuntimeError(f"`{type(error).__name__}` says not who must act")


def problem_of(error: CharterError) -> tuple[int, Body]:
    """Return the status and the problem document of an error."""
    family = family_of(error)
    body: Body = {
        "type": f"urn:charter:error:{error.code.value}",
        "title": family.__name__.removesuffix("Error").lower(),
        "status": _STATUS[family],
        "detail": error.detail,
        "code": error.code.value,
        "help": error.help,
    }
    if isinstance(error, EstateError):
        body["problems"] = [[p.path, p.line, p.column, p.text, p.help] for p in error.problems]
    if isinstance(error, DeniedError):
        body["verdict_id"] = error.verdict_id
    if isinstance(error, ThrottledError | UnavailableError):
        body["retry_after_seconds"] = error.retry_after_seconds
    return _STATUS[family], body


def unreadable(faults: Iterable[Mapping[str, Any]]) -> MalformedError:
    """Return the error of a request whose parts are not of their form; `faults` are pydantic's.

    Neither a value that was sent nor the name of an unknown field is repeated: either could be a secret.
    """
    said = [f"{_place(fault)}: {str(fault['msg']).removeprefix(_PREFIX)[:_MAX_SAID]}" for fault in faults]
    more = f"; and {len(said) - _MAX_SHOWN} more" if len(said) > _MAX_SHOWN else ""
    return MalformedError(
        ErrorCode.BAD_REQUEST,
        f"the request is not of its form: {'; '.join(said[:_MAX_SHOWN])}{more}",
        help="mend what is named",
    )


def _place(fault: Mapping[str, Any]) -> str:
    parts = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        parts[-1] = "a field"
    return ".".join(part[:_MAX_SAID] for part in parts[:_MAX_SHOWN]) or "it"


def http_error(status: int) -> CharterError:
    """Return the error of a request that no handler took: no such path, another method, an unreadable body."""
    match status:
        case 404:
            return AbsentError(ErrorCode.BAD_REQUEST, "there is nothing at this path", help="see docs/architecture.md")
        case 405:
            return MalformedError(ErrorCode.BAD_REQUEST, "this path does not take that method", help="use another")
        case _:
            return MalformedError(ErrorCode.BAD_REQUEST, "the body cannot be read", help="send JSON in UTF-8")


def error_from_problem(status: int, body: Body) -> CharterError:
    """Return the error that a problem document tells of; what is no such document is an unavailable server."""
    kind = _TITLES.get(str(body.get("title")))
    try:
        code = ErrorCode(str(body.get("code")))
    except ValueError:
        code = ErrorCode.BAD_REQUEST
    if kind is None:
        if status in _UNREADABLE:
            return MalformedError(ErrorCode.BAD_REQUEST, f"the server refused the request: {str(body)[:300]}")
        return UnavailableError(ErrorCode.STORE_FAILED, f"the server answered {status}", help="look at its log")
    if isinstance(body.get("problems"), list):
        return EstateError(Problem(*each) for each in body["problems"])
    detail, mend = str(body.get("detail", "")), body.get("help")
    after = body.get("retry_after_seconds")
    if kind is DeniedError:
        return DeniedError(code, detail, help=mend, verdict_id=body.get("verdict_id"))
    if kind in (ThrottledError, UnavailableError) and isinstance(after, int):
        told: type[ThrottledError | UnavailableError] = ThrottledError if kind is ThrottledError else UnavailableError
        return told(code, detail, help=mend, retry_after_seconds=after)
    return kind(code, detail, help=mend)


_OAUTH_BY_CODE = {
    ErrorCode.BAD_PROOF: ("invalid_dpop_proof", 400),  # RFC 9449 section 5
    ErrorCode.NONCE_NEEDED: ("use_dpop_nonce", 400),  # RFC 9449 section 8
    ErrorCode.BAD_TARGET: ("invalid_target", 400),  # RFC 8707 section 2
    ErrorCode.BAD_SCOPE: ("invalid_scope", 400),
    ErrorCode.BAD_DETAILS: ("invalid_authorization_details", 400),  # RFC 9396 section 5
    ErrorCode.BAD_DELEGATION: ("invalid_request", 400),  # RFC 8693 section 2.2.2
    ErrorCode.UNSUPPORTED: ("unsupported_grant_type", 400),
    ErrorCode.UNSUPPORTED_RESPONSE: ("unsupported_response_type", 400),
    ErrorCode.BAD_GRANT: ("invalid_grant", 400),
    ErrorCode.BAD_METADATA: ("invalid_client_metadata", 400),
    ErrorCode.BAD_NEW_KEY: ("invalid_client_metadata", 400),  # RFC 7591 section 3.2.2: keys are metadata
    ErrorCode.BAD_REDIRECT: ("invalid_redirect_uri", 400),  # RFC 7591 section 3.2.2
    ErrorCode.CONSENT_PENDING: ("authorization_pending", 400),  # RFC 8628 section 3.5
    ErrorCode.TOO_HASTY: ("slow_down", 400),
    ErrorCode.CODE_EXPIRED: ("expired_token", 400),
    ErrorCode.CONSENT_REFUSED: ("access_denied", 400),
    ErrorCode.NOT_BOUND: ("invalid_request", 400),  # RFC 6749 section 5.2: a proof is missing that must be there
}
_OAUTH: dict[type[CharterError], tuple[str, int]] = {
    MalformedError: ("invalid_request", 400),
    UnauthenticatedError: ("invalid_client", 401),
    DeniedError: ("unauthorized_client", 400),
    AbsentError: ("invalid_request", 400),
    ConflictError: ("temporarily_unavailable", 503),
    ThrottledError: ("temporarily_unavailable", 429),
    UnavailableError: ("temporarily_unavailable", 503),
    IntegrityError: ("server_error", 500),
}


def oauth_error(error: CharterError) -> tuple[int, Body]:
    """Return the status and body of an error at an OAuth endpoint (RFC 6749 section 5.2)."""
    name, status = _OAUTH_BY_CODE.get(error.code) or _OAUTH[family_of(error)]
    said = f"{error.detail}; {error.help}" if error.help else error.detail
    return status, {"error": name, "error_description": _description(said)}


def _description(text: str) -> str:
    """Return `text` in the characters that RFC 6749 section 5.2 allows."""
    said = "".join(ch if " " <= ch <= "~" and ch not in '"\\`' else "'" for ch in text)
    return said[:_MAX_DESCRIPTION]
