"""The control API's part about right-sizing: a narrower charter from use, taken, dismissed, or kept from."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from charter.bootstrap import right_sizing, size_answers
from charter.server.control_shape import Command, Person, Reason, house_of

sizes = APIRouter()
Short = Annotated[str, Field(max_length=100)]


class RightSize(Command):
    """A narrower charter for a principal, from what it used in a period; `text`: its file, to keep its comments."""

    principal: Short
    since: Short | None = None
    text: Annotated[str, Field(max_length=right_sizing.MAX_FILE)] | None = None


class Accept(RightSize):
    """Take the proposal that was looked at."""

    proposal: Short
    person: Person
    reason: Reason


class Keep(Command):
    """Keep a piece (`key`) until a day though it is not used; to dismiss all that is proposed, no key is named."""

    principal: Short
    since: Short | None = None
    key: Annotated[str, Field(max_length=size_answers.MAX_KEY)] | None = None
    until: Short | None = None
    person: Person
    reason: Reason


@sizes.post("/right-size")
async def right_size(request: Request, body: RightSize) -> dict[str, Any]:
    """A narrower charter from what was used, and whether it is safe to take."""
    found = (house_of(request), body.principal, body.since, body.text)
    return await asyncio.to_thread(right_sizing.right_size, *found)


@sizes.post("/right-size/accept")
async def accept(request: Request, body: Accept) -> dict[str, Any]:
    """Take a narrower charter."""
    said = size_answers.Said(body.person, body.reason, body.since, body.text)
    return await size_answers.accept(house_of(request), body.principal, body.proposal, said)


@sizes.post("/right-size/{answer}")
async def keep(request: Request, answer: Literal["keep", "dismiss"], body: Keep) -> dict[str, Any]:
    """Keep a piece, or dismiss what is proposed, until a day."""
    said = size_answers.Said(body.person, body.reason, body.since)
    key = body.key if answer == "keep" else None
    return await size_answers.keep(house_of(request), body.principal, said, key=key, until=body.until)
