"""The control API's part about decisions: why one was made, why one would be, and what files would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from charter.bootstrap import sessions, what_if, why
from charter.core.errors import CharterError
from charter.gateway.trial import supposed_of
from charter.registry.trial import SupposedCall
from charter.reports.session_drawing import DRAWINGS
from charter.server.control_shape import Command, house_of
from charter.server.long_answer import NDJSON, line_of, problem_line

decisions = APIRouter()
MAX_FILES = 20_000
Moment = Annotated[str, Field(min_length=1, max_length=40)]
Files = Annotated[dict[str, str], Field(max_length=MAX_FILES)]


class Why(Command):
    """A call that nobody made, put to what is registered, or to files that are not applied."""

    call: SupposedCall
    files: Files | None = None


class WhatIf(Command):
    """Files to put recorded calls to, and which calls."""

    files: Files
    since: Moment | None = None
    until: Moment | None = None
    principal: Annotated[str, Field(max_length=63)] | None = None
    system: Annotated[str, Field(max_length=63)] | None = None
    most: Annotated[int, Field(ge=1, le=what_if.MAX_ENTRIES)] = what_if.MAX_ENTRIES


@decisions.get("/verdicts/{which}/why")
def why_recorded(request: Request, which: str) -> dict[str, Any]:
    """Why a recorded call was decided as it was: by its verdict's id, or its index in the log."""
    return why.recorded(house_of(request), which)


@decisions.get("/principals/{name}/sessions")
def list_sessions(request: Request, name: str, since: str | None = None) -> dict[str, Any]:
    """A principal's sessions, the one that was used last first."""
    return sessions.listing(house_of(request), name, since)


@decisions.get("/sessions/{session_id}")
def show_session(
    request: Request, session_id: str, principal: str | None = None, since: str | None = None
) -> dict[str, Any]:
    """One session: its calls, what it has read, and its graph."""
    return sessions.show(house_of(request), session_id, name=principal, since=since)


@decisions.get("/sessions/{session_id}/drawing")
def draw_session(
    request: Request,
    session_id: str,
    form: Literal["dot", "mermaid", "svg"] = "svg",
    principal: str | None = None,
    since: str | None = None,
) -> dict[str, Any]:
    """One session's graph as text for other tools, or as SVG."""
    _, graph = sessions.drawn(house_of(request), session_id, name=principal, since=since)
    return {"session": session_id, "form": form, "drawing": DRAWINGS[form](graph)}


@decisions.post("/why")
def why_supposed(request: Request, body: Why) -> dict[str, Any]:
    """Why a call would be decided as it would be."""
    house = house_of(request)
    return why.supposed(house, supposed_of(body.call, house.clock.now()), body.files)


@decisions.post("/what-if")
def compare(request: Request, body: WhatIf) -> StreamingResponse:
    """What files would change of recorded verdicts: progress line by line, and the answer in the last."""
    wanted = {"since": body.since, "until": body.until, "principal": body.principal, "system": body.system}
    steps = what_if.compare(house_of(request), body.files, wanted, most=body.most)
    return StreamingResponse(_lines(steps), media_type=NDJSON)


def _lines(steps: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield each step as a line; what goes wrong on the way is the last one, as a problem document."""
    try:
        for step in steps:
            yield line_of(step)
    except CharterError as error:
        yield problem_line(error)
