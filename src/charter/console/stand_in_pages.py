"""Who answers in whose roles while they are away: naming somebody, and being back.

INVARIANT: the roles are those of whoever is signed in. The local operator, who has no roles of their own here, says
whose they are, and is believed as on the command line.
"""

from __future__ import annotations

import asyncio
import datetime as dt

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.approval_pages import who_answers
from charter.console.door import admitted
from charter.console.form import MAX_PERSON, MAX_REASON, one_line
from charter.console.render import console_of, status_of
from charter.core.errors import AbsentError, CharterError, ErrorCode, MalformedError

MAX_SHOWN = 200
_ANSWERS = ("name", "end")
router = APIRouter()


@router.get("/stand-ins")
async def stand_ins(request: Request) -> Response:
    """Who stands in for whom now, and the form that names somebody."""
    return await _page(request, None)


@router.post("/stand-ins")
async def change(request: Request) -> Response:
    """Name somebody, or nobody any more; show who stands in then."""
    form = admitted(request).form
    try:
        await _changed(request, form)
    except (MalformedError, AbsentError) as err:
        return await _page(request, err)
    return RedirectResponse("/stand-ins", 303)


async def _changed(request: Request, form: dict[str, str]) -> None:
    if form.get("answer") not in _ANSWERS:
        raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press one of the buttons")
    desk, person = console_of(request).desk, who_answers(request, form)
    reason = one_line(form, "reason", longest=MAX_REASON)
    if form["answer"] == "end":
        await desk.end_stand_in(person=person, reason=reason)
        return
    by = one_line(form, "by", longest=MAX_PERSON)
    await desk.name_stand_in(person=person, by=by, until=_day(form.get("until", "")), reason=reason)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text.strip()[:10])
    except ValueError:
        raise MalformedError(
            ErrorCode.BAD_VALUE, "the last day is missing, or none", help="write it as 2027-01-31"
        ) from None


async def _page(request: Request, error: CharterError | None) -> Response:
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.stand_ins)
    return await console.page(
        request,
        "stand_ins.html",
        status=status_of(error),
        found=found[:MAX_SHOWN],
        total=len(found),
        error=error,
        typed=admitted(request).form if error else {},
        longest=MAX_REASON,
    )
