"""Resources, prompts and completions through the gateway: a real server behind, the official client before it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference, ResourceUpdatedNotification

from charter.adapters.upstream import read_tools
from charter.bootstrap import authority
from charter.gateway.mcp_import import describe_tools
from charter.lifecycle.emergency import Move
from charter.registry.upstream import HttpUpstream
from charter.server import gateway_mcp
from doors import ACCEPT, META, open_doors, run
from library_stage import GARDEN, GRANT, a_client, a_garden, a_library, an_agent
from mcp_stage import a_record, deadline, http, serving, settings_of, stage
from servers import library
from servers.everything import app as everything
from terminal import Terminal


def test_an_import_counts_tools_as_tools_and_names_what_is_beside_them(tmp_path: Path) -> None:
    estate = Terminal.at(tmp_path / "estate")
    (estate.folder / "teams.yaml").write_text("{charter: v1, teams: {platform: {lead: sam@example.com}}, roles: {}}")
    server = (sys.executable, str(Path(library.__file__)))
    said = estate.say("systems", "import", "library", "--team", "platform", "--", *server)
    assert "1 tool, resources/read, prompts/get, completion/complete pinned" in said
    again = estate.ask("systems", "import", "library")
    assert (again["tools"], len(again["features"])) == (1, 3)


WAYS = [
    ("auto", "/mcp/library", "", ""),
    ("legacy", "/mcp", "library+", "library__"),
    pytest.param("legacy", "/mcp/library", "", "", marks=pytest.mark.slow),
    pytest.param("auto", "/mcp", "library+", "library__", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("mode", "place", "before", "name"), WAYS)
def test_what_is_granted_is_listed_and_used(tmp_path: Path, mode: str, place: str, before: str, name: str) -> None:
    async def go() -> None:
        async with a_library(tmp_path) as doors, a_client(doors, place, mode) as client:
            listed = (await client.list_resources()).resources
            assert [str(each.uri) for each in listed] == [f"{before}books://iliad", f"{before}books://odyssey"]
            assert listed[0].description == "A book of war"
            templates = (await client.list_resource_templates()).resource_templates
            assert [each.uri_template for each in templates] == [before + "page://{book}/{number}"]
            prompts = (await client.list_prompts()).prompts
            assert [(each.name, each.title) for each in prompts] == [(f"{name}sum_up", "Sum up")]

            read = await client.read_resource(f"{before}page://iliad/3")
            (content,) = read.contents
            assert (str(content.uri), content.text) == (f"{before}page://iliad/3", "page 3 of iliad")  # type: ignore[union-attr]
            verdict = doors.entries("verdict")[-1]["body"]
            assert read.meta is not None
            assert read.meta["charter/verdict"] == verdict["verdict_id"]
            assert (verdict["action"], verdict["object"]) == ("resources/read", "page://iliad/3")

            prompt = await client.get_prompt(f"{name}sum_up", {"book": "iliad"})
            assert prompt.messages[0].content.text == "Please sum up iliad."  # type: ignore[union-attr]
            argument = {"name": "book", "value": "il"}
            for ref in (
                PromptReference(type="ref/prompt", name=f"{name}sum_up"),
                ResourceTemplateReference(type="ref/resource", uri=before + "page://{book}/{number}"),
            ):
                assert (await client.complete(ref, argument)).completion.values == ["iliad"]

    run(go())


def test_what_is_not_granted_is_refused_with_the_reason_and_recorded(tmp_path: Path) -> None:
    async def go() -> None:
        async with a_library(tmp_path) as doors, a_client(doors) as client:
            tried = {
                "staff://salaries": lambda: client.read_resource("staff://salaries"),
                "page://odyssey/1": lambda: client.read_resource("page://odyssey/1"),
                "prompt/fire": lambda: client.get_prompt("fire", {"librarian": "bob"}),
            }
            for path, ask in tried.items():
                with pytest.raises(MCPError) as refused:
                    await ask()
                assert refused.value.error.code == -31011
                told = refused.value.error.data["charter/refusal"]
                assert (told["verdict"], told["rule"][:18]) == ("deny", "refund-agent/grant")
                verdict = doors.entries("verdict")[-1]["body"]
                assert (verdict["verdict"], verdict["object"], verdict["verdict_id"]) == (
                    "deny",
                    path,
                    told["verdict_id"],
                )
            for path in ("books://../salaries", "books://iliad/../../x", "books://iliad/%2e%2e/x", "BOOKS://iliad"):
                with pytest.raises(MCPError):
                    await client.read_resource(path)

    run(go())


def test_a_reading_that_needs_approval_is_held_and_passes_once(tmp_path: Path) -> None:
    async def go() -> None:
        grant = GRANT[0] | {"approval": {"by": "payments-lead"}}
        async with a_library(tmp_path, [grant]) as doors, a_client(doors) as client:
            assert len((await client.list_resources()).resources) == 2  # what is held can be asked for
            with pytest.raises(MCPError) as held:
                await client.read_resource("books://iliad")
            await doors.approve(held.value.error.data["charter/refusal"]["approval"])
            assert (await client.read_resource("books://iliad")).contents
            with pytest.raises(MCPError):
                await client.read_resource("books://iliad")

    run(go())


def test_who_is_granted_none_of_it_is_told_why(tmp_path: Path) -> None:
    async def go() -> None:
        async with a_library(tmp_path, [{"system": "library", "actions": ["lend"]}]) as doors:
            agent = await an_agent(doors, "/mcp/library")
            for method, key in (
                ("resources/list", "resources"),
                ("resources/templates/list", "resourceTemplates"),
                ("prompts/list", "prompts"),
            ):
                message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META}}
                headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
                answer = await agent.send(json.dumps(message).encode(), path="/mcp/library", **headers)
                assert answer.result[key] == []
                why = answer.result["_meta"]["charter/why"]
                assert why == "`refund-agent` may use nothing of what `library` lists here"

    run(go())


def test_a_system_that_offers_tools_alone_knows_no_such_method(tmp_path: Path) -> None:
    async def go() -> None:
        async with open_doors(tmp_path) as doors:
            agent = await doors.agent()
            for method in ("resources/list", "resources/read", "prompts/list", "prompts/get", "completion/complete"):
                answer = await agent.ask(method, {"name": "x", "uri": "x"}, **{"Mcp-Name": "x"})
                assert answer.json["error"]["code"] == -32601
            offered = (await agent.ask("server/discover")).result["capabilities"]
            assert list(offered) == ["tools", "logging"]

    run(go())


def test_no_tool_is_a_resource_nor_a_resource_a_tool(tmp_path: Path) -> None:
    async def go() -> None:
        async with a_library(tmp_path) as doors, a_client(doors) as client:
            assert (await client.list_tools()).tools == []
            for name in ("resources/read", "prompts/get", "completion/complete"):
                with pytest.raises(MCPError):
                    await client.call_tool(name, {"uri": "books://iliad"})
            before = len(doors.entries("verdict"))
            agent = await an_agent(doors, "/mcp")
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": META}}
            message["params"] |= {"name": "library__resources/read", "arguments": {"uri": "books://iliad"}}  # type: ignore[operator]
            headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
            headers["Mcp-Name"] = "library__resources/read"
            answer = await agent.send(json.dumps(message).encode(), path="/mcp", **headers)
            assert answer.json["error"]["code"] == -32602
            assert len(doors.entries("verdict")) == before

    run(go())


def test_prompts_that_changed_are_held_until_someone_accepts_them(tmp_path: Path) -> None:
    async def go() -> None:
        async with a_library(tmp_path) as doors:
            system = json.loads(doors.files["systems/library.yaml"])
            system["actions"]["prompts/get"]["pin"] = "sha256:" + "0" * 64  # as if others had been accepted
            await doors.apply(doors.files | {"systems/library.yaml": json.dumps(system)})
            async with a_client(doors) as client:
                assert (await client.list_prompts()).prompts == []
                with pytest.raises(MCPError, match="is not the one that was accepted"):
                    await client.get_prompt("sum_up", {"book": "iliad"})
                assert len((await client.list_resources()).resources) == 2

    run(go())


def test_what_strangers_wrote_in_a_resource_taints_the_session(tmp_path: Path) -> None:
    """A list is enough: names and descriptions may be theirs."""

    async def go() -> None:
        for read in (False, True):
            folder = tmp_path / str(read)
            folder.mkdir()
            async with a_library(folder, untrusted=True) as doors, a_client(doors) as client:
                principal = doors.house.principal("refund-agent")
                assert not any(session.exposed for session in doors.house.pipeline.flows._sessions.values())
                if read:
                    await client.read_resource("books://iliad")
                else:
                    await client.list_resources()
                exposed = [key for key, its in doors.house.pipeline.flows._sessions.items() if its.exposed]
                assert [key.principal_id for key in exposed] == [principal.id]

    run(go())


def test_a_server_that_has_nothing_beside_tools_is_imported_with_tools_alone() -> None:
    async def go() -> None:
        server = MCPServer("bare")
        server.tool()(lend)
        web = server.streamable_http_app()  # which declares resources and prompts all the same
        async with web.router.lifespan_context(web), serving(web) as url:
            config = HttpUpstream(transport="http", url=f"{url}/mcp")
            listed = await read_tools(config, settings_of(None, None, None), deadline())
        assert [draft.tool for draft in describe_tools(listed.tools)] == ["lend"]

    run(go())


def lend(book: str) -> str:
    return f"lent {book}"


def test_a_kill_ends_reading_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with a_library(tmp_path) as doors, a_client(doors) as client:
            await client.read_resource("books://iliad")
            await authority.move(doors.house, "refund-agent", Move.KILL, actor="op@example.com", reason="a test")
            with pytest.raises(Exception):  # noqa: B017, PT011 - the client has its own word for a 401
                await client.read_resource("books://iliad")
            assert doors.entries("outcome")[-1]["body"]["outcome"] == "ok"
            assert len(doors.entries("outcome")) == 1

    run(go())


def a_logger() -> MCPServer:
    """A server that logs while it is called."""
    server = MCPServer("logger")

    @server.tool()
    async def work(ctx: Context) -> str:
        """Work."""
        await ctx.debug("details of ch_123456")
        await ctx.warning({"hot": 9}, logger_name="boiler")
        return "done"

    return server


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_what_a_server_logs_is_told_to_whoever_asked_for_it(mode: str) -> None:
    async def go() -> None:
        heard: list[tuple[str, Any, str | None]] = []

        async def listen(params: Any) -> None:
            heard.append((params.level, params.data, params.logger))

        server = a_logger().streamable_http_app()
        async with server.router.lifespan_context(server), serving(server) as url:
            record = a_record(http(f"{url}/mcp"), ("work",))
            async with stage(record) as there:
                headers = {"Authorization": f"Bearer {there.token()}"}
                async with (
                    httpx2.AsyncClient(headers=headers) as web,
                    Client(
                        streamable_http_client(there.url(), http_client=web), mode=mode, logging_callback=listen
                    ) as client,
                ):
                    assert client.server_capabilities.logging is not None
                    await client.call_tool("work", {})
                    warning = ("warning", {"hot": 9}, "boiler")
                    assert heard == ([warning] if mode == "legacy" else [])  # by default: from `info` on, or nothing
                    heard.clear()
                    if mode == "legacy":
                        await client.session.set_logging_level("debug")
                        await client.call_tool("work", {})
                    else:
                        await client.call_tool("work", {}, meta={"io.modelcontextprotocol/logLevel": "debug"})
                    assert heard == [("debug", "details of ch_123456", None), warning]

    run(go())


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize(("mode", "place", "before", "name"), WAYS)
def test_whoever_may_read_a_resource_hears_of_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, place: str, before: str, name: str
) -> None:
    monkeypatch.setattr(gateway_mcp, "LOOK_SECONDS", 0.05)

    async def go() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def listen(message: Any) -> None:
            if isinstance(message, ResourceUpdatedNotification):
                heard.put_nowait(message.params.uri)

        async def grow(client: Client) -> None:
            for which in ("nettles", "roses"):
                await client.call_tool(f"{name}grow", {"uri": f"bed://{which}"})

        async with (
            a_library(tmp_path, GARDEN, a_garden().streamable_http_app()) as doors,
            a_client(doors, place, mode, message_handler=listen) as client,
        ):
            roses, nettles = f"{before}bed://roses", f"{before}bed://nettles"
            resources = client.server_capabilities.resources
            assert resources is not None
            assert resources.subscribe
            if mode == "auto":
                async with client.listen(resource_subscriptions=[roses, nettles]) as told:
                    assert told.honored.resource_subscriptions == [roses]  # the other is no business of this caller
                    await grow(client)
                    assert (await anext(told)).uri == roses  # type: ignore[union-attr]
                return
            with pytest.raises(MCPError) as refused:
                await client.session.subscribe_resource(nettles)
            assert refused.value.error.code == -31011
            await client.session.subscribe_resource(roses)
            await grow(client)
            assert await heard.get() == roses
            await client.session.unsubscribe_resource(roses)
            await grow(client)
            await asyncio.sleep(0.2)
            assert heard.empty()

    run(go())


@pytest.mark.parametrize("asks", [{}, {"asks": ["sampling"]}])
def test_who_lacks_what_a_server_needs_is_told_so_and_who_does_not_is_told_of_the_file(asks: dict[str, Any]) -> None:
    async def go() -> None:
        server = everything()
        async with server.router.lifespan_context(server), serving(server) as url:
            record = a_record(http(f"{url}/mcp", **asks), ("test_missing_capability",))
            async with stage(record) as there, aiohttp.ClientSession() as web:
                for able, code, status in (({}, -32021, 400), ({"sampling": {}}, -32603, 200)):
                    if able and asks:
                        continue  # it is asked
                    meta = META | {"io.modelcontextprotocol/clientCapabilities": able}
                    params = {"name": "test_missing_capability", "arguments": {}, "_meta": meta}
                    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                    headers = {
                        "Authorization": f"Bearer {there.token()}",
                        "Accept": ACCEPT,
                        "MCP-Protocol-Version": "2026-07-28",
                        "Mcp-Method": "tools/call",
                        "Mcp-Name": "test_missing_capability",
                    }
                    async with web.post(there.url(), json=message, headers=headers) as answer:
                        body = await answer.json()
                        assert (body["error"]["code"], answer.status) == (code, status), body

    run(go())
