"""The local operator's passkeys: adding, using and removing them. Each ceremony is two requests (see passkey.js)."""

from __future__ import annotations

import asyncio
import ipaddress

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.arrival import signed_in
from charter.console.door import Visitor, admitted, visitor_of
from charter.console.form import one_line
from charter.console.render import console_of
from charter.core.errors import CharterError, DeniedError, ErrorCode, UnauthenticatedError
from charter.identity.passkey import Answer, Place, authentication_options, challenge_in, registration_options
from charter.registry.access import Access

MAX_NAME = 63
SIGNING_IN = "signing in"
router = APIRouter()


def place_of(request: Request) -> Place | None:
    """Return where the page stands; None where browsers have no passkeys: an address is no host name."""
    host = request.headers["host"].lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        scheme = console_of(request).signin.address.origin.partition("://")[0]
        return Place(f"{scheme}://{host}", name)
    return None


@router.get("/passkeys")
async def passkeys(request: Request) -> Response:
    """The passkeys there are."""
    console, place = console_of(request), place_of(request)
    _local(request)
    known = await asyncio.to_thread(console.desk.passkeys)
    return await console.page(request, "passkeys.html", known=known, place=place)


@router.post("/passkeys/begin")
async def begin_adding(request: Request) -> Response:
    """Say what a new passkey must be made with."""
    console, visitor, place = console_of(request), _local(request), _place(request)
    known = [each for each in await asyncio.to_thread(console.desk.passkeys) if each.host == place.host]
    challenge = console.challenges.make(visitor.session_id)
    return _json(registration_options(place, visitor.person, challenge, known))


@router.post("/passkeys")
async def add(request: Request) -> Response:
    """Keep a passkey that a device made."""
    console, visitor, form = console_of(request), _local(request), admitted(request).form
    response, name = form.get("response", ""), one_line(form, "name", longest=MAX_NAME)
    answer = Answer(response, console.challenges.take(challenge_in(response), visitor.session_id))
    await console.desk.add_passkey(answer, _place(request), person=visitor.person, name=name)
    return RedirectResponse("/passkeys", 303)


@router.post("/passkeys/{passkey_id}/remove")
async def remove(request: Request, passkey_id: str) -> Response:
    """Let a passkey open nothing any more."""
    await console_of(request).desk.revoke_passkey(passkey_id, person=_local(request).person)
    return RedirectResponse("/passkeys", 303)


@router.post("/sign-in/passkey/begin")
async def begin_signing_in(request: Request) -> Response:
    """Say what a passkey must sign."""
    console, place = console_of(request), _place(request)
    known = [each for each in await asyncio.to_thread(console.desk.passkeys) if each.host == place.host]
    return _json(authentication_options(place, console.challenges.make(SIGNING_IN), known))


@router.post("/sign-in/passkey")
async def sign_in(request: Request) -> Response:
    """Open a session of the local operator for a passkey that signed."""
    console, response = console_of(request), admitted(request).form.get("response", "")
    source = request.client.host if request.client else "unknown"
    answer = Answer(response, console.challenges.take(challenge_in(response), SIGNING_IN))
    passkey = await console.desk.use_passkey(answer, _place(request))
    if passkey is None:
        raise UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, "this passkey opens nothing here", help="charter console")
    visitor = admitted(request).visitor
    session_id = console.signin.open(
        passkey.person, Access.ADMIN, is_local=True, replaces=visitor.session_id if visitor else None
    )
    try:
        await console.desk.signed_in(person=passkey.person, source=source, door="console, by passkey")
    except CharterError:
        console.signin.end(session_id)
        raise
    return signed_in(request, session_id)


def _local(request: Request) -> Visitor:
    visitor = visitor_of(request)
    if not visitor.is_local:
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            "passkeys are the local operator's; you sign in at your organisation's provider",
            help="add one there",
        )
    return visitor


def _place(request: Request) -> Place:
    place = place_of(request)
    if place is None:
        raise DeniedError(
            ErrorCode.UNSUPPORTED, "browsers have passkeys for host names alone", help="open the console at localhost"
        )
    return place


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
