"""The demo's agent: a program of its own that uses the official `mcp` client and knows nothing of Charter.

It reads one JSON list of calls from standard input, `[{"system": "git", "tool": "git_log", "arguments": {…}}, …]`,
finds each system's endpoint in its environment as any configured MCP client would, makes the calls in order, and prints
one JSON line per call: `{"tool", "ok", "text" | "error", "data", "ms"}`. A call `{"system": …, "list": true}` lists the
tools instead. A call with `"until": PATH` is repeated until that file is there, and then made once more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mcp import Client, MCPError

PAUSE_SECONDS = 0.2


def endpoint(system: str) -> str:
    """Return the MCP endpoint this agent was given for `system`."""
    return os.environ["CHARTER_MCP_URL_" + system.upper().replace("-", "_")]


async def make(call: dict[str, Any]) -> dict[str, Any]:
    """Make one call and say how it went."""
    started = time.perf_counter()
    answer: dict[str, Any] = {"tool": call.get("tool", "tools/list")}
    try:
        async with Client(endpoint(call["system"])) as client:
            if call.get("list"):
                listed = await client.list_tools()
                answer |= {"ok": True, "text": ", ".join(t.name for t in listed.tools)}
            else:
                result = await client.call_tool(call["tool"], call.get("arguments", {}))
                text = "\n".join(getattr(part, "text", "") for part in result.content)
                answer |= {"ok": not result.is_error, "text": text[:2000]}
                if result.is_error:
                    answer |= {"error": text[:2000], "data": (result.meta or {}).get("charter/refusal")}
    except* MCPError as group:
        error = next(iter(_leaves(group)))
        answer |= {"ok": False, "error": error.message, "data": error.data, "code": error.code}
    except* OSError as group:
        answer |= {"ok": False, "error": str(next(iter(_leaves(group)))), "data": None}
    answer["ms"] = round((time.perf_counter() - started) * 1000, 1)
    return answer


def _leaves(group: BaseExceptionGroup[Any]) -> list[Any]:
    found: list[Any] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def main() -> None:
    """Make the calls that standard input names."""
    for call in json.load(sys.stdin):
        while "until" in call and not Path(call["until"]).exists():  # noqa: ASYNC240 - nothing else waits here
            print(json.dumps(await make(call)), flush=True)  # noqa: T201 - its output
            await asyncio.sleep(PAUSE_SECONDS)
        print(json.dumps(await make(call)), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
