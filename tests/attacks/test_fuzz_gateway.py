"""Whatever a caller with a good token sends to the MCP gateway, and whatever an upstream answers: a clear answer, soon.

The methods tried are those that stand in the gateway's own code, and any others; a call that is allowed reaches a real
upstream, whose answers are tried as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ErrorCode
from doors import META, READ, Agent, Answer, Doors, open_doors
from fuzz_stage import fuzzed, words_of
from hostile import BROKEN_JSON, JSON, TEXT, spelt
from mcp_stage import Background
from servers.rogue_http import Send, raw

WORDS = [word for word in words_of("gateway/mcp*.py", "server/gateway*.py") if len(word) > 2]
METHODS = [word for word in WORDS if "/" in word] + ["initialize", "ping", "", "tools/call\n", "rpc.discover"]
VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2024-11-05", "1.0", "")
LEAKS = ("Traceback", 'File "', "site-packages", "Error(", "set_int_max", "sqlalchemy", "aiohttp", "msgspec")
CODES = {code.value for code in ErrorCode}


def test_the_methods_are_those_of_the_code() -> None:
    assert {"tools/list", "tools/call", "server/discover", "subscriptions/listen", "initialize"} <= set(METHODS)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Background, Agent]]:
    background = Background()
    try:
        doors = background.enter(open_doors(tmp_path_factory.mktemp("doors"), call_seconds=5))
        yield background, background.run(doors.agent())
    finally:
        background.close()


@pytest.fixture
def agent(standing: tuple[Background, Agent]) -> Iterator[Agent]:
    background, agent = standing
    on_call, tools = agent.doors.upstream.on_call, agent.doors.upstream.tool
    yield agent
    agent.doors.upstream.on_call, agent.doors.upstream.tool = on_call, tools
    assert background.run(agent.call("get_charge", charge_id="ch_1")).passed


def check(agent: Agent, answer: Answer) -> Any:
    """Check that an answer is a clear one that gives nothing away; return what it holds."""
    assert answer.status < 500, answer.body[:2000]
    text = answer.body.decode()
    for sign in (*LEAKS, agent.token):
        assert sign not in text, text[:2000]
    if not text:
        return None
    told = answer.json
    if "error" in told:
        error = told["error"]
        assert error["message"]
        assert error["code"] != -32603, told
        assert isinstance(error.get("data", {}), dict)
    return told


# --- what callers send ---

NAMES = st.sampled_from(
    ["name", "arguments", "_meta", "cursor", "notifications", "inputResponses", "requestState", "protocolVersion"]
)
META_VALUES = st.just(META) | st.dictionaries(st.sampled_from([*META, "progressToken"]), JSON, max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """Return a body, and headers that mostly agree with it."""
    method = draw(st.sampled_from(METHODS) | TEXT)
    params: dict[str, Any] = {
        "_meta": draw(META_VALUES),
        "name": draw(st.sampled_from(["get_charge", "create_refund"]) | TEXT),
    }
    params["arguments"] = draw(
        st.dictionaries(st.sampled_from(["charge_id", "amount", "currency"]) | TEXT, JSON, max_size=4)
    )
    params |= draw(st.dictionaries(NAMES, JSON, max_size=2))
    message: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": draw(st.integers(0, 9) | JSON),
        "method": method,
        "params": params,
    }
    message |= draw(st.dictionaries(st.sampled_from([*message, "result", "error", "x"]), JSON, max_size=1))
    for name in draw(st.lists(st.sampled_from(list(message)), max_size=1)):
        del message[name]
    body = draw(st.just(spelt(message)) | st.just(spelt(message)) | st.just(spelt([message])) | BROKEN_JSON)
    headers = {
        "MCP-Protocol-Version": draw(st.sampled_from(VERSIONS)),
        "Mcp-Method": method,
        "Mcp-Name": str(params["name"]),
    }
    headers |= draw(
        st.dictionaries(st.sampled_from([*headers, "Mcp-Session-Id", "Accept", "Content-Type"]), TEXT, max_size=1)
    )
    return body, {name: value for name, value in headers.items() if fits(value)}


def fits(value: str) -> bool:
    """Whether a client would put this into a header at all."""
    return value.isascii() and value.isprintable() and len(value) < 5000


def test_nothing_a_caller_sends_breaks_it(standing: tuple[Background, Agent], agent: Agent) -> None:
    background = standing[0]

    @fuzzed(150)
    @given(messages(), st.sampled_from(["POST"] * 8 + ["GET", "DELETE", "PUT"]))
    def attempt(asked: tuple[bytes, dict[str, str]], method: str) -> None:
        body, headers = asked
        background.run(until_answered(agent, body, method, headers))

    attempt()


async def until_answered(agent: Agent, body: bytes, method: str, headers: dict[str, str]) -> None:
    """Send a request and check its answer; a stream that listens is left after its first words."""
    given = {"Authorization": f"Bearer {agent.token}", "Accept": "application/json, text/event-stream"}
    given |= {"Content-Type": "application/json"} | headers
    web, url = agent.doors.web, agent.doors.resource
    async with asyncio.timeout(15), web.request(method, url, data=body, headers=given) as response:
        if b"subscriptions/listen" in body and response.headers.get("Content-Type") == "text/event-stream":
            assert await response.content.readline()
            return
        check(agent, Answer(response.status, response.headers, await response.read()))


@pytest.mark.parametrize(
    "path",
    ["/mcp/", "/mcp/Payments", "/mcp/payments/", "/mcp/payments%00", "/mcp/x" * 40],
)
def test_other_paths_lead_nowhere(standing: tuple[Background, Agent], agent: Agent, path: str) -> None:
    answer = standing[0].run(agent.send(b"{}", path=path))
    assert answer.status in (401, 404)
    check(agent, answer)


# --- what upstreams answer ---

RESULT = st.dictionaries(
    st.sampled_from(["content", "structuredContent", "isError", "_meta", "resultType", "x"]), JSON, max_size=4
)
ERROR = st.dictionaries(st.sampled_from(["code", "message", "data"]), JSON, max_size=3)
HUGE = st.sampled_from(
    [b'{"jsonrpc":"2.0","id":%d,"result":{"n":1' + b"0" * 400 + b"}}", b"[" * 5000, b'{"jsonrpc":"2.0"}']
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any] | bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "result": draw(RESULT | JSON)}
    if draw(st.booleans()):
        message = {"jsonrpc": "2.0", "error": draw(ERROR | JSON)}
    message |= draw(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result"]), JSON, max_size=1))
    whole: dict[str, Any] | bytes = draw(st.just(message) | HUGE | BROKEN_JSON)
    return whole


def test_nothing_an_upstream_answers_to_a_call_breaks_it(standing: tuple[Background, Agent], agent: Agent) -> None:
    background = standing[0]

    @fuzzed(120)
    @given(
        answers(),
        st.sampled_from([200] * 6 + [202, 302, 400, 404, 500, 503]),
        st.sampled_from([b"application/json"] * 4 + [b"text/event-stream", b"text/html", b""]),
    )
    def attempt(said: dict[str, Any] | bytes, status: int, kind: bytes) -> None:
        async def on_call(message: dict[str, Any], send: Send) -> None:
            body = said if isinstance(said, bytes) else spelt({"id": message["id"]} | said)
            body = body.replace(b"%d", str(message["id"]).encode())
            await raw(send, status, body if kind != b"text/event-stream" else b"data: " + body + b"\n\n", kind)

        agent.doors.upstream.on_call = on_call
        told = check(agent, background.run(agent.call("get_charge", charge_id="ch_1")))
        assert "result" in told or "error" in told

    attempt()


def test_nothing_an_upstream_lists_breaks_it(standing: tuple[Background, Agent], agent: Agent) -> None:
    """Whatever its definitions become, the caller sees the accepted ones or none, and its calls are refused."""
    background = standing[0]
    doors = agent.doors
    fields = st.sampled_from(
        ["name", "title", "description", "inputSchema", "outputSchema", "annotations", "x-mcp-header"]
    )

    @fuzzed(60)
    @given(st.dictionaries(fields, JSON, min_size=1, max_size=2) | JSON)
    def attempt(changed: Any) -> None:
        doors.upstream.tool = READ | changed if isinstance(changed, dict) else changed
        background.run(forget(doors))
        listed = check(agent, background.run(agent.ask("tools/list")))
        if "error" in listed:
            assert listed["error"]["code"] == -31015
            return
        shown = {tool["name"]: tool for tool in listed["result"]["tools"]}
        assert shown.get("get_charge", READ) == READ
        called = check(agent, background.run(agent.call("get_charge", charge_id="ch_1")))
        assert ("get_charge" in shown) == (not called["result"].get("isError", False))

    attempt()
    doors.upstream.tool = READ
    background.run(forget(doors))


async def forget(doors: Doors) -> None:
    """Let the gateway read the definitions anew, as it does once the time it may keep them is over."""
    for reached in doors.house.upstreams._reached.values():
        reached._changed()
