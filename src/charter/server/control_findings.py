"""The control API's findings: what scans found, what was noticed, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from charter.bootstrap import discovery
from charter.bootstrap import split as splitting
from charter.server.control_shape import Command, Person, Reason, house_of

findings = APIRouter()


class Found(Command):
    """Findings of a scan, to be kept."""

    findings: Annotated[list[dict[str, Any]], Field(max_length=10_000)]
    actor: Person


class Settled(Command):
    """What a person says of a finding."""

    state: Annotated[str, Field(pattern="^(accepted|resolved|open)$")]
    reason: Reason
    actor: Person


@findings.get("/findings")
async def list_findings(request: Request) -> dict[str, Any]:
    """What was found or noticed."""
    return {"findings": discovery.listing(house_of(request))}


@findings.post("/findings")
async def keep_findings(request: Request, body: Found) -> dict[str, Any]:
    """Keep the findings of a scan."""
    return {"kept": await discovery.keep(house_of(request), body.findings, actor=body.actor)}


@findings.get("/findings/{finding_id}")
async def show_finding(request: Request, finding_id: str) -> dict[str, Any]:
    """One finding, with its evidence."""
    return discovery.finding(house_of(request), finding_id)


@findings.get("/principals/{name}/split")
async def split_principal(
    request: Request,
    name: str,
    since: str | None = None,
    until: str | None = None,
    by: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """Who is behind one account, and a charter proposed for each; `by` names features, with commas between."""
    wanted = [each for each in (by or "").split(",") if each]
    return await splitting.split(house_of(request), name, since=since, until=until, by=wanted)


@findings.post("/findings/{finding_id}")
async def settle_finding(request: Request, finding_id: str, body: Settled) -> dict[str, Any]:
    """Accept, resolve or open a finding again."""
    return await discovery.settle(house_of(request), finding_id, body.state, actor=body.actor, reason=body.reason)
