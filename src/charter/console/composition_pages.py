"""What principals are made of: who attests which part, what changed, and a person's review of it.

INVARIANT: the form names the change that its page shows; a page that is out of date accepts nothing.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_PERSON, MAX_REASON, one_line
from charter.console.render import console_of, name_of, status_of
from charter.core.errors import CharterError, ConflictError, DeniedError, MalformedError

MAX_SHOWN = 500
router = APIRouter()


@router.get("/compositions")
async def compositions(request: Request) -> Response:
    """Every principal of which something is pinned; those that wait for a review first."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.compositions)
    return await console.page(request, "compositions.html", found=found[:MAX_SHOWN], total=len(found))


@router.get("/compositions/{name}")
async def composition(request: Request, name: str) -> Response:
    """What one principal is made of."""
    return await _page(request, name_of(name))


@router.post("/compositions/{name}/accept")
async def accept(request: Request, name: str) -> Response:
    """Record that a person accepts what it is made of now, and show how it stands."""
    console, form, visitor = console_of(request), admitted(request).form, visitor_of(request)
    try:
        # the local operator may name who stands beside them
        person = one_line(form, "person", longest=MAX_PERSON) if visitor.is_local else visitor.person
        change = one_line(form, "change", longest=MAX_PERSON)
        reason = one_line(form, "reason", longest=MAX_REASON)
        done = await console.desk.accept_composition(name_of(name), change, person=person, reason=reason)
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, name_of(name), err)
    return await console.page(request, "composition-accepted.html", c=done, reason=reason, person=person)


async def _page(request: Request, name: str, error: CharterError | None = None) -> Response:
    console = console_of(request)
    shown = await asyncio.to_thread(console.desk.composition, name)
    return await console.page(
        request,
        "composition.html",
        status=status_of(error),
        c=shown,
        error=error,
        typed=admitted(request).form,
        longest=MAX_REASON,
    )
