"""The control API's part about evidence in and out: sinks, logs of others, applications that send spans."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field

from charter.bootstrap import observing, reconciling, sinks, span_sources, witnessing
from charter.bootstrap.sinks import NewSink
from charter.core.values import parse_line
from charter.evidence.vendors.readers import MAX_LINE
from charter.gateway.reported import MAX_DECISIONS, parse_report
from charter.server.control_shape import Command, Person, Reason, ReasonIfAny, house_of

integrations = APIRouter()
Name = Annotated[str, Field(min_length=1, max_length=63)]


class AddSink(Command):
    """Send evidence to a sink."""

    name: Name
    to: Annotated[str, Field(min_length=1, max_length=2048)]
    form: Annotated[str, Field(max_length=16)] | None = None
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    from_now: bool = False
    actor: Person


class Removal(Command):
    """Remove a sink, or revoke a source's key."""

    actor: Person
    reason: ReasonIfAny = ""


class Ingest(Command):
    """Lines of a log of another, as they stand in it."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    lines: Annotated[list[Annotated[str, Field(max_length=MAX_LINE)]], Field(max_length=observing.MAX_LINES)]
    first: Annotated[int, Field(ge=1, le=2**40)] = 1
    file: Annotated[str, Field(max_length=512)] = ""
    actor: Person


class Identify(Command):
    """Say which principal an actor of another's logs is."""

    source: Annotated[str, Field(min_length=1, max_length=32)]
    name: Annotated[str, AfterValidator(lambda text: parse_line(text, "actor", longest=512))]
    principal: Name
    actor: Person
    reason: Reason


class NewSource(Command):
    """Let an application send spans."""

    name: Name
    actor: Person


@integrations.get("/sinks")
async def list_sinks(request: Request) -> dict[str, Any]:
    """Where evidence is sent to, and what waits."""
    return {"sinks": sinks.listing(house_of(request))}


@integrations.post("/evidence/sinks")
async def add_sink(request: Request, body: AddSink) -> dict[str, Any]:
    """Send evidence to a sink from now on."""
    wanted = NewSink(body.name, body.to, body.form, body.secret_env, body.from_now)
    return await sinks.add(house_of(request), wanted, actor=body.actor)


@integrations.post("/sinks/{name}/remove")
async def remove_sink(request: Request, name: str, body: Removal) -> dict[str, Any]:
    """Send a sink nothing more."""
    return await sinks.remove(house_of(request), name, actor=body.actor, reason=body.reason)


@integrations.post("/evidence/ingest")
async def ingest(request: Request, body: Ingest) -> dict[str, Any]:
    """Take lines of another's log."""
    return await observing.ingest(
        house_of(request), body.kind, body.lines, first=body.first, file=body.file, actor=body.actor
    )


class LeftDecisions(Command):
    """Decisions that a program of `principal` left on its disk: a spool's, from the number `first` on."""

    principal: Name
    spool: Annotated[str, Field(max_length=40)]
    first: int
    decisions: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_DECISIONS)]
    actor: Person


@integrations.post("/evidence/decisions")
async def take_decisions(request: Request, body: LeftDecisions) -> dict[str, Any]:
    """Record what a program decided that does not run any more."""
    report = parse_report(json.dumps(body.model_dump(include={"spool", "first", "decisions"})).encode())
    through = await house_of(request).carrying.take_left(body.principal, report, actor=body.actor)
    return {"spool": report.spool, "through": through}


@integrations.get("/reconciliation")
def reconcile(
    request: Request, since: str | None = None, until: str | None = None, principal: str | None = None
) -> dict[str, Any]:
    """Verdicts of a period held against what is known of their effects."""
    return reconciling.over(house_of(request), {"since": since, "until": until, "principal": principal})


@integrations.post("/evidence/actors")
async def identify(request: Request, body: Identify) -> dict[str, Any]:
    """Say which principal an actor is."""
    return await observing.identify(
        house_of(request), body.source, body.name, body.principal, by=body.actor, reason=body.reason
    )


@integrations.get("/sources")
async def list_sources(request: Request) -> dict[str, Any]:
    """The applications that were given a key to send spans with."""
    return {"sources": span_sources.listing(house_of(request))}


@integrations.post("/sources")
async def add_source(request: Request, body: NewSource) -> dict[str, Any]:
    """Let an application send spans; this answer alone holds its key."""
    return await span_sources.add(house_of(request), body.name, actor=body.actor)


@integrations.post("/sources/{name}/revoke")
async def revoke_source(request: Request, name: str, body: Removal) -> dict[str, Any]:
    """Let an application send spans no more."""
    return await span_sources.revoke(house_of(request), name, actor=body.actor, reason=body.reason)


class WatchLog(Command):
    """Cosign the heads of another's log."""

    key: Annotated[str, Field(min_length=1, max_length=512)]
    actor: Person


class UnwatchLog(Command):
    """Cosign them no more."""

    origin: Annotated[str, Field(min_length=1, max_length=255)]
    actor: Person
    reason: ReasonIfAny = ""


@integrations.get("/evidence/witnesses")
def list_witnesses(request: Request) -> dict[str, Any]:
    """Who cosigns this node's heads, whose heads it cosigns, where its own are kept; the keys that others need."""
    house = house_of(request)
    return house.witnesses.listing() | {"watched": witnessing.listing(house)} | witnessing.own_keys(house)


@integrations.post("/evidence/witnesses/ask")
async def ask_witnesses(request: Request) -> dict[str, Any]:
    """Ask the witnesses now."""
    house = house_of(request)
    await house.witnesses.ask(at_once=True)
    return house.witnesses.listing()


@integrations.post("/evidence/watched-logs")
async def watch_log(request: Request, body: WatchLog) -> dict[str, Any]:
    """Cosign the heads of another's log from now on."""
    return await witnessing.add(house_of(request), body.key, actor=body.actor)


@integrations.post("/evidence/watched-logs/remove")
async def unwatch_log(request: Request, body: UnwatchLog) -> dict[str, Any]:
    """Cosign them no more."""
    return await witnessing.remove(house_of(request), body.origin, actor=body.actor, reason=body.reason)
