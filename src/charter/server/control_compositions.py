"""The control API's part about compositions: what principals are made of, and people's reviews of what changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from charter.bootstrap import composition
from charter.server.control_shape import Command, Person, Reason, house_of

compositions = APIRouter()


class Accept(Command):
    """A person accepts what a principal is made of now; `change` names what they looked at."""

    change: Annotated[str, Field(max_length=80)]
    person: Person
    reason: Reason


@compositions.get("/compositions")
async def list_compositions(request: Request) -> dict[str, Any]:
    """The principals of which something is pinned; those that wait for a review first."""
    return {"compositions": composition.listing(house_of(request))}


@compositions.get("/compositions/{name}")
async def show_composition(request: Request, name: str) -> dict[str, Any]:
    """What a principal is made of, who attests it, and what changed."""
    return composition.view(house_of(request), name)


@compositions.post("/compositions/{name}/accept")
async def accept_composition(request: Request, name: str, body: Accept) -> dict[str, Any]:
    """Accept what it is made of now."""
    return await composition.review(house_of(request), name, body.change, person=body.person, reason=body.reason)
