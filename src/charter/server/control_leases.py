"""The control API's part about leases: what there is, and what an operator does with it. It never sees a credential."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from charter.bootstrap import lease_keeping, lease_views, leasing
from charter.server.control_shape import Command, Person, Reason, house_of
from charter.server.leases import refusal_body

leases = APIRouter()
REVOKE_SECONDS = 20.0
Name = Annotated[str, Query(max_length=63)]


class Renew(Command):
    """Let a lease live on, if policy still allows it."""

    actor: Person


class Revoke(Command):
    """End a lease; `by_hand` says that its credential was removed by hand."""

    actor: Person
    reason: Reason
    by_hand: bool = False


@leases.get("/leases")
async def list_leases(
    request: Request,
    *,
    all: bool = False,  # noqa: A002 - the query's word
    principal: Name | None = None,
    system: Name | None = None,
) -> dict[str, Any]:
    """The open leases, or the newest of all."""
    return lease_views.listing(house_of(request), every=all, principal=principal, system=system)


@leases.get("/leases/{lease_id}")
async def show_lease(request: Request, lease_id: str) -> dict[str, Any]:
    """One lease, whatever became of it."""
    return lease_views.show(house_of(request), lease_id)


@leases.post("/leases/{lease_id}/renew", response_model=None)
async def renew_lease(request: Request, lease_id: str, body: Renew) -> dict[str, Any] | JSONResponse:
    """Let a lease live on: decided anew, as its holder's call."""
    found = await leasing.renew(house_of(request).leasing, lease_id, None, actor=body.actor)
    if isinstance(found, leasing.NotGiven):
        return JSONResponse(refusal_body(found), 403, media_type="application/problem+json")
    return lease_views.view(found.lease)


@leases.post("/leases/{lease_id}/revoke")
async def revoke_lease(request: Request, lease_id: str, body: Revoke) -> dict[str, Any]:
    """End a lease, and wait a while until its credential is taken back."""
    room = house_of(request).leasing
    if body.by_hand:
        return lease_views.view(await lease_keeping.by_hand(room, lease_id, actor=body.actor, reason=body.reason))
    ended = await lease_keeping.end(room, lease_id, why=body.reason, actor=body.actor, seconds=REVOKE_SECONDS)
    return lease_views.view(ended)
