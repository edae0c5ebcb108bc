"""A server of resources that change, made with the SDK of 2025, in .venv-servers-v1: over stdio, or on a port."""

from __future__ import annotations

import sys
from typing import Any

from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("garden", log_level="ERROR")
levels = ["emergency"]
subscribed: set[str] = set()


@server.resource("bed://roses")
def roses() -> str:
    return "red"


@server.tool()
async def grow(uri: str, ctx: Context) -> str:
    """Let something grow."""
    if uri in subscribed:
        await ctx.session.send_resource_updated(uri)  # type: ignore[arg-type]
    if levels[-1] == "debug":
        await ctx.debug(f"{uri} grows")
    return "grown"


@server._mcp_server.subscribe_resource()
async def subscribe(uri: Any) -> None:
    subscribed.add(str(uri))


@server._mcp_server.unsubscribe_resource()
async def unsubscribe(uri: Any) -> None:
    subscribed.discard(str(uri))


@server._mcp_server.set_logging_level()
async def set_level(level: str) -> None:
    levels.append(level)


capabilities_of = server._mcp_server.get_capabilities


def capabilities(*given: Any) -> Any:
    """Say that it tells of changes, which this SDK does not say by itself."""
    found = capabilities_of(*given)
    found.resources.subscribe = True
    return found


server._mcp_server.get_capabilities = capabilities  # type: ignore[method-assign]
if sys.argv[1] != "stdio":
    server.settings.port = int(sys.argv[1])
server.run("stdio" if sys.argv[1] == "stdio" else "streamable-http")
