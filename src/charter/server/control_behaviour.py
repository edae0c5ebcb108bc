"""The control API's part about behaviour: what principals usually do, what was noticed, what follows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Query as Asked
from pydantic import Field

from charter.bootstrap import behaviour_views, response_preview
from charter.server.control_shape import Command, Person, Reason, house_of

behaviour = APIRouter()
MAX_FILE = 256 * 1024


class Accept(Command):
    """A person says that something is normal for a principal until a moment."""

    feature: Annotated[str, Field(max_length=40)]
    key: Annotated[str, Field(max_length=200)]
    until: Annotated[str, Field(max_length=40)]
    reason: Reason
    actor: Person


class Withdraw(Command):
    """A person says that something is normal no more."""

    accepted: Annotated[str, Field(max_length=64)]
    reason: Reason
    actor: Person


class Preview(Command):
    """Rules to be previewed: the text of a responses.yaml, else those in force."""

    text: Annotated[str, Field(max_length=MAX_FILE)] | None = None
    since: Annotated[str, Field(max_length=40)] = "1d"
    rule: Annotated[str, Field(max_length=63)] | None = None


@behaviour.get("/behaviour")
async def list_signals(
    request: Request,
    principal: Annotated[str | None, Asked(max_length=80)] = None,
    since: Annotated[str, Asked(max_length=40)] = "7d",
    limit: int = 100,
) -> dict[str, Any]:
    """What was noticed, newest first, and how the watch does."""
    return behaviour_views.signals(house_of(request), principal=principal, since=since, limit=limit)


@behaviour.get("/behaviour/{name}")
async def show_behaviour(request: Request, name: str) -> dict[str, Any]:
    """What a principal usually does, and what was noticed of it."""
    return behaviour_views.view(house_of(request), name)


@behaviour.post("/behaviour/{name}/accept")
async def accept_behaviour(request: Request, name: str, body: Accept) -> dict[str, Any]:
    """Say that something is normal for it."""
    return await behaviour_views.accept(
        house_of(request), name, body.feature, body.key, until=body.until, actor=body.actor, reason=body.reason
    )


@behaviour.post("/behaviour/{name}/withdraw")
async def withdraw_accepted(request: Request, name: str, body: Withdraw) -> dict[str, Any]:
    """Say that something is normal no more."""
    return await behaviour_views.withdraw(house_of(request), name, body.accepted, actor=body.actor, reason=body.reason)


@behaviour.post("/responses/preview")
async def preview_responses(request: Request, body: Preview) -> dict[str, Any]:
    """What rules would have done: whom they are for, whom they would have stopped, and which calls."""
    return await response_preview.preview(house_of(request), body.text, since=body.since, only=body.rule)
