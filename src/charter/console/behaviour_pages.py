"""What a principal usually does, what was unlike it and why, and its owner's word that something is normal.

INVARIANT: only the principal's owner, or an operator, says what is normal for it; that allows nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import Visitor, admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of, name_of, status_of
from charter.core.errors import CharterError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.registry.access import Access

MAX_KEY = 200
LASTS = ("7d", "30d", "90d", "365d")
router = APIRouter()


@router.get("/behaviour")
async def signals(request: Request) -> Response:
    """What was noticed of everybody, newest first."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.signals)
    return await console.page(request, "signals.html", signals=found["signals"], watch=found["watch"])


@router.get("/behaviour/{name}")
async def behaviour(request: Request, name: str) -> Response:
    """What one principal usually does."""
    return await _page(request, name_of(name))


@router.post("/behaviour/{name}/accept")
async def accept(request: Request, name: str) -> Response:
    """Record that something is normal for it, and show how it stands."""
    console, form, visitor = console_of(request), admitted(request).form, visitor_of(request)
    try:
        shown = await asyncio.to_thread(console.desk.behaviour, name_of(name))
        _check_may(shown, visitor)
        finding = one_line(form, "finding", longest=MAX_KEY)
        until = one_line(form, "until", longest=MAX_KEY)
        reason = one_line(form, "reason", longest=MAX_REASON)
        done = await console.desk.accept_signal(
            name_of(name), finding, until=until, actor=visitor.person, reason=reason
        )
    except (MalformedError, DeniedError, ConflictError) as err:
        return await _page(request, name_of(name), err)
    return await _page(request, name_of(name), done=done)


def _check_may(shown: dict[str, Any], visitor: Visitor) -> None:
    if visitor.access < Access.OPERATOR and visitor.person.lower() != str(shown["owner"]).lower():
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"`{visitor.person}` does not own `{shown['principal']}` and cannot say what is normal for it",
            help=f"ask `{shown['owner']}`, or an operator",
        )


async def _page(
    request: Request, name: str, error: CharterError | None = None, done: dict[str, Any] | None = None
) -> Response:
    console = console_of(request)
    shown = await asyncio.to_thread(console.desk.behaviour, name)
    return await console.page(
        request,
        "behaviour.html",
        status=status_of(error),
        b=shown,
        error=error,
        done=done,
        typed=admitted(request).form,
        lasts=LASTS,
        longest=MAX_REASON,
    )
