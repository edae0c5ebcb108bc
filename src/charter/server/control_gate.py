"""The control API for people on other machines: whoever signed their terminal in, as far as their access goes.

INVARIANT: nobody acts here in another person's name: what a body says of the actor must be the session's person.
INVARIANT: what is not known to take less takes the most; what means this machine (files on it, the local operator's
link, its master key) cannot be asked from elsewhere at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from charter.console.signin import Session, SignIn
from charter.core.errors import CharterError, DeniedError, ErrorCode, UnauthenticatedError
from charter.registry.access import Access
from charter.server.gateway_http import (
    Head,
    HttpRefusal,
    Receive,
    Scope,
    Send,
    encode,
    read_body,
    read_head,
)
from charter.server.problems import http_error, problem_of

WHOAMI = "/v1/whoami"
MAX_BODY = 32 * 1024 * 1024
_LOCAL_ONLY = ("/v1/console/", "/v1/evidence/export", "/v1/evidence/sinks", "/v1/keys/rotate/master")
_TAKES: tuple[tuple[str, str, Access], ...] = (  # method, beginning of the path, what it takes
    ("GET", "/v1/evidence/holds", Access.ADMIN),  # it names people whose payloads are held
    ("GET", "/v1/logs/", Access.OPERATOR),  # they may hold anything
    ("GET", "/v1/", Access.VIEWER),
    ("POST", "/v1/plan", Access.VIEWER),  # and "/v1/plans/", which takes a seat whose yes the plan needs
    ("POST", "/v1/right-size", Access.OPERATOR),  # it reads much
    ("POST", "/v1/why", Access.VIEWER),
    ("POST", "/v1/what-if", Access.OPERATOR),  # it reads much
    ("POST", "/v1/evidence/verify", Access.VIEWER),
    ("POST", "/v1/evidence/ingest", Access.OPERATOR),
    ("POST", "/v1/evidence/seal", Access.OPERATOR),
    ("POST", "/v1/evidence/retention/preview", Access.OPERATOR),  # it reads much
    ("POST", "/v1/approvals/", Access.VIEWER),  # and a human role
    ("POST", "/v1/stand-ins", Access.VIEWER),  # of one's own: `person` is who is signed in
    ("POST", "/v1/compositions/", Access.VIEWER),  # and a human role
    ("POST", "/v1/delegations/withdraw", Access.OPERATOR),
    ("POST", "/v1/delegations/switch", Access.OPERATOR),
    ("POST", "/v1/delegations", Access.VIEWER),  # what is one's own: `person` is who is signed in
    ("POST", "/v1/principals/", Access.OPERATOR),
    ("DELETE", "/v1/principals/", Access.OPERATOR),
    ("POST", "/v1/findings", Access.OPERATOR),
    ("POST", "/v1/cards", Access.OPERATOR),
    ("POST", "/v1/behaviour/", Access.OPERATOR),
    ("POST", "/v1/responses/preview", Access.OPERATOR),  # it reads much
    ("POST", "/v1/leases/", Access.OPERATOR),
)
_PROBLEM = "application/problem+json"
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="charter control"'),)
_NO_STORE = (b"cache-control", b"no-store")
_NAMED_BY = ("actor", "person")
App = Callable[[Scope, Receive, Send], Any]


class ControlGate:
    """The ASGI application that stands before the control API on the public door."""

    def __init__(self, app: App, signin: SignIn) -> None:
        self._app = app
        self._signin = signin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            session = self._session(head)
            _check_access(head, session)
            body = await read_body(head, receive, MAX_BODY)
            _check_person(head, body, session)
        except HttpRefusal as refusal:
            error = http_error(refusal.status)
            await _tell(send, refusal.status, problem_of(error)[1] | {"detail": refusal.detail}, _PROBLEM)
            return
        except CharterError as err:
            status, problem = problem_of(err)
            await _tell(send, status, problem, _PROBLEM, _CHALLENGE if isinstance(err, UnauthenticatedError) else ())
            return
        if head.path == WHOAMI:
            await _tell(send, 200, {"person": session.person, "access": session.access.word}, "application/json")
            return
        done = False

        async def again() -> dict[str, Any]:
            nonlocal done
            if done:
                return dict(await receive())
            done = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)

    def _session(self, head: Head) -> Session:
        hosts = self._signin.address.hosts
        if head.headers.get("host", "").lower() not in hosts:
            raise HttpRefusal(421, "this is not the address of the control API")
        if "cookie" in head.headers or "origin" in head.headers:
            raise _denied("the control API is not for browsers", "use the console")
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        session = self._signin.session(token) if scheme.lower() == "bearer" and token else None
        if session is None or not session.is_terminal:
            raise UnauthenticatedError(
                ErrorCode.NOT_SIGNED_IN, "nobody is signed in, or not any more", help="run charter login"
            )
        return session


def needed_for(method: str, path: str) -> Access:
    """Return what a request takes."""
    return next(
        (access for known, beginning, access in _TAKES if known == method and path.startswith(beginning)), Access.ADMIN
    )


def _check_access(head: Head, session: Session) -> None:
    if head.path.startswith(_LOCAL_ONLY):
        raise _denied("this can be asked on Charter's own machine alone", "run it there")
    needed = needed_for(head.method, head.path)
    if session.access < needed:
        text = f"this takes the access `{needed.word}`, and you have `{session.access.word}`"
        raise _denied(text, "ask whoever keeps `access` in teams.yaml")


def _check_person(head: Head, body: bytes, session: Session) -> None:
    """Check that a body names nobody but the session's person; one that names nobody, where it must, fails behind."""
    if not body:
        return
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpRefusal(415, "the body must be `application/json`")
    try:
        said = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise HttpRefusal(400, "the body is no JSON") from None
    for name in _NAMED_BY:
        named = said.get(name) if isinstance(said, dict) else None
        if named is not None and not (isinstance(named, str) and named.lower() == session.person.lower()):
            text = f"you are signed in as `{session.person}` and act in no other name"
            raise _denied(text, "leave the name out, or sign in as that person")


def _denied(text: str, mend: str) -> DeniedError:
    return DeniedError(ErrorCode.POLICY_DENIED, text, help=mend)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found


async def _tell(
    send: Send, status: int, said: dict[str, Any], kind: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    body = encode(said)
    fixed = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *fixed, _NO_STORE]})
    await send({"type": "http.response.body", "body": body})
