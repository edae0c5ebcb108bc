"""What was found or noticed, what it rests on, and what people say of it; and one shared account told apart.

INVARIANT: a finding is settled only by the POST of a page that showed it, with a reason and in the name of who is
signed in. Telling an account apart changes nothing: what is proposed is shown as text, for a person to take away.
"""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of, finding_path
from charter.core.errors import AbsentError, CharterError, ConflictError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.discovery.uses import Feature

_ID = re.compile(r"fnd_[0-9a-z]{1,40}")
_STATES = ("accepted", "resolved", "open")
MAX_SHOWN = 200
router = APIRouter()


@router.get("/findings")
async def findings(request: Request) -> Response:
    """What is open; with `all`, what was settled too."""
    console, every = console_of(request), admitted(request).query.get("all") == "1"
    found = await asyncio.to_thread(console.desk.findings)
    wanted = [each for each in found if every or each["state"] == "open"]
    return await console.page(
        request, "findings.html", findings=wanted[:MAX_SHOWN], total=len(wanted), known=len(found), every=every
    )


@router.get("/findings/{finding_id}")
async def finding(request: Request, finding_id: str) -> Response:
    """One finding: both uses that it names, the entries that have them, and what followed."""
    return await _page(request, finding_id)


@router.post("/findings/{finding_id}")
async def settle(request: Request, finding_id: str) -> Response:
    """Accept, resolve or open it again."""
    _check(finding_id)
    form = admitted(request).form
    try:
        state = _state(form)
        reason = one_line(form, "reason", longest=MAX_REASON)
        actor = visitor_of(request).person
        await console_of(request).desk.settle_finding(finding_id, state, actor=actor, reason=reason)
    except (MalformedError, ConflictError) as err:
        return await _page(request, finding_id, err)
    return RedirectResponse(finding_path(finding_id), 303)


@router.get("/principals/{name}/split")
async def split(request: Request, name: str) -> Response:
    """Who is behind one account, and what is proposed for each."""
    try:
        parse_name(name)
    except MalformedError:
        raise HTTPException(404) from None
    console, query = console_of(request), admitted(request).query
    by = [each for each in Feature if query.get(each.value) == "1"]
    since = query.get("since", "").strip() or None
    found, error = None, None
    try:
        found = await console.desk.split(name, since=since, by=[each.value for each in by])
    except (MalformedError, AbsentError) as err:
        if isinstance(err, AbsentError) and err.code is ErrorCode.UNKNOWN_PRINCIPAL:
            raise
        error = err
    return await console.page(
        request,
        "split.html",
        status=400 if isinstance(error, MalformedError) else 200,
        name=name,
        s=found,
        error=error,
        features=list(Feature),
        chosen=by,
        since=since or "",
    )


def _state(form: dict[str, str]) -> str:
    state = form.get("state", "")
    if state not in _STATES:
        raise MalformedError(ErrorCode.BAD_VALUE, "the answer is missing", help="press one of the buttons")
    return state


def _check(finding_id: str) -> None:
    if not _ID.fullmatch(finding_id):
        raise HTTPException(404)


async def _page(request: Request, finding_id: str, error: CharterError | None = None) -> Response:
    """Show a finding; `error` says what was wrong with the form, which keeps what was typed."""
    _check(finding_id)
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.finding, finding_id)
    status = 200 if error is None else 409 if isinstance(error, ConflictError) else 400
    return await console.page(
        request,
        "finding.html",
        status=status,
        f=found,
        error=error,
        typed=admitted(request).form,
        longest=MAX_REASON,
    )
