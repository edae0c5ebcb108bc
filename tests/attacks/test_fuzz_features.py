"""Whatever a caller asks of resources, prompts and logs, and whatever a server says meanwhile: a clear answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doors import META, Agent, Answer, open_doors
from fuzz_stage import fuzzed
from hostile import JSON, TEXT, spelt
from library_stage import a_library, an_agent
from mcp_stage import Background
from servers.rogue_http import Send, event, stream, text

METHODS = [
    *("resources/list", "resources/templates/list", "resources/read", "resources/subscribe", "resources/unsubscribe"),
    *("prompts/list", "prompts/get", "completion/complete", "logging/setLevel", "subscriptions/listen"),
]
URIS = st.sampled_from(["books://iliad", "page://iliad/3", "staff://salaries", "library+books://iliad", "prompt/x"])
REFS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ref/prompt", "ref/resource"]) | JSON, "name": TEXT | JSON, "uri": URIS | JSON}
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "uri": URIS | TEXT | JSON,
        "name": st.sampled_from(["sum_up", "fire", "library__sum_up"]) | JSON,
        "arguments": st.dictionaries(st.sampled_from(["book", "x"]), TEXT | JSON, max_size=2) | JSON,
        "cursor": TEXT | JSON,
        "ref": REFS | JSON,
        "argument": st.fixed_dictionaries({"name": TEXT | JSON, "value": TEXT | JSON}) | JSON,
        "level": st.sampled_from(["debug", "loud"]) | JSON,
        "notifications": st.fixed_dictionaries({"resourceSubscriptions": st.lists(URIS | JSON, max_size=4) | JSON})
        | JSON,
    },
)
CODES = {
    -32700,
    -32600,
    -32601,
    -32602,
    -32020,
    -31011,
    -31014,
    -31015,
    0,
    -32603,
    -32002,
}  # the server's own among them


def check(answer: Answer, token: str) -> None:
    assert answer.status < 500, answer.body[:2000]
    said = answer.body.decode()
    assert "Traceback" not in said
    assert token not in said
    if said and "error" in answer.json:
        assert answer.json["error"]["code"] in CODES, answer.json


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Background, Agent]]:
    """An agent with a token for the library."""
    background = Background()
    try:
        doors = background.enter(a_library(tmp_path_factory.mktemp("library")))
        yield background, background.run(an_agent(doors, "/mcp/library"))
    finally:
        background.close()


@pytest.mark.parametrize("modern", [True, False])
def test_nothing_a_caller_asks_for_breaks_it(library: tuple[Background, Agent], modern: bool) -> None:
    background, agent = library
    path = "/mcp/library"
    headers = {"MCP-Protocol-Version": "2026-07-28" if modern else "2025-11-25"}
    if not modern:
        opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
        opened = background.run(agent.send(spelt(opening), path=path))
        headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]

    @fuzzed(40)
    @given(st.sampled_from(METHODS[:-1] if modern else METHODS), PARAMS)
    def attempt(method: str, params: dict[str, Any]) -> None:
        meta = {"_meta": META} if modern else {}
        body = spelt({"jsonrpc": "2.0", "id": 1, "method": method, "params": params | meta})
        named = params.get("name", params.get("uri"))
        mirrored = {"Mcp-Method": method}
        if method in ("prompts/get", "resources/read") and isinstance(named, str) and named.isascii():
            mirrored["Mcp-Name"] = "".join(ch for ch in named if ch.isprintable())
        with contextlib.suppress(ValueError):  # what no client would put into a header
            check(background.run(agent.send(body, path=path, **headers, **mirrored)), agent.token)

    attempt()
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META} if modern else {}}
    assert background.run(agent.send(spelt(listed), path=path, **headers, **{"Mcp-Method": "tools/list"})).status == 200


NOTES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(
            [
                *("notifications/message", "notifications/progress", "notifications/resources/updated"),
                *("notifications/tools/list_changed", "notifications/cancelled", "elicitation/create", "ping"),
            ]
        )
        | TEXT,
        "params": st.fixed_dictionaries(
            {},
            optional={
                "level": st.sampled_from(["debug", "alert"]) | JSON,
                "data": JSON,
                "logger": TEXT | JSON,
                "progressToken": st.integers(0, 99) | JSON,
                "message": TEXT | JSON,
                "uri": URIS | JSON,
            },
        )
        | JSON,
    }
)


def test_nothing_a_server_says_during_a_call_breaks_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    background = Background()
    try:
        doors = background.enter(open_doors(tmp_path_factory.mktemp("doors"), call_seconds=5))
        agent = background.run(doors.agent())

        @fuzzed(40)
        @given(st.lists(NOTES, max_size=4))
        def attempt(notes: list[dict[str, Any]]) -> None:
            async def on_call(message: dict[str, Any], send: Send) -> None:
                await stream(send)
                for note in notes:
                    await send(
                        {
                            "type": "http.response.body",
                            "body": b"data: " + spelt({"jsonrpc": "2.0"} | note) + b"\n\n",
                            "more_body": True,
                        }
                    )
                await event(send, {"jsonrpc": "2.0", "id": message["id"], "result": text("done")}, more=False)

            doors.upstream.on_call = on_call
            meta = META | {"io.modelcontextprotocol/logLevel": "debug", "progressToken": 5}
            params = {"name": "get_charge", "arguments": {"charge_id": "ch_1"}, "_meta": meta}
            body = spelt({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "get_charge"}
            answer = background.run(agent.send(body, **headers))
            check(answer, agent.token)

        attempt()
        doors.upstream.on_call = echo_of
        assert background.run(agent.call("get_charge", charge_id="ch_1")).passed
    finally:
        background.close()


async def echo_of(message: dict[str, Any], send: Send) -> None:
    await stream(send)
    await event(send, {"jsonrpc": "2.0", "id": message["id"], "result": text("done")}, more=False)
