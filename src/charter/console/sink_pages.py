"""Where evidence is sent to: how far each sink came, what waits for it, and what was wrong the last time.

Looking is all: a sink is added and removed on the machine itself, where its secret is (`charter evidence sinks`).
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.render import console_of

MAX_SHOWN = 100
router = APIRouter()


@router.get("/sinks")
async def sinks(request: Request) -> Response:
    """Every sink, those that take nothing first."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.sinks)
    worst = {"failing": 0, "behind": 1}
    shown = sorted(found, key=lambda each: (worst.get(each["state"], 2), each["name"]))
    failing = sum(each["state"] == "failing" for each in found)
    return await console.page(request, "sinks.html", sinks=shown[:MAX_SHOWN], total=len(found), failing=failing)
