"""`charter mcp`: MCP on standard input and output, for hosts that only start servers; streamable HTTP towards Charter.

Lines go on as they are, byte for byte, once they were read as one JSON-RPC message; the gateway alone decides. Here is
done what the two transports do differently:

- *Modern* (2026-07-28): version, method, name and mirrored arguments travel as headers too; `notifications/cancelled`
  becomes what cancellation is over HTTP, the end of the answer's stream.
- *Legacy*: the session that `initialize` opened is kept here, its stream listened to, and opened again if it was lost.

INVARIANT: each request gets one answer, unless it was cancelled: from the gateway, or an error that says what failed.
INVARIANT: requests under way are bounded, and so is the size of each message, in both directions.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import msgspec

from charter.cli.mcp_endpoint import messages
from charter.core.errors import CharterError, ErrorCode, MalformedError, ThrottledError, UnavailableError
from charter.gateway.mcp import is_id
from charter.gateway.mcp_answers import Message, RequestId, WireError, error_message, error_of
from charter.gateway.mcp_json import parse_json
from charter.gateway.mcp_params import ParamHeader, declared_headers, mirrored
from charter.gateway.mcp_protocol import (
    METHOD_HEADER,
    NAME_HEADER,
    SESSION_HEADER,
    VERSION_HEADER,
    VERSION_KEY,
    RpcCode,
    encode_header,
)

MAX_UNDER_WAY = 256
MAX_TOOLS = 4096  # whose mirrored arguments are remembered
MAX_PAGES = 64  # of a list of tools that is read to learn them
AGAIN_SECONDS, MOST_AGAIN_SECONDS = 1.0, 30.0  # before a session's stream is opened anew
SETTLE_SECONDS = 1.5  # for what is under way when the host closes standard input; hosts wait two seconds
END_SECONDS = 0.5  # for the gateway to be told that the session is over
_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_encode = msgspec.json.Encoder().encode


class Asks(Protocol):
    """The endpoint."""

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send one request; give its answer."""
        ...


@dataclass(slots=True, eq=False)
class _UnderWay:
    """One request of the host that has no answer yet."""

    id: RequestId
    line: bytes
    method: str
    params: dict[str, Any]
    modern: bool
    task: asyncio.Task[None] | None = None
    is_cancelled: bool = False
    is_answered: bool = False


class Bridge:
    """Takes the host's lines to the endpoint, and what that says back."""

    def __init__(self, endpoint: Asks, say: Callable[[bytes], Awaitable[None]]) -> None:
        self._endpoint = endpoint
        self._say_line = say
        self._under_way: dict[RequestId, _UnderWay] = {}
        self._others: set[asyncio.Task[None]] = set()  # notifications and answers of the host on their way
        self._session: str | None = None
        self._version: str | None = None
        self._opening: bytes | None = None  # the `initialize` that opened the session
        self._reopening = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._mirrored: OrderedDict[str, tuple[ParamHeader, ...]] = OrderedDict()

    async def take(self, line: bytes | None) -> None:
        """Take one line of the host's, None if it was too long. Its answer comes when it comes."""
        try:
            message = self._read(line)
        except WireError as err:
            await self._say(error_message(err.request_id, error_of(err)))
            return
        method, params = message.get("method"), message.get("params")
        known = params if isinstance(params, dict) else {}
        if not isinstance(method, str):  # the host's answer to a question of a server's
            self._send(line or b"", {})
        elif "id" not in message:
            self._notified(line or b"", method, known)
        else:
            meta = known.get("_meta")
            modern = isinstance(meta, dict) and VERSION_KEY in meta
            await self._begin(_UnderWay(message["id"], line or b"", method, known, modern))

    async def settle(self) -> None:
        """Wait a moment for what is under way: the host says nothing more."""
        tasks = [each.task for each in self._under_way.values() if each.task is not None]
        if tasks or self._others:
            await asyncio.wait([*tasks, *self._others], timeout=SETTLE_SECONDS)

    async def close(self) -> None:
        """End what is under way, and the session."""
        tasks = [each.task for each in self._under_way.values() if each.task is not None]
        tasks += [*self._others, *([self._listening] if self._listening is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            with contextlib.suppress(CharterError, TimeoutError):
                async with asyncio.timeout(END_SECONDS), self._endpoint.ask("DELETE", self._of_session()):
                    self._session = None

    def _read(self, line: bytes | None) -> dict[str, Any]:
        if line is None:
            raise WireError(RpcCode.INVALID_REQUEST, "the message is too long")
        try:
            message = parse_json(line)
        except MalformedError as err:
            raise WireError(RpcCode.PARSE_ERROR, err.detail) from err
        if not isinstance(message, dict):
            raise WireError(RpcCode.INVALID_REQUEST, "a line holds one JSON-RPC message, and no batch")
        if "id" in message and not is_id(message["id"]):
            raise WireError(RpcCode.INVALID_REQUEST, "the `id` is neither a short text nor a safe integer")
        return message

    async def _begin(self, asked: _UnderWay) -> None:
        if asked.id in self._under_way:
            text = "a request of this id is under way"
            await self._fail(asked, WireError(RpcCode.INVALID_REQUEST, text, request_id=asked.id))
            return
        if len(self._under_way) >= MAX_UNDER_WAY:
            text = f"{MAX_UNDER_WAY} requests are under way"
            await self._fail(asked, ThrottledError(ErrorCode.TOO_MANY, text, help="wait for some to end"))
            return
        self._under_way[asked.id] = asked
        asked.task = asyncio.create_task(self._answer(asked))

    def _notified(self, line: bytes, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/cancelled":
            asked = self._under_way.get(params["requestId"]) if is_id(params.get("requestId")) else None
            if asked is not None:
                asked.is_cancelled = True
                if asked.modern and asked.task is not None:
                    asked.task.cancel()  # the end of its stream says so to the gateway
        if self._session is not None:
            self._send(line, self._of_session())
        if method == "notifications/initialized" and self._session is not None and self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    def _send(self, line: bytes, headers: dict[str, str]) -> None:
        """Send what has no answer."""
        if len(self._others) >= MAX_UNDER_WAY:
            return

        async def send() -> None:
            with contextlib.suppress(CharterError):
                async with self._endpoint.ask("POST", headers or self._of_session(), line):
                    pass

        task = asyncio.create_task(send())
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _answer(self, asked: _UnderWay) -> None:
        """See to the answer of one request."""
        try:
            again = await self._exchange(asked)
            if again:
                again = await self._exchange(asked, is_last=True)
            if not asked.is_answered:
                raise UnavailableError(
                    ErrorCode.NOT_RUNNING,
                    "the answer broke off: what was asked may have happened",
                    help="see that Charter runs: charter up",
                )
        except CharterError as err:
            await self._fail(asked, err)
        finally:
            if self._under_way.get(asked.id) is asked:
                del self._under_way[asked.id]

    async def _exchange(self, asked: _UnderWay, *, is_last: bool = False) -> bool:
        """Send a request and pass its answer on; return whether it is to be sent again.

        Raises:
            CharterError: it cannot be sent, or its answer cannot be read.
        """
        session = self._session
        async with self._endpoint.ask("POST", self._headers(asked), asked.line) as answer:
            is_lost = (
                answer.status == HTTPStatus.NOT_FOUND
                and session is not None
                and not (asked.modern or asked.method == "initialize")
            )
            if not is_last and is_lost:
                await self._reopen(session)
                return True
            async for data in messages(answer):
                message = _decoded(data, answer)
                if "method" in message:
                    await self._say(message)
                    continue
                if not is_last and asked.modern and await self._learns(asked, message):
                    return True
                if asked.method == "initialize":
                    self._opened(asked, message, answer.headers.get(SESSION_HEADER))
                if asked.method == "tools/list":
                    self._learn(message)
                if not (asked.is_cancelled or asked.is_answered):
                    asked.is_answered = True
                    await self._say(message | {"id": asked.id})
        return False

    def _headers(self, asked: _UnderWay) -> dict[str, str]:
        """Return what a request says in its headers too."""
        if not asked.modern:
            return {} if asked.method == "initialize" else self._of_session()
        headers = {}
        version = asked.params["_meta"][VERSION_KEY]
        if isinstance(version, str) and _VISIBLE.fullmatch(version):
            headers[VERSION_HEADER] = version
        if _VISIBLE.fullmatch(asked.method):
            headers[METHOD_HEADER] = asked.method
        name, arguments = asked.params.get(_NAMED_BY.get(asked.method, "")), asked.params.get("arguments")
        if isinstance(name, str):
            headers[NAME_HEADER] = encode_header(name)
            if asked.method == "tools/call" and isinstance(arguments, dict):
                headers |= mirrored(self._mirrored.get(name, ()), arguments)
        return headers

    def _of_session(self) -> dict[str, str]:
        told = {SESSION_HEADER: self._session, VERSION_HEADER: self._version}
        return {name: value for name, value in told.items() if value is not None}

    def _opened(self, asked: _UnderWay, message: Message, session: str | None) -> None:
        """Keep the session that an `initialize` opened."""
        result = message.get("result")
        if session is None or not isinstance(result, dict):
            return
        self._session, self._version = session, str(result.get("protocolVersion"))
        self._opening = asked.line

    async def _reopen(self, lost: str | None) -> None:
        """Open the session again that the gateway knows no longer, as the host once did; the first to notice does.

        Raises:
            CharterError: it cannot be opened.
        """
        async with self._reopening:
            if self._session != lost or self._opening is None:
                return
            asked = _UnderWay("charter-mcp", self._opening, "initialize", {}, modern=False)
            async with self._endpoint.ask("POST", {}, asked.line) as answer:
                async for data in messages(answer):
                    self._opened(asked, _decoded(data, answer), answer.headers.get(SESSION_HEADER))
            if self._session == lost:
                raise UnavailableError(ErrorCode.NOT_RUNNING, "the session with Charter is lost", help="start again")
            initialized = _encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
            async with self._endpoint.ask("POST", self._of_session(), initialized):
                pass

    async def _listen(self) -> None:
        """Pass on what the gateway says in a session outside of requests, for as long as it says anything."""
        wait = AGAIN_SECONDS
        while True:
            with contextlib.suppress(CharterError):
                async with self._endpoint.ask("GET", self._of_session()) as answer:
                    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
                        return
                    if answer.status == HTTPStatus.OK:
                        wait = AGAIN_SECONDS
                        async for data in messages(answer):
                            await self._say(_decoded(data, answer))
            await asyncio.sleep(wait)
            wait = min(2 * wait, MOST_AGAIN_SECONDS)

    def _learn(self, message: Message) -> None:
        """Remember which arguments of listed tools travel as headers too."""
        result = message.get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            with contextlib.suppress(MalformedError):
                if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                    self._mirrored[tool["name"]] = declared_headers(tool.get("inputSchema"))
                    self._mirrored.move_to_end(tool["name"])
        while len(self._mirrored) > MAX_TOOLS:
            self._mirrored.popitem(last=False)

    async def _learns(self, asked: _UnderWay, message: Message) -> bool:
        """Read the list of tools if a call was refused for want of its mirrored arguments; return whether that helped.

        Over stdio nothing is mirrored, so that a host need not list tools before it calls one.
        """
        error, name = message.get("error"), asked.params.get("name")
        if not isinstance(error, dict) or error.get("code") != RpcCode.HEADER_MISMATCH or asked.method != "tools/call":
            return False
        before = self._mirrored.get(str(name))
        cursor: object = None
        for _ in range(MAX_PAGES):
            params = {"_meta": asked.params["_meta"]} | ({"cursor": cursor} if cursor is not None else {})
            body = {"jsonrpc": "2.0", "id": "charter-mcp", "method": "tools/list", "params": params}
            listing = _UnderWay("charter-mcp", _encode(body), "tools/list", params, modern=True)
            async with self._endpoint.ask("POST", self._headers(listing), listing.line) as answer:
                found = [_decoded(data, answer) async for data in messages(answer)][-1]
            self._learn(found)
            cursor = found.get("result", {}).get("nextCursor")
            if cursor is None:
                break
        return self._mirrored.get(str(name)) != before

    async def _fail(self, asked: _UnderWay, err: CharterError) -> None:
        if not (asked.is_cancelled or asked.is_answered):
            asked.is_answered = True
            await self._say(error_message(asked.id, error_of(err)))

    async def _say(self, message: Message) -> None:
        await self._say_line(_encode(message))


def _decoded(data: bytes, answer: aiohttp.ClientResponse) -> Message:
    """Return a message of the gateway's.

    Raises:
        UnavailableError: it is none: something else answered.
    """
    with contextlib.suppress(msgspec.MsgspecError):
        message = msgspec.json.decode(data)
        if isinstance(message, dict) and not message.keys().isdisjoint({"method", "result", "error"}):
            return message
    text = f"what answered is no Charter (status {answer.status})"
    raise UnavailableError(ErrorCode.NOT_RUNNING, text, help="check its address: charter doctor")
