"""An MCP server on streamable HTTP, by hand in plain ASGI, whose every answer a test can bend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
OnCall = Callable[[dict[str, Any], Send], Awaitable[None]]
TOOL = {"name": "act", "description": "Act.", "inputSchema": {"type": "object"}}


class RogueHttp:
    """Speaks 2025-11-25 with sessions, or 2026-07-28. `on_call` answers `tools/call`."""

    def __init__(self, on_call: OnCall | None = None, *, modern: bool = False) -> None:
        self.on_call = on_call or echo
        self.modern = modern
        self.tool: dict[str, Any] = TOOL
        self.others: list[dict[str, Any]] = []  # tools beside it
        self.sessions = 0
        self.ended: set[str] = set()
        self.seen: list[tuple[str, dict[str, str], dict[str, Any] | None]] = []  # method, headers, body
        self.listeners: list[asyncio.Queue[str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        try:
            message = json.loads(body) if body else None
        except ValueError:  # bytes that are no UTF-8 among them
            message = ()
        if not isinstance(message, dict | None):
            await plain(send, 400)
            return
        self.seen.append((scope["method"], headers, message))
        # `on_call` as it is now: a test that saw the call arrive may bend the next one's answer, never this one's.
        answering = asyncio.create_task(self._answer(scope, headers, message, send, self.on_call))
        leaving = asyncio.create_task(gone(receive))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(
        self, scope: Any, headers: dict[str, str], message: dict[str, Any] | None, send: Send, on_call: OnCall
    ) -> None:
        if scope["method"] == "GET" and not self.modern:
            await self._listen(send)
        elif scope["method"] != "POST" or message is None:
            await plain(send, 200 if scope["method"] == "DELETE" else 405)
        else:
            await self._post(headers, message, send, on_call)

    async def _post(self, headers: dict[str, str], message: dict[str, Any], send: Send, on_call: OnCall) -> None:
        method = message.get("method")
        if method == "server/discover" and self.modern:
            caps = {"tools": {"listChanged": True}}
            await respond(send, message, {"supportedVersions": ["2026-07-28"], "capabilities": caps, "ttlMs": 60_000})
        elif method == "initialize" and not self.modern:
            self.sessions += 1
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}}
            await respond(send, message, result, session=f"session-{self.sessions}")
        elif not self.modern and headers.get("mcp-session-id") in {None, *self.ended}:
            await plain(send, 400 if "mcp-session-id" not in headers else 404)
        elif "id" not in message or method is None:
            await plain(send, 202)
        elif method == "tools/list":
            await respond(send, message, {"tools": [self.tool, *self.others], "ttlMs": 60_000})
        elif method == "subscriptions/listen":
            await self._listen(send)
        elif method == "tools/call":
            await on_call(message, send)
        else:
            await plain(send, 404)

    async def _listen(self, send: Send) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.listeners.append(queue)
        await stream(send)
        while True:
            await event(send, {"jsonrpc": "2.0", "method": await queue.get()})

    def calls(self) -> list[dict[str, Any]]:
        return [message for _, _, message in self.seen if message and message.get("method") == "tools/call"]

    def headers_of_call(self) -> dict[str, str]:
        return next(headers for _, headers, message in self.seen if message and message.get("method") == "tools/call")


async def gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def echo(message: dict[str, Any], send: Send) -> None:
    await respond(send, message, text(json.dumps(message["params"]["arguments"])))


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


async def respond(send: Send, message: dict[str, Any], result: dict[str, Any], session: str | None = None) -> None:
    headers = [(b"mcp-session-id", session.encode())] if session else []
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    await raw(send, 200, body, b"application/json", *headers)


async def raw(send: Send, status: int, body: bytes, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})
    await send({"type": "http.response.body", "body": body})


async def plain(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body"})


async def stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})


async def event(send: Send, message: dict[str, Any], *, more: bool = True) -> None:
    data = b"data: " + json.dumps(message).encode() + b"\r\n\r\n"
    await send({"type": "http.response.body", "body": data, "more_body": more})
