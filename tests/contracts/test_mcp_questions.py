"""What servers ask while they are called, through Charter: real servers and clients of the SDK, in both eras."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

from asking_client import nosy
from doors import run
from mcp_stage import SERVERS, Stage, a_record, stage, stdio

ERAS = ["2026-07-28", "legacy"]
ALL = ["elicitation", "sampling", "roots"]
TOOLS = ("deploy", "answer", "look")


class Person:
    """Who is behind the client."""

    def __init__(self, action: Any = "accept") -> None:
        self.action = action
        self.shown: list[Any] = []

    async def fills_in(self, _: Any, params: Any) -> ElicitResult:
        self.shown.append(params)
        content = {"region": "eu", "sure": True, "smuggled": "x"} if self.action == "accept" else None
        return ElicitResult(action=self.action, content=content)

    async def thinks(self, _: Any, params: Any) -> CreateMessageResult:
        self.shown.append(params)
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="Paris"), model="m")

    async def lists(self, _: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///work", name="work")])

    @property
    def can(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.fills_in,
            "sampling_callback": self.thinks,
            "list_roots_callback": self.lists,
        }


def asker(*asks: str) -> Any:
    upstream = stdio(sys.executable, str(SERVERS / "asker.py"), **({"asks": list(asks)} if asks else {}))
    return a_record(upstream, TOOLS, "asker")


@contextlib.asynccontextmanager
async def client_of(behind: Stage, mode: Any, system: str = "asker", **can: Any) -> AsyncIterator[Client]:
    token = behind.token("agent", system)
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as web:
        transport = streamable_http_client(behind.url(system), http_client=web)
        async with Client(transport, mode=mode, read_timeout_seconds=20, **can) as client:
            yield client


def test_forms_sampling_and_roots_reach_the_client_and_answers_the_server() -> None:
    async def go() -> None:
        async with stage(asker(*ALL)) as behind:
            for mode in ERAS:
                person = Person()
                async with client_of(behind, mode, **person.can) as client:
                    deployed = await client.call_tool("deploy", {"what": "it"})
                    assert deployed.content[0].text == "deployed it to eu: True"
                    answered = await client.call_tool("answer", {})
                    assert answered.content[0].text == "thought: Paris"
                    looked = await client.call_tool("look", {})
                    assert looked.content[0].text == "roots: file:///work in eu"
                form, sampling, _ = person.shown
                assert form.message.startswith("The server of `asker` asks this; Charter passes it on")
                assert form.message.endswith("Where to?")
                assert form.meta["charter/origin"] == "untrusted"
                assert sampling.max_tokens == 4096  # of the 100,000 that it wanted
                assert sampling.include_context in (None, "none")
            assert behind.pipeline.outcomes == ["answered"] * 6  # each call is one, whatever was asked on the way

    run(go())


@pytest.mark.slow
def test_nothing_is_asked_that_the_file_or_the_client_does_not_allow() -> None:
    async def go() -> None:
        for asks, can in (((), Person().can), (("sampling", "roots"), Person().can), (ALL, {})):
            async with stage(asker(*asks)) as behind:
                for mode in ERAS:
                    async with client_of(behind, mode, **can) as client:
                        with contextlib.suppress(MCPError):  # the server says that it cannot go on, in its own way
                            assert (await client.call_tool("deploy", {"what": "it"})).is_error
                assert len(behind.pipeline.outcomes) == 2

    run(go())


@pytest.mark.slow
def test_a_person_may_decline() -> None:
    async def go() -> None:
        async with stage(asker("elicitation")) as behind:
            for mode, action in zip(ERAS, ("decline", "cancel"), strict=True):
                async with client_of(behind, mode, **Person(action).can) as client:
                    assert (await client.call_tool("deploy", {"what": "it"})).is_error

    run(go())


# --- a server of the versions before, on a child that all principals share ---


@pytest.mark.parametrize("mode", ERAS)
def test_a_server_of_both_eras_is_spoken_to_by_the_handshake_where_its_file_says_so(mode: str) -> None:
    """For tools that ask over an open connection, which there is none of in 2026-07-28."""

    async def go() -> None:
        command = (sys.executable, str(SERVERS / "asker.py"))
        old = a_record(stdio(*command, asks=["elicitation"], handshake=True), ("confirm",), "asker")
        async with stage(old) as behind, client_of(behind, mode, **Person().can) as client:
            assert (await client.call_tool("confirm", {})).content[0].text == "accept eu"

    run(go())


@pytest.mark.parametrize("mode", ERAS)
def test_a_question_of_an_older_server_is_put_in_its_call(mode: str) -> None:
    async def go() -> None:
        for kind, asks, answer in (("once", "elicitation", "accept"), ("thinks", "sampling", "Paris")):
            async with stage(nosy(kind, asks)) as behind, client_of(behind, mode, "nosy", **Person().can) as client:
                result = await client.call_tool("act", {})
                assert answer in result.content[0].text

    run(go())
