"""Credentials: how old each is, when it is replaced next and by whom; and having one replaced now.

What shows a secret (a new secret, a directory's token) or needs one is done at the command line: `charter rotate`.
Charter's own keys take an admin, a principal's keys an operator (see door.py).

INVARIANT: nothing is replaced but by the POST of the form of a page that said what it does, with a reason; at once only
after the person has ticked that what the old one signed or obtained is to be worthless.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted, visitor_of
from charter.console.form import MAX_REASON, one_line
from charter.console.render import console_of
from charter.core.errors import AbsentError, CharterError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.core.values import parse_name

OWN = ("token", "jwt-svid", "evidence", "charter", "witness", "x509-root", "x509-intermediate")
_STATUS = {MalformedError: 400, DeniedError: 403, AbsentError: 404, ConflictError: 409}
router = APIRouter()


@router.get("/credentials")
async def credentials(request: Request) -> Response:
    """Every credential with its age."""
    return await _list(request)


@router.post("/credentials/own")
async def replace_own(request: Request) -> Response:
    """Replace one of Charter's own keys."""
    form, visitor = admitted(request).form, visitor_of(request)
    try:
        kind = _kind_in(form.get("kind", ""))
        at_once, reason = form.get("at_once") == "yes", one_line(form, "reason", longest=MAX_REASON)
        done = await console_of(request).desk.rotate_own(kind, at_once=at_once, actor=visitor.person, reason=reason)
    except (MalformedError, ConflictError) as err:
        return await _list(request, error=err)
    return await _list(request, done=f"the {kind} key is {done['key_id']} now")


@router.post("/credentials/principals")
async def replace_key(request: Request) -> Response:
    """Have a principal's key replaced by its client, or revoke it at once."""
    form, visitor = admitted(request).form, visitor_of(request)
    try:
        name = parse_name(form.get("name", ""), "principal")
        key = one_line(form, "key", longest=64)
        at_once, reason = form.get("at_once") == "yes", one_line(form, "reason", longest=MAX_REASON)
        desk = console_of(request).desk
        done = await desk.rotate_key(name, key, at_once=at_once, actor=visitor.person, reason=reason)
    except (MalformedError, DeniedError, AbsentError, ConflictError) as err:
        return await _list(request, error=err)
    told = "is revoked, and what it obtained is dead" if done["state"] == "revoked" else "is asked for another"
    return await _list(request, done=f"{done['before']} of {name} {told}")


def _kind_in(text: str) -> str:
    """Return the kind of key that a form names.

    Raises:
        MalformedError: it is none that is replaced here.
    """
    if text not in OWN:
        raise MalformedError(ErrorCode.BAD_VALUE, "this is no key that is replaced here", help="charter rotate")
    return text


async def _list(request: Request, *, error: CharterError | None = None, done: str | None = None) -> Response:
    """Show the list; with `error`, what was wrong, with `done`, what was done."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.credentials)
    shown = found["credentials"]
    return await console.page(
        request,
        "credentials.html",
        status=_STATUS.get(type(error), 400) if error else 200,
        own=[each for each in shown if each["of"] == "charter"],
        others=[each for each in shown if each["of"] != "charter"],
        principals=found["principals"],
        overdue=found["overdue"],
        replaceable=OWN,
        error=error,
        done=done,
        longest=MAX_REASON,
    )
