"""The control API's part about people: who is there, and whose directory may provision."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator

from charter.bootstrap import people as everyone
from charter.core.values import parse_name
from charter.server.control_shape import Command, Person, house_of

people = APIRouter()
ProvisionerName = Annotated[str, AfterValidator(lambda text: parse_name(text, "provisioner"))]


class Provision(Command):
    """Let a directory provision, or no more."""

    name: ProvisionerName
    actor: Person


@people.get("/people")
async def list_people(request: Request, group: Annotated[str | None, Query(max_length=256)] = None) -> dict[str, Any]:
    """Who is there."""
    return everyone.listing(house_of(request), group)


@people.get("/people/provisioners")
async def list_provisioners(request: Request) -> dict[str, Any]:
    """Whose directories may provision, or once might."""
    return {"provisioners": everyone.provisioners(house_of(request))}


@people.post("/people/provisioners")
async def add_provisioner(request: Request, body: Provision) -> dict[str, Any]:
    """Let a directory provision; its token is in this answer alone."""
    return await everyone.add_provisioner(house_of(request), body.name, actor=body.actor)


@people.post("/people/provisioners/revoke")
async def revoke_provisioner(request: Request, body: Provision) -> dict[str, Any]:
    """Let a directory provision no more."""
    return await everyone.revoke_provisioner(house_of(request), body.name, actor=body.actor)
