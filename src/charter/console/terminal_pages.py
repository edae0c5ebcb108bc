"""The page on which a person lets a terminal act as them, and what the terminal asks."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from charter.console.door import admitted, visitor_of
from charter.console.form import one_line
from charter.console.render import console_of
from charter.console.terminal import POLL_SECONDS
from charter.core.errors import ErrorCode, MalformedError

MAX_CODE = 16
MAX_MACHINE = 120
router = APIRouter()


@router.get("/terminal")
async def look(request: Request) -> Response:
    """Show which terminal asks, by the code it shows."""
    return await _page(request, admitted(request).query.get("code", "")[:MAX_CODE])


@router.post("/terminal")
async def answer(request: Request) -> Response:
    """Record the person's answer."""
    console, visitor, form = console_of(request), visitor_of(request), admitted(request).form
    code = one_line(form, "code", longest=MAX_CODE)
    if form.get("answer") not in ("yes", "no"):
        raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press one of the two buttons")
    yes = form["answer"] == "yes"
    asking = console.terminals.answer(code, yes=yes, person=visitor.person, access=visitor.access)
    if yes:
        await console.desk.signed_in(person=visitor.person, source=asking.source, door="terminal")
    return await console.page(request, "terminal-answered.html", asking=asking, yes=yes)


async def _page(request: Request, code: str) -> Response:
    asking = console_of(request).terminals.shown(code) if code else None
    return await console_of(request).page(request, "terminal.html", code=code, asking=asking)


@router.post("/sign-in/terminal")
async def ask(request: Request) -> Response:
    """Give a terminal that asks its secret and its code."""
    console = console_of(request)
    machine = one_line(admitted(request).form, "machine", longest=MAX_MACHINE)
    secret, code = console.terminals.ask(machine, request.client.host if request.client else "unknown")
    where = f"{console.signin.address.origin}/terminal"
    told = {"secret": secret, "code": code, "url": f"{where}?code={code}", "interval": POLL_SECONDS}
    return JSONResponse(told)


@router.post("/sign-in/terminal/collect")
async def collect(request: Request) -> Response:
    """Give a terminal its session, once somebody said yes."""
    session = console_of(request).terminals.collect(admitted(request).form.get("secret", ""))
    return JSONResponse({"session": session})
