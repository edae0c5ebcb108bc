"""A real MCP server whose tools ask the person or model behind a call: by requests, since 2026-07-28 by results."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("asker", version="1.0.0")


class Where(BaseModel):
    """Where to deploy to."""

    region: str
    sure: bool


def where() -> Elicit[Where]:
    return Elicit("Where to?", Where)


def think() -> Sample:
    words = TextContent(type="text", text="What is the capital of France?")
    return Sample([SamplingMessage(role="user", content=words)], max_tokens=100_000, include_context="allServers")


def roots() -> ListRoots:
    return ListRoots()


@server.tool(structured_output=False)
async def deploy(what: str, to: Annotated[Where, Resolve(where)]) -> str:
    """Deploy something somewhere."""
    return f"deployed {what} to {to.region}: {to.sure}"


@server.tool(structured_output=False)
async def answer(thought: Annotated[CreateMessageResult, Resolve(think)]) -> str:
    """Answer a question with somebody else's model."""
    return f"thought: {thought.content.text}"  # type: ignore[union-attr]  # it is a text


@server.tool(structured_output=False)
async def look(found: Annotated[ListRootsResult, Resolve(roots)], to: Annotated[Where, Resolve(where)]) -> str:
    """Look at the client's folders, and ask."""
    return f"roots: {', '.join(str(each.uri) for each in found.roots)} in {to.region}"


@server.tool(structured_output=False)
async def confirm(ctx: Context) -> str:
    """Ask by a request of its own, which 2026-07-28 has no way for."""
    told = await ctx.elicit("Where to?", Where)
    return f"{told.action} {told.data.region if told.action == 'accept' else ''}"


if __name__ == "__main__":
    server.run()
