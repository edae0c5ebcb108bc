"""The pages that need nobody to be signed in: what to do, the link's button, the sign-in provider, the way out."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.arrival import signed_in
from charter.console.door import LINKED, admitted, visitor_of
from charter.console.passkey_pages import place_of
from charter.console.render import Console, console_of
from charter.core.errors import AbsentError, CharterError, ErrorCode
from charter.identity.single_signon import COOKIE_SECONDS, SingleSignOn
from charter.registry.standing import Standing

router = APIRouter()


@router.get("/sign-in")
async def sign_in(request: Request) -> Response:
    """Say how to sign in."""
    if admitted(request).visitor:
        return RedirectResponse("/", 303)
    console = console_of(request)
    place = place_of(request)
    known = await asyncio.to_thread(console.desk.passkeys) if place else []
    has_passkeys = any(place and each.host == place.host and each.standing is Standing.ACTIVE for each in known)
    provider = console.signon.provider.label if console.signon else None
    return console.show("sign-in.html", provider=provider, has_passkeys=has_passkeys)


@router.get("/sign-in/sso")
async def leave_for_provider(request: Request) -> Response:
    """Send the browser to the organisation's provider, with a cookie that its answer must come back with."""
    console = console_of(request)
    where, browser = await _signon(console).begin()
    answer = RedirectResponse(where, 303)
    answer.headers["set-cookie"] = console.signin.address.set_passing_cookie(browser, COOKIE_SECONDS)
    return answer


@router.get("/sign-in/sso/callback")
async def come_from_provider(request: Request) -> Response:
    """Take the provider's answer, ask the desk, open the session.

    The session's cookie is for requests of our own pages alone, which what follows a redirect from elsewhere is not; so
    the answer is a page that goes on by itself.
    """
    console, query = console_of(request), admitted(request).query
    browser = console.signin.address.passing_cookie_of(request.headers.getlist("cookie"))
    identity = await _signon(console).finish(query, browser)
    source = request.client.host if request.client else "unknown"
    access = await console.desk.admit(identity, source=source)
    visitor = admitted(request).visitor
    session_id = console.signin.open(identity.email, access, replaces=visitor.session_id if visitor else None)
    where = console.signin.address.next_of(request.headers.getlist("cookie"), LINKED)
    answer = console.show("sign-in-done.html", person=identity.email, where=where)
    answer.headers.append("set-cookie", console.signin.address.set_cookie(session_id))
    answer.headers.append("set-cookie", console.signin.address.set_next_cookie(""))
    answer.headers.append("set-cookie", console.signin.address.set_passing_cookie("", 0))
    return answer


def _signon(console: Console) -> SingleSignOn:
    if console.signon is None:
        raise AbsentError(ErrorCode.NOT_SIGNED_IN, "no sign-in provider is set", help="set CHARTER_OIDC_ISSUER")
    return console.signon


@router.get("/sign-in/{token}")
async def look_at_link(request: Request, token: str) -> Response:
    """Show the button that redeems the link. Looking spends nothing."""
    console = console_of(request)
    return console.show(
        "sign-in-link.html", link_token=token, usable=console.signin.is_open(token), operator=console.signin.operator
    )


@router.post("/sign-in/{token}")
async def redeem_link(request: Request, token: str) -> Response:
    """Spend the link, record who came, open the session; without the record nobody comes in."""
    console, visitor = console_of(request), admitted(request).visitor
    source = request.client.host if request.client else "unknown"
    session_id = console.signin.redeem(token, source=source, replaces=visitor.session_id if visitor else None)
    try:
        await console.desk.signed_in(person=console.signin.operator, source=source)
    except CharterError:
        console.signin.end(session_id)
        raise
    return signed_in(request, session_id)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    console = console_of(request)
    console.signin.end(visitor_of(request).session_id)
    answer = RedirectResponse("/sign-in", 303)
    answer.headers["set-cookie"] = console.signin.address.drop_cookie()
    return answer
