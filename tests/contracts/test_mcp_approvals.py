"""Held calls whose caller's client can open an address for a person: sent to the console, approved, passed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestURLParams, ElicitResult

from charter.bootstrap import authority
from charter.evidence.entry import EntryKind
from charter.lifecycle.emergency import Move
from charter.registry.approval import Approval, ApprovalState
from doors import ACCEPT, META, Agent, Answer, Doors, open_doors, run
from mcp_stage import CLOCK, NOTES, a_record, stage, stdio, until

HELD = {"charge_id": "c1", "amount": 150, "currency": "EUR"}
CAN_OPEN = {"elicitation": {"form": {}, "url": {}}}
ERAS = ["2026-07-28", "legacy"]
Does = Callable[[Doors, str], Awaitable[None]]


@dataclass
class Person:
    """Who sits at the client: what they were shown, and what they do with it."""

    doors: Doors
    does: Does | None  # None: nothing, and declines
    action: Any = "accept"
    shown: list[ElicitRequestURLParams] = field(default_factory=list)
    waits: list[asyncio.Task[None]] = field(default_factory=list)

    async def __call__(self, _context: Any, params: Any) -> ElicitResult:
        self.shown.append(params)
        if self.does is not None:
            doing = self.does(self.doors, params.url.partition("?of=")[2])
            self.waits.append(asyncio.ensure_future(doing))
        return ElicitResult(action=self.action)


@contextlib.asynccontextmanager
async def client_of(doors: Doors, agent: Agent, mode: Any, person: Person | None) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {agent.token}"}) as web:
        transport = streamable_http_client(doors.resource, http_client=web)
        async with Client(transport, mode=mode, read_timeout_seconds=20, elicitation_callback=person) as client:
            yield client


def with_client(tmp_path: Path, mode: str, does: Does | None, use: Any, action: str = "accept") -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent, person = await doors.agent(), Person(doors, does, action)
            async with client_of(doors, agent, mode, person) as client:
                await use(doors, client, person)
            await asyncio.gather(*person.waits)

    run(go())


async def approves(doors: Doors, approval: str) -> None:
    await asyncio.sleep(0.3)  # the caller waits by then, or soon after
    await doors.approve(approval)


async def refuses(doors: Doors, approval: str) -> None:
    await asyncio.sleep(0.3)
    await authority.answer(doors.house, approval, yes=False, person="lena@example.com", reason="no")


@pytest.mark.parametrize("mode", ERAS)
def test_a_call_that_is_approved_at_the_console_passes_without_being_made_again(tmp_path: Path, mode: str) -> None:
    async def use(doors: Doors, client: Client, person: Person) -> None:
        result = await client.call_tool("create_refund", HELD)
        assert not result.is_error, result
        (shown,) = person.shown
        assert shown.url.startswith(f"{doors.issuer}/approvals?of=apr_")
        assert "`refund-agent`" in shown.message
        assert "payments-lead" in shown.message
        assert "150" not in shown.message + shown.url  # arguments are for the console, after signing in
        assert len(doors.upstream.calls()) == 1
        assert doors.entries("verdict")[-1]["body"]["verdict"] == "allow"
        again = await client.call_tool("create_refund", HELD | {"charge_id": "c2"})  # another call asks anew
        assert not again.is_error
        assert len(person.shown) == 2

    with_client(tmp_path, mode, approves, use)


@pytest.mark.parametrize("mode", ERAS)
def test_a_call_that_is_refused_at_the_console_does_not_pass_nor_ask_again(tmp_path: Path, mode: str) -> None:
    async def use(doors: Doors, client: Client, person: Person) -> None:
        result = await client.call_tool("create_refund", HELD)
        assert result.is_error
        assert "was refused" in result.content[0].text
        assert len(person.shown) == 1
        assert len(doors.entries(EntryKind.APPROVAL_ASKED)) == 1
        assert not doors.upstream.calls()

    with_client(tmp_path, mode, refuses, use)


@pytest.mark.parametrize(("mode", "action"), [("2026-07-28", "decline"), ("legacy", "cancel")])
def test_who_does_not_go_there_leaves_the_call_held(tmp_path: Path, mode: str, action: str) -> None:
    async def use(doors: Doors, client: Client, _: Person) -> None:
        result = await client.call_tool("create_refund", HELD)
        assert result.is_error
        assert "holds this call" in result.content[0].text
        await doors.approve(result.meta["charter/refusal"]["approval"])
        assert not (await client.call_tool("create_refund", HELD)).is_error  # and it passes once it is approved

    with_client(tmp_path, mode, None, use, action)


async def ask(agent: Agent, can: dict[str, Any], **params: Any) -> Answer:
    meta = META | {"io.modelcontextprotocol/clientCapabilities": can}
    body = {"name": "create_refund", "arguments": HELD, "_meta": meta} | params
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "create_refund"}
    return await agent.send(json.dumps(message).encode(), **headers)


def test_a_client_that_cannot_is_answered_as_ever(tmp_path: Path) -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            for can in ({}, {"elicitation": {}}, {"elicitation": {"form": {}}}, {"elicitation": {"url": 1}}):
                assert (await ask(agent, can)).refusal["verdict"] == "escalate"

    run(go())


def test_a_denial_sends_nobody_anywhere(tmp_path: Path) -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            answer = await ask(await doors.agent(), CAN_OPEN, arguments=HELD | {"amount": 9000})
            assert answer.refusal["verdict"] == "deny"

    run(go())


def test_what_a_client_says_approves_nothing(tmp_path: Path) -> None:
    """Whatever stands in the answers, the approval alone decides; no state is taken that was never given."""

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            asked = await ask(agent, CAN_OPEN)
            assert asked.json["result"]["resultType"] == "input_required"
            (key,) = asked.json["result"]["inputRequests"]
            assert "requestState" not in asked.json["result"]
            for answer in ({"action": "approve"}, {"action": ["accept"]}, {"approved": True}, "accept", None, 1):
                held = await ask(agent, CAN_OPEN, inputResponses={key: answer})
                assert held.refusal["verdict"] == "escalate"
            other = await ask(agent, CAN_OPEN, inputResponses={"another": {"action": "accept"}})
            assert other.json["result"]["resultType"] == "input_required"
            forged = await ask(agent, CAN_OPEN, inputResponses={key: {"action": "accept"}}, requestState="approved")
            assert forged.json["error"]["code"] == -32602
            assert not doors.upstream.calls()

    run(go())


def test_the_address_opens_nothing_without_signing_in(tmp_path: Path) -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            asked = await ask(await doors.agent(), CAN_OPEN)
            (each,) = asked.json["result"]["inputRequests"].values()
            path = each["params"]["url"].removeprefix(doors.issuer)
            shown = await doors.request("GET", path)
            assert shown.status == 303
            assert shown.headers["Location"] == "/sign-in"
            approval = path.partition("?of=")[2]
            assert approval in shown.headers["Set-Cookie"]  # where one is led after signing in
            pressed = await doors.request("POST", f"/approvals/{approval}", form={"answer": "approve"})
            assert pressed.status in (303, 403)
            assert doors.house.live.approvals[next(iter(doors.house.live.approvals))].state == "waiting"

    run(go())


@pytest.mark.parametrize("mode", ERAS)
def test_a_kill_ends_the_wait_and_the_call(tmp_path: Path, mode: str) -> None:
    async def kills(doors: Doors, _: str) -> None:
        await authority.move(doors.house, "refund-agent", Move.KILL, actor="op@example.com", reason="a test")

    async def use(doors: Doors, client: Client, _: Person) -> None:
        with contextlib.suppress(Exception):  # the token is dead by the time of a retry
            assert (await client.call_tool("create_refund", HELD)).is_error
        assert not doors.upstream.calls()

    with_client(tmp_path, mode, kills, use)


def test_the_wait_is_bounded_and_ends_in_the_answer_that_others_get() -> None:
    async def go() -> None:
        async with stage(a_record(stdio(*NOTES)), held_seconds=0.05) as behind, aiohttp.ClientSession() as web:
            behind.pipeline.held.add("read_note")
            now = CLOCK.now()
            behind.live.approvals["prn_agent", "d"] = Approval(
                *("apr_7", "prn_agent", "d", {}, ("payments-lead",), {}, ApprovalState.WAITING, now),
                *(now + dt.timedelta(hours=1), "vrd_2"),
            )
            meta = META | {"io.modelcontextprotocol/clientCapabilities": CAN_OPEN}
            answers = {"charter-approval": {"action": "accept"}}
            params = {"name": "read_note", "arguments": {"id": "a"}, "_meta": meta, "inputResponses": answers}
            headers = {"Authorization": f"Bearer {behind.token()}", "Accept": ACCEPT, "Mcp-Name": "read_note"}
            headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            async with web.post(behind.url(), json=message, headers=headers) as answer:
                result = (await answer.json())["result"]
            assert "Then call again with exactly the same arguments" in result["content"][0]["text"]
            assert len(behind.pipeline.calls) == 1

    run(go())


def test_another_principal_cannot_answer_for_a_session(tmp_path: Path) -> None:
    """The answer to what was asked in one session counts there alone, and only while it is asked."""

    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent, other = await doors.agent(), await doors.agent("charge-reader")
            init = {"protocolVersion": "2025-11-25", "capabilities": CAN_OPEN, "clientInfo": {"name": "x"}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": init}
            opened = await agent.send(json.dumps(message).encode())
            session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
            call = {
                "jsonrpc": "2.0",
                "id": 2,
                "method": "tools/call",
                "params": {"name": "create_refund", "arguments": HELD},
            }
            calling = asyncio.create_task(agent.send(json.dumps(call).encode(), **session))
            await until(lambda: doors.house.live.approvals)
            await asyncio.sleep(0.2)
            decline = {"jsonrpc": "2.0", "id": "charter-1", "result": {"action": "decline"}}
            assert (await other.send(json.dumps(decline).encode(), **session)).status == 404
            assert (await agent.send(json.dumps(decline).encode())).status == 400
            for wrong in ("charter-2", 1, "charter-0"):
                assert (await agent.send(json.dumps(decline | {"id": wrong}).encode(), **session)).status == 400
            assert not calling.done()
            assert (await agent.send(json.dumps(decline).encode(), **session)).status == 202
            answered = await calling
            assert answered.json["result"]["isError"]
            assert (await agent.send(json.dumps(decline).encode(), **session)).status == 400

    run(go())
