"""A principal's sessions, and one of them: what it did in order, what it has read, and what came from where."""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console.render import console_of, is_name, story_path
from charter.reports.session import Graph
from charter.reports.session_drawing import to_svg

_SESSION_ID = re.compile(r"ses_[0-9a-f]{24}")
router = APIRouter()


@router.get("/principals/{name}/sessions")
async def sessions(request: Request, name: str) -> Response:
    """The sessions of a principal in the last week."""
    if not is_name(name):
        raise HTTPException(404)
    found = await asyncio.to_thread(console_of(request).desk.sessions, name)
    return await console_of(request).page(request, "sessions.html", name=name, s=found)


@router.get("/principals/{name}/sessions/{session_id}")
async def session(request: Request, name: str, session_id: str) -> Response:
    """One session, drawn and listed."""
    if not is_name(name) or not _SESSION_ID.fullmatch(session_id):
        raise HTTPException(404)
    found, graph = await asyncio.to_thread(console_of(request).desk.session, name, session_id)
    return await console_of(request).page(request, "session.html", name=name, s=found, drawing=_drawn(graph))


def _drawn(graph: Graph) -> Markup:
    """Return the drawing as an element of the page; the calls in it lead to their stories."""
    links = {node.id: story_path(node.id) for node in graph.nodes if node.step is not None}
    return Markup(to_svg(graph, links=links, alone=False))  # noqa: S704 - made by an XML writer, which escapes all of it
