"""The control API's part about the trust domain: workloads, our bundle, federation with others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field

from charter.bootstrap import federation, node, workload_listing
from charter.core.values import parse_trust_domain
from charter.identity.bundle import MAX_DOCUMENT
from charter.identity.federation import MAX_NETWORKS, MAX_URL
from charter.registry.duration import parse_duration
from charter.server.control_shape import Command, Person, Reason, house_of

trust = APIRouter()
TrustDomain = Annotated[str, AfterValidator(parse_trust_domain)]


class Federate(Command):
    """Begin to trust another trust domain (SPIFFE Federation section 5.1)."""

    trust_domain: TrustDomain
    url: Annotated[str, Field(max_length=MAX_URL)]
    profile: Literal["https_web", "https_spiffe"]
    endpoint_id: Annotated[str, Field(max_length=2048)] | None = None
    networks: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=MAX_NETWORKS)] = ()
    bundle: Annotated[str, Field(max_length=MAX_DOCUMENT)] | None = None
    actor: Person
    reason: Reason


class Unfederate(Command):
    """Trust another trust domain no longer."""

    trust_domain: TrustDomain
    actor: Person
    reason: Reason


class NewJoinToken(Command):
    """Have a one-time token made that lets a machine in."""

    node: Annotated[str, Field(max_length=63)]
    life: Annotated[str, Field(pattern=r"^[0-9]{1,6}[smhd]$")] = "1h"
    actor: Person
    reason: Reason


class PutOut(Command):
    """Believe a node no longer."""

    node: Annotated[str, Field(max_length=63)]
    actor: Person
    reason: Reason


class Refresh(Command):
    """Ask another trust domain's bundle endpoint now."""

    trust_domain: TrustDomain


@trust.get("/workloads")
async def list_workloads(
    request: Request, principal: Annotated[str | None, Query(max_length=63)] = None
) -> dict[str, Any]:
    """Which processes charters name."""
    return {"workloads": workload_listing.entries(house_of(request), principal)}


@trust.get("/svids")
async def list_svids(request: Request) -> dict[str, Any]:
    """SVIDs that were given out and have not ended."""
    return workload_listing.given_out(house_of(request))


@trust.get("/bundle")
async def show_bundle(request: Request) -> dict[str, Any]:
    """Our published bundle."""
    return workload_listing.bundle(house_of(request))


@trust.get("/trust")
async def show_trust(request: Request) -> dict[str, Any]:
    """How our trust domain stands."""
    return workload_listing.trust(house_of(request))


@trust.get("/federations")
async def list_federations(request: Request) -> dict[str, Any]:
    """The trust domains we federate with."""
    return {"federations": federation.listing(house_of(request))}


@trust.post("/federations")
async def federate(request: Request, body: Federate) -> dict[str, Any]:
    """Begin to trust another trust domain."""
    given = body.model_dump(exclude={"trust_domain", "actor", "reason"})
    return await federation.add(house_of(request), body.trust_domain, given, actor=body.actor, reason=body.reason)


@trust.post("/federations/remove")
async def unfederate(request: Request, body: Unfederate) -> dict[str, Any]:
    """Trust another trust domain no longer."""
    return await federation.remove(house_of(request), body.trust_domain, actor=body.actor, reason=body.reason)


@trust.post("/federations/refresh")
async def refresh(request: Request, body: Refresh) -> dict[str, Any]:
    """Ask another trust domain's bundle endpoint now."""
    return await federation.refresh(house_of(request), body.trust_domain)


@trust.get("/nodes")
async def list_nodes(request: Request) -> dict[str, Any]:
    """The remote nodes that joined."""
    return {"nodes": node.listing(house_of(request))}


@trust.post("/nodes/join-token")
async def new_join_token(request: Request, body: NewJoinToken) -> dict[str, Any]:
    """Have a join token made; this answer alone has it."""
    life = parse_duration(body.life)
    return await node.new_join_token(house_of(request), body.node, life=life, actor=body.actor, reason=body.reason)


@trust.post("/nodes/put-out")
async def put_out(request: Request, body: PutOut) -> dict[str, Any]:
    """Believe a node no longer."""
    return await node.remove(house_of(request), body.node, actor=body.actor, reason=body.reason)
