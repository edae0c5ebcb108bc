"""The server that the public conformance suite asks for: one thing of each kind, under the names it knows.

Source: modelcontextprotocol/conformance SERVER_REQUIREMENTS.md. What it does is done by the official SDK.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import (
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsResult,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = base64.b64encode(b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00").decode()
PAUSE = 0.03


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class Answered(BaseModel):
    """What a person fills in."""

    username: str
    email: str


class Named(BaseModel):
    """Somebody."""

    name: str


class Colored(BaseModel):
    """What they like."""

    color: str


class Confirmed(BaseModel):
    """A yes."""

    ok: bool


class Defaults(BaseModel):
    """What has a value already."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Annotated[str, Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})] = "active"
    verified: bool = True


def _choices(*names: str) -> list[dict[str, str]]:
    return [{"const": name, "title": name.title()} for name in names]


class Choices(BaseModel):
    """One or more of some."""

    untitledSingle: Annotated[str, Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})]  # noqa: N815 - the suite's names
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _choices("one", "two", "three")})]  # noqa: N815
    legacyEnum: Annotated[  # noqa: N815
        str, Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]})
    ]
    untitledMulti: Annotated[  # noqa: N815
        list[str], Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})
    ]
    titledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"anyOf": _choices("one", "two")}})]  # noqa: N815


def everything() -> MCPServer:
    """Return the server."""
    server = MCPServer("everything", version="1.0.0")
    _tools(server)
    _working(server)
    _asking(server)
    _asking_again(server)
    _changing(server)
    _resources(server)
    _prompts(server)
    return server


def _embedded(uri: str, text: str, kind: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=text))


def _image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _form(message: str, name: str) -> ElicitRequest:
    form = {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=form))


def _tools(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    def test_simple_text() -> str:
        """Say something."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    def test_image_content() -> list[ImageContent]:
        """Show something."""
        return [_image()]

    @server.tool(structured_output=False)
    def test_audio_content() -> list[AudioContent]:
        """Play something."""
        return [AudioContent(type="audio", data=SOUND, mime_type="audio/wav")]

    @server.tool(structured_output=False)
    def test_embedded_resource() -> list[EmbeddedResource]:
        """Hand something over."""
        return [_embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool(structured_output=False)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Do all of that."""
        mixed = _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return [_text("Multiple content types test:"), _image(), mixed]


def _working(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_tool_with_logging(ctx: Context) -> str:
        """Log while at work."""
        for each in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(each)
            await asyncio.sleep(PAUSE)
        return "logged"

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context) -> str:
        """Tell how far it is."""
        for each in (0, 50, 100):
            await ctx.report_progress(each, 100)
            await asyncio.sleep(PAUSE)
        return "done"

    @server.tool(structured_output=False)
    def test_error_handling() -> str:
        """Fail."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_touch(ctx: Context) -> str:
        """Change the resource that is watched."""
        await ctx.session.send_resource_updated("test://watched-resource")
        await ctx.notify_resource_updated("test://watched-resource")
        return "touched"


def ask_for_model(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=_text(prompt))], max_tokens=100)


def ask_for_answer(message: str) -> Elicit[Answered]:
    return Elicit(message, Answered)


def ask_for_defaults() -> Elicit[Defaults]:
    return Elicit("Please check", Defaults)


def ask_for_choices() -> Elicit[Choices]:
    return Elicit("Please choose", Choices)


def ask_for_name() -> Elicit[Named]:
    return Elicit("What is your name?", Named)


def ask_for_color(named: Annotated[Named, Resolve(ask_for_name)]) -> Elicit[Colored]:
    return Elicit(f"What is your favourite color, {named.name}?", Colored)


def ask_for_yes() -> Elicit[Confirmed]:
    return Elicit("Please confirm", Confirmed)


def ask_for_capital() -> Sample:
    return Sample([SamplingMessage(role="user", content=_text("What is the capital of France?"))], max_tokens=100)


def ask_for_roots() -> ListRoots:
    return ListRoots()


def ask_for_name_if_possible(ctx: Context) -> Elicit[Named] | Named:
    able = ctx.client_capabilities
    return ask_for_name() if able is not None and able.elicitation is not None else Named(name="somebody")


def _asking(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, told: Annotated[CreateMessageResult, Resolve(ask_for_model)]) -> str:
        """Ask the client's model."""
        return f"LLM response: {getattr(told.content, 'text', '')} to {prompt}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, told: Annotated[Answered, Resolve(ask_for_answer)]) -> str:
        """Ask the person."""
        return f"User response: accept, {told.model_dump_json()} to {message}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(told: Annotated[Defaults, Resolve(ask_for_defaults)]) -> str:
        """Ask for what has defaults."""
        return f"Elicitation completed: action=accept, content={told.model_dump_json()}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(told: Annotated[Choices, Resolve(ask_for_choices)]) -> str:
        """Ask to choose."""
        return f"Elicitation completed: action=accept, content={told.model_dump_json()}"

    @server.tool(structured_output=False)
    async def test_missing_capability(told: Annotated[CreateMessageResult, Resolve(ask_for_capital)]) -> str:
        """Need what few clients can."""
        return f"{told.role}"

    @server.tool(structured_output=False)
    async def test_streaming_elicitation(ctx: Context, told: Annotated[Named, Resolve(ask_for_name)]) -> str:
        """Ask while telling of progress."""
        await ctx.report_progress(1, 1)
        return told.name


def _asking_again(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Ask the person, under a name that the suite knows."""
        told = (ctx.input_responses or {}).get("user_name")
        if isinstance(told, ElicitResult) and told.content:
            return f"Hello, {told.content.get('name')}!"
        return InputRequiredResult(input_requests={"user_name": _form("What is your name?", "name")})

    @server.tool(structured_output=False)
    async def test_input_required_result_sampling(
        told: Annotated[CreateMessageResult, Resolve(ask_for_capital)],
    ) -> str:
        """Ask the model."""
        return f"{getattr(told.content, 'text', '')}"

    @server.tool(structured_output=False)
    async def test_input_required_result_list_roots(told: Annotated[ListRootsResult, Resolve(ask_for_roots)]) -> str:
        """Ask for roots."""
        return f"{len(told.roots)} roots"

    @server.tool(structured_output=False)
    async def test_input_required_result_request_state(told: Annotated[Confirmed, Resolve(ask_for_yes)]) -> str:
        """Have a state kept by the client."""
        return f"state-ok {told.ok}"

    @server.tool(structured_output=False)
    async def test_input_required_result_tampered_state(told: Annotated[Confirmed, Resolve(ask_for_yes)]) -> str:
        """Notice that a state was changed."""
        return f"{told.ok}"

    @server.tool(structured_output=False)
    async def test_input_required_result_multiple_inputs(
        named: Annotated[Named, Resolve(ask_for_name)],
        sampled: Annotated[CreateMessageResult, Resolve(ask_for_capital)],
        roots: Annotated[ListRootsResult, Resolve(ask_for_roots)],
    ) -> str:
        """Ask all at once."""
        return f"{named.name} {sampled.role} {len(roots.roots)}"

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(
        named: Annotated[Named, Resolve(ask_for_name)], colored: Annotated[Colored, Resolve(ask_for_color)]
    ) -> str:
        """Ask one after the other."""
        return f"{named.name} likes {colored.color}"

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(
        named: Annotated[Named, Resolve(ask_for_name_if_possible)],
        told: Annotated[CreateMessageResult, Resolve(ask_for_capital)],
    ) -> str:
        """Ask for what the client can do."""
        return f"{named.name} {told.role}"


def _changing(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_logging_tool(ctx: Context) -> str:
        """Log."""
        await ctx.info("at work")
        return "logged"

    @server.tool(structured_output=False)
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Say that there may be other tools now."""
        await ctx.notify_tools_changed()
        return "changed"

    @server.tool(structured_output=False)
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Say that there may be other prompts now."""
        await ctx.notify_prompts_changed()
        return "changed"

    @server.tool(structured_output=False)
    def json_schema_2020_12_tool(name: str = "") -> str:
        """Have a schema with words of 2020-12."""
        return name

    found = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert found is not None
    found.parameters = SCHEMA_2020_12

    @server.tool(structured_output=False)
    def test_headers(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "eu",
    ) -> str:
        """Have an argument in a header."""
        return region


def _resources(server: MCPServer) -> None:
    @server.resource("test://static-text", name="Static text", description="A text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", name="Static binary", description="An image", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @server.resource("test://watched-resource", name="Watched", description="It changes", mime_type="text/plain")
    def watched() -> str:
        return "Watched resource content"

    @server.resource("test://template/{id}/data", name="Template", description="Any", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    async def subscribe(_ctx: Any, _params: Any) -> EmptyResult:
        return EmptyResult()

    low = server._lowlevel_server  # the SDK's small server has no door for these
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, subscribe)
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, subscribe)


def _prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Say something."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Say something given."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803 - the suite's name
        """Hand something over."""
        embedded = _embedded(resourceUri, "Embedded resource content for testing.")
        return [embedded, _text("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[Any]:
        """Show something."""
        return [_image(), _text("Please analyze the image above.")]

    @server.prompt()
    def test_input_required_result_prompt(ctx: Context) -> Any:
        """Ask before it says anything."""
        if ctx.input_responses:
            return f"Prompt with {sorted(ctx.input_responses)}"
        return InputRequiredResult(input_requests={"user_context": _form("Which context?", "context")})

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,  # noqa: ARG001 - the decorator's signature
    ) -> Completion:
        assert ref
        return Completion(values=[f"{argument.value}1"], total=1, has_more=False)


def app() -> Any:
    """Return the server as an ASGI application, at `/mcp`."""
    return everything().streamable_http_app()


if __name__ == "__main__":
    everything().run()
