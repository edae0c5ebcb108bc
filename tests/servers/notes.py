"""A small real MCP server: notes kept in memory. Speaks stdio, or streamable HTTP with `--http PORT`."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("notes", version="1.0.0")
notes: dict[str, str] = {"welcome": "hello"}


class Note(BaseModel):
    """One note."""

    id: str
    text: str


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def read_note(id: str) -> Note:  # noqa: A002 - the tool's argument
    """Return a note."""
    if id not in notes:
        raise ToolError(f"there is no note {id}")
    return Note(id=id, text=notes[id])


@server.tool(annotations=ToolAnnotations(destructive_hint=False))
def write_note(id: str, text: str) -> str:  # noqa: A002
    """Write a note."""
    notes[id] = text
    return f"wrote {id}"


@server.tool()
def drop_note(id: str) -> str:  # noqa: A002
    """Drop a note for good."""
    notes.pop(id, None)
    return f"dropped {id}"


@server.tool(structured_output=False)
async def count(upto: int, ctx: Context) -> str:
    """Count, telling progress."""
    for number in range(1, upto + 1):
        await ctx.report_progress(number, upto, f"at {number}")
        await asyncio.sleep(0.01)
    return f"counted to {upto}"


@server.tool(structured_output=False)
async def wait(seconds: float) -> str:
    """Wait; leaves the file named by WAIT_MARK behind if it was cancelled."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        mark = os.environ.get("WAIT_MARK")
        if mark:
            with open(mark, "w") as file:  # noqa: ASYNC230, PTH123
                file.write("cancelled")
        raise
    return "waited"


@server.tool()
def environment() -> list[str]:
    """Return the names of the variables this process sees."""
    return sorted(os.environ)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run()
