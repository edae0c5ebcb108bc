"""The pages that need nobody to be signed in: what to do, the link's button, and the way out."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.door import admitted, visitor_of
from charter.console.render import console_of
from charter.core.errors import CharterError

router = APIRouter()


@router.get("/sign-in")
async def sign_in(request: Request) -> Response:
    """Say how to sign in."""
    if admitted(request).visitor:
        return RedirectResponse("/", 303)
    return console_of(request).show("sign-in.html")


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
    answer = RedirectResponse("/", 303)
    answer.headers["set-cookie"] = console.signin.address.set_cookie(session_id)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    console = console_of(request)
    console.signin.end(visitor_of(request).session_id)
    answer = RedirectResponse("/sign-in", 303)
    answer.headers["set-cookie"] = console.signin.address.drop_cookie()
    return answer
