"""Delegations: who lent authority to whom, drawn from each initiator down; lending, withdrawing, switching edges.

INVARIANT: a person lends in their own name alone, and below `/delegations/own` withdraws only what they lent: the page
puts in who is signed in, whatever the form says. Everything else takes an operator (see door.py).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_PERSON, MAX_REASON, one_line
from charter.console.render import console_of, delegation_path
from charter.core.errors import AbsentError, CharterError, DeniedError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.registry.delegation import is_person
from charter.registry.delegation_tree import grown

MAX_SHOWN = 200
_ID = re.compile(r"del_[0-9a-z]{26}")
_WANTED = ("link", "person", "agent", "purpose")
_STATUS = {MalformedError: 400, DeniedError: 403, AbsentError: 404}
router = APIRouter()


@router.get("/delegations")
async def delegations(request: Request) -> Response:
    """Every delegation that has not ended, or those that a person, a principal or a purpose has to do with."""
    return await _list(request)


@router.post("/delegations/own")
async def lend(request: Request) -> Response:
    """Let whoever is signed in lend what they may do."""
    form, person = admitted(request).form, visitor_of(request).person
    try:
        made = await console_of(request).desk.lend(
            person=person,
            borrower=parse_name(form.get("borrower", "").strip(), "principal"),
            purpose=parse_name(form.get("purpose", "").strip(), "purpose"),
            lasts=form.get("lasts", "").strip() or None,
            reason=one_line(form, "reason", longest=MAX_REASON),
        )
    except (MalformedError, DeniedError, AbsentError) as err:
        return await _list(request, err)
    return RedirectResponse(delegation_path(made["id"]), 303)


@router.get("/delegations/withdraw")
async def ask_withdrawal(request: Request) -> Response:
    """Say which delegations would be withdrawn and ask for the reason."""
    return await _withdrawal(request, _wanted(admitted(request).query))


@router.post("/delegations/own/withdraw")
async def withdraw_own(request: Request) -> Response:
    """Withdraw what whoever is signed in lent."""
    return await _withdraw(request, _wanted(admitted(request).form) | {"person": visitor_of(request).person})


@router.post("/delegations/withdraw")
async def withdraw(request: Request) -> Response:
    """Withdraw delegations, whoever lent them."""
    return await _withdraw(request, _wanted(admitted(request).form))


@router.post("/delegations/switch")
async def switch(request: Request) -> Response:
    """Switch an edge off or on."""
    form, visitor = admitted(request).form, visitor_of(request)
    try:
        lender = one_line(form, "lender", longest=MAX_PERSON)
        await console_of(request).desk.switch(
            lender if is_person(lender) else parse_name(lender, "lender"),
            parse_name(form.get("borrower", ""), "principal"),
            is_on=_on_or_off(form),
            actor=visitor.person,
            reason=one_line(form, "reason", longest=MAX_REASON),
        )
    except (MalformedError, AbsentError) as err:
        return await _list(request, err)
    return RedirectResponse("/delegations", 303)


@router.get("/delegations/{delegation_id}")
async def delegation(request: Request, delegation_id: str) -> Response:
    """One delegation: the whole chain that it ends."""
    if not _ID.fullmatch(delegation_id):
        raise HTTPException(404)
    console = console_of(request)
    shown = await asyncio.to_thread(console.desk.delegation, delegation_id)
    return await console.page(request, "delegation.html", d=shown, hops=list(zip(shown["chain"][1:], shown["links"])))  # noqa: B905 - a chain is one longer than its links


async def _list(request: Request, error: CharterError | None = None) -> Response:
    """Show the tree; with `error`, on the form that was sent, with what was typed."""
    console, wanted = console_of(request), _wanted(admitted(request).query)
    found = await asyncio.to_thread(console.desk.delegations, wanted)
    shown = found["delegations"][:MAX_SHOWN]
    return await console.page(
        request,
        "delegations.html",
        status=_STATUS.get(type(error), 400) if error else 200,
        trees=grown(shown[::-1]),
        shown=len(shown),
        total=len(found["delegations"]),
        live=found["live"],
        off=found["off"],
        wanted=wanted,
        error=error,
        typed=admitted(request).form,
        longest=MAX_REASON,
    )


async def _withdrawal(request: Request, wanted: Mapping[str, str], error: CharterError | None = None) -> Response:
    console = console_of(request)
    if not wanted:
        raise HTTPException(404)
    found = await asyncio.to_thread(console.desk.delegations, wanted)
    meant = [each for each in found["delegations"] if each["standing"] == "active"]
    person = visitor_of(request).person.lower()
    return await console.page(
        request,
        "withdraw.html",
        status=_STATUS.get(type(error), 400) if error else 200,
        wanted=wanted,
        meant=meant[:MAX_SHOWN],
        total=len(meant),
        is_own=all(each["lender"] == person for each in meant),
        error=error,
        typed=admitted(request).form,
        longest=MAX_REASON,
    )


async def _withdraw(request: Request, wanted: dict[str, str]) -> Response:
    """Withdraw what is wanted and show what stopped with it."""
    console = console_of(request)
    try:
        reason = one_line(admitted(request).form, "reason", longest=MAX_REASON)
        done = await console.desk.withdraw(wanted, actor=visitor_of(request).person, reason=reason)
    except MalformedError as err:
        return await _withdrawal(request, wanted, err)
    return await console.page(request, "withdrawn.html", done=done, wanted=wanted, reason=reason)


def _wanted(fields: Mapping[str, str]) -> dict[str, str]:
    """Return which delegations are meant, of what a query or form says.

    Raises:
        MalformedError: something in it is of another form than it can have.
    """
    wanted = {name: fields[name].strip() for name in _WANTED if fields.get(name, "").strip()}
    for name in ("agent", "purpose"):
        if name in wanted:
            parse_name(wanted[name], name)
    if "person" in wanted:
        one_line(wanted, "person", longest=MAX_PERSON)
    if not _ID.fullmatch(wanted.get("link", "del_" + "0" * 26)):
        raise MalformedError(ErrorCode.BAD_VALUE, "the id names no delegation", help="open it from the list")
    return wanted


def _on_or_off(form: Mapping[str, str]) -> bool:
    if form.get("state") not in ("on", "off"):
        raise MalformedError(ErrorCode.BAD_VALUE, "the form does not say on or off", help="press one of the buttons")
    return form["state"] == "on"
