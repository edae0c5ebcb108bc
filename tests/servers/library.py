"""A small real MCP server of resources, prompts and completions: some books. Speaks stdio, or is served as `app()`."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

BOOKS = {"iliad": "Sing, goddess, the anger", "odyssey": "Tell me, Muse, of the man"}


def library() -> MCPServer:
    """Return the server."""
    server = MCPServer("library", version="1.0.0")

    @server.resource("books://iliad", name="iliad", description="A book of war", mime_type="text/plain")
    def iliad() -> str:
        return BOOKS["iliad"]

    @server.resource("books://odyssey", name="odyssey", description="A book of travel", mime_type="text/plain")
    def odyssey() -> str:
        return BOOKS["odyssey"]

    @server.resource("staff://salaries", name="salaries", mime_type="application/octet-stream")
    def salaries() -> bytes:
        return b"\x00\x01"

    @server.resource("page://{book}/{number}", name="page")
    def page(book: str, number: str) -> str:
        return f"page {number} of {book}"

    @server.prompt(title="Sum up")
    def sum_up(book: str) -> str:
        """Sum up a book."""
        return f"Please sum up {book}."

    @server.prompt()
    def fire(librarian: str) -> str:
        """Fire someone."""
        return f"Fire {librarian}."

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,  # noqa: ARG001 - the decorator's signature
    ) -> Completion:
        assert ref
        return Completion(values=[name for name in BOOKS if name.startswith(argument.value)])

    @server.tool()
    def lend(book: str) -> str:
        """Lend a book."""
        return f"lent {book}"

    return server


def app() -> Any:
    """Return the server as an ASGI application, at `/mcp`."""
    return library().streamable_http_app()


if __name__ == "__main__":
    library().run()
