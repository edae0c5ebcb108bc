"""What the organisation lays down for everyone, as it is in force: guardrails, rules on charters, freezes, purposes.

Looking is all: rules are files, and change by plan and apply.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from charter.console.render import console_of
from charter.reports.rule_words import answering, terms_of

MAX_SHOWN = 200
MAX_SOUGHT = 80  # characters
router = APIRouter()


@router.get("/rules")
async def rules(request: Request) -> Response:
    """Every rule in force, in the order of the files; with `answers`, those that answer an item of a catalogue."""
    console = console_of(request)
    found = await asyncio.to_thread(console.desk.rules)
    sought = request.query_params.get("answers", "").strip()[:MAX_SOUGHT]
    meant = answering(found, sought)
    shown = [each | {"terms": terms_of(each)} for each in meant[:MAX_SHOWN]]
    return await console.page(request, "rules.html", rules=shown, meant=len(meant), total=len(found), sought=sought)
