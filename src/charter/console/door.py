"""The console's door: every request passes here, whatever its path; nothing behind it runs unless all this holds.

1. It is small: path, query, cookies and body are bounded; only GET and POST exist.
2. It is meant for us: its Host is one of the console's own names (see address.py).
3. A POST comes from our own pages: Sec-Fetch-Site, where sent, says `same-origin`; Origin, where it names one, is
   ours; and at least one of the two says so. (With `Referrer-Policy: no-referrer` browsers send `Origin: null` with
   our own forms: Fetch, "append a request Origin header". So `null` alone proves nothing and Sec-Fetch-Site must
   speak for it.)
4. Someone is signed in, unless the path is one of the few that need nobody: deny by default, so no page can forget to
   ask.
5. A POST of someone signed in carries the form token of that very session.
6. Whoever POSTs has the access that the deed takes; what is not known takes the most.

INVARIANT: each answer, refusals and crashes included, leaves with the headers below.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.form import parse_pairs
from charter.console.signin import SignIn, form_token
from charter.core.errors import MalformedError
from charter.registry.access import Access

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_PATH = 512
MAX_QUERY = 2048
MAX_COOKIES = 8192
MAX_BODY = 16 * 1024
BODY_SECONDS = 10
FORM = "application/x-www-form-urlencoded"
MAILED = "/approve/"  # where links in mail lead
PUBLIC = ("/sign-in", "/sign-in/", MAILED, "/static/")  # exact, or a beginning where it ends in a slash
LINKED = ("/oauth/authorize", "/device", "/terminal", "/approvals")  # where other programs send people
_DEEDS = (  # what a POST takes, by the beginning of its path; approvals ask for a human role besides
    ("/approvals/", Access.VIEWER),
    ("/plans/", Access.VIEWER),  # and a seat whose yes the plan needs
    ("/stand-ins", Access.VIEWER),  # of one's own: the page puts in who is signed in
    ("/compositions/", Access.VIEWER),  # and the human role that reviews
    ("/behaviour/", Access.VIEWER),  # and its owner, or an operator
    ("/delegations/own", Access.VIEWER),  # what is one's own: the page puts in who is signed in
    ("/delegations/", Access.OPERATOR),
    ("/sign-out", Access.VIEWER),
    ("/terminal", Access.VIEWER),
    ("/oauth/authorize", Access.VIEWER),
    ("/device", Access.VIEWER),
    ("/passkeys", Access.ADMIN),  # and the local operator alone
    ("/principals/", Access.OPERATOR),
    ("/findings/", Access.OPERATOR),
    ("/credentials/principals", Access.OPERATOR),
)
SELF_UPDATING = "/verdicts/new"  # a page asks for it by itself: no deed of a person
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-read=()"),
)
_ADMITTED = "charter.console"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is behind a request, and the token the forms on the page they get must carry."""

    person: str
    session_id: str
    form_token: str
    access: Access
    is_local: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request as it went on: who asks (on public paths perhaps nobody), and the fields of its form and query."""

    visitor: Visitor | None
    form: dict[str, str]
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further: an HTTP status, one sentence, what to do."""

    status: int
    detail: str
    help: str


class Door:
    """The ASGI application that stands before the pages (`app`); `tell` makes the page that states a refusal."""

    def __init__(
        self,
        app: App,
        signin: SignIn,
        tell: Callable[[Refusal, Visitor | None], Response],
        bounce: Callable[[str], Response],
    ) -> None:
        self.app = app
        self._signin = signin
        self._tell = tell
        self._bounce = bounce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._serve(scope, receive, _with_headers(send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD" and scope["path"].startswith(MAILED):  # as programs ask that scan mail
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        headers = Headers(scope=scope)
        refusal = _oversized(scope, headers) or self._misdirected(headers)
        body = b""
        if refusal is None and scope["method"] == "POST":
            refusal = _wrong_form(headers) or self._foreign(headers)
            if refusal is None:
                body, refusal = await _read(receive)
        answer: Response | None = self._tell(refusal, None) if refusal else self._admit(scope, headers, body)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request to the pages. What breaks there is told without a trace, and logged with one."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:  # noqa: BLE001 - a process edge: the person gets a page, the operator's log the cause
            _log.exception("the console could not answer %s %s", scope["method"], scope["path"][:MAX_PATH])
            if not started:  # not even the page that says so could be made
                await Response("something broke inside Charter", 500)(scope, receive, send)

    def _admit(self, scope: Scope, headers: Headers, body: bytes) -> Response | None:
        """Find out who asks and what they filled in; return None if the request may go on, else the answer to it."""
        path = scope["path"]
        visitor = self._visitor(headers, deed=path != SELF_UPDATING)
        if visitor is None and not _is_public(path):
            if headers.get("hx-request") == "true":  # htmx would swap the sign-in page into this one
                return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
            return self._to_sign_in(scope, headers)
        try:
            form = parse_pairs(body)
            query = parse_pairs(scope["query_string"])
        except MalformedError as err:
            return self._tell(Refusal(400, err.detail, err.help or ""), None)
        if scope["method"] == "POST" and visitor is not None and not _is_public(path):
            given = form.pop("form_token", "")
            if not hmac.compare_digest(given.encode(), visitor.form_token.encode()):
                return self._tell(_STALE_FORM, visitor)
            if visitor.access < needed_for(path):
                return self._tell(_beyond(visitor, needed_for(path)), visitor)
        scope[_ADMITTED] = Admitted(visitor, form, query)
        return None

    def _to_sign_in(self, scope: Scope, headers: Headers) -> Response:
        """Send nobody in particular to the sign-in page; what other programs link to is remembered meanwhile.

        A session's cookie does not come with a link from elsewhere (SameSite=Strict), so such a page asks for itself
        once more before it believes that nobody is signed in.
        """
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        if scope["method"] != "GET" or path not in LINKED:
            return RedirectResponse("/sign-in", 303)
        where = f"{path}?{query}" if query else path
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return self._bounce(where)
        answer = RedirectResponse("/sign-in", 303)
        answer.headers["set-cookie"] = self._signin.address.set_next_cookie(where)
        return answer

    def _visitor(self, headers: Headers, *, deed: bool) -> Visitor | None:
        session_id = self._signin.address.cookie_of(headers.getlist("cookie"))
        session = self._signin.session(session_id, deed=deed) if session_id else None
        if session_id is None or session is None or session.is_terminal:
            return None
        return Visitor(session.person, session_id, form_token(session_id), session.access, session.is_local)

    def _misdirected(self, headers: Headers) -> Refusal | None:
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) == 1 and hosts[0] in self._signin.address.hosts:
            return None
        return Refusal(421, "this is not the address of the console", f"open {self._signin.address.origin}")

    def _foreign(self, headers: Headers) -> Refusal | None:
        """Return why a POST is not from our own pages, if it is not."""
        scheme = self._signin.address.origin.partition("://")[0]
        own = f"{scheme}://{headers['host'].lower()}"
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        named = [origin for origin in origins if origin != "null"]
        if any(origin != own for origin in named) or any(site != "same-origin" for site in sites):
            return _FOREIGN
        return None if named or sites else _FOREIGN


_TOO_LARGE = Refusal(413, f"the form is larger than {MAX_BODY // 1024} KiB", "shorten what you wrote")
_FOREIGN = Refusal(
    403,
    "this form was not sent from the console's own pages",
    "open the console over https or at 127.0.0.1, and send the form from there; programs use the control API",
)
_STALE_FORM = Refusal(403, "this form belongs to another session", "go back, reload the page and send it again")
BROKEN = Refusal(
    500, "something broke inside Charter", "see the server's log, and look again before you repeat a change"
)


def needed_for(path: str) -> Access:
    """Return what it takes to POST to `path`: the most, unless the path is known to take less."""
    return next((access for beginning, access in _DEEDS if path.startswith(beginning)), Access.ADMIN)


def _beyond(visitor: Visitor, needed: Access) -> Refusal:
    return Refusal(
        403,
        f"this takes the access `{needed.word}`, and you have `{visitor.access.word}`",
        "ask whoever keeps `access` in teams.yaml",
    )


def _is_public(path: str) -> bool:
    return any(path == known or (known.endswith("/") and path.startswith(known)) for known in PUBLIC)


def _oversized(scope: Scope, headers: Headers) -> Refusal | None:
    if scope["method"] not in ("GET", "POST"):
        return Refusal(405, "the console knows GET and POST alone", "use one of them")
    if len(scope["path"]) > MAX_PATH or len(scope["query_string"]) > MAX_QUERY:
        return Refusal(414, "the address is too long", "shorten it")
    if sum(map(len, headers.getlist("cookie"))) > MAX_COOKIES:
        return Refusal(431, "there are too many cookies", "remove those of this address")
    return None


def _wrong_form(headers: Headers) -> Refusal | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return Refusal(415, "this is no form", f"send {FORM}")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return Refusal(400, "the length of the form is no number", "send the form again")
    return _TOO_LARGE if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY else None


async def _read(receive: Receive) -> tuple[bytes, Refusal | None]:
    """Return the body, or why it is refused: too large, whatever its Content-Length said, or too slow."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":  # half a form could mean something else than the whole
                    return b"", Refusal(400, "the form broke off", "send it again")
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return b"", _TOO_LARGE
                if not message.get("more_body", False):
                    return body, None
    except TimeoutError:
        return b"", Refusal(408, "the form did not arrive in time", "send it again")


def _without_body(send: Send) -> Send:
    async def sending(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sending


def _with_headers(send: Send) -> Send:
    ours = {name for name, _ in HEADERS}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in ours]
            message = {**message, "headers": [*own, *HEADERS]}
        await send(message)

    return sending


def admitted(request: Request) -> Admitted:
    """Return what the door found out about `request`.

    Raises:
        RuntimeError: it did not come through the door.
    """
    found = request.scope.get(_ADMITTED)
    if not isinstance(found, Admitted):
        raise RuntimeError("a page was reached without passing the console's door")  # noqa: TRY004 - a bug, no bad argument
    return found


def visitor_of(request: Request) -> Visitor:
    """Return who is behind `request`, which is none of the public paths.

    Raises:
        RuntimeError: nobody is: the door was not asked.
    """
    visitor = admitted(request).visitor
    if visitor is None:
        raise RuntimeError("a page was reached by nobody")
    return visitor
