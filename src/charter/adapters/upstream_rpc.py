"""What both kinds of upstream share: how requests are written, answers checked, and the era of a server found out.

Charter is the client here. It declares no client capabilities, so a server has nothing to ask of it, and it sends no
word of its caller: no token, no name, no headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from charter import __version__
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.mcp_protocol import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LEGACY_VERSIONS,
    MODERN_VERSION,
    UPSTREAM_LEGACY_VERSIONS,
    VERSION_KEY,
    RpcCode,
)
from charter.gateway.pins import ToolDefinition, ToolList, UpstreamError, parse_tools

Message = dict[str, Any]
CLIENT_INFO = {"name": "charter", "version": __version__}
MAX_PAGES = 100
MAX_ERROR_TEXT = 4096
LEGACY_TTL_SECONDS = 30.0
TTL_BOUNDS = (1.0, 60.0)  # seconds: what a server may ask a list to be kept for
_ENVELOPE = {VERSION_KEY: MODERN_VERSION, CLIENT_INFO_KEY: CLIENT_INFO, CLIENT_CAPABILITIES_KEY: {}}
# What these codes mean is settled between each client and its own server; passed on they would mislead the caller.
_OURS_ALONE = frozenset({RpcCode.HEADER_MISMATCH, RpcCode.UNSUPPORTED_VERSION, -32021, -32042})

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Peer:
    """What a server turned out to be."""

    version: str
    modern: bool
    has_tools: bool
    tells_changes: bool  # of its list of tools


@dataclass(frozen=True, slots=True)
class Listed:
    """A server's tools, and for how many seconds the list may be kept."""

    list: ToolList
    ttl: float


def request(request_id: int, method: str, params: dict[str, Any], *, modern: bool) -> Message:
    """Return a request as the server's era wants it."""
    if modern:
        params = params | {"_meta": params.get("_meta", {}) | _ENVELOPE}
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def call_params(tool: str, arguments: dict[str, Any], progress: int | None) -> dict[str, Any]:
    """Return the parameters of a `tools/call`; `progress` is the token progress is to be told under."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    return params if progress is None else params | {"_meta": {"progressToken": progress}}


def initialize_params() -> dict[str, Any]:
    """Return the parameters of `initialize`."""
    return {"protocolVersion": LEGACY_VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT_INFO}


def read_message(data: bytes, *, sent: bool) -> Message:
    """Return the JSON-RPC message that `data` holds.

    Raises:
        UpstreamError: it holds none.
    """
    try:
        message = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise nonsense("something that is no JSON", sent=sent) from err
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise nonsense("something that is no JSON-RPC message", sent=sent)
    return message


def final(message: Message, *, sent: bool) -> Message:
    """Return the bare `{"result": …}` or `{"error": …}` of a response.

    Raises:
        UpstreamError: it is neither, or asks for input that nobody here can give.
    """
    result, error = message.get("result"), message.get("error")
    if isinstance(result, dict) and "error" not in message:
        if result.get("resultType", "complete") != "complete":
            kind = str(result["resultType"])[:40]
            raise nonsense(f"a result of the kind {kind!a}, which is not passed on", sent=sent)
        return {"result": result}
    if isinstance(error, dict) and "result" not in message and type(error.get("code")) is int:
        code = RpcCode.INTERNAL_ERROR if error["code"] in _OURS_ALONE else error["code"]
        passed: dict[str, Any] = {"code": int(code), "message": str(error.get("message", ""))[:MAX_ERROR_TEXT]}
        return {"error": passed | ({"data": error["data"]} if "data" in error else {})}
    raise nonsense("a response that is neither a result nor an error", sent=sent)


def nonsense(what: str, *, sent: bool) -> UpstreamError:
    """Return the error for an upstream that answers what no server may."""
    return UpstreamError(ErrorCode.UPSTREAM_FAILED, f"the upstream answered {what}", sent=sent)


def too_slow(*, sent: bool) -> UpstreamError:
    """Return the error for an upstream that did not answer before the deadline."""
    return UpstreamError(ErrorCode.UPSTREAM_TIMEOUT, "the upstream did not answer in time", sent=sent)


def peer_from_discover(answer: Message) -> Peer | None:
    """Return what a server's answer to `server/discover` shows it to be; None asks for the handshake.

    Raises:
        UpstreamError: it speaks only versions that Charter does not.
    """
    result, error = answer.get("result"), answer.get("error")
    if isinstance(result, dict):
        versions = result.get("supportedVersions")
        if not isinstance(versions, list) or MODERN_VERSION not in versions:
            return None
        return _peer(MODERN_VERSION, result, modern=True)
    data = error.get("data") if isinstance(error, dict) and error.get("code") == RpcCode.UNSUPPORTED_VERSION else None
    supported = data.get("supported") if isinstance(data, dict) else None
    if isinstance(supported, list) and not any(version in UPSTREAM_LEGACY_VERSIONS for version in supported):
        raise _foreign(", ".join(str(version)[:20] for version in supported[:5]))
    return None


def peer_from_initialize(answer: Message) -> Peer:
    """Return what a server's answer to `initialize` shows it to be.

    Raises:
        UpstreamError: it refuses, or names a version that Charter does not speak.
    """
    result = answer.get("result")
    if not isinstance(result, dict):
        raise nonsense("`initialize` with an error", sent=False)
    version = result.get("protocolVersion")
    if version not in UPSTREAM_LEGACY_VERSIONS:
        raise _foreign(str(version)[:40])
    return _peer(str(version), result, modern=False)


async def list_tools(ask: Callable[[dict[str, Any]], Awaitable[Message]], peer: Peer) -> Listed:
    """Return all tools of a server, page by page.

    Raises:
        UpstreamError: it refuses, or its list is no list of tools, or never ends.
    """
    if not peer.has_tools:
        return Listed(ToolList(()), LEGACY_TTL_SECONDS)
    raw: list[Any] = []
    params: dict[str, Any] = {}
    ttl = TTL_BOUNDS[1] if peer.modern else LEGACY_TTL_SECONDS
    for _ in range(MAX_PAGES):
        result = (await ask(params)).get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        if result is None or not isinstance(tools, list):
            raise nonsense("`tools/list` with no list of tools", sent=False)
        raw += tools
        if peer.modern:
            ttl = min(ttl, _seconds(result.get("ttlMs")))
        cursor = result.get("nextCursor")
        if not isinstance(cursor, str):
            return Listed(_parsed(raw), ttl)
        params = {"cursor": cursor}
    raise nonsense(f"`tools/list` with more than {MAX_PAGES} pages", sent=False)


def _parsed(raw: list[Any]) -> ToolList:
    try:
        return parse_tools(raw)
    except MalformedError as err:
        raise UpstreamError(ErrorCode.UPSTREAM_FAILED, err.detail, sent=False) from err


def tool_named(tools: tuple[ToolDefinition, ...], name: str) -> ToolDefinition | None:
    """Return the tool of that name."""
    return next((tool for tool in tools if tool.name == name), None)


def _seconds(ttl_ms: Any) -> float:  # noqa: ANN401
    least, most = TTL_BOUNDS
    return max(least, min(ttl_ms, most * 1000) / 1000) if type(ttl_ms) is int and ttl_ms > 0 else least


def _peer(version: str, result: dict[str, Any], *, modern: bool) -> Peer:
    capabilities = result.get("capabilities")
    tools = capabilities.get("tools") if isinstance(capabilities, dict) else None
    tells = isinstance(tools, dict) and tools.get("listChanged") is True
    return Peer(version, modern, isinstance(tools, dict), tells)


def _foreign(versions: str) -> UpstreamError:
    return UpstreamError(
        ErrorCode.UPSTREAM_FAILED,
        f"the upstream speaks other versions of MCP than Charter: `{versions}`",
        sent=False,
        help=f"Charter speaks {MODERN_VERSION} and {', '.join(UPSTREAM_LEGACY_VERSIONS)}",
    )
