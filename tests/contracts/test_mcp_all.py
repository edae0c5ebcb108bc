"""One MCP endpoint for all of a principal's systems: names, lists, calls, tokens, both eras, the official client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from charter.gateway.mcp_all import MAX_SHOWN, name_of
from charter.lifecycle.emergency import Move
from doors import Agent, Answer, Doors, open_doors, run

GRANTS = [{"system": "ledger", "actions": ["charge.read"]}, {"system": "dead", "actions": ["charge.read"]}]


@asynccontextmanager
async def all_doors(folder: Path, *, dead: bool = False) -> AsyncIterator[Doors]:
    """The doors, with a second system of the same tools, and perhaps a third that nobody answers at."""
    async with open_doors(folder) as doors:
        files = dict(doors.files)
        system = json.loads(files["systems/payments.yaml"])
        files["systems/ledger.yaml"] = json.dumps(system | {"system": "ledger"})
        upstream = {"transport": "http", "url": "http://127.0.0.1:9/mcp"}
        files["systems/dead.yaml"] = json.dumps(system | {"system": "dead", "upstream": upstream})
        charter = json.loads(files["principals/refund-agent.yaml"])
        charter["grants"] += GRANTS if dead else GRANTS[:1]
        files["principals/refund-agent.yaml"] = json.dumps(charter)
        await doors.apply(files)
        yield doors


async def of_all(doors: Doors, name: str = "refund-agent") -> Agent:
    agent = await doors.agent(name)
    form = {
        "grant_type": "client_credentials",
        "resource": f"{doors.issuer}/mcp",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": agent.assertion(jti="another"),
    }
    answer = await doors.request("POST", "/oauth/token", form=form)
    assert answer.status == 200, answer.body
    agent.token = answer.json["access_token"]
    return agent


async def ask(agent: Agent, method: str, **params: Any) -> Answer:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return await agent.send(json.dumps(message).encode(), path="/mcp", **headers)


META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
TOOLS = ["ledger__get_charge", "payments__get_charge", "payments__create_refund"]


def test_all_tools_are_listed_and_called_by_their_systems(tmp_path: Path) -> None:
    async def go() -> None:
        async with all_doors(tmp_path) as doors:
            agent = await of_all(doors)
            listed = (await ask(agent, "tools/list")).result
            assert [tool["name"] for tool in listed["tools"]] == TOOLS
            for system in ("payments", "ledger"):
                answer = await ask(agent, "tools/call", name=f"{system}__get_charge", arguments={"charge_id": "c1"})
                assert answer.passed, answer.body
                assert doors.entries("verdict")[-1]["body"]["system"] == system
            refused = await ask(agent, "tools/call", name="ledger__create_refund", arguments={"charge_id": "c1"})
            assert refused.refusal["rule"] == "refund-agent/grants"
            made_up = {"ledger__nothing": "built-in/known-tools", "dead__get_charge": "refund-agent/grants"}
            for name, rule in made_up.items():
                refused = await ask(agent, "tools/call", name=name, arguments={"charge_id": "c1"})
                assert refused.refusal["rule"] == rule
                assert doors.entries("verdict")[-1]["body"]["system"] == name.partition("__")[0]
            for name in ("get_charge", "strange__get_charge", "", "__", "ledger__"):
                assert (await ask(agent, "tools/call", name=name, arguments={})).json["error"]["code"] == -32602

    run(go())


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
def test_the_official_client_finds_them_all_in_one_place(tmp_path: Path, mode: str) -> None:
    async def go() -> None:
        async with all_doors(tmp_path) as doors:
            agent = await of_all(doors)
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {agent.token}"}) as web:
                transport = streamable_http_client(f"{doors.issuer}/mcp", http_client=web)
                async with Client(transport, mode=mode, read_timeout_seconds=20) as client:
                    assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
                    assert not (await client.call_tool("ledger__get_charge", {"charge_id": "c1"})).is_error

    run(go())


def test_a_system_that_does_not_answer_hides_no_other(tmp_path: Path) -> None:
    async def go() -> None:
        async with all_doors(tmp_path, dead=True) as doors:
            listed = (await ask(await of_all(doors), "tools/list")).result
            assert [tool["name"] for tool in listed["tools"]] == TOOLS
            assert "dead" in listed["_meta"]["charter/left-out"]["dead"]

    run(go())


def test_a_token_opens_what_it_was_made_out_to(tmp_path: Path) -> None:
    async def go() -> None:
        async with all_doors(tmp_path) as doors:
            one = await doors.agent("charge-reader")  # its token is for payments
            answer = await ask(one, "tools/list")
            assert answer.status == 401
            assert "oauth-protected-resource/mcp" in answer.headers["WWW-Authenticate"]
            everything = await of_all(doors)
            assert (await everything.ask("tools/list")).status == 401  # at /mcp/payments
            told = (await doors.request("GET", "/.well-known/oauth-protected-resource/mcp")).json
            assert told["resource"] == f"{doors.issuer}/mcp"

    run(go())


def test_a_kill_ends_it_for_all_systems(tmp_path: Path) -> None:
    async def go() -> None:
        from charter.bootstrap import authority

        async with all_doors(tmp_path) as doors:
            agent = await of_all(doors)
            await authority.move(doors.house, "refund-agent", Move.KILL, actor="op@example.com", reason="a test")
            assert (await ask(agent, "tools/list")).status == 401
            call = await ask(agent, "tools/call", name="ledger__get_charge", arguments={"charge_id": "c1"})
            assert call.status == 401

    run(go())


def test_a_system_switched_off_between_list_and_call_is_refused(tmp_path: Path) -> None:
    async def go() -> None:
        async with all_doors(tmp_path) as doors:
            agent = await of_all(doors)
            assert len((await ask(agent, "tools/list")).result["tools"]) == 3
            charter = json.loads(doors.files["principals/refund-agent.yaml"])
            await doors.apply(doors.files | {"principals/refund-agent.yaml": json.dumps(charter)})
            answer = await ask(agent, "tools/call", name="ledger__get_charge", arguments={"charge_id": "c1"})
            assert answer.refusal["rule"] == "built-in/standing"
            assert [tool["name"] for tool in (await ask(agent, "tools/list")).result["tools"]] == TOOLS[1:]

    run(go())


def test_what_is_narrowed_is_for_one_system(tmp_path: Path) -> None:
    async def go() -> None:
        async with all_doors(tmp_path) as doors:
            agent = await doors.agent()
            form = {
                "grant_type": "client_credentials",
                "resource": f"{doors.issuer}/mcp",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": agent.assertion(jti="another"),
                "authorization_details": json.dumps([{"type": "charter", "actions": ["charge.read"]}]),
            }
            answer = await doors.request("POST", "/oauth/token", form=form)
            assert answer.status == 400
            assert "cannot be narrowed" in answer.json["error_description"]

    run(go())


SYSTEMS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True)
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="_-."), min_size=1, max_size=128)


@given(st.lists(st.tuples(SYSTEMS, NAMES), min_size=2, max_size=20, unique=True))
def test_two_tools_never_have_one_name(pairs: list[tuple[str, str]]) -> None:
    names = [name_of(system, tool) for system, tool in pairs]
    assert len(set(names)) == len(names)
    assert all(len(name) <= MAX_SHOWN for name in names)


@given(SYSTEMS, NAMES)
def test_no_tool_takes_the_name_of_one_that_was_cut(system: str, tool: str) -> None:
    cut = name_of("s" * 60, f"{tool}{tool[:1] * 8}")
    first, _, rest = cut.partition("__")
    assert name_of(first, rest) != cut
    assert name_of(system, tool) != cut
