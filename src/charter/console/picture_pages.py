"""What happened in pictures: activity, refusals, granted against used, and which tool followed which."""

from __future__ import annotations

from fastapi import APIRouter
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from charter.console.door import admitted
from charter.console.evidence_pages import REVIEW_FILTERS as FILTERS
from charter.console.render import console_of
from charter.core.values import parse_name
from charter.registry.charter import Kind
from charter.reports.picture import Flow, Picture
from charter.reports.picture_svg import NARROW, WIDE, Sheet, to_svg

router = APIRouter()


@router.get("/pictures")
async def pictures(request: Request) -> Response:
    """The pictures of a period, each with its numbers as a table."""
    query = admitted(request).query
    filters = {name: query.get(name, "").strip() for name in FILTERS}
    if filters["principal"]:
        parse_name(filters["principal"])
    found = await console_of(request).desk.pictures({name: value for name, value in filters.items() if value})
    drawn = [(each, _drawn(each), each.shape.table()) for each in found]
    kinds = [kind.value for kind in Kind]
    return await console_of(request).page(request, "pictures.html", drawn=drawn, filters=filters, kinds=kinds)


def _drawn(picture: Picture) -> list[tuple[str, Markup]]:
    """Return the drawings of a picture, each with the class of its box: styles show the one that fits the screen."""
    if isinstance(picture.shape, Flow):
        return [("", _on(WIDE, picture))]
    return [("for-wide", _on(WIDE, picture)), ("for-narrow", _on(NARROW, picture))]


def _on(sheet: Sheet, picture: Picture) -> Markup:
    return Markup(to_svg(picture, alone=False, sheet=sheet))  # noqa: S704 - made by an XML writer, which escapes it all
