"""The control API's part about compositions: what principals are made of, and people's reviews of what changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from charter.bootstrap import cards, composition
from charter.bootstrap.cards import MAX_KEY_SETS
from charter.identity.agent_card import MAX_CARD
from charter.server.control_shape import Command, Person, Reason, house_of

compositions = APIRouter()


class Accept(Command):
    """A person accepts what a principal is made of now; `change` names what they looked at."""

    change: Annotated[str, Field(max_length=80)]
    person: Person
    reason: Reason


class Card(Command):
    """An agent card, and the key sets that count; `principal` where its pinned card is held against this one."""

    card: Annotated[str, Field(max_length=MAX_CARD)]
    keys: Annotated[tuple[dict[str, Any], ...], Field(max_length=MAX_KEY_SETS + 1)] = ()
    where: Annotated[str, Field(max_length=2048)] = "the control API"
    principal: Annotated[str, Field(max_length=63)] | None = None
    actor: Person


@compositions.post("/cards")
async def look_at_card(request: Request, body: Card) -> dict[str, Any]:
    """Verify an agent card, and hold a principal's pinned one against it."""
    shown = cards.Shown(body.card, body.keys, body.where)
    return await cards.look(house_of(request), shown, principal=body.principal, actor=body.actor)


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
