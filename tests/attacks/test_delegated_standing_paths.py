"""Every path that could grant anything to a chain, walked with every part of the chain withdrawn in every way.

The chain is maria -> triage-flow -> refund-agent, with a token, a question that waits for a person and a yes not used
yet, all of the agent's. `PATHS` is the registry of what they could get; none gives anything once a link is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority
from charter.core.errors import CharterError
from charter.gateway.pins import ToolDefinition
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.exchange import DELEGATION
from charter.registry.standing import Move
from delegations import MARIA
from houses import PIN
from lending_stage import PURPOSE, Lending, a_lending, lending_files

FLOW, AGENT, TOOL = "triage-flow", "refund-agent", "charge-tool"
ASKING: list[dict[str, Any]] = [
    {"system": "payments", "actions": ["charge.read"]},
    {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
]


@dataclass
class World:
    """A chain with everything it could have."""

    stage: Lending
    flow: str  # tokens
    agent: str
    passing: str  # the agent's, that the tool may exchange
    waiting: str  # approvals
    approved: str

    def approve(self, approval: str) -> bool:
        house = self.stage.stage.house
        deed = authority.answer(house, approval, yes=True, person="lena@example.com", reason="seen")
        return bool(asyncio.run(deed)["state"] == "approved")


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    with a_lending(folder, files=lending_files({AGENT: {"grants": ASKING}})) as stage:
        flow, agent = stage.chain(FLOW, AGENT)
        passing = stage.redeem(AGENT, stage.delegation_of(agent), may_act=TOOL)
        approvals = []
        for amount in (11, 12):
            held = stage.refund(agent, amount)
            assert isinstance(held, Refused)
            approvals.append(str(held.approval_id))
        world = World(stage, flow, agent, passing, *approvals)
        assert world.approve(world.approved)
        yield world


def redeeming(world: World) -> bool:
    stage = world.stage
    return stage.ask(AGENT, stage.delegation_of(world.agent), DELEGATION).status == 200


def lending_on(world: World) -> bool:
    return world.stage.ask_exchange(TOOL, world.passing).status == 200


def introspection(world: World) -> bool:
    return world.stage.introspected(AGENT, world.agent)["active"] is True


def gateway_door(world: World) -> bool:
    return world.stage.bearer(world.agent).delegation is not None


def _unchecked(world: World) -> Any:
    """Return the bearer that passed the door before anything was withdrawn."""
    return world.stage.stage.house.tokens.read(world.agent, at=world.stage.stage.clock.now()).bearer


def decision(world: World) -> bool:
    stage = world.stage.stage
    return isinstance(stage.submit(_unchecked(world), stage.make("get_charge", {"charge_id": "ch_1"}))[0], Admitted)


def tools_list(world: World) -> bool:
    tools = [ToolDefinition("get_charge", {"name": "get_charge"}, PIN)]
    return bool(world.stage.stage.house.pipeline.visible(_unchecked(world), "payments", tools)[0])


def new_stream(world: World) -> bool:
    async def opened() -> bool:
        with world.stage.stage.house.pipeline.admit_stream(_unchecked(world)) as stream:
            await asyncio.sleep(0.01)
            return not stream.closed.is_set()

    return asyncio.run(opened())


def approval_given(world: World) -> bool:
    return world.approve(world.waiting)


def approval_spent(world: World) -> bool:
    stage, given = world.stage.stage, {"charge_id": "ch_1", "amount": 12, "currency": "EUR"}
    return isinstance(stage.submit(_unchecked(world), stage.make("create_refund", given))[0], Admitted)


PATHS: dict[str, Callable[[World], bool]] = {
    "token under the delegation": redeeming,
    "exchange of the agent's token": lending_on,
    "introspection": introspection,
    "gateway door": gateway_door,
    "decision": decision,
    "tools/list": tools_list,
    "new stream": new_stream,
    "approval given": approval_given,
    "approval spent": approval_spent,
}


def _move(world: World, name: str, *moves: Move) -> None:
    for move in moves:
        asyncio.run(authority.move(world.stage.stage.house, name, move, actor="pia@example.com", reason="a test"))


def _revoke_key(world: World, name: str) -> None:
    key = world.stage.pair(name).thumbprint
    asyncio.run(authority.revoke_key(world.stage.stage.house, name, key, actor="pia@example.com", reason="lost"))


WITHDRAWALS: dict[str, Callable[[World], Any]] = {
    "the first link withdrawn": lambda w: w.stage.withdraw(link=w.stage.delegation_of(w.flow)),
    "the last link withdrawn": lambda w: w.stage.withdraw(link=w.stage.delegation_of(w.agent)),
    "all of the person's withdrawn": lambda w: w.stage.withdraw(person=MARIA),
    "all of the workflow's withdrawn": lambda w: w.stage.withdraw(agent=FLOW),
    "all of the agent's withdrawn": lambda w: w.stage.withdraw(agent=AGENT),
    "all for the purpose withdrawn": lambda w: w.stage.withdraw(purpose=PURPOSE),
    "people's edge switched off": lambda w: w.stage.switch("humans", FLOW, is_on=False),
    "the person's edge switched off": lambda w: w.stage.switch(MARIA, FLOW, is_on=False),
    "the workflow's edge switched off": lambda w: w.stage.switch(FLOW, AGENT, is_on=False),
    "the workflow suspended": lambda w: _move(w, FLOW, Move.SUSPEND),
    "the workflow suspended and resumed": lambda w: _move(w, FLOW, Move.SUSPEND, Move.RESUME),
    "the workflow killed": lambda w: _move(w, FLOW, Move.KILL),
    "the workflow's key revoked": lambda w: _revoke_key(w, FLOW),
    "the agent killed": lambda w: _move(w, AGENT, Move.KILL),
}


def gives(path: Callable[[World], bool], world: World) -> bool:
    try:
        return path(world)
    except CharterError:
        return False


@pytest.mark.parametrize("name", PATHS)
def test_a_chain_in_good_standing_gets_what_each_path_gives(tmp_path: Path, name: str) -> None:
    """Else the tests below would pass for paths that give nothing to anyone."""
    with a_world(tmp_path) as world:
        assert PATHS[name](world)


@pytest.mark.parametrize("name", WITHDRAWALS)
def test_no_path_gives_anything_once_a_link_is_withdrawn(tmp_path: Path, name: str) -> None:
    with a_world(tmp_path) as world:
        WITHDRAWALS[name](world)
        made = len(world.stage.stage.upstream.calls)
        assert {path: gives(attempt, world) for path, attempt in PATHS.items()} == dict.fromkeys(PATHS, False)
        assert len(world.stage.stage.upstream.calls) == made


def test_no_path_gives_anything_once_a_link_has_ended(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.stage.stage.clock.advance(seconds=3600)
        for path in (redeeming, lending_on, introspection, gateway_door):
            assert not gives(path, world)
