"""Calls that wait for a person: exactly what would be done, and the yes or no.

INVARIANT: the whole call is on the card, no argument shortened: nobody approves what they could not see. Refusing
stands first in each form, so that a stray Enter key says no.
"""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_PERSON, MAX_REASON, one_line
from charter.console.render import console_of
from charter.core.errors import CharterError, ConflictError, DeniedError, ErrorCode, MalformedError

_APPROVAL_ID = re.compile(r"apr_[0-9a-z]{1,40}")
MAX_CARDS = 50
router = APIRouter()


@router.get("/approvals")
async def approvals(request: Request) -> Response:
    """What waits for a person; with `all`, what was answered too; with `of`, the one of that id alone."""
    return await _page(request, "", None)


@router.post("/approvals/{approval_id}")
async def answer(request: Request, approval_id: str) -> Response:
    """Record a person's yes or no and show how the approval stands now."""
    if not _APPROVAL_ID.fullmatch(approval_id):
        raise HTTPException(404)
    console, form = console_of(request), admitted(request).form
    try:
        yes = yes_or_no(form)
        person = who_answers(request, form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        answered = await console.desk.answer(approval_id, yes, person=person, reason=reason)
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, approval_id, err)
    return await console.page(request, "answered.html", a=answered)


def who_answers(request: Request, form: dict[str, str]) -> str:
    """Return who answers: whoever is signed in. The local operator may name who stands beside them."""
    visitor = visitor_of(request)
    return one_line(form, "person", longest=MAX_PERSON) if visitor.is_local else visitor.person


def yes_or_no(form: dict[str, str]) -> bool:
    """Return what was pressed.

    Raises:
        MalformedError: nothing that counts.
    """
    match form.get("answer"):
        case "approve":
            return True
        case "refuse":
            return False
        case _:
            raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press Approve or Refuse")


async def _page(request: Request, approval_id: str, error: CharterError | None) -> Response:
    """Show the cards; `error` belongs to the one with `approval_id`, which keeps what was typed."""
    console, every = console_of(request), admitted(request).query.get("all") == "1"
    found = await asyncio.to_thread(console.desk.approvals, every)
    if one := admitted(request).query.get("of"):
        found = [each for each in found if each["id"] == one]
    status = {MalformedError: 400, DeniedError: 403, ConflictError: 409}.get(type(error), 200) if error else 200
    return await console.page(
        request,
        "approvals.html",
        status=status,
        cards=found[:MAX_CARDS],
        total=len(found),
        every=every,
        error=error,
        wrong=approval_id,
        typed=admitted(request).form or {"person": visitor_of(request).person},
        longest=MAX_REASON,
    )
