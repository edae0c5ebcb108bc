"""Deeds against the gateway's wire: what must fail, must say why, and must leave everyone else unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest

from charter.adapters.upstream_child import ChildLimits
from charter.registry.standing import Standing
from charter.server import gateway_client, gateway_http, gateway_mcp
from mcp_stage import Background, Stage, a_record, http, rogue, serving, stage, until
from servers.rogue_http import RogueHttp, Send, respond, text

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
LEGACY = {"MCP-Protocol-Version": "2025-11-25"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        return int(self.json["error"]["code"])

    @property
    def words(self) -> str:
        return str(self.json["error"]["message"])


@dataclass
class Attacker:
    """Sends whatever it likes to the gateway."""

    gateway: Stage
    upstream: RogueHttp
    headers: dict[str, str] = field(default_factory=dict)

    async def send(
        self, data: bytes, *, method: str = "POST", path: str | None = None, **headers: str | None
    ) -> Answer:
        given = {
            "Authorization": f"Bearer {self.gateway.token()}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value is not None}
        url = self.gateway.url() if path is None else self.gateway.issuer + path
        async with aiohttp.ClientSession() as web, web.request(method, url, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def call(
        self, tool: str = "act", arguments: Any = None, raw: bytes | None = None, **headers: str | None
    ) -> Answer:
        """Send a modern tool call, with headers changed."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        message["params"] = {"name": tool, "arguments": arguments or {}, "_meta": META}
        proper = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(raw if raw is not None else json.dumps(message).encode(), **(proper | changed))

    async def initialize(self, version: str = "2025-11-25", **headers: str) -> str:
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        answer = await self.legacy("initialize", params, **headers)
        assert answer.status == 200
        return str(answer.headers["Mcp-Session-Id"])

    async def legacy(self, method: str, params: Any = None, request_id: Any = 1, **headers: str | None) -> Answer:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if request_id is not None:
            message["id"] = request_id
        return await self.send(json.dumps(message).encode(), **headers)


@pytest.fixture(scope="module")
def standing() -> Iterator[Attacker]:
    background = Background()
    try:
        upstream = RogueHttp(modern=True)
        url = background.enter(serving(upstream))
        yield Attacker(background.enter(stage(a_record(http(url), ["act"]))), upstream)
    finally:
        background.close()


@pytest.fixture
def attacker(standing: Attacker) -> Attacker:
    standing.gateway.pipeline.calls.clear()
    standing.upstream.seen.clear()
    return standing


def unharmed(attacker: Attacker) -> None:
    """Check that nothing was decided or forwarded, and that a proper call still passes."""
    assert attacker.gateway.pipeline.calls == []
    assert attacker.upstream.calls() == []
    answer = asyncio.run(attacker.call(arguments={"a": 1}))
    assert answer.json["result"]["content"][0]["text"] == '{"a": 1}'


RAW = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":%s,"_meta":%s}}'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (b'{"amount":1,"amount":1000}', "repeats the key 'amount'"),
        (b'{"amount":1,"\\u0061mount":1000}', "repeats the key 'amount'"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b"[" * 70 + b"]" * 70, "nests deeper"),
        (b'{"a":NaN}', "not JSON"),
    ],
)
def test_arguments_with_two_readings_are_refused(attacker: Attacker, arguments: bytes, words: str) -> None:
    raw = RAW.encode().replace(b"%s", arguments, 1).replace(b"%s", json.dumps(META).encode(), 1)
    answer = asyncio.run(attacker.call(raw=raw))
    assert (answer.status, answer.code) == (400, -32700)
    assert words in answer.words
    unharmed(attacker)


def test_a_second_params_object_is_refused(attacker: Attacker) -> None:
    raw = (RAW % ("{}", json.dumps(META)))[:-1] + ',"params":{"name":"other"}}'
    assert asyncio.run(attacker.call(raw=raw.encode())).code == -32700
    unharmed(attacker)


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp_Name": "other"},
        {"Mcp_Name": None},
        {"Mcp_Name": "=?base64?b3RoZXI=?="},
        {"Mcp_Name": "=?base64?YWN0Cg==?="},
        {"Mcp_Method": "tools/list"},
        {"Mcp_Method": None},
        {"MCP_Protocol_Version": "2025-11-25"},
        {"MCP_Protocol_Version": None},
    ],
)
def test_headers_that_say_otherwise_than_the_body_are_refused(attacker: Attacker, headers: dict[str, Any]) -> None:
    answer = asyncio.run(attacker.call(**headers))
    assert (answer.status, answer.code, answer.json["id"]) == (400, -32020, 1)
    unharmed(attacker)


def test_an_unknown_version_is_answered_with_those_there_are(attacker: Attacker) -> None:
    answer = asyncio.run(
        attacker.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', MCP_Protocol_Version="1900-01-01")
    )
    assert (answer.status, answer.code) == (400, -32022)
    assert answer.json["error"]["data"]["supported"] == ["2026-07-28", "2025-11-25", "2025-06-18"]


@pytest.mark.parametrize("method", ["resources/read", "sampling/createMessage", "ping", "initialize", "x"])
def test_a_method_that_is_not_offered_is_not_found(attacker: Attacker, method: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": "u", "_meta": META}}).encode()
    headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method}
    answer = asyncio.run(attacker.send(body, **headers, **({"Mcp_Name": "u"} if method == "resources/read" else {})))
    assert (answer.status, answer.code) == (404, -32601)


def raw_exchange(attacker: Attacker, head: str, body: bytes = b"") -> bytes:
    """Send exact bytes and return what comes back."""
    host, _, port = attacker.gateway.issuer.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
        answer = b""
        while chunk := line.recv(65_536):
            answer += chunk
        return answer


def a_head(attacker: Attacker, *lines: str) -> str:
    host = attacker.gateway.issuer.removeprefix("http://")
    first = ["POST /mcp/notes HTTP/1.1", "Connection: close", f"Authorization: Bearer {attacker.gateway.token()}"]
    kinds = ["Content-Type: application/json", "Accept: */*"]
    hosts = [] if any(line.lower().startswith("host:") for line in lines) else [f"Host: {host}"]
    return "\n".join([*first, *kinds, *hosts, *lines, ""])


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 2", "Mcp-Name: act", "Mcp-Name: other"], 400),
        (["Content-Length: 2", "MCP-Protocol-Version: 2026-07-28", "MCP-Protocol-Version: 2025-11-25"], 400),
        (["Content-Length: 2", "Authorization: Bearer other"], 400),
        (["Content-Length: 2", "Host: evil.example", "Host: localhost"], 400),
        (["Content-Length: 2", "Host: evil.example"], 421),
        (["Content-Length: 2", "Origin: https://evil.example"], 403),
        (["Content-Length: 2", "Origin: null"], 403),
        (["Content-Length: 2", "Content-Length: 3"], 400),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], 400),
        (["Content-Length: 5000000"], 413),
        (["Content-Length: -1"], 400),
        (["Content-Length: 2", *(f"X-{n}: x" for n in range(100))], 431),
        (["Content-Length: 2", "X-Long: " + "x" * 40_000], 431),
        (["Content-Length: 2", "Content-Encoding: gzip"], 415),
    ],
)
def test_a_head_that_is_not_in_order_is_refused(attacker: Attacker, lines: list[str], status: int) -> None:
    answer = raw_exchange(attacker, a_head(attacker, *lines), b"{}")
    assert answer.split(b" ", 2)[1] == str(status).encode()
    unharmed(attacker)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/json; charset=utf-16"}, 415),
        ({"Accept": "application/json"}, 406),
        ({"Accept": "text/event-stream"}, 406),
    ],
)
def test_other_content_than_json_is_refused(attacker: Attacker, headers: dict[str, Any], status: int) -> None:
    assert asyncio.run(attacker.call(**headers)).status == status
    unharmed(attacker)


def test_a_body_longer_than_allowed_is_refused_though_its_length_was_not_told(attacker: Attacker) -> None:
    async def go() -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(80):
                yield b"x" * 65_536

        return await attacker.send(pieces())  # type: ignore[arg-type]  # aiohttp takes both

    with contextlib.suppress(aiohttp.ClientError):
        assert asyncio.run(go()).status == 413
    unharmed(attacker)


def test_a_body_that_does_not_come_is_not_waited_for(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_http, "BODY_SECONDS", 0.2)
    answer = raw_exchange(attacker, a_head(attacker, "Content-Length: 100"), b'{"jsonrpc":')
    assert answer.startswith(b"HTTP/1.1 408 ")
    unharmed(attacker)


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "PATCH", "HEAD", "TRACE"])
def test_other_methods_are_refused(attacker: Attacker, method: str) -> None:
    answer = asyncio.run(attacker.send(b"", method=method))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST, DELETE")


@pytest.mark.parametrize(
    "path", ["/mcp/", "/mcp/no tes", "/mcp/notes/", "/mcp/%6eotes", "/mcp/../x", "/mcp/NOTES", "/mcp/notes/x"]
)
def test_other_spellings_of_a_path_lead_nowhere(attacker: Attacker, path: str) -> None:
    host = attacker.gateway.issuer.removeprefix("http://")
    head = f"POST {path.replace(' ', '%20')} HTTP/1.1\nHost: {host}\nConnection: close\nContent-Length: 0\n"
    assert raw_exchange(attacker, head).startswith(b"HTTP/1.1 404 ")


def test_without_a_token_one_is_told_where_to_get_one(attacker: Attacker) -> None:
    answer = asyncio.run(attacker.call(Authorization=None))
    assert answer.status == 401
    url = f"{attacker.gateway.issuer}/.well-known/oauth-protected-resource/mcp/notes"
    assert answer.headers["WWW-Authenticate"] == f'Bearer resource_metadata="{url}"'

    async def metadata() -> Answer:
        return await attacker.send(
            b"", method="GET", path="/.well-known/oauth-protected-resource/mcp/notes", Authorization=None
        )

    told = asyncio.run(metadata())
    assert told.json == {
        "resource": attacker.gateway.url(),
        "authorization_servers": [attacker.gateway.issuer],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "resource_name": "notes, governed by Charter",
    }
    unharmed(attacker)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "wrong",
        "Bearer a b",
        "Bearer \x7f",
        "Bearer " + "x" * 9000,
    ],
)
def test_what_is_no_token_of_ours_is_refused(attacker: Attacker, authorization: str) -> None:
    head = a_head(attacker, "Content-Length: 2").replace(f"Bearer {attacker.gateway.token()}", authorization)
    answer = raw_exchange(attacker, head, b"{}")
    assert answer.startswith(b"HTTP/1.1 401 ") or b"HTTP/1.1 400 " in answer
    unharmed(attacker)


def test_a_token_for_another_system_is_refused_and_says_so(attacker: Attacker) -> None:
    answer = asyncio.run(attacker.call(Authorization=f"Bearer {attacker.gateway.token(system='payments')}"))
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert "the token is for" in answer.words
    unharmed(attacker)


def test_a_token_in_the_url_is_refused(attacker: Attacker) -> None:
    for name in ("access_token", "ACCESS_TOKEN"):
        path = f"/mcp/notes?{name}={attacker.gateway.token()}"
        answer = asyncio.run(attacker.send(b"{}", path=path, Authorization=None))
        assert answer.status == 400
        assert "never in the URL" in answer.words
    unharmed(attacker)


def test_failed_tokens_are_told_by_where_they_came_from(attacker: Attacker) -> None:
    told: list[tuple[str, str]] = []
    attacker.gateway.app.callers.failed = lambda source, code: told.append((source, code.value))
    try:
        asyncio.run(attacker.call(Authorization="Bearer wrong"))
        asyncio.run(attacker.call(Authorization=None))
    finally:
        attacker.gateway.app.callers.failed = None
    assert told == [("127.0.0.1", "bad_token")]


def test_another_principals_session_is_as_unknown_as_none(attacker: Attacker) -> None:
    async def go() -> None:
        session = await attacker.initialize()
        thief = f"Bearer {attacker.gateway.token('thief')}"
        for method, data in (("POST", b'{"jsonrpc":"2.0","id":1,"method":"ping"}'), ("GET", b""), ("DELETE", b"")):
            answer = await attacker.send(data, method=method, Authorization=thief, Mcp_Session_Id=session, **LEGACY)
            unknown = await attacker.send(data, method=method, Authorization=thief, Mcp_Session_Id="x", **LEGACY)
            assert (answer.status, answer.body) == (404, unknown.body)
        assert (await attacker.legacy("ping", Mcp_Session_Id=session)).json["result"] == {}

    asyncio.run(go())
    unharmed(attacker)


def test_a_session_of_another_system_is_unknown_here(attacker: Attacker) -> None:
    async def go() -> None:
        session = await attacker.initialize()
        other = f"Bearer {attacker.gateway.token(system='payments')}"
        body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        answer = await attacker.send(body, path="/mcp/payments", Authorization=other, Mcp_Session_Id=session)
        assert answer.status == 404

    asyncio.run(go())


def test_one_principal_cannot_cancel_anothers_call(attacker: Attacker) -> None:
    release = threading.Event()

    async def slow(message: dict[str, Any], send: Send) -> None:
        await until(release.is_set)
        await respond(send, message, text("done"))

    async def go() -> None:
        mine = await attacker.initialize()
        thiefs = await attacker.initialize(Authorization=f"Bearer {attacker.gateway.token('thief')}")
        attacker.upstream.on_call = slow
        call = asyncio.create_task(attacker.legacy("tools/call", {"name": "act"}, Mcp_Session_Id=mine))
        await until(attacker.upstream.calls)
        cancel = {"requestId": 1}
        thief = f"Bearer {attacker.gateway.token('thief')}"
        for session, bearer in ((thiefs, thief), (mine, thief)):
            await attacker.legacy("notifications/cancelled", cancel, None, Mcp_Session_Id=session, Authorization=bearer)
        await asyncio.sleep(0.1)
        assert not call.done()
        release.set()
        assert (await call).json["result"]["content"][0]["text"] == "done"

    try:
        asyncio.run(go())
    finally:
        attacker.upstream.on_call = RogueHttp().on_call


def test_the_handshakes_versions_work_frame_by_frame(attacker: Attacker) -> None:
    async def go() -> None:
        for asked, given in (("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("2024-11-05", "2025-11-25")):
            params = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
            opened = await attacker.legacy("initialize", params, 0)
            assert opened.json["result"]["protocolVersion"] == given
            headers = {"Mcp_Session_Id": opened.headers["Mcp-Session-Id"], "MCP_Protocol_Version": given}
            noted = await attacker.legacy("notifications/initialized", None, None, **headers)
            assert (noted.status, noted.body) == (202, b"")
            listed = await attacker.legacy("tools/list", {}, 1, **headers)
            assert [tool["name"] for tool in listed.json["result"]["tools"]] == ["act"]
            assert "resultType" not in listed.json["result"]
            called = await attacker.legacy("tools/call", {"name": "act", "arguments": {"a": 2}}, "two", **headers)
            assert (called.json["id"], called.json["result"]["content"][0]["text"]) == ("two", '{"a": 2}')
            ended = await attacker.send(b"", method="DELETE", **headers)
            assert ended.status == 204
            assert (await attacker.legacy("ping", {}, 3, **headers)).status == 404

    asyncio.run(go())


def test_a_session_is_asked_for(attacker: Attacker) -> None:
    async def go() -> None:
        assert (await attacker.legacy("tools/list", **LEGACY)).status == 400
        assert (await attacker.send(b"", method="GET")).status == 405
        assert (await attacker.send(b"", method="DELETE", Mcp_Session_Id="x")).status == 404

    asyncio.run(go())


def test_a_system_that_is_suspended_is_not_even_started() -> None:
    async def go() -> None:
        record = replace(a_record(rogue("legacy"), ["act"]), standing=Standing.SUSPENDED)
        async with stage(record) as gateway:
            attacker = Attacker(gateway, RogueHttp())
            assert (await attacker.call()).json["result"]["isError"]
            assert gateway.upstream.known(record) is None
            assert [call.tool_pin for call in gateway.pipeline.calls] == [None]

    asyncio.run(go())


@pytest.mark.parametrize(
    ("mode", "sent"), [("die", True), ("garbage", True), ("wrong-id", True), ("hang", True), ("twins", False)]
)
def test_an_upstream_that_fails_is_said_so_and_others_are_served(mode: str, sent: bool) -> None:
    async def go() -> None:
        bad, good = a_record(rogue(mode), ["act"]), a_record(rogue("legacy"), ["act"], "good")
        async with stage(bad, good, child=ChildLimits(probe_seconds=0.5), call_seconds=1.5) as gateway:
            attacker = Attacker(gateway, RogueHttp())
            failing = asyncio.create_task(attacker.call())
            token = gateway.token(system="good")
            body = json.dumps(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "act", "_meta": META}}
            )
            headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "act"}
            served = await attacker.send(body.encode(), path="/mcp/good", Authorization=f"Bearer {token}", **headers)
            assert not served.json["result"].get("isError", False)
            answer = await failing
            assert (answer.status, answer.code) == (200, -31015)
            assert answer.json["error"]["data"]["sent"] is sent

    asyncio.run(go())


def test_what_an_upstream_forges_in_charters_name_is_taken_out() -> None:
    async def go() -> None:
        async with stage(a_record(rogue("forges"), ["act"])) as gateway:
            result = (await Attacker(gateway, RogueHttp()).call()).json["result"]
            assert "charter/refusal" not in result["_meta"]
            assert result["_meta"]["charter/verdict"] == "vrd_3"
            assert result["_meta"]["other/key"] == 1

    asyncio.run(go())


def test_one_principal_cannot_take_every_place(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_mcp, "MAX_CALLS_PER_PRINCIPAL", 2)
    release = threading.Event()

    async def slow(message: dict[str, Any], send: Send) -> None:
        await until(release.is_set)
        await respond(send, message, text("done"))

    async def go() -> None:
        attacker.upstream.on_call = slow
        calls = [asyncio.create_task(attacker.call()) for _ in range(2)]
        await until(lambda: len(attacker.upstream.calls()) == 2)
        refused = await attacker.call()
        assert (refused.code, refused.words) == (-31014, "`agent` has 2 calls under way; wait for some to end")
        other = asyncio.create_task(attacker.call(Authorization=f"Bearer {attacker.gateway.token('other')}"))
        await asyncio.sleep(0.1)
        release.set()
        assert [(await call).status for call in (*calls, other)] == [200, 200, 200]

    try:
        asyncio.run(go())
    finally:
        attacker.upstream.on_call = RogueHttp().on_call


def test_a_caller_that_does_not_read_is_let_go(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_client, "WRITE_GRACE_SECONDS", -59.5)  # half a second in all

    async def large(message: dict[str, Any], send: Send) -> None:
        await respond(send, message, text("x" * 12_000_000))

    attacker.upstream.on_call = large
    try:
        message = RAW % ("{}", json.dumps(META))
        lines = [
            f"Content-Length: {len(message)}",
            "MCP-Protocol-Version: 2026-07-28",
            "Mcp-Method: tools/call",
            "Mcp-Name: act",
        ]
        host, _, port = attacker.gateway.issuer.removeprefix("http://").partition(":")
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect((host, int(port)))
            line.sendall(a_head(attacker, *lines).replace("\n", "\r\n").encode() + b"\r\n" + message.encode())
            counts = attacker.gateway.app._methods._calls
            asyncio.run(until(lambda: counts))
            asyncio.run(until(lambda: not counts))
    finally:
        attacker.upstream.on_call = RogueHttp().on_call
        attacker.gateway.pipeline.calls.clear()
        attacker.upstream.seen.clear()
    unharmed(attacker)
