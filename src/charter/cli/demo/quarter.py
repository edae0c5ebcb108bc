"""The chapter in which a charter becomes as narrow as its use: a quarter of recorded calls, one proposal, one command.

The quarter is replayed into a house of its own, through the real pipeline, by a clock that stands where each session
was: nobody has three months. What follows is what an owner types, by the machine's own clock.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

from charter.bootstrap import replays
from charter.cli.demo.teller import Teller
from charter.core.clock import SystemClock
from charter.gateway.session_file import RecordedSession, RecordedStep, Said
from charter.registry.manifest import read_files

HERE = Path(__file__).resolve().parent
NAME, OWNER = "refund-agent", "maria@example.com"
DAYS = 25  # of calls, up to yesterday
MADE = dt.timedelta(days=60)  # since when the charter holds


def right_size(teller: Teller) -> None:
    """Propose a narrower charter from use, take it, and find that its file says so, comments and all."""
    teller.step("A charter as narrow as its use: proposed, proven, replayed, and taken with one command")
    folder = teller.stage.root / "quarter"
    shutil.copytree(HERE / "quarter", folder)
    calls = asyncio.run(_lived(folder))
    yes = ("--accept", "--as", OWNER, "--reason", "as used this quarter")
    told = teller.ask("-C", str(folder), "right-size", NAME, *yes)
    keys = {each["key"] for each in told["narrowings"]}
    teller.claim("action:payments/refund.void" in keys, "what nobody used in the quarter goes: voiding refunds")
    replayed = (told["narrower"], told["replayed"], told["changed"]) == (True, calls, [])
    teller.claim(replayed, f"proven to allow nothing new; {calls} calls decided again, none refused")
    text = (folder / "principals" / f"{NAME}.yaml").read_text(encoding="utf-8")
    is_written = "refund.void" not in text and "# as it was asked for in spring" in text
    teller.claim(is_written, f"accepted by {told['person']}: the file is narrower, and keeps its comments")


async def _lived(folder: Path) -> int:
    """Let a quarter pass in an estate; return how many calls were made."""
    now, made, clock = SystemClock().now(), 0, replays.RecordedClock(offset=-MADE)
    async with replays.opened(folder, read_files(folder), clock=clock, operator=OWNER) as stage:
        for session in _sessions(now):
            async for each in stage.session(session):
                made += each.passed
    return made


def _sessions(now: dt.datetime) -> Iterator[RecordedSession]:
    """Yield one session a day: a charge read, and refunded."""
    for day in range(DAYS, 0, -1):
        at = (now - dt.timedelta(days=day)).replace(hour=10, minute=day % 50)
        asked = {"charge_id": f"ch_{day % 7}", "amount": 20 + day, "currency": "EUR"}
        steps: list[RecordedStep | Said] = [
            _step("get_charge", {"charge_id": asked["charge_id"]}),
            _step("create_refund", asked),
        ]
        yield RecordedSession(line=day, principal=NAME, run=f"day-{day}", at=at, request=None, steps=steps)


def _step(tool: str, arguments: dict[str, object]) -> RecordedStep:
    return RecordedStep(line=1, system="payments", tool=tool, action=None, arguments=arguments, result="done")
