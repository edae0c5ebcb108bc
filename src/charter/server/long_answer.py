"""Answers that may take minutes: JSON where they are there at once, else lines that tell how far it is, and the answer.

INVARIANT: whoever hangs up ends the work at its next step: nothing goes on for nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse, Response, StreamingResponse

from charter.bootstrap.evidence import Tell
from charter.core.errors import CharterError
from charter.server.problems import problem_of

NDJSON = "application/x-ndjson"
AT_ONCE_SECONDS = 1.0  # what takes no longer is answered as any other question
EVERY_SECONDS = 1.0


class NobodyWaitsError(Exception):
    """Whoever asked has hung up."""


@dataclass(slots=True)
class _Reached:
    entries: int = 0
    of: int = 0
    is_wanted: bool = True

    def tell(self, entries: int, of: int) -> None:
        """Note how far the work is; called by its thread.

        Raises:
            NobodyWaitsError: it should end.
        """
        if not self.is_wanted:
            raise NobodyWaitsError
        self.entries, self.of = entries, of


async def answer(work: Callable[[Tell], Awaitable[dict[str, Any]]]) -> Response:
    """Return the answer that `work` gives, which tells how far it is.

    Raises:
        CharterError: it went wrong at once; later, the last line is the problem document, as `problem`.
    """
    reached = _Reached()
    task = asyncio.ensure_future(work(reached.tell))
    await asyncio.wait({task}, timeout=AT_ONCE_SECONDS)
    if task.done():
        return JSONResponse(task.result())
    return StreamingResponse(_lines(task, reached), media_type=NDJSON)


async def _lines(task: asyncio.Future[dict[str, Any]], reached: _Reached) -> AsyncIterator[str]:
    try:
        while not task.done():
            yield line_of({"progress": {"entries": reached.entries, "of": reached.of}})
            await asyncio.wait({task}, timeout=EVERY_SECONDS)
        try:
            yield line_of(task.result())
        except CharterError as error:
            yield problem_line(error)
    finally:
        reached.is_wanted = False
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, so that nobody complains


def line_of(told: dict[str, Any]) -> str:
    """Return one line of an answer in lines."""
    return json.dumps(told) + "\n"


def problem_line(error: CharterError) -> str:
    """Return the last line of an answer that went wrong on the way: a problem document."""
    return line_of({"problem": problem_of(error)[1]})
