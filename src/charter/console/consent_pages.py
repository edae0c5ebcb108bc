"""The pages on which a person lends a client authority: asked by its browser request, or by a device's code.

INVARIANT: an answer leaves this server for an address that was checked before the person was asked, and carries our
issuer (RFC 9207); what is wrong with client or address is told here, and sent nowhere.
INVARIANT: the person is told who asks by its charter; what the client calls itself is shown as its own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted, visitor_of
from charter.console.form import one_line
from charter.console.render import Console, console_of
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.core.values import is_loopback
from charter.identity.asking import BrowserRequest, WayBack, Wish
from charter.identity.consent import DIGEST

MAX_STATE = 1024
MAX_CODE = 16
MAX_PURPOSE = 63
router = APIRouter()


@router.get("/oauth/authorize")
async def ask(request: Request) -> Response:
    """Show the person what a client wants (OAuth 2.1 section 4.1.1, RFC 7636, 8707)."""
    console, visitor, query = console_of(request), visitor_of(request), admitted(request).query
    client_id = query.get("client_id", "")
    client, redirect_uri = await console.desk.asking_client(client_id, query.get("redirect_uri"))
    state = query.get("state")
    fault = _fault_of(query)
    if fault is not None:
        return _send_back(console, redirect_uri, {"error": fault[0], "error_description": fault[1]}, state)
    wish = Wish(client.principal.id, query["resource"], query.get("purpose"), client.calls_itself)
    card = console.desk.consent_card(wish.principal_id, wish.resource)
    if card["system"] is None or not card["actions"]:
        told = {"error": "invalid_target", "error_description": "there is nothing at this resource for this client"}
        return _send_back(console, redirect_uri, told, state)
    name = console.consents.ask(
        BrowserRequest(
            wish=wish,
            session=visitor.session_id,
            until=console.consents.ends,
            state=state,
            back=WayBack(redirect_uri, query["code_challenge"], query.get("dpop_jkt")),
        )
    )
    shown: dict[str, Any] = {
        "card": card,
        "wish": wish,
        "name": name,
        "action": "/oauth/authorize",
        "host": _host(redirect_uri),
    }
    return await console.page(request, "consent.html", **shown)


@router.post("/oauth/authorize")
async def answer(request: Request) -> Response:
    """Lend, or do not; send the answer back."""
    console, visitor, form = console_of(request), visitor_of(request), admitted(request).form
    asked = console.consents.take(form.get("name", ""), visitor.session_id)
    if not _yes(form):
        return _send_back(console, asked.back.redirect_uri, {"error": "access_denied"}, asked.state)
    code = console.signin.entropy.token(32)
    try:
        await console.desk.consent(
            asked.wish.principal_id,
            asked.wish.resource,
            _purpose(form, asked.wish),
            person=visitor.person,
            secret=code,
            back=asked.back,
        )
    except CharterError as err:
        told = {"error": "access_denied", "error_description": err.detail.replace("`", "'")}
        return _send_back(console, asked.back.redirect_uri, told, asked.state)
    return _send_back(console, asked.back.redirect_uri, {"code": code}, asked.state)


@router.get("/device")
async def look_at_device(request: Request) -> Response:
    """Show the person which device asks, by the code it shows (RFC 8628 section 3.3)."""
    console, code = console_of(request), admitted(request).query.get("code", "")[:MAX_CODE]
    device = console.consents.shown(code) if code else None
    if device is None:
        return await console.page(request, "device.html", code=code)
    card = console.desk.consent_card(device.wish.principal_id, device.wish.resource)
    shown: dict[str, Any] = {"card": card, "wish": device.wish, "name": device.code, "action": "/device", "host": None}
    return await console.page(request, "consent.html", **shown)


@router.post("/device")
async def answer_device(request: Request) -> Response:
    """Lend to the device, or do not."""
    console, visitor, form = console_of(request), visitor_of(request), admitted(request).form
    device = console.consents.shown(one_line(form, "name", longest=MAX_CODE))
    if device is None:
        return await console.page(request, "device.html", code=form["name"], status=404)
    yes = _yes(form)
    purpose = _purpose(form, device.wish) if yes else ""
    if yes:
        await console.desk.consent_to_device(
            device.wish.principal_id,
            device.wish.resource,
            purpose,
            person=visitor.person,
            pickup=console.consents.answer_device(device, yes=True),
        )
    else:
        console.consents.answer_device(device, yes=False)
    return await console.page(request, "device-answered.html", yes=yes)


def _fault_of(query: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the OAuth error of a request whose client and redirect address are in order, if there is one."""
    if query.get("response_type") != "code":
        return "unsupported_response_type", "only response_type=code is supported"
    if query.get("code_challenge_method") != "S256" or not DIGEST.fullmatch(query.get("code_challenge", "")):
        return "invalid_request", "a code_challenge with code_challenge_method=S256 is needed (RFC 7636)"
    if "dpop_jkt" in query and not DIGEST.fullmatch(query["dpop_jkt"]):
        return "invalid_request", "dpop_jkt is no thumbprint of a key (RFC 9449 section 10)"
    if not query.get("resource"):
        return "invalid_target", "name the one system as resource (RFC 8707)"
    if len(query.get("state", "")) > MAX_STATE or query.get("request") or query.get("request_uri"):
        return "invalid_request", "state is too long, or a request object was sent"
    return None


def _yes(form: Mapping[str, str]) -> bool:
    match form.get("answer"):
        case "yes":
            return True
        case "no":
            return False
        case _:
            raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press one of the two buttons")


def _purpose(form: dict[str, str], wish: Wish) -> str:
    return wish.purpose or one_line(form, "purpose", longest=MAX_PURPOSE)


def _send_back(console: Console, redirect_uri: str, told: dict[str, str], state: str | None) -> Response:
    """Return the page that takes the browser back to the client: a form may lead to our own pages alone (CSP)."""
    told = told | ({"state": state} if state is not None else {}) | {"iss": console.issuer}
    parts = urlsplit(redirect_uri)
    query = "&".join(each for each in (parts.query, urlencode(told)) if each)
    return console.show("consent-sent.html", where=urlunsplit(parts._replace(query=query)), told=told)


def _host(redirect_uri: str) -> str:
    parts = urlsplit(redirect_uri)
    return "this machine" if is_loopback(parts.hostname) else parts.hostname or parts.scheme
