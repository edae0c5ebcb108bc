"""The inventory, one principal's page, and the moves that change its standing.

INVARIANT: a standing changes only by the POST of a page that said what the move does, with a reason; for a final move
(kill, retire) the person has typed the principal's name as well. What is wrong with a form is said on the form, with
what was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console import words
from charter.console.desk import Desk, Json
from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of, name_of
from charter.core.errors import CharterError, ConflictError, ErrorCode, MalformedError
from charter.registry.charter import Environment, Kind
from charter.registry.standing import Move, Standing

PER_PAGE = 100
router = APIRouter()


@router.get("/")
async def inventory(request: Request) -> Response:
    """Every AI principal: who answers for it, what it touches, whether it may act."""
    console, query = console_of(request), admitted(request).query
    listed, found, total = await asyncio.to_thread(_search, console.desk, query)
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(pages, _number(query.get("page", "1")))
    return await console.page(
        request,
        "inventory.html",
        counts=words.counts(listed, console.today),
        teams=sorted({p["owner"]["team"] for p in listed}),
        registered=total,
        kinds=list(Kind),
        environments=list(Environment),
        standings=list(Standing),
        filters={name: query.get(name, "") for name in (*words.FILTERS, "text")},
        found=found[(page - 1) * PER_PAGE : page * PER_PAGE],
        total=len(found),
        page=page,
        pages=pages,
        today=console.today,
    )


def _search(desk: Desk, query: dict[str, str]) -> tuple[list[Json], list[Mapping[str, Any]], int]:
    """Return the principals the desk lists, those that fit `query`, and how many are registered.

    A desk may list less than there is. Then it is asked again with the filters it knows, so that they search everyone.
    """
    listed, total = desk.inventory({}), desk.status()["principals"]
    exact = {name: query[name] for name in words.FILTERS if query.get(name)}
    source = desk.inventory(exact) if exact and total > len(listed) else listed
    return listed, words.matching(source, query), total


@router.get("/principals/{name}")
async def principal(request: Request, name: str) -> Response:
    """One principal, whole."""
    console = console_of(request)
    dossier = await _dossier(request, name)
    moves = words.legal_moves(dossier["chosen"], name)
    return await console.page(request, "principal.html", p=dossier, moves=moves, today=console.today)


@router.get("/principals/{name}/{move}")
async def ask_move(request: Request, name: str, move: str) -> Response:
    """Say what the move does and ask for the reason."""
    return await _move_page(request, await _dossier(request, name), _move(move))


@router.post("/principals/{name}/{move}")
async def make_move(request: Request, name: str, move: str) -> Response:
    """Change the standing and show what was done, with times."""
    wanted, form = _move(move), admitted(request).form
    dossier = await _dossier(request, name)
    try:
        reason = one_line(form, "reason", longest=MAX_REASON)
        if wanted in words.FINAL:
            _confirm(form.get("name", ""), name)
        done = await console_of(request).desk.move(name, wanted, actor=visitor_of(request).person, reason=reason)
    except (MalformedError, ConflictError) as err:
        return await _move_page(request, dossier, wanted, error=err)
    return await console_of(request).page(request, "moved.html", p=dossier, move=wanted, done=done, reason=reason)


async def _move_page(
    request: Request, dossier: dict[str, Any], move: Move, error: CharterError | None = None
) -> Response:
    status = 200 if error is None else 409 if isinstance(error, ConflictError) else 400
    return await console_of(request).page(
        request,
        "move.html",
        status=status,
        p=dossier,
        move=move,
        is_legal=move in words.legal_moves(dossier["chosen"], dossier["name"]),
        deed=words.DEEDS[move],
        is_final=move in words.FINAL,
        typed=admitted(request).form,
        error=error,
        longest=MAX_REASON,
    )


async def _dossier(request: Request, name: str) -> dict[str, Any]:
    return await asyncio.to_thread(console_of(request).desk.dossier, name_of(name))


def _move(text: str) -> Move:
    try:
        return Move(text)
    except ValueError:
        raise HTTPException(404) from None


def _confirm(typed: str, name: str) -> None:
    """Check that the person typed the principal's name.

    Raises:
        MalformedError: they typed something else.
    """
    if typed.strip() != name:
        raise MalformedError(ErrorCode.BAD_VALUE, "the name you typed is not this principal's", help=f"type {name}")


def _number(text: str) -> int:
    return int(text[:6]) or 1 if text.isascii() and text.isdigit() else 1
