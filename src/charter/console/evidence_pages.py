"""What happened: live verdicts, the story of one, and the review.

The live page asks for what is new every two seconds, by a cursor in the log. When more comes than a person can read,
the page jumps to the newest and says that it did; nothing is lost, the log has all of it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console.desk import Desk
from charter.console.door import admitted
from charter.console.render import console_of, is_name, principal_path
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.registry.charter import Kind

SHOWN = 100  # verdicts on the page at first
BATCH = 200  # and at most so many at a time later
FIRST_ROWS = 8  # of one review question, as sentences
MAX_ROWS = 500  # of one review question; the command line gives all
REVIEW_FILTERS = ("principal", "since", "until", "team", "kind", "system")
VERDICTS = ("allow", "deny", "escalate")
_VERDICT_ID = re.compile(r"vrd_[0-9a-z]{1,40}")
router = APIRouter()


@router.get("/verdicts")
async def verdicts(request: Request) -> Response:
    """The newest verdicts; the page keeps itself up to date."""
    console, filters = console_of(request), _filters(admitted(request).query)
    found = await asyncio.to_thread(_read, console.desk, None, SHOWN, filters)
    return await console.page(
        request,
        "verdicts.html",
        entries=found["entries"][::-1],
        next=found["next"],
        filters=filters,
        words_of_verdict=VERDICTS,
    )


@router.get("/verdicts/new")
async def new_verdicts(request: Request) -> Response:
    """The verdicts after a place in the log, as rows to put on top, and the request for the next ones."""
    console, query = console_of(request), admitted(request).query
    filters, after = _filters(query), query.get("after", "")
    if not re.fullmatch(r"-1|[0-9]{1,18}", after):
        raise MalformedError(ErrorCode.BAD_VALUE, "`after` is no place in the log", help="reload the page")
    found = await asyncio.to_thread(_read, console.desk, int(after), BATCH, filters)
    jumped = len(found["entries"]) >= BATCH
    if jumped:
        found = await asyncio.to_thread(_read, console.desk, None, SHOWN, filters)
    return console.show(
        "new-verdicts.html",
        entries=found["entries"][::-1],
        next=found["next"],
        filters=filters,
        jumped=jumped,
        tally=Counter(entry["verdict"] for entry in found["entries"]),
    )


@router.get("/verdicts/{verdict_id}")
async def story(request: Request, verdict_id: str) -> Response:
    """The whole story of one call."""
    if not _VERDICT_ID.fullmatch(verdict_id):
        raise HTTPException(404)
    found = await asyncio.to_thread(console_of(request).desk.story, verdict_id)
    session = _session_path(found)
    return await console_of(request).page(request, "story.html", verdict_id=verdict_id, s=found, session=session)


@router.get("/verdicts/{verdict_id}/why")
async def why(request: Request, verdict_id: str) -> Response:
    """Why the call was decided so: decided again by what held then, every rule with its conditions."""
    if not _VERDICT_ID.fullmatch(verdict_id):
        raise HTTPException(404)
    found = await asyncio.to_thread(console_of(request).desk.why, verdict_id)
    return await console_of(request).page(request, "why.html", verdict_id=verdict_id, w=found)


@router.get("/review")
async def review(request: Request) -> Response:
    """The five questions, answered from the evidence."""
    query = admitted(request).query
    filters = {name: query.get(name, "").strip() for name in REVIEW_FILTERS}
    found = await console_of(request).desk.review({name: value for name, value in filters.items() if value})
    return await console_of(request).page(
        request,
        "review.html",
        review=found,
        filters=filters,
        kinds=[kind.value for kind in Kind],
        first_rows=FIRST_ROWS,
        max_rows=MAX_ROWS,
    )


def _session_path(story: dict[str, Any]) -> str | None:
    """Return the path of the session that a call belongs to, if that is told."""
    session, name = (story["sequence"] or {}).get("session"), story["who"]["principal"]
    return principal_path(name, "sessions", str(session)) if session and is_name(name) else None


def _read(desk: Desk, after: int | None, limit: int, filters: dict[str, str]) -> dict[str, Any]:
    return desk.verdicts(after, limit, principal=filters["principal"] or None, verdict=filters["verdict"] or None)


def _filters(query: dict[str, str]) -> dict[str, str]:
    """Return the filters that `query` asks for, checked.

    Raises:
        MalformedError: there is no such verdict, or the principal's name is none.
    """
    principal, verdict = query.get("principal", "").strip(), query.get("verdict", "")
    if principal:
        parse_name(principal)
    if verdict and verdict not in VERDICTS:
        raise MalformedError(ErrorCode.BAD_VALUE, "there is no such verdict", help=f"one of {', '.join(VERDICTS)}")
    return {"principal": principal, "verdict": verdict}
