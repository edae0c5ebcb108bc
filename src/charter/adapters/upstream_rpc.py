"""What both kinds of upstream share: how requests are written, answers checked, and the era of a server found out.

Charter is the client here. It declares the client capabilities that a system's file allows its server to ask for, which
are none by default, and it sends no word of its caller: no token, no name, no headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from charter import __version__
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.call import Call
from charter.gateway.mcp_features import PROMPT, READ, Offered, feature, sent_as
from charter.gateway.mcp_logs import LOG_LEVEL_KEY, rank_of
from charter.gateway.mcp_protocol import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LEGACY_VERSIONS,
    MODERN_VERSION,
    UPSTREAM_LEGACY_VERSIONS,
    VERSION_KEY,
    RpcCode,
)
from charter.gateway.pins import FEATURES, ToolDefinition, ToolList, UpstreamError, parse_tools

Message = dict[str, Any]
Ask = Callable[[str, dict[str, Any]], Awaitable[Message]]  # sends a method with its parameters, returns the response
CLIENT_INFO = {"name": "charter", "version": __version__}
MAX_PAGES = 100
MAX_CURSOR = 4096
CHANGES = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")  # what is listened for
CHANGED = tuple(f"notifications/{name}/list_changed" for name in ("tools", "prompts", "resources"))
UPDATED = "notifications/resources/updated"
_LISTS = {READ: ("resources/templates/list", "resourceTemplates"), PROMPT: ("prompts/list", "prompts")}
MAX_ERROR_TEXT = 4096
LEGACY_TTL_SECONDS = 30.0
TTL_BOUNDS = (1.0, 60.0)  # seconds: what a server may ask a list to be kept for
_ENVELOPE = {VERSION_KEY: MODERN_VERSION, CLIENT_INFO_KEY: CLIENT_INFO, CLIENT_CAPABILITIES_KEY: {}}
# What these codes mean is settled between each client and its own server; passed on they would mislead the caller.
_OURS_ALONE = frozenset({RpcCode.HEADER_MISMATCH, RpcCode.UNSUPPORTED_VERSION, -32042})

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Peer:
    """What a server turned out to be."""

    version: str
    modern: bool
    has_tools: bool
    tells_changes: bool  # of what it lists
    offered: Offered
    logs: bool = False  # and takes a level, before 2026-07-28


@dataclass(frozen=True, slots=True)
class Listed:
    """A server's tools, and for how many seconds the list may be kept."""

    list: ToolList
    ttl: float


def request(request_id: int, method: str, params: dict[str, Any], *, modern: bool) -> Message:
    """Return a request as the server's era wants it."""
    if modern:
        params = params | {"_meta": params.get("_meta", {}) | _ENVELOPE}
    elif LOG_LEVEL_KEY in params.get("_meta", {}):  # said by `logging/setLevel` before 2026-07-28
        meta = {key: value for key, value in params["_meta"].items() if key != LOG_LEVEL_KEY}
        params = {key: value for key, value in params.items() if key != "_meta"} | ({"_meta": meta} if meta else {})
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def given_up(request_id: int) -> Message:
    """Return what tells a server that nobody waits for an answer of its any more."""
    params = {"requestId": request_id, "reason": "the caller went away or ran out of time"}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


def sent(call: Call) -> tuple[str, dict[str, Any]]:
    """Return the method and the parameters that a call is sent with."""
    asked = {"_meta": {LOG_LEVEL_KEY: call.logs}} if call.logs is not None else {}
    if call.tool in FEATURES:
        return call.tool, sent_as(call.tool, call.arguments) | asked
    return "tools/call", {"name": call.tool, "arguments": call.arguments} | asked


def listening(uris: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of `subscriptions/listen` that asks for all changes of lists, and of these resources."""
    wanted: dict[str, Any] = dict.fromkeys(CHANGES, True)
    named = sorted(uris)
    return {"notifications": wanted | ({"resourceSubscriptions": named} if named else {})}


def uri_in(message: Message) -> str | None:
    """Return the resource that a notification says has changed."""
    params = message.get("params")
    uri = params.get("uri") if isinstance(params, dict) else None
    return uri if isinstance(uri, str) else None


def is_quieter(peer: Peer, level: str | None, wanted: str) -> bool:
    """Whether a legacy server, last told to log from `level` on, has to be told to log more than that."""
    return not peer.modern and peer.logs and (level is None or rank_of(wanted) < rank_of(level))


def telling(params: dict[str, Any], token: int) -> dict[str, Any]:
    """Return the parameters of a request whose progress is to be told, under `token`."""
    return params | {"_meta": params.get("_meta", {}) | {"progressToken": token}}


def initialize_params(capabilities: Message) -> dict[str, Any]:
    """Return the parameters of `initialize`: `capabilities` say what the server may ask."""
    return {"protocolVersion": LEGACY_VERSIONS[0], "capabilities": capabilities, "clientInfo": CLIENT_INFO}


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


async def list_all(ask: Ask, peer: Peer) -> Listed:
    """Return all tools of a server, page by page, and what else it offers.

    Raises:
        UpstreamError: it refuses, or a list is none, or never ends.
    """
    try:
        raw, ttl = await _pages(ask, peer, "tools/list", "tools") if peer.has_tools else ([], LEGACY_TTL_SECONDS)
        found = parse_tools(raw)
    except _UnknownMethodError:
        raise nonsense("that it has tools, and does not know `tools/list`", sent=False) from None
    except MalformedError as err:
        raise UpstreamError(ErrorCode.UPSTREAM_FAILED, err.detail, sent=False) from err
    tools, faults = list(found.tools), list(found.faults)
    for name in peer.offered.names:
        try:
            tool, wrong, other = await _feature(ask, peer, name)
        except UpstreamError as err:  # what it offers beside its tools breaks, and its tools do not
            faults.append(f"`{name}` is left out: {err.detail}")
            continue
        tools.append(tool)
        faults += wrong
        ttl = min(ttl, other)
    return Listed(ToolList(tuple(tools), tuple(faults)), ttl)


async def _feature(ask: Ask, peer: Peer, name: str) -> tuple[ToolDefinition, tuple[str, ...], float]:
    """Return something that a server offers beside tools, what is wrong with it, and how long that may be kept.

    Servers declare what they could have: what there is nothing of is noted, as nobody need look at it.
    """
    if name not in _LISTS:
        return *feature(name), TTL_BOUNDS[1]
    method, key = _LISTS[name]
    try:
        listed, ttl = await _pages(ask, peer, method, key)
    except _UnknownMethodError:  # a server need not have templates to have resources
        listed, ttl = [], TTL_BOUNDS[1]
    is_idle = not listed and (name == PROMPT or not (await list_resources(ask, None))[0])
    return *feature(name, listed, is_idle=is_idle), ttl


class _UnknownMethodError(Exception):
    """The server does not know the method."""


async def _pages(ask: Ask, peer: Peer, method: str, key: str) -> tuple[list[Any], float]:
    """Return all entries of one of a server's lists, and for how many seconds it may be kept."""
    raw: list[Any] = []
    params: dict[str, Any] = {}
    ttl = TTL_BOUNDS[1] if peer.modern else LEGACY_TTL_SECONDS
    for _ in range(MAX_PAGES):
        page, cursor, seconds = _page(await ask(method, params), method, key)
        raw += page
        if peer.modern:
            ttl = min(ttl, seconds)
        if cursor is None:
            return raw, ttl
        params = {"cursor": cursor}
    raise nonsense(f"`{method}` with more than {MAX_PAGES} pages", sent=False)


def _page(answer: Message, method: str, key: str) -> tuple[list[Any], str | None, float]:
    result, error = answer.get("result"), answer.get("error")
    if isinstance(error, dict) and error.get("code") == RpcCode.METHOD_NOT_FOUND:
        raise _UnknownMethodError
    found = result.get(key) if isinstance(result, dict) else None
    if result is None or not isinstance(found, list):
        raise nonsense(f"`{method}` with no list of {key}", sent=False)
    cursor = result.get("nextCursor")
    return found, cursor if isinstance(cursor, str) else None, _seconds(result.get("ttlMs"))


async def list_resources(ask: Ask, cursor: str | None) -> tuple[list[Any], str | None]:
    """Return one page of a server's resources, and the cursor of the next.

    Raises:
        UpstreamError: it refuses, or answers no list.
    """
    answer = await ask("resources/list", {"cursor": cursor} if cursor is not None else {})
    error = answer.get("error")
    if isinstance(error, dict) and cursor is not None and error.get("code") == RpcCode.INVALID_PARAMS:
        raise MalformedError(ErrorCode.BAD_REQUEST, "the cursor is none of this list's: list again from the start")
    try:
        listed, following, _ = _page(answer, "resources/list", "resources")
    except _UnknownMethodError:
        return [], None
    return listed, following if following is not None and len(following) <= MAX_CURSOR else None


def tool_named(tools: tuple[ToolDefinition, ...], name: str) -> ToolDefinition | None:
    """Return the tool of that name."""
    return next((tool for tool in tools if tool.name == name), None)


def _seconds(ttl_ms: Any) -> float:  # noqa: ANN401
    least, most = TTL_BOUNDS
    return max(least, min(ttl_ms, most * 1000) / 1000) if type(ttl_ms) is int and ttl_ms > 0 else least


def _peer(version: str, result: dict[str, Any], *, modern: bool) -> Peer:
    capabilities = result.get("capabilities")
    told = capabilities if isinstance(capabilities, dict) else {}
    lists = [told.get(name) for name in ("tools", "prompts", "resources")]
    tells = any(isinstance(each, dict) and each.get("listChanged") is True for each in lists)
    has_tools, logs = isinstance(told.get("tools"), dict), isinstance(told.get("logging"), dict)
    return Peer(version, modern, has_tools, tells, Offered.of(capabilities), logs)


def _foreign(versions: str) -> UpstreamError:
    return UpstreamError(
        ErrorCode.UPSTREAM_FAILED,
        f"the upstream speaks other versions of MCP than Charter: `{versions}`",
        sent=False,
        help=f"Charter speaks {MODERN_VERSION} and {', '.join(UPSTREAM_LEGACY_VERSIONS)}",
    )
