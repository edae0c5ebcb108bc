"""Plans that wait for people: what each would let principals do, with a call that shows it, and the yes or no.

INVARIANT: what is said yes to is on the page: every principal whose authority changes, and a call for each way it
widens. Refusing stands first in each form, so that a stray Enter key says no.
"""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console.approval_pages import who_answers, yes_or_no
from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of, status_of
from charter.core.errors import AbsentError, CharterError, ConflictError, DeniedError, MalformedError
from charter.registry.approval import MAX_CARDS

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
router = APIRouter()


@router.get("/plans")
async def plans(request: Request) -> Response:
    """The plans that were proposed."""
    return await _page(request, "", None)


@router.post("/plans/{digest}")
async def answer(request: Request, digest: str) -> Response:
    """Record a person's yes or no and show how the plan stands now."""
    if not _DIGEST.fullmatch(digest):
        raise HTTPException(404)
    console, form = console_of(request), admitted(request).form
    try:
        yes = yes_or_no(form)
        person = who_answers(request, form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        await console.desk.answer_plan(digest, yes, person=person, reason=reason)
    except (AbsentError, MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, digest, err)
    return await _page(request, digest, None, answered=True)


async def _page(request: Request, digest: str, error: CharterError | None, *, answered: bool = False) -> Response:
    """Show the plans; `error` belongs to the one with `digest`, which keeps what was typed."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.plans)
    return await console.page(
        request,
        "plans.html",
        status=status_of(error),
        cards=found[:MAX_CARDS],
        total=len(found),
        error=error,
        answered=digest if answered else "",
        wrong=digest if error else "",
        typed=(admitted(request).form if error else None) or {"person": visitor_of(request).person},
        longest=MAX_REASON,
    )
