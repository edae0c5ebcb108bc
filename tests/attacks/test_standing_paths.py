"""Every path that could grant anything, walked with authority withdrawn in every way: none gives anything.

Peers shipped disable buttons that stopped nothing, because one path asked another question. `PATHS` (ways_in.py) is the
registry of ours; that none is missing in it, test_standing_coverage.py finds in the code.
"""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charter
from charter.bootstrap import authority
from charter.core.clock import Deadline
from charter.core.errors import ConflictError
from charter.gateway import look
from charter.gateway.pipeline import Admitted
from charter.registry.standing import Move, Standing
from ways_in import AGENT, PATHS, World, a_world, gives

# --- the withdrawals ---


def kill(world: World) -> None:
    world.move(Move.KILL)


def suspend(world: World) -> None:
    world.move(Move.SUSPEND)


def retire(world: World) -> None:
    world.move(Move.RETIRE)


def suspend_and_resume(world: World) -> None:
    world.move(Move.SUSPEND)
    world.move(Move.RESUME)


def let_expire(world: World) -> None:
    end = dt.datetime.combine(world.principal.expires, dt.time(), dt.UTC) + dt.timedelta(days=1)
    world.stage.clock.at = end


def revoke_key(world: World) -> None:
    deed = authority.revoke_key(
        world.stage.house, AGENT, world.pair.thumbprint, actor="maria@example.com", reason="laptop lost"
    )
    asyncio.run(deed)


def revoke_token(world: World) -> None:
    answer = world.door.post("/oauth/revoke", token=world.token, **world.door.client(world.assertion()))
    assert answer.status == 200


def suspend_system(world: World) -> None:
    from dataclasses import replace

    systems = world.stage.house.live.systems
    systems["payments"] = replace(systems["payments"], standing=Standing.SUSPENDED)


WITHDRAWALS: dict[str, tuple[Callable[[World], None], str]] = {
    "killed": (kill, "principal"),
    "suspended": (suspend, "principal"),
    "retired": (retire, "principal"),
    "expired": (let_expire, "principal"),
    "resumed, with a token from before": (suspend_and_resume, "token"),
    "key revoked": (revoke_key, "key"),
    "token revoked": (revoke_token, "token"),
    "system suspended": (suspend_system, "system"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_principal_in_good_standing_gets_what_each_path_gives(tmp_path: Path, name: str) -> None:
    """Else the tests below would pass for paths that give nothing to anyone."""
    with a_world(tmp_path) as world:
        assert PATHS[name].attempt(world)


@pytest.mark.parametrize("name", WITHDRAWALS)
def test_no_path_gives_anything_once_what_it_rests_on_is_withdrawn(tmp_path: Path, name: str) -> None:
    withdraw, what = WITHDRAWALS[name]
    with a_world(tmp_path) as world:
        withdraw(world)
        found = {path: gives(way, world) for path, way in PATHS.items() if what in way.rests_on}
        assert found == dict.fromkeys(found, False)
        assert world.stage.upstream.calls == []


@settings(max_examples=8)
@given(st.lists(st.sampled_from(Move), max_size=5))
def test_no_order_of_moves_leaves_a_path_open(tmp_path_factory: pytest.TempPathFactory, moves: list[Move]) -> None:
    """Whatever was moved in whatever order: what rests on the principal or on the old token follows its standing."""
    with a_world(tmp_path_factory.mktemp("world")) as world:
        for to in moves:
            try:
                world.move(to)
            except ConflictError:
                continue
            may = world.principal.standing in (Standing.ACTIVE, Standing.RESTRAINED)
            is_fresh = world.principal.epoch == world.bearer.epoch
            for name, way in PATHS.items():
                if not may or ("token" in way.rests_on and not is_fresh):
                    assert not gives(way, world), name
            assert gives(PATHS["token endpoint"], world) == may
            assert gives(PATHS["decision"], world) == (may and is_fresh)


@pytest.mark.parametrize("name", WITHDRAWALS)
def test_an_open_stream_ends_whatever_was_withdrawn(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    withdraw, _ = WITHDRAWALS[name]
    monkeypatch.setattr(look, "LOOK_SECONDS", 0.02)

    async def listen(world: World) -> str | None:
        with world.stage.house.pipeline.admit_stream(world.bearer, "payments") as stream:
            await asyncio.sleep(0.05)
            assert not stream.closed.is_set()
            await asyncio.to_thread(withdraw, world)
            await asyncio.wait_for(stream.closed.wait(), 5)
            return stream.why

    with a_world(tmp_path) as world:
        assert asyncio.run(listen(world))


@pytest.mark.parametrize("name", ["killed", "expired", "token revoked", "system suspended"])
def test_a_call_under_way_ends_whatever_was_withdrawn(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdraw, _ = WITHDRAWALS[name]
    monkeypatch.setattr(look, "LOOK_SECONDS", 0.02)

    async def call(world: World) -> list[dict[str, Any]]:
        house = world.stage.house
        world.stage.upstream.gate = asyncio.Event()
        made = world.stage.make("get_charge", {"charge_id": "ch_1"})
        found = await house.pipeline.submit(world.bearer, made, Deadline.after(world.stage.clock, 5), source="test")
        assert isinstance(found, Admitted)
        messages = aiter(found.messages)
        first = await anext(messages)
        await asyncio.to_thread(withdraw, world)
        rest = [message async for message in _within(messages, 5)]
        await house.pipeline.settled()
        return [first, *rest]

    with a_world(tmp_path) as world:
        first, last = asyncio.run(call(world))
        assert "method" in first
        assert last["error"]["data"] == {"layer": "standing"}
        assert world.stage.entries("outcome")[-1]["body"]["outcome"] == "withdrawn"


async def _within(source: AsyncIterator[Any], seconds: float) -> AsyncIterator[Any]:
    async with asyncio.timeout(seconds):
        async for item in source:
            yield item


def test_a_kill_leaves_every_other_principal_alone(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        stage, other = world.stage, "charge-reader"
        before = stage.house.principal(other)
        bearer = stage.bearer(other)
        world.move(Move.KILL)
        answered, messages = stage.submit(bearer, stage.make("get_charge", {"charge_id": "ch_1"}))
        assert stage.house.principal(other) is before
        assert isinstance(answered, Admitted)
        assert messages[-1]["result"]["content"][0]["text"] == "done"


def test_nobody_grants_by_a_question_of_their_own() -> None:
    """`may_act` is put by the one question alone; whoever looks at a standing to grant something is found here."""
    root = Path(charter.__file__).parent
    allowed = {
        "registry/standing.py",  # defines it
        "identity/authority.py",  # the one question
        "bootstrap/why.py",  # tells what it would answer: grants nothing
        "server/gateway_mcp.py",  # asks it of a system before its upstream is asked for tools: no principal involved
    }
    callers = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "may_act"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert callers <= allowed
