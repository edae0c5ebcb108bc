"""The control API's part about proposed plans: put before those whose yes they need, looked at, answered."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from charter.bootstrap import estate as estates
from charter.bootstrap import plan_proposals
from charter.server.control_shape import Command, Person, Reason, house_of

MAX_FILES = 20_000
plans = APIRouter()


class Propose(Command):
    """The files of a plan, its digest as it was looked at, and what it is for."""

    files: Annotated[dict[str, str], Field(max_length=MAX_FILES)]
    plan: Annotated[str, Field(max_length=100)]
    actor: Person
    reason: Reason


class AnswerPlan(Command):
    """A person's yes or no to a proposed plan."""

    person: Person
    reason: Reason


@plans.post("/plan/propose")
async def propose(request: Request, body: Propose) -> dict[str, Any]:
    """Put a plan before those whose yes it needs."""
    return await estates.propose(
        house_of(request), body.files, plan_digest=body.plan, actor=body.actor, reason=body.reason
    )


@plans.get("/plans")
async def list_plans(request: Request) -> dict[str, Any]:
    """The plans that were proposed, newest first."""
    return {"plans": await asyncio.to_thread(plan_proposals.listing, house_of(request))}


@plans.post("/plans/{digest}/{answer}")
async def answer_plan(
    request: Request, digest: str, answer: Literal["approve", "refuse"], body: AnswerPlan
) -> dict[str, Any]:
    """Say yes or no to a proposed plan."""
    return await plan_proposals.answer(
        house_of(request), digest, yes=answer == "approve", person=body.person, reason=body.reason
    )
