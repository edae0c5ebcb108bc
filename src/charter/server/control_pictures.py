"""The control API's part for pictures: the numbers, and the drawings for who wants no program to make them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from charter.bootstrap import pictures
from charter.bootstrap.review import Review
from charter.reports.picture_svg import to_svg
from charter.server.control_review import Narrowed
from charter.server.control_shape import house_of

drawn = APIRouter()


class Wanted(Narrowed):
    """What a picture is of, and how it is given."""

    form: Literal["json", "svg", "png"] = "json"


@drawn.get("/pictures/{name}", response_model=None)
async def picture(
    request: Request, name: Literal["activity", "denials", "grants", "tools"], wanted: Annotated[Wanted, Query()]
) -> dict[str, Any] | Response:
    """One picture: its numbers, or drawn."""
    asked = Review(**wanted.model_dump(exclude={"form"}))
    (found,) = await pictures.pictures(house_of(request), asked, [name])
    if wanted.form == "json":
        return found.to_json()
    svg = to_svg(found)
    if wanted.form == "svg":
        return Response(svg, media_type="image/svg+xml")
    return Response(await asyncio.to_thread(pictures.png, svg), media_type="image/png")
