"""Kill -9 of a serving process with calls under way: nothing it answered is lost, nothing it allowed is unrecorded.

The server is the real `charter up`, killed at random instants while agents call through it, and started again on what
it left. What its upstream saw, and what its callers were told, is held against the log afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from charter.adapters.tables import limit_usage
from charter.bootstrap import evidence
from charter.bootstrap.building import build
from charter.bootstrap.house import House
from charter.config import Settings
from charter.core.canonical import digest_of
from charter.registry.standing import Standing
from served import ACTOR, Served, served
from terminal import Server

AGENTS = 8


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Served]:
    on_postgres = {"CHARTER_DATABASE": database_url} if database_url.startswith("postgres") else {}
    with served(tmp_path / "estate", **on_postgres) as scene:
        yield scene


# --- what the callers do until the server is gone ---


async def work(scene: Served, server: Server, approved: list[int]) -> None:
    """Call as fast as it goes, from several callers at once, until the server does not answer any more."""
    async with aiohttp.ClientSession() as web:
        token = await scene.fetch(server, web)
        if token is None:
            return
        spending = [number for number in approved for _ in range(3)]
        spenders = [scene.call(server, web, token, "create_refund", number) for number in spending]
        readers = [read_on(scene, server, web, token) for _ in range(AGENTS)]
        await asyncio.gather(*spenders, *readers, authenticate_on(scene, server, web))


async def authenticate_on(scene: Served, server: Server, web: aiohttp.ClientSession) -> None:
    while await scene.fetch(server, web) is not None:
        pass


async def read_on(scene: Served, server: Server, web: aiohttp.ClientSession, token: str) -> None:
    while await scene.call(server, web, token, "get_charge", scene.next()):
        pass


def crash(scene: Served, seconds: float, *, and_revoke: bool) -> None:
    """Start the server, let the callers work, and kill it in the middle of that."""
    with scene.terminal.up() as server:
        scene.enrol()
        approved = [scene.next() for _ in range(2)]
        for number in approved:
            approval = scene.background.run(scene.hold(server, number))
            scene.asked("POST", f"/v1/approvals/{approval}/approve", {"person": "lena@example.com", "reason": "seen"})
        working = scene.background.start(work(scene, server, approved))
        scene.background.run(asyncio.sleep(seconds))
        if and_revoke:
            body = {"move": "kill", "reason": "3 a.m.", "actor": ACTOR}
            assert scene.asked("POST", "/v1/principals/charge-reader/move", body)["after"] == "revoked"
        server.process.kill()
        server.process.wait(30)
        working.result(60)


# --- what must be true of what it left ---


def hold_against_the_log(scene: Served) -> int:
    """Check all that was seen and told against the log; return how many calls reached the upstream."""
    environment = scene.terminal.environment
    house = build(Settings(estate=scene.terminal.folder, database=environment.get("CHARTER_DATABASE")))
    try:
        report = asyncio.run(evidence.verify(house))
        assert report["ok"], report["problems"]
        entries = everything(house)
        check_calls(scene, entries)
        check_limits(scene, house, entries)
        assert [entry["body"]["move"] for entry in entries if entry["kind"] == "standing.changed"] == ["kill"]
        assert house.principal("charge-reader").standing is Standing.REVOKED
        issued = [e for e in entries if e["kind"] == "authentication" and e["body"]["outcome"] == "issued"]
        assert len(issued) >= scene.told.tokens
    finally:
        asyncio.run(house.aclose())
    return len(scene.upstream.calls())


def everything(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = -1
    while page := evidence.listing(house, {}, after=after, newest=None, limit=1000)["entries"]:
        found += page
        after = page[-1]["index"]
    assert [entry["index"] for entry in found] == list(range(len(found)))
    return found


def check_calls(scene: Served, entries: list[dict[str, Any]]) -> None:
    verdicts = {e["body"]["verdict_id"]: e["body"] for e in entries if e["kind"] == "verdict"}
    allowed = Counter(body["call_digest"] for body in verdicts.values() if body["verdict"] == "allow")
    reached = [message["params"] for message in scene.upstream.calls()]
    numbers = {params["arguments"]["amount"] for params in reached}
    for params in reached:
        call = {"system": "payments", "tool": params["name"], "arguments": params["arguments"]}
        assert allowed[digest_of(call)] == 1, "the upstream was called without a verdict"
    for number, verdict in scene.told.passed.items():
        assert verdicts[verdict]["verdict"] == "allow", number
        assert number in numbers
    for number, verdict in scene.told.refused.items():
        assert verdicts[verdict]["verdict"] in ("deny", "escalate"), number
    refunds = Counter(params["arguments"]["amount"] for params in reached if params["name"] == "create_refund")
    assert set(refunds.values()) <= {1}, "an approval was spent twice"


def check_limits(scene: Served, house: House, entries: list[dict[str, Any]]) -> None:
    """What is counted is exactly what was allowed, less what surely did not happen."""
    reads = [e["body"] for e in entries if e["kind"] == "verdict" and e["body"]["tool"] == "get_charge"]
    allowed = sum(body["verdict"] == "allow" for body in reads)
    ended = [e["body"] for e in entries if e["kind"] == "outcome" and e["body"]["tool"] == "get_charge"]
    given_back = sum(not body["sent"] for body in ended)
    used = house.database.read(lambda tx: tx.connection.execute(sa.select(sa.func.sum(limit_usage.c.used))).scalar())
    assert int(used or 0) == allowed - given_back
    assert allowed >= len([message for message in scene.upstream.calls() if message["params"]["name"] == "get_charge"])


def test_a_server_killed_at_any_instant_loses_nothing_it_answered(scene: Served) -> None:
    dice = random.Random(7)  # noqa: S311 - it chooses when to kill
    crash(scene, dice.uniform(0.2, 0.8), and_revoke=True)
    crash(scene, dice.uniform(0.2, 0.8), and_revoke=False)
    assert hold_against_the_log(scene) > 10
    assert len(scene.told.passed) > 10


@pytest.mark.slow
def test_a_server_killed_many_times_loses_nothing_it_answered(scene: Served) -> None:
    dice = random.Random()  # noqa: S311 - another instant each time
    for nth in range(12):
        crash(scene, dice.uniform(0.0, 1.5), and_revoke=nth == 0)
        hold_against_the_log(scene)
