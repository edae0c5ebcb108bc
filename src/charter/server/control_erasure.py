"""The control API's part for erasing payloads of evidence: by a person, by their age, and holds against it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field

from charter.bootstrap import erasing
from charter.core.values import parse_line
from charter.evidence.erasure import MAX_REASON
from charter.server.control_shape import Command, Person, house_of

erasures = APIRouter()
_Text = Annotated[str | None, Field(min_length=1, max_length=254)]
_Reason = Annotated[str, AfterValidator(lambda text: parse_line(text, "reason", longest=MAX_REASON))]
_NAMES = {"entry", "person", "principal", "system", "since", "before"}


class Meant(Command):
    """Which entries are meant, who says so, and why."""

    actor: Person
    reason: _Reason
    about: Person | None = None  # a mail address, as payloads have it
    principal: _Text = None
    system: _Text = None
    since: _Text = None
    before: _Text = None

    def wanted(self) -> dict[str, Any]:
        """Return what is named."""
        found = self.model_dump(include=_NAMES, exclude_none=True)
        return found | ({"person": self.about} if self.about else {})


class Erase(Meant):
    """Erase payloads; without `really`, only say which."""

    entry: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    really: bool = False


class Release(Command):
    """Release a hold, or have retention carried out: who says so, and why."""

    actor: Person
    reason: _Reason


class Preview(Command):
    """What retention would erase, by other rules than those in force if they are given."""

    rules: Annotated[str, Field(min_length=1, max_length=8_000)] | None = None


@erasures.get("/evidence/retention")
async def retention(request: Request) -> dict[str, Any]:
    """How long payloads are kept, and how far that is carried out."""
    return house_of(request).retaining.listing()


@erasures.post("/evidence/retention/preview")
async def preview(request: Request, body: Preview) -> dict[str, Any]:
    """What retention would erase now."""
    return await house_of(request).retaining.preview(body.rules)


@erasures.post("/evidence/retention/run")
async def run(request: Request, body: Release) -> dict[str, Any]:
    """Erase what is over its time now."""
    return await house_of(request).retaining.run(actor=body.actor, reason=body.reason)


@erasures.post("/evidence/erase")
async def erase(request: Request, body: Erase) -> dict[str, Any]:
    """Erase what stands apart of entries, or say what that would be."""
    return await erasing.erase_evidence(
        house_of(request), body.wanted(), actor=body.actor, reason=body.reason, really=body.really
    )


@erasures.get("/evidence/holds")
async def holds(request: Request) -> dict[str, Any]:
    """The holds that stand."""
    return erasing.holds(house_of(request))


@erasures.post("/evidence/holds")
async def hold(request: Request, body: Meant) -> dict[str, Any]:
    """Place a hold."""
    return await erasing.hold(house_of(request), body.wanted(), actor=body.actor, reason=body.reason)


@erasures.post("/evidence/holds/{hold_id}/release")
async def release(request: Request, hold_id: str, body: Release) -> dict[str, Any]:
    """Release a hold."""
    return await erasing.release(house_of(request), hold_id, actor=body.actor, reason=body.reason)
