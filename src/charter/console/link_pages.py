"""The page behind a link in a mail about a waiting call: the card, and one answer of whoever the mail went to.

The link stands for one person and one approval, and is spent with the answer. Looking changes nothing: programs that
scan mail follow links. Nobody is signed in by it, and it leads nowhere else. In a browser where somebody else is signed
in it takes no answer: a link that was passed on to the owner of a principal is not their way to another's yes. Once
spent it tells what became of its question, to whoever pressed twice, and no more.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.approval_pages import yes_or_no
from charter.console.door import admitted
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of
from charter.core.errors import AbsentError, CharterError, ConflictError, DeniedError, MalformedError

router = APIRouter()


@router.get("/approve/{token}")
async def look_at_question(request: Request, token: str) -> Response:
    """Show the call, and what its reader may answer."""
    return await _page(request, token, None)


@router.post("/approve/{token}")
async def answer_question(request: Request, token: str) -> Response:
    """Record the answer of whoever the link was sent to."""
    console, form = console_of(request), admitted(request).form
    try:
        yes = yes_or_no(form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        visitor = admitted(request).visitor
        signed_in = visitor.person if visitor is not None and not visitor.is_local else None
        answered = await console.desk.answer_by_link(token, yes, reason=reason, signed_in=signed_in)
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, token, err)
    except AbsentError:
        return await _page(request, token, None)
    return console.show("approve-link.html", link_token=token, found=None, answered=answered, error=None, longest=0)


async def _page(request: Request, token: str, error: CharterError | None) -> Response:
    console, form = console_of(request), admitted(request).form
    try:
        found = await asyncio.to_thread(console.desk.linked, token)
    except AbsentError:
        found = None
    status = {MalformedError: 400, DeniedError: 403, ConflictError: 409}.get(type(error), 200) if error else 200
    if found is None or found["spent"]:
        status = 410 if found else 404
    return console.show(
        "approve-link.html",
        status=status,
        link_token=token,
        found=found,
        answered=None,
        error=error,
        typed=form,
        longest=MAX_REASON,
    )
