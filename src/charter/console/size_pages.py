"""A narrower charter for one principal, as a difference, with its evidence, proof and replay; taken in one click.

INVARIANT: what is taken is what was on the page: its digest goes with the form, and another one is refused. What a
proposal takes away, and why, is shown whole before the button.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.approval_pages import who_answers
from charter.console.desk import Json
from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of, name_of, status_of
from charter.core.errors import CharterError, ConflictError, DeniedError, ErrorCode, MalformedError

MAX_STEPS = 200
_ANSWERS = ("accept", "dismiss", "keep")
router = APIRouter()


@router.get("/principals/{name}/right-size")
async def look(request: Request, name: str) -> Response:
    """Show what is proposed."""
    return await _page(request, name_of(name), None, None)


@router.post("/principals/{name}/right-size")
async def answer(request: Request, name: str) -> Response:
    """Take it, dismiss it, or keep one piece; show what was done."""
    name_of(name)
    form = admitted(request).form
    try:
        word = _pressed(form)
        wanted = {each: form.get(each, "")[:300] for each in ("proposal", "key", "until")}
        person = who_answers(request, form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        done = await console_of(request).desk.answer_size(name, word, wanted, person=person, reason=reason)
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, name, err, None)
    return await _page(request, name, None, {"word": word} | done)


async def _page(request: Request, name: str, error: CharterError | None, done: Json | None) -> Response:
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.right_size, name)
    return await console.page(
        request,
        "right_size.html",
        status=status_of(error),
        s=found,
        steps=found["narrowings"][:MAX_STEPS],
        refused=sum(each["count"] for each in found["changed"]),
        error=error,
        done=done,
        typed=(admitted(request).form if error else None) or {"person": visitor_of(request).person},
        longest=MAX_REASON,
    )


def _pressed(form: dict[str, str]) -> str:
    word = form.get("answer", "")
    if word not in _ANSWERS:
        raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press one of the buttons")
    return word
