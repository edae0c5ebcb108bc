"""What is kept of evidence and for how long: erasing payloads, holds against it, retention, and who witnesses the log.

INVARIANT: whom a hold is about is shown to administrators alone; others see how many there are.
INVARIANT: what is erased was shown before, with what holds keep of it: the form that erases carries the number that
was shown, and where it is another now, all is shown again and nothing is done.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_PERSON, one_line
from charter.console.render import console_of, status_of
from charter.core.errors import AbsentError, CharterError, ConflictError, ErrorCode, MalformedError
from charter.registry.access import Access

MAX_TYPED = 500  # characters of a reason that stays with an erasure
MAX_INDEX = 18  # digits
_NAMES = ("person", "principal", "system", "since", "before")
router = APIRouter()


@router.get("/evidence")
async def evidence(request: Request) -> Response:
    """How long payloads are kept, what is held, and who cosigns the log."""
    return await _page(request)


@router.post("/evidence/erase")
async def erase(request: Request) -> Response:
    """Show what would be erased; with the number that was shown, erase it."""
    desk, form, person = console_of(request).desk, admitted(request).form, visitor_of(request).person
    try:
        wanted, reason = _wanted(form), _reason(form)
        found = await desk.erase(wanted, actor=person, reason=reason, really=False)
    except (MalformedError, AbsentError) as err:
        return await _page(request, err)
    confirmed = form.get("confirm", "").strip()
    if not confirmed:
        return await _page(request, preview=found)
    if confirmed != str(found["found"]):
        told = f"`{confirmed[:20]}` is not how many would be erased"
        return await _page(request, ConflictError(ErrorCode.STALE, told, help="look again, and type it"), preview=found)
    done = await desk.erase(wanted, actor=person, reason=reason, really=True)
    waiting = sum(each["found"] for each in done["elsewhere"])
    more = f"; {waiting} in logs of other nodes go when these next run" if waiting else ""
    told = f"{done['erased']} erased; the log tells of it" if done["erased"] else "Nothing was erased in this log"
    return await _page(request, done=f"{told}{more}")


@router.post("/evidence/holds")
async def hold(request: Request) -> Response:
    """Place a hold."""
    form = admitted(request).form
    try:
        wanted = _wanted(form)
        await console_of(request).desk.hold(wanted, actor=visitor_of(request).person, reason=_reason(form))
    except (MalformedError, AbsentError) as err:
        return await _page(request, err)
    return RedirectResponse("/evidence#holds", 303)


@router.post("/evidence/release")
async def release(request: Request) -> Response:
    """Release a hold."""
    form = admitted(request).form
    try:
        which, person = one_line(form, "hold", longest=40), visitor_of(request).person
        await console_of(request).desk.release_hold(which, actor=person, reason=_reason(form))
    except (MalformedError, AbsentError) as err:
        return await _page(request, err)
    return RedirectResponse("/evidence#holds", 303)


def _reason(form: dict[str, str]) -> str:
    return one_line(form, "reason", longest=MAX_TYPED)


def _wanted(form: dict[str, str]) -> dict[str, Any]:
    """Return what the form names.

    Raises:
        MalformedError: a field is too long, or the entry is no index.
    """
    found: dict[str, Any] = {
        name: one_line(form, name, longest=MAX_PERSON) for name in _NAMES if form.get(name, "").strip()
    }
    if entry := form.get("entry", "").strip():
        if not (entry.isascii() and entry.isdecimal()) or len(entry) > MAX_INDEX:
            raise MalformedError(
                ErrorCode.BAD_VALUE, "`entry` is no index of an entry", help="a number, as in verdicts"
            )
        found["entry"] = int(entry)
    return found


async def _page(
    request: Request, error: CharterError | None = None, *, preview: dict[str, Any] | None = None, done: str = ""
) -> Response:
    console, may = console_of(request), visitor_of(request).access >= Access.ADMIN
    kept = await asyncio.to_thread(console.desk.keeping)
    if not may:
        kept = kept | {"holds": []}
    return await console.page(
        request,
        "evidence.html",
        status=status_of(error),
        may=may,
        k=kept,
        error=error,
        preview=preview,
        done=done,
        typed=admitted(request).form if error or preview else {},
        longest=MAX_TYPED,
    )
