"""A client by hand, of the versions with sessions, that accepts each form it is asked; and a server that asks it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp

from mcp_stage import SERVERS, Stage, a_record, stdio


def nosy(mode: str, *asks: str) -> Any:
    """Return a system whose server asks as `mode` says."""
    upstream = stdio(sys.executable, "-S", str(SERVERS / "nosy.py"), mode, asks=list(asks or ("elicitation",)))
    return a_record(upstream, ("act",), "nosy")


@dataclass
class Client:
    """One principal's client, with a session of its own."""

    behind: Stage
    web: aiohttp.ClientSession
    who: str
    session: str | None = None
    asked: int = 0

    async def text(self) -> str:
        """Call the tool; return the text of its answer."""
        return str((await self.call())["result"]["content"][0]["text"])

    async def call(self) -> dict[str, Any]:
        """Call the tool; answer what is asked on the way; return the response."""
        if self.session is None:
            can = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
            params = {"protocolVersion": "2025-11-25", "capabilities": can, "clientInfo": {"name": "x"}}
            async with self._post({"id": 1, "method": "initialize", "params": params}) as opened:
                self.session = opened.headers["Mcp-Session-Id"]
        async with self._post({"id": 2, "method": "tools/call", "params": {"name": "act"}}) as answer:
            if answer.content_type == "application/json":
                return dict(await answer.json())
            async for line in answer.content:
                if line.startswith(b"data: "):
                    message = json.loads(line.removeprefix(b"data: "))
                    if "method" not in message:
                        return dict(message)
                    self.asked += 1
                    said = {"action": "accept", "content": {"name": "me"}}
                    async with self._post({"id": message["id"], "result": said}) as taken:
                        assert taken.status == 202
        raise AssertionError("no answer")

    def _post(self, message: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self.behind.token(self.who, 'nosy')}"}
        headers["Accept"] = "application/json, text/event-stream"
        if self.session is not None:
            headers["Mcp-Session-Id"] = self.session
        return self.web.post(self.behind.url("nosy"), json={"jsonrpc": "2.0"} | message, headers=headers)
