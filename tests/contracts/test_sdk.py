"""The SDK against a real Charter, and each framework's adapter with the real package, offline."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import InjectedToolArg, InjectedToolCallId, tool
from pydantic import BaseModel

from charter.bootstrap import authority
from charter.lifecycle.emergency import Move
from charter.sdk import (
    Allowed,
    AsyncCharter,
    CallDenied,
    CallHeld,
    Charter,
    CharterUnavailable,
    Denied,
    Held,
    governed,
)
from charter.sdk.answer import read_answer
from charter.sdk.decorator import plain
from sdk_stage import AGENT, Sdk, an_sdk


class Note(BaseModel):
    text: str
    day: dt.date


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with an_sdk(tmp_path_factory.mktemp("sdk")) as found:
        yield found


def test_a_call_is_allowed_denied_or_held_with_the_reason(sdk: Sdk) -> None:
    with sdk.client() as charter:
        allowed = charter.check("tools", "read_record", "record/1", {"id": "1"})
        assert isinstance(allowed, Allowed)
        denied = charter.check("tools", "drop_record", "record/1")
        assert isinstance(denied, Denied)
        assert "drop_record" in denied.why
        assert denied.mend
        held = charter.check("tools", "write_record", "record/1", {"text": "held"})
        assert isinstance(held, Held)
        assert held.approvers == ("payments-lead",)
        sdk.approve(held.approval)
        again = charter.wait(charter.question("tools", "write_record", "record/1", {"text": "held"}), 5)
        assert isinstance(again, Allowed)
        other = charter.check("tools", "write_record", "record/1", {"text": "another"})
        assert isinstance(other, Held)
    verdicts = {each["body"]["verdict_id"] for each in sdk.stage.entries("verdict")}
    assert {allowed.verdict, denied.verdict, held.verdict} <= verdicts


def test_an_obligation_that_nobody_fulfils_denies(sdk: Sdk) -> None:
    with sdk.client() as charter:
        answer = charter.check("tools", "mark_record", "record/1")
        assert isinstance(answer, Denied)
        assert "notification" in answer.why
    done: list[Any] = []
    with sdk.client(obligations={"notification": done.append}) as charter:
        assert isinstance(charter.check("tools", "mark_record", "record/1"), Allowed)
    assert done[0]["type"] == "notification"


def test_a_governed_function_runs_only_once_its_call_is_allowed(sdk: Sdk) -> None:
    ran: list[str] = []
    with sdk.client() as charter:

        @governed(charter, system="tools", object=lambda **given: f"record/{given['id']}")
        def read_record(id: str, limit: int = 5) -> str:  # noqa: A002
            ran.append(id)
            return f"{id}:{limit}"

        @governed(charter, system="tools", action="drop_record")
        def drop(id: str) -> None:  # noqa: A002
            ran.append(f"dropped {id}")

        @governed(charter, system="tools", action="write_record")
        async def write(text: str) -> str:
            ran.append(text)
            return text

        assert read_record("7") == "7:5"
        with pytest.raises(CallDenied, match="drop_record"):
            drop("7")
        with pytest.raises(CallHeld) as held:
            asyncio.run(write("new words"))
        sdk.approve(held.value.answer.approval)
        assert asyncio.run(write("new words")) == "new words"
    assert ran == ["7", "new words"]
    asked = sdk.stage.entries("verdict")[-4]["body"]
    assert (asked["action"], asked["object"]) == ("read_record", "record/7")


def test_without_a_decision_nothing_runs(sdk: Sdk) -> None:
    with Charter("http://127.0.0.1:9/access/v1", principal=AGENT, seconds=1) as charter:

        @governed(charter, system="tools")
        def read_record() -> None:
            raise AssertionError("it ran")

        with pytest.raises(CharterUnavailable):
            read_record()
    with Charter(f"{sdk.url}/access/v1", principal=AGENT) as anonymous, pytest.raises(CharterUnavailable, match="401"):
        anonymous.check("tools", "read_record", "x")
    with pytest.raises(CharterUnavailable, match="charter run"):
        Charter()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "half \ud800", {"\udfff": 1}, [[float("-inf")]]])
def test_what_json_cannot_tell_is_not_decided_and_does_not_run(sdk: Sdk, value: Any) -> None:
    with sdk.client() as charter:

        @governed(charter, system="tools")
        def read_record(value: Any) -> None:
            raise AssertionError(f"it ran: {value!r}")

        with pytest.raises(CharterUnavailable, match="cannot be told in JSON"):
            read_record(value)
        with pytest.raises(CharterUnavailable, match="cannot be told in JSON"):
            charter.check("tools", "read_record", "x", {"value": object()})

    async def asked() -> None:
        async with AsyncCharter(f"{sdk.url}/access/v1", principal=AGENT) as charter:
            await charter.check("tools", "read_record", "x", {"value": value})

    with pytest.raises(CharterUnavailable, match="cannot be told in JSON"):
        asyncio.run(asked())


@given(
    st.integers(100, 599),
    st.recursive(st.none() | st.booleans() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)),
)
def test_what_is_no_clear_allow_is_none(status: int, body: Any) -> None:
    try:
        answer = read_answer(status, body, {})
    except CharterUnavailable:
        return
    assert not isinstance(answer, Allowed) or (status == 200 and body["decision"] is True)


# --- the frameworks ---


def test_langchain_and_langgraph(sdk: Sdk) -> None:
    from langchain_core.messages import AIMessage
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    from charter.sdk.adapters.langchain import govern

    ran: list[str] = []

    @tool
    def read_record(id: str) -> str:  # noqa: A002
        """Read a record."""
        ran.append(id)
        return f"record {id}"

    @tool
    def drop_record(id: str) -> str:  # noqa: A002
        """Drop a record."""
        ran.append(f"dropped {id}")
        return "gone"

    with sdk.client() as charter:
        tools = govern([read_record, drop_record], charter, system="tools")
        assert tools[0].invoke({"id": "1"}) == "record 1"
        assert "Charter denied this call" in tools[1].invoke({"id": "1"})

        def model(_state: MessagesState) -> dict[str, Any]:
            calls = [
                {"name": name, "args": {"id": "2"}, "id": name, "type": "tool_call"}
                for name in ("read_record", "drop_record")
            ]
            return {"messages": [AIMessage("", tool_calls=calls)]}

        graph = StateGraph(MessagesState)
        graph.add_node("model", model)
        graph.add_node("tools", ToolNode(tools))
        graph.add_edge(START, "model")
        graph.add_edge("model", "tools")
        graph.add_edge("tools", END)
        said = graph.compile().invoke({"messages": [("user", "go")]})["messages"][-2:]
        assert said[0].content == "record 2"
        assert "Charter denied this call" in said[1].content
    assert ran == ["1", "2"]


def test_a_tool_of_a_graph_stays_what_it_was(sdk: Sdk) -> None:
    """A model as an argument is told; what the graph puts in is not; the call's id and the artifact are kept."""
    from charter.sdk.adapters.langchain import govern

    @tool(response_format="content_and_artifact")
    def read_record(
        id: str,  # noqa: A002
        note: Note,
        call: Annotated[str, InjectedToolCallId],
        state: Annotated[Any, InjectedToolArg],
    ) -> tuple[str, Any]:
        """Read a record."""
        return f"{id} {note.text} {call}", state

    @tool(response_format="content_and_artifact")
    def drop_record(id: str) -> tuple[str, Any]:  # noqa: A002
        """Drop a record."""
        raise AssertionError(id)

    given = {"id": "1", "note": {"text": "words", "day": "2026-11-28"}, "state": object()}
    with sdk.client() as charter:
        read, drop = govern([read_record, drop_record], charter, system="tools")
        said = read.invoke({"name": "read_record", "args": given, "id": "c-1", "type": "tool_call"})
        refused = drop.invoke({"name": "drop_record", "args": {"id": "1"}, "id": "c-2", "type": "tool_call"})
    assert (said.content, said.artifact) == ("1 words c-1", given["state"])
    assert "Charter denied this call" in refused.content

    async def go() -> Any:
        async with sdk.asynchronous() as charter:
            (read,) = govern([read_record], charter, system="tools")
            return await read.ainvoke({"name": "read_record", "args": given, "id": "c-3", "type": "tool_call"})

    assert asyncio.run(go()).content == "1 words c-3"
    assert plain({"note": Note(text="words", day=dt.date(2026, 11, 28)), "state": object(), "rows": ({1},)}) == {
        "note": {"text": "words", "day": "2026-11-28"},
        "rows": [[1]],
    }


def test_the_object_of_a_method_is_not_told(sdk: Sdk) -> None:
    @dataclass
    class Desk:
        key: str = "secret"

        def read_record(self, id: str) -> str:  # noqa: A002
            return id

    told: list[Any] = []

    class Listening(Charter):
        def question(self, *args: Any, **more: Any) -> Any:
            told.append(args[3])
            return super().question(*args, **more)

    with Listening(f"{sdk.url}/access/v1", principal=AGENT) as charter:
        asking = governed(charter, system="tools")(Desk.read_record)
        with pytest.raises(CharterUnavailable):
            asking(Desk(), "7")
    assert told == [{"id": "7"}]


def test_openais_agents(sdk: Sdk) -> None:
    """The whole loop of the SDK, with a model that proposes both tools once and then ends."""
    from agents import Agent, ModelResponse, RunConfig, Runner, Usage, function_tool
    from agents.items import ToolCallOutputItem
    from agents.models.interface import Model
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from charter.sdk.adapters.openai_agents import govern

    ran: list[str] = []

    @function_tool
    def read_record(id: str) -> str:  # noqa: A002
        """Read a record."""
        ran.append(id)
        return f"record {id}"

    @function_tool
    def drop_record(id: str) -> str:  # noqa: A002
        """Drop a record."""
        ran.append(f"dropped {id}")
        return "gone"

    calls = [
        ResponseFunctionToolCall(name=name, arguments='{"id": "1"}', call_id=name, type="function_call")
        for name in ("read_record", "drop_record")
    ]
    text = ResponseOutputText(text="done", type="output_text", annotations=[])
    end = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")

    class Proposing(Model):
        turns: Iterator[list[Any]] = iter([calls, [end]])

        async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
            return ModelResponse(next(self.turns), Usage(), None)

        def stream_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    async def go() -> list[Any]:
        async with sdk.asynchronous() as charter:
            tools: list[Any] = [*govern([read_record, drop_record], charter, system="tools")]
            agent = Agent(name="a", model=Proposing(), tools=tools)
            done = await Runner.run(agent, "go", run_config=RunConfig(tracing_disabled=True))
            return [each.output for each in done.new_items if isinstance(each, ToolCallOutputItem)]

    read, dropped = asyncio.run(go())
    assert read == "record 1"
    assert "Charter denied this call" in dropped
    assert ran == ["1"]


def test_pydantic_ai(sdk: Sdk) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.toolsets import FunctionToolset

    from charter.sdk.adapters.pydantic_ai import govern

    ran: list[str] = []

    def read_record(id: str) -> str:  # noqa: A002
        """Read a record."""
        ran.append("read")
        return f"record {id}"

    def drop_record(id: str) -> str:  # noqa: A002, ARG001
        """Drop a record."""
        ran.append("dropped")
        return "gone"

    async def go() -> str:
        async with sdk.asynchronous() as charter:
            toolset = govern(FunctionToolset([read_record, drop_record]), charter, system="tools")
            agent = Agent(TestModel(), toolsets=[toolset])  # this model calls every tool once
            return str((await agent.run("go")).output)

    said = asyncio.run(go())
    assert "record" in said
    assert "Charter denied this call" in said
    assert ran == ["read"]


def test_claudes_agent_sdk(sdk: Sdk) -> None:
    from claude_agent_sdk import ClaudeAgentOptions, PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

    from charter.sdk.adapters.claude_agent import can_use_tool

    async def go() -> tuple[Any, Any]:
        async with sdk.asynchronous() as charter:
            callback = can_use_tool(charter, system="tools")
            assert ClaudeAgentOptions(can_use_tool=callback).can_use_tool is callback
            context = ToolPermissionContext()
            return await callback("read_record", {"id": "1"}, context), await callback("drop_record", {}, context)

    allowed, denied = asyncio.run(go())
    assert isinstance(allowed, PermissionResultAllow)
    assert allowed.updated_input == {"id": "1"}
    assert isinstance(denied, PermissionResultDeny)
    assert "Charter denied this call" in denied.message


def test_a_hook_of_claudes_agent_sdk_always_answers(sdk: Sdk) -> None:
    """What a failing hook leaves undecided goes ahead, by the SDK's rules: so no answer of Charter is a no."""
    from claude_agent_sdk import ClaudeAgentOptions, PermissionResultDeny, ToolPermissionContext

    from charter.sdk.adapters.claude_agent import can_use_tool, hooks

    async def go(charter: AsyncCharter, given: Any) -> Any:
        async with charter:
            options = ClaudeAgentOptions(hooks=hooks(charter, system="tools"), allowed_tools=["drop_record"])
            assert options.hooks is not None
            (matcher,) = options.hooks["PreToolUse"]
            assert matcher.matcher is None  # every tool
            said: Any = await matcher.hooks[0](given, "u-1", {"signal": None})
            return said["hookSpecificOutput"]

    def use(tool: str, arguments: Any) -> Any:
        return {"hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": arguments}

    def gone() -> AsyncCharter:
        return AsyncCharter("http://127.0.0.1:9/access/v1", principal=AGENT, seconds=1)

    said = asyncio.run(go(sdk.asynchronous(), use("read_record", {"id": "1"})))
    assert (said["permissionDecision"], said["updatedInput"]) == ("allow", {"id": "1"})
    said = asyncio.run(go(sdk.asynchronous(), use("drop_record", {"id": "1"})))
    assert said["permissionDecision"] == "deny"
    assert "Charter denied this call" in said["permissionDecisionReason"]
    for used in (use("read_record", {"id": "1"}), use("read_record", {"id": float("nan")}), {"tool_name": None}):
        assert asyncio.run(go(gone(), used))["permissionDecision"] == "deny"

    async def ask() -> Any:
        async with gone() as charter:
            return await can_use_tool(charter, system="tools")("read_record", {}, ToolPermissionContext())

    assert isinstance(asyncio.run(ask()), PermissionResultDeny)


def test_a_kill_reaches_the_program_at_its_next_call(tmp_path: Path) -> None:
    with an_sdk(tmp_path) as sdk, sdk.client() as charter:
        assert isinstance(charter.check("tools", "read_record", "x"), Allowed)
        asyncio.run(authority.move(sdk.stage.house, AGENT, Move.KILL, actor="op@example.com", reason="a test"))
        with pytest.raises(CharterUnavailable, match="401"):
            charter.check("tools", "read_record", "x")


async def _by_langchain(charter: AsyncCharter, objects: Any, function: Any) -> object:
    from charter.sdk.adapters.langchain import govern

    (made,) = govern([tool(function)], charter, system="tools", objects=objects)
    return await made.ainvoke({"id": "7"})


async def _by_openais_agents(charter: AsyncCharter, objects: Any, function: Any) -> object:
    from agents import function_tool
    from agents.tool_context import ToolContext

    from charter.sdk.adapters.openai_agents import govern

    (made,) = govern([function_tool(function)], charter, system="tools", objects=objects)
    context: Any = ToolContext(context=None, tool_name=made.name, tool_call_id="c", tool_arguments='{"id": "7"}')
    return await made.on_invoke_tool(context, '{"id": "7"}')


async def _by_pydantic_ai(charter: AsyncCharter, objects: Any, function: Any) -> object:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.toolsets import FunctionToolset

    from charter.sdk.adapters.pydantic_ai import govern

    toolset = govern(FunctionToolset([function]), charter, system="tools", objects=objects)
    return (await Agent(TestModel(), toolsets=[toolset]).run("go")).output  # this model says "a" for each text


async def _by_claudes_hook(charter: AsyncCharter, objects: Any, _function: Any) -> object:
    from charter.sdk.adapters.claude_agent import hooks

    (matcher,) = hooks(charter, system="tools", objects=objects)["PreToolUse"]
    use: Any = {"hook_event_name": "PreToolUse", "tool_name": "read_record", "tool_input": {"id": "7"}}
    said: Any = await matcher.hooks[0](use, "u-1", {"signal": None})
    return said["hookSpecificOutput"]["permissionDecision"]


@pytest.mark.parametrize(
    ("adapter", "about"),
    [
        (_by_langchain, "record/7"),
        (_by_openais_agents, "record/7"),
        (_by_pydantic_ai, "record/a"),
        (_by_claudes_hook, "record/7"),
    ],
)
def test_what_a_tools_call_is_about_is_the_programs_to_say(sdk: Sdk, adapter: Any, about: str) -> None:
    ran: list[str] = []

    def read_record(id: str) -> str:  # noqa: A002
        """Read a record."""
        ran.append(id)
        return f"record {id}"

    async def ask(objects: Any) -> object:
        async with sdk.asynchronous() as charter:
            return await adapter(charter, objects, read_record)

    asyncio.run(ask({"read_record": lambda id: f"record/{id}"}))  # noqa: A006
    asked, had = sdk.stage.entries("verdict"), list(ran)
    assert asked[-1]["body"]["object"] == about
    with contextlib.suppress(CharterUnavailable):
        assert asyncio.run(ask({"read_record": lambda other: f"record/{other}"})) == "deny"
    assert ran == had
    assert sdk.stage.entries("verdict") == asked  # nobody could be asked
