"""The control API: what the CLI, the console and other programs ask and tell. Translate, call once, translate back.

It is served on a unix socket that only the operator's own account can open (mode 0600 in a 0700 folder), or in the
CLI's own process. Whoever reaches it is the operator; the name of the person is what their settings say, and stands in
the evidence.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charter.bootstrap import authority, call_story, inventory, keys, notices, rules, stand_ins, tools, verdicts
from charter.bootstrap import estate as estates
from charter.bootstrap import evidence as log
from charter.bootstrap.house import House
from charter.console.signin import SignIn
from charter.core.errors import CharterError, ErrorCode, MalformedError, UnavailableError
from charter.registry.repeat import MAX_VARYING, MOST, Terms
from charter.registry.standing import Move
from charter.server import long_answer
from charter.server.control_behaviour import behaviour
from charter.server.control_compositions import compositions
from charter.server.control_delegations import delegations
from charter.server.control_erasure import erasures
from charter.server.control_findings import findings
from charter.server.control_integrations import integrations
from charter.server.control_leases import leases
from charter.server.control_people import people
from charter.server.control_pictures import drawn
from charter.server.control_plans import plans
from charter.server.control_review import reviews
from charter.server.control_rotation import rotation
from charter.server.control_shape import Command, Person, Reason, ReasonIfAny, house_of
from charter.server.control_sizes import sizes
from charter.server.control_trust import trust
from charter.server.control_vault import vault
from charter.server.control_why import decisions
from charter.server.problems import http_error, problem_of, unreadable

PROBLEM = "application/problem+json"
MAX_BODY_BYTES = 128 * 1024 * 1024
HALF_A_PAIR = "a text holds half of a surrogate pair"  # JSON can spell it; what would repeat it cannot be written
MAX_FILES = 20_000
MAX_INDEX = 2**53  # beyond any log


class Files(Command):
    """An estate's files as text, by their path in it."""

    files: Annotated[dict[str, str], Field(max_length=MAX_FILES)]


class Apply(Files):
    """Apply these files, if the plan still has this digest."""

    plan: str | None = None
    reason: Reason
    actor: Person


class ApprovePlan(Files):
    """A person's yes to the plan of these files that has this digest."""

    plan: str
    person: Person
    reason: ReasonIfAny = ""


class MoveTo(Command):
    """Change a principal's standing."""

    move: Move
    reason: Reason
    actor: Person


class Further(Command):
    """Which calls like one are approved besides."""

    count: Annotated[int, Field(strict=True, ge=1, le=MOST)]
    minutes: Annotated[int, Field(strict=True, ge=1, le=480)] = 60
    vary: Annotated[tuple[str, ...], Field(max_length=MAX_VARYING)] = ()

    @property
    def terms(self) -> Terms:
        """The terms that it stands for."""
        return Terms(self.count, dt.timedelta(minutes=self.minutes), self.vary)


class Answer(Command):
    """A person's yes or no."""

    person: Person
    reason: ReasonIfAny = ""


class Yes(Answer):
    """A person's yes, to one call or to some like it besides."""

    further: Further | None = None


class NewKey(Command):
    """Register a public key: a JWK, or a certificate in PEM that holds it."""

    jwk: dict[str, Any] | None = None
    certificate: Annotated[str, Field(max_length=32_768)] | None = None
    actor: Person
    reason: ReasonIfAny = "first use"


class NewSecret(Command):
    """Have a secret made."""

    actor: Person
    reason: Reason = "asked for"


class Rotate(Command):
    """Rotate a signing key."""

    use: Annotated[str, Field(pattern="^(token|evidence|charter|jwt-svid|witness|x509-root|x509-intermediate)$")]
    actor: Person
    reason: Reason = "asked for by the operator"
    at_once: bool = False  # what the old one signed is worthless with it


class RotateData(Command):
    """Seal under a fresh data key."""

    actor: Person
    reason: Reason = "asked for by the operator"


class RotateMaster(RotateData):
    """Wrap the data keys under another master key: at `to`, or a new one in the same place."""

    to: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


class VerifyNewest(Command):
    """How many of the newest entries to check; None: all there are."""

    newest: Annotated[int, Field(ge=1, le=50_000)] | None = None


class ExportTo(Command):
    """Where to write a pack, on the machine of the server, and of which period."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    actor: Person = "charter"
    since: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    until: Annotated[str, Field(min_length=1, max_length=40)] | None = None


def control_app(house: House, signin: SignIn | None = None) -> FastAPI:
    """Return the control API of `house`; `signin` is the console's, where one is served."""
    app = FastAPI(title="Charter control API", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.house = house
    app.state.signin = signin
    own = (principals, estate, approvals, evidence, findings, operations)
    for router in (
        *own,
        people,
        delegations,
        trust,
        vault,
        leases,
        rotation,
        compositions,
        behaviour,
        decisions,
        plans,
        sizes,
        integrations,
        reviews,
        drawn,
        erasures,
    ):
        app.include_router(router, prefix="/v1")

    app.add_middleware(_Bounded)
    _tell_errors(app)
    return app


class _Bounded:
    """Ends a body that is larger than any estate: the request is then answered as one that broke off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message if size <= MAX_BODY_BYTES else {"type": "http.disconnect"}

        await self._app(scope, bounded, send)


def _tell_errors(app: FastAPI) -> None:
    """Answer every error with a problem document, none of which repeats what was sent."""

    def problem(error: CharterError, status: int | None = None) -> JSONResponse:
        proper, body = problem_of(error)
        return JSONResponse(body | {"status": status or proper}, status or proper, media_type=PROBLEM)

    @app.exception_handler(CharterError)
    async def known(_request: Request, error: CharterError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(unreadable(error.errors()))

    @app.exception_handler(UnicodeEncodeError)
    async def unwritable(_request: Request, _error: UnicodeEncodeError) -> JSONResponse:
        return problem(MalformedError(ErrorCode.BAD_REQUEST, HALF_A_PAIR, help="send text that UTF-8 can hold"))

    @app.exception_handler(HTTPException)
    async def misplaced(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(http_error(error.status_code), error.status_code)


principals = APIRouter()


@principals.get("/principals")
async def list_principals(
    request: Request,
    team: str | None = None,
    kind: str | None = None,
    environment: str | None = None,
    standing: str | None = None,
    provider: str | None = None,
    data: str | None = None,
    system: str | None = None,
    tier: str | None = None,
) -> dict[str, Any]:
    """The inventory."""
    wanted = {"team": team, "kind": kind, "environment": environment, "standing": standing}
    wanted |= {"provider": provider, "data": data, "system": system, "tier": tier}
    found = inventory.listing(house_of(request), {k: v for k, v in wanted.items() if v})
    return {"total": len(found), "principals": found}


@principals.get("/principals/{name}")
async def show_principal(request: Request, name: str) -> dict[str, Any]:
    """One principal, whole."""
    return inventory.dossier(house_of(request), name)


@principals.post("/principals/{name}/move")
async def move_principal(request: Request, name: str, body: MoveTo) -> dict[str, Any]:
    """Restrain, suspend, resume, kill or retire."""
    return await authority.move(house_of(request), name, body.move, actor=body.actor, reason=body.reason)


@principals.post("/principals/{name}/keys")
async def register_key(request: Request, name: str, body: NewKey) -> dict[str, Any]:
    """Register the public half of a key made on the client's side."""
    return await authority.register_key(
        house_of(request), name, body.jwk, certificate=body.certificate, actor=body.actor, reason=body.reason
    )


@principals.post("/principals/{name}/secret")
async def make_secret(request: Request, name: str, body: NewSecret) -> dict[str, Any]:
    """Make a shared secret for a principal whose charter says legacy-secret; this answer alone holds it."""
    return await authority.make_secret(house_of(request), name, actor=body.actor, reason=body.reason)


@principals.delete("/principals/{name}/keys/{key_id}")
async def revoke_key(request: Request, name: str, key_id: str, body: Annotated[Answer, Body()]) -> dict[str, Any]:
    """Revoke one key; the identity stays."""
    return await authority.revoke_key(house_of(request), name, key_id, actor=body.person, reason=body.reason)


@principals.get("/systems")
async def list_systems(request: Request) -> dict[str, Any]:
    """The systems principals may reach."""
    return {"systems": inventory.systems(house_of(request))}


@principals.get("/rules")
async def list_rules(request: Request) -> dict[str, Any]:
    """What the organisation lays down for everyone."""
    return {"rules": rules.listing(house_of(request))}


@principals.get("/logs/{name}")
async def read_log(request: Request, name: str) -> dict[str, Any]:
    """What the servers that Charter started for a system wrote last to their error streams."""
    return {"lines": tools.said(house_of(request), name)}


@principals.get("/systems/{name}/tools")
async def list_tools(request: Request, name: str) -> dict[str, Any]:
    """The definitions of the tools that a system has right now."""
    return {"tools": await tools.definitions(house_of(request), name)}


estate = APIRouter()


@estate.post("/plan")
async def plan(request: Request, body: Files) -> dict[str, Any]:
    """What apply would change, and what that does to what principals may do."""
    return await asyncio.to_thread(estates.plan, house_of(request), body.files)


@estate.post("/plan/approve")
async def approve_plan(request: Request, body: ApprovePlan) -> dict[str, Any]:
    """Say yes to a plan, having looked at what it widens."""
    return await estates.approve(
        house_of(request), body.files, plan_digest=body.plan, person=body.person, reason=body.reason
    )


@estate.post("/apply")
async def apply(request: Request, body: Apply) -> dict[str, Any]:
    """Make the registry match the files: all of it or nothing."""
    return await estates.apply(
        house_of(request), body.files, plan_digest=body.plan, actor=body.actor, reason=body.reason
    )


approvals = APIRouter()


@approvals.get("/approvals")
async def list_approvals(request: Request, *, all: bool = False) -> dict[str, Any]:  # noqa: A002 - the query's word
    """What waits for a person."""
    return {"approvals": [inventory.approval_view(a) for a in inventory.approvals(house_of(request), every=all)]}


class StandIn(Command):
    """Who answers in `person`'s roles until the end of a day."""

    person: Person
    by: Person
    until: dt.date
    reason: Reason


class BackAgain(Command):
    """Nobody answers in `person`'s roles any more."""

    person: Person
    reason: Reason


@approvals.get("/stand-ins")
async def list_stand_ins(request: Request) -> dict[str, Any]:
    """Who answers in whose roles now."""
    return stand_ins.listing(house_of(request))


@approvals.post("/stand-ins")
async def name_stand_in(request: Request, body: StandIn) -> dict[str, Any]:
    """Name who answers in one's roles."""
    house = house_of(request)
    return await stand_ins.name(house, person=body.person, by=body.by, until=body.until, reason=body.reason)


@approvals.post("/stand-ins/end")
async def end_stand_in(request: Request, body: BackAgain) -> dict[str, Any]:
    """End it."""
    return await stand_ins.end(house_of(request), person=body.person, reason=body.reason)


@approvals.get("/repeats")
async def list_repeats(request: Request) -> dict[str, Any]:
    """Which calls like ones that were approved need nobody's yes any more, for a while."""
    return inventory.repeats(house_of(request))


@approvals.post("/repeats/{repeat_id}/end")
async def end_repeat(request: Request, repeat_id: str, body: BackAgain) -> dict[str, Any]:
    """Take a yes to further calls back."""
    return await authority.end_repeat(house_of(request), repeat_id, person=body.person, reason=body.reason)


@approvals.get("/notices")
async def list_notices(request: Request, *, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """Whom was told of what waits, and what could not be sent; the newest first."""
    return await asyncio.to_thread(notices.listing, house_of(request), limit=limit)


@approvals.get("/approvals/{approval_id}")
async def show_approval(request: Request, approval_id: str) -> dict[str, Any]:
    """One question, with the exact call."""
    house = house_of(request)
    return await asyncio.to_thread(lambda: inventory.approval_cards(house, [inventory.approval(house, approval_id)])[0])


@approvals.post("/approvals/{approval_id}/approve")
async def approve(request: Request, approval_id: str, body: Yes) -> dict[str, Any]:
    """Say yes."""
    further = body.further.terms if body.further is not None else None
    return await authority.answer(
        house_of(request), approval_id, yes=True, person=body.person, reason=body.reason, further=further
    )


@approvals.post("/approvals/{approval_id}/refuse")
async def refuse(request: Request, approval_id: str, body: Answer) -> dict[str, Any]:
    """Say no."""
    return await authority.answer(house_of(request), approval_id, yes=False, person=body.person, reason=body.reason)


evidence = APIRouter()


@evidence.get("/evidence")
async def query_evidence(
    request: Request,
    principal: str | None = None,
    kind: str | None = None,
    verdict: str | None = None,
    since: str | None = None,
    until: str | None = None,
    text: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[int | None, Query(ge=-1, le=MAX_INDEX)] = None,
    newest: Annotated[int | None, Query(ge=1, le=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> dict[str, Any]:
    """Entries that match, in the log's order."""
    wanted = {"principal": principal, "kind": kind, "verdict": verdict, "since": since, "until": until, "text": text}
    return log.listing(house_of(request), wanted, after=after, newest=newest, limit=limit)


@evidence.get("/evidence/{index}/proof")
async def prove(request: Request, index: int) -> dict[str, Any]:
    """The inclusion proof of one entry."""
    return log.proof(house_of(request), index)


@evidence.get("/evidence/{which}/receipt")
def receipt(request: Request, which: str) -> dict[str, Any]:
    """The log's signed promise of one entry: by its index, or by a verdict's id."""
    return verdicts.receipt(house_of(request), which)


@evidence.post("/evidence/verify")
async def verify(request: Request, body: VerifyNewest | None = None) -> Response:
    """Check the whole log, or the newest entries alone: JSON, or lines that tell how far it is, the answer the last."""
    newest = body.newest if body is not None else None
    return await long_answer.answer(partial(log.verify, house_of(request), newest=newest))


@evidence.post("/evidence/export")
async def export(request: Request, body: ExportTo) -> Response:
    """Write the log, or what shows all of a period, to a pack: JSON, or lines that tell how far it is first."""
    house, target = house_of(request), Path(body.path)
    return await long_answer.answer(
        lambda tell: log.export(house, target, body.since, body.until, actor=body.actor, tell=tell)
    )


@evidence.get("/verdicts/{verdict_id}")
async def story(request: Request, verdict_id: str) -> dict[str, Any]:
    """The whole story of one verdict."""
    return call_story.tell(house_of(request), verdict_id)


operations = APIRouter()


@operations.get("/status")
async def status(request: Request) -> dict[str, Any]:
    """Whether the node is well, and what it holds."""
    return inventory.status(house_of(request))


@operations.post("/keys/rotate")
async def rotate(request: Request, body: Rotate) -> dict[str, Any]:
    """Rotate a signing key."""
    return await authority.rotate(
        house_of(request), body.use, actor=body.actor, reason=body.reason, at_once=body.at_once
    )


@operations.get("/keys/rest")
async def keys_at_rest(request: Request) -> dict[str, Any]:
    """The master key and the data keys, and whether every sealed value opens."""
    return await keys.health(house_of(request))


@operations.post("/keys/rotate/data")
async def rotate_data(request: Request, body: RotateData) -> dict[str, Any]:
    """Seal under a fresh data key from now on."""
    return await keys.rotate_data(house_of(request), actor=body.actor, reason=body.reason)


@operations.post("/keys/rotate/master")
async def rotate_master(request: Request, body: RotateMaster) -> dict[str, Any]:
    """Wrap the data keys under another master key."""
    return await keys.rotate_master(house_of(request), body.to, actor=body.actor, reason=body.reason)


@operations.post("/keys/reseal")
async def reseal(request: Request) -> dict[str, Any]:
    """Move some seals to the active data key."""
    return await keys.reseal(house_of(request))


@operations.post("/console/link")
async def console_link(request: Request) -> dict[str, Any]:
    """A new one-time link that signs the operator in to the console."""
    signin = request.app.state.signin
    if signin is None:
        raise UnavailableError(ErrorCode.NOT_RUNNING, "no server runs on this estate", help="start it: charter up")
    return {"url": str(signin.link())}
