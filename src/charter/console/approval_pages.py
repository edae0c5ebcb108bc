"""Calls that wait for a person: exactly what would be done, and the yes or no.

INVARIANT: the whole call is on the card, no argument shortened: nobody approves what they could not see. Refusing
stands first in each form, so that a stray Enter key says no.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_PERSON, MAX_REASON, one_line
from charter.console.render import console_of, status_of
from charter.core.errors import AbsentError, CharterError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.registry.approval import MAX_CARDS
from charter.registry.repeat import MAX_VARYING, MOST, Terms

_APPROVAL_ID, _REPEAT_ID = re.compile(r"apr_[0-9a-z]{1,40}"), re.compile(r"rpt_[0-9a-z]{1,40}")
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
        further = further_calls(form) if yes else None
        answered = await console.desk.answer(approval_id, yes, person=person, reason=reason, further=further)
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, approval_id, err)
    return await console.page(request, "answered.html", a=answered)


@router.post("/approvals/repeats/{repeat_id}")
async def end_repeat(request: Request, repeat_id: str) -> Response:
    """Take a yes to further calls back, and show what waits."""
    if not _REPEAT_ID.fullmatch(repeat_id):
        raise HTTPException(404)
    console, form = console_of(request), admitted(request).form
    try:
        person = who_answers(request, form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        await console.desk.end_repeat(repeat_id, person=person, reason=reason)
    except (MalformedError, AbsentError) as err:
        return await _page(request, repeat_id, err)
    return await _page(request, "", None)


def further_calls(form: dict[str, str]) -> Terms | None:
    """Return which calls like one are approved besides; None: none.

    Raises:
        MalformedError: what was typed is no number.
    """
    count, minutes = form.get("further", "").strip(), form.get("minutes", "").strip() or "60"
    if count in {"", "0"}:
        return None
    if not (count.isascii() and count.isdecimal() and minutes.isascii() and minutes.isdecimal()):
        raise MalformedError(ErrorCode.BAD_VALUE, "further calls, and minutes, are whole numbers", help="type digits")
    vary = tuple(said for name, said in form.items() if name.startswith("vary."))
    return Terms(int(count[:6]), dt.timedelta(minutes=int(minutes[:6])), vary[:MAX_VARYING])


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
    return await console.page(
        request,
        "approvals.html",
        status=status_of(error),
        cards=found[:MAX_CARDS],
        total=len(found),
        every=every,
        error=error,
        wrong=approval_id,
        typed=admitted(request).form or {"person": visitor_of(request).person},
        longest=MAX_REASON,
        repeats=await asyncio.to_thread(console.desk.repeats),
        most=MOST,
    )
