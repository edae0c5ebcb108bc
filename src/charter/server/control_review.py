"""The control API's part for reviews: the five questions over the evidence, and the sealed files they read."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from charter.bootstrap import review
from charter.core.errors import ErrorCode, MalformedError
from charter.reports.answer import MAX_ROWS, NAMES
from charter.reports.tables import csv_of
from charter.server.control_shape import Command, house_of

CSV = "text/csv; charset=utf-8"
reviews = APIRouter()
_Text = Annotated[str | None, Field(max_length=254)]


class Narrowed(Command):
    """The part of the evidence that is asked about."""

    since: _Text = None
    until: _Text = None
    team: _Text = None
    kind: _Text = None
    system: _Text = None
    principal: _Text = None


class Wanted(Narrowed):
    """What is asked of the evidence."""

    question: _Text = None
    rows: Annotated[int | None, Field(ge=1, le=MAX_ROWS)] = None
    form: Literal["json", "csv"] = "json"


class Seal(Command):
    """Seal what is not sealed, or everything again."""

    again: bool = False


@reviews.get("/review", response_model=None)
async def answers(request: Request, wanted: Annotated[Wanted, Query()]) -> dict[str, Any] | Response:
    """The five questions, or one of them; one of them also as CSV."""
    asked = review.Review(**wanted.model_dump(exclude={"form"}))
    if wanted.form == "csv" and asked.question is None:
        raise MalformedError(ErrorCode.BAD_VALUE, "CSV holds one question", help=f"name it: {', '.join(NAMES)}")
    found = await review.answers(house_of(request), asked)
    if wanted.form == "csv":
        (one,) = found["questions"]
        return Response(csv_of(one["columns"], one["rows"]), media_type=CSV)
    return found


@reviews.post("/evidence/seal")
async def seal(request: Request, body: Seal) -> dict[str, Any]:
    """Seal evidence for analytics."""
    return await asyncio.to_thread(lambda: house_of(request).sealing.seal(again=body.again))
