"""Endpoints and answers of the OAuth server: a path, who serves it, and how what they say goes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.errors import CharterError, ErrorCode, ThrottledError, UnauthenticatedError, UnavailableError
from charter.server.gateway_http import Head, HttpRefusal, Receive, Send, encode
from charter.server.problems import oauth_error

CACHE_SECONDS = 300
Header = tuple[bytes, bytes]
Body = dict[str, Any]
_PRIVATE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))  # RFC 6749 section 5.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint says: JSON, or bytes of another type. Only what is `public` may be kept by caches."""

    body: Body | bytes
    status: int = 200
    headers: tuple[Header, ...] = ()
    public: bool = False
    content_type: bytes = b"application/json"
    cache_seconds: int = CACHE_SECONDS  # of what is public


Handler = Callable[[Head, Receive], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the server: who serves each method there, and by which names the metadata tells of it."""

    path: str
    methods: Mapping[str, Handler]
    name: str | None = None  # its member in the metadata (RFC 8414 section 2): token_endpoint
    metadata: Mapping[str, Any] = field(default_factory=dict)  # further members that are there because it is
    holds_below: bool = False  # serves every path that begins with its own


def answer_of(error: CharterError, head: Head | None = None) -> Answer:
    """Return the answer that an error is at an OAuth endpoint, to the request of that head."""
    status, body = oauth_error(error)
    return Answer(body, status, _headers_of(error, head))


def answer_of_refusal(refusal: HttpRefusal) -> Answer:
    """Return the answer to a request that was not understood."""
    body = {"error": "invalid_request", "error_description": refusal.detail.replace("`", "'")}
    return Answer(body, refusal.status, refusal.headers)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send it."""
    body = answer.body if isinstance(answer.body, bytes) else encode(answer.body)
    fixed = ((b"content-type", answer.content_type), (b"content-length", str(len(body)).encode()))
    kept = ((b"cache-control", b"public, max-age=%d" % answer.cache_seconds),) if answer.public else _PRIVATE
    head = [*answer.headers, *fixed, *kept]
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _headers_of(error: CharterError, head: Head | None) -> tuple[Header, ...]:
    match error:
        case ThrottledError() | UnavailableError():
            return ((b"retry-after", str(error.retry_after_seconds).encode()),)
        case UnauthenticatedError() if error.code not in (ErrorCode.BAD_PROOF, ErrorCode.NONCE_NEEDED):
            # a 401 must have one (RFC 9110 section 15.5.2), of the scheme that was tried (RFC 6749 section 5.2)
            scheme = head.headers.get("authorization", "").partition(" ")[0].lower() if head else ""
            return (
                (b"www-authenticate", b'Basic realm="charter"' if scheme == "basic" else b'Bearer realm="charter"'),
            )
        case _:
            return ()
