"""MCP's wire <-> a call: reads one message, checks that headers and body agree, and makes the `Call`. No decisions.

INVARIANT: what the pipeline decides on is read from the body alone. Headers only have to agree with it: a header that
differs is refused, since something between caller and gateway may have acted on it.
INVARIANT: one POST is one request or one notification. Batches, responses and anything else are refused.

Source: 2026-07-28 basic/index and basic/transports/streamable-http; 2025-11-25 basic/transports.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from charter.core.canonical import MAX_SAFE_INTEGER, digest_of
from charter.core.errors import MalformedError
from charter.gateway.call import Call
from charter.gateway.mcp_answers import RequestId, WireError
from charter.gateway.mcp_asking import MAX_ANSWERS, MAX_STATE
from charter.gateway.mcp_features import asked_of
from charter.gateway.mcp_json import parse_json
from charter.gateway.mcp_logs import LOG_LEVEL_KEY, read_level
from charter.gateway.mcp_params import check_mirrored
from charter.gateway.mcp_protocol import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LEGACY_VERSIONS,
    METHOD_HEADER,
    MODERN_VERSION,
    NAME_HEADER,
    NAMED_BY,
    SESSION_HEADER,
    SUPPORTED_VERSIONS,
    VERSION_HEADER,
    VERSION_KEY,
    RpcCode,
    decode_header,
)
from charter.gateway.pins import FEATURES, MAX_NAME, ToolDefinition

MAX_METHOD = 128
MAX_ID = 256
RUN_HEADER, REQUEST_HEADER = "charter-session", "charter-request"
REQUEST_KEY = "charter/request"  # in a call's `_meta`: what the person asked for, in their words
MAX_RUN = 128
MAX_REQUEST = 32_768
MAX_CLIENT = 80  # characters of a program's name and version that are kept
Headers = Mapping[str, str]  # names in lower case


class Frame(msgspec.Struct, frozen=True):
    """One message from a caller: a request, or a notification if it has no id."""

    id: RequestId | None
    method: str
    params: dict[str, Any]
    meta: dict[str, Any] = msgspec.field(default_factory=dict)  # the `_meta` of its parameters, whatever is given here

    def __post_init__(self) -> None:
        meta = self.params.get("_meta")
        msgspec.structs.force_setattr(self, "meta", meta if isinstance(meta, dict) else {})

    @property
    def progress_token(self) -> RequestId | None:
        """What the caller wants progress told under, if it wants any."""
        token = self.meta.get("progressToken")
        return token if is_id(token) else None

    @property
    def log_level(self) -> str | None:
        """The least level of what a server logs meanwhile that the caller wants to be told, if any."""
        return read_level(self.meta.get(LOG_LEVEL_KEY))


class ToolCall(msgspec.Struct, frozen=True):
    """What a request asks for, before anything is known about the tool or what else it is."""

    tool: str
    arguments: dict[str, Any]
    answers: dict[str, Any] = msgspec.field(default_factory=dict)  # to what an earlier result asked for
    state: str | None = None  # what that result had the caller send back


def parse_frame(data: bytes) -> Frame:
    """Return the message that a POST's body holds.

    Raises:
        WireError: it is not exactly one JSON-RPC request or notification; of a response the error holds it as `answer`.
    """
    try:
        body = parse_json(data)
    except MalformedError as err:
        raise WireError(RpcCode.PARSE_ERROR, err.detail) from err
    if not isinstance(body, dict):
        kind = "a batch of messages is" if isinstance(body, list) else "such a body is"
        raise WireError(RpcCode.INVALID_REQUEST, f"{kind} not accepted; send one JSON-RPC message")
    request_id = body.get("id")
    if "id" in body and not is_id(request_id):
        raise WireError(RpcCode.INVALID_REQUEST, "the `id` is neither a short text nor a safe integer")
    if "result" in body or "error" in body:
        text = "no request waits for this response"
        raise WireError(RpcCode.INVALID_REQUEST, text, request_id=request_id, answer=body)
    method, params = body.get("method"), body.get("params", {})
    if body.get("jsonrpc") != "2.0" or not isinstance(method, str) or not 1 <= len(method) <= MAX_METHOD:
        raise WireError(RpcCode.INVALID_REQUEST, "the message is not JSON-RPC 2.0", request_id=request_id)
    if not isinstance(params, dict):
        raise WireError(RpcCode.INVALID_REQUEST, "the `params` are no object", request_id=request_id)
    return Frame(request_id, method, params)


def is_modern(frame: Frame, headers: Headers) -> bool:
    """Return whether the message speaks 2026-07-28; False for the handshake's versions.

    Raises:
        WireError: it names a version not spoken here, or none.
    """
    version = headers.get(VERSION_HEADER)
    if version == MODERN_VERSION or VERSION_KEY in frame.meta:
        return True
    if version in LEGACY_VERSIONS or (version is None and (frame.method == "initialize" or SESSION_HEADER in headers)):
        return False
    if version is None:
        raise WireError(RpcCode.HEADER_MISMATCH, "the header `MCP-Protocol-Version` is missing", request_id=frame.id)
    raise _unsupported(version, frame.id)


def check_modern(frame: Frame, headers: Headers) -> None:
    """Check a 2026-07-28 request's envelope, and its headers against its body.

    Raises:
        WireError: a required field or header is missing, they differ, or the version is not spoken here.
    """
    version = frame.meta.get(VERSION_KEY)
    if not isinstance(version, str) or not isinstance(frame.meta.get(CLIENT_CAPABILITIES_KEY), dict):
        text = f"`_meta` needs `{VERSION_KEY}` and `{CLIENT_CAPABILITIES_KEY}`"
        raise WireError(RpcCode.INVALID_PARAMS, text, request_id=frame.id)
    if headers.get(VERSION_HEADER) != version:
        raise _mismatch("MCP-Protocol-Version", frame.id)
    if METHOD_HEADER not in headers:
        raise _mismatch("Mcp-Method", frame.id)
    if NAME_HEADER not in headers and frame.method in NAMED_BY:
        raise _mismatch("Mcp-Name", frame.id)
    check_mirrors(frame, headers)
    if version != MODERN_VERSION:
        raise _unsupported(version, frame.id)


def check_mirrors(frame: Frame, headers: Headers) -> None:
    """Check that a method and name in the headers, where they stand, are the body's.

    Raises:
        WireError: one differs, or cannot be decoded.
    """
    if headers.get(METHOD_HEADER, frame.method) != frame.method:
        raise _mismatch("Mcp-Method", frame.id)
    key = NAMED_BY.get(frame.method)
    if key is None or NAME_HEADER not in headers:
        return
    try:
        name = decode_header(headers[NAME_HEADER])
    except MalformedError as err:
        raise WireError(RpcCode.HEADER_MISMATCH, err.detail, request_id=frame.id) from err
    if name != frame.params.get(key):
        raise _mismatch("Mcp-Name", frame.id)


def tool_call(frame: Frame) -> ToolCall:
    """Return what a `tools/call` asks for.

    Raises:
        WireError: it names no tool, its arguments are no object, or the answers it carries are none.
    """
    tool, arguments = frame.params.get("name"), frame.params.get("arguments", {})
    if not isinstance(tool, str) or not 1 <= len(tool) <= MAX_NAME or tool in FEATURES:
        raise WireError(RpcCode.INVALID_PARAMS, "the call names no tool", request_id=frame.id)
    if not isinstance(arguments, dict):
        raise WireError(RpcCode.INVALID_PARAMS, "the call's `arguments` are no object", request_id=frame.id)
    answers, state = _answers(frame)
    return ToolCall(tool, arguments, answers, state)


def feature_call(frame: Frame) -> ToolCall:
    """Return what a request for something other than a tool asks for.

    Raises:
        WireError: its parameters are none of such a request, or the answers it carries are none.
    """
    answers, state = _answers(frame)
    try:
        return ToolCall(frame.method, asked_of(frame.method, frame.params), answers, state)
    except MalformedError as err:
        raise WireError(RpcCode.INVALID_PARAMS, err.detail, request_id=frame.id) from err


def _answers(frame: Frame) -> tuple[dict[str, Any], str | None]:
    """Return the answers that a request carries, and what it was to send back with them."""
    answers, state = frame.params.get("inputResponses", {}), frame.params.get("requestState")
    if not isinstance(answers, dict) or len(answers) > MAX_ANSWERS:
        text = f"`inputResponses` is no object of at most {MAX_ANSWERS} answers"
        raise WireError(RpcCode.INVALID_PARAMS, text, request_id=frame.id)
    if state is not None and not (isinstance(state, str) and len(state) <= MAX_STATE):
        raise WireError(RpcCode.INVALID_PARAMS, "`requestState` is none of ours", request_id=frame.id)
    return answers, state


def client_of(info: object) -> str | None:
    """Return what a caller's program says that it is, as evidence has it: its name and version, which prove nothing."""
    if not isinstance(info, dict) or not isinstance(info.get("name"), str):
        return None
    said = f"{info['name']} {info['version']}" if isinstance(info.get("version"), str) else info["name"]
    plain = "".join(ch for ch in said[:MAX_CLIENT] if ch.isprintable())
    return plain.strip() or None


def make_call(  # noqa: PLR0913 - each is known by another part of the edge
    frame: Frame,
    asked: ToolCall,
    system: str,
    *,
    tool: ToolDefinition | None,
    session: str | None,
    source: str | None = None,
    client: str | None = None,
    run: str | None = None,
    logs: str | None = None,
    can_ask: frozenset[str] = frozenset(),
) -> Call:
    """Return the call to be decided. `tool` is the live definition of the tool, if there is one.

    Raises:
        WireError: the arguments hold numbers that JSON readers disagree about, so that they have no digest.
    """
    try:
        digest = digest_of({"system": system, "tool": asked.tool, "arguments": asked.arguments})
    except MalformedError as err:
        raise WireError(RpcCode.INVALID_PARAMS, err.detail, request_id=frame.id) from err
    return Call(
        system=system,
        tool=asked.tool,
        arguments=asked.arguments,
        digest=digest,
        tool_pin=tool.digest if tool else None,
        session=session,
        request_id=None if frame.id is None else str(frame.id),
        wants_progress=frame.progress_token is not None,
        source=source,
        run=run,
        logs=logs or frame.log_level,
        choices=tool.choices if tool else frozenset(),
        client=client or client_of(frame.meta.get(CLIENT_INFO_KEY)),
        can_ask=can_ask,
    )


def run_of(headers: Headers) -> str | None:
    """Return what the caller's program calls the run that a message belongs to, if it names one.

    Raises:
        WireError: the name is too long, or no visible ASCII.
    """
    run = headers.get(RUN_HEADER)
    if run is None:
        return None
    if not 1 <= len(run) <= MAX_RUN or not all("!" <= ch <= "~" for ch in run):
        text = f"the header `Charter-Session` holds no name of at most {MAX_RUN} visible ASCII characters"
        raise WireError(RpcCode.INVALID_REQUEST, text)
    return run


def request_of(headers: Headers, frame: Frame) -> str | None:
    """Return what the caller's program says that a person asked for: in `_meta`, or in a header, in base64.

    Raises:
        WireError: it is too long, or no text.
    """
    said: Any = frame.meta.get(REQUEST_KEY)
    if said is None and REQUEST_HEADER in headers:
        try:
            said = base64.b64decode(headers[REQUEST_HEADER], validate=True).decode()
        except ValueError as err:
            text = "the header `Charter-Request` holds no text in base64"
            raise WireError(RpcCode.INVALID_REQUEST, text, request_id=frame.id) from err
    if said is None:
        return None
    if not isinstance(said, str) or len(said) > MAX_REQUEST:
        text = f"`{REQUEST_KEY}` is no text of at most {MAX_REQUEST} characters"
        raise WireError(RpcCode.INVALID_PARAMS, text, request_id=frame.id)
    return said


def check_params(frame: Frame, asked: ToolCall, tool: ToolDefinition, headers: Headers) -> None:
    """Check the `Mcp-Param-*` headers that the tool's definition declares against the arguments.

    Raises:
        WireError: one is missing or differs.
    """
    try:
        check_mirrored(tool.params, asked.arguments, headers)
    except MalformedError as err:
        text = f"{err.detail}; {err.help}" if err.help else err.detail
        raise WireError(RpcCode.HEADER_MISMATCH, text, request_id=frame.id) from err


def is_id(value: Any) -> bool:  # noqa: ANN401
    """Whether `value` may be a JSON-RPC id here: a text of at most 256, or an integer every reader agrees about."""
    if isinstance(value, str):
        return len(value) <= MAX_ID
    return type(value) is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER


def _mismatch(header: str, request_id: RequestId | None) -> WireError:
    text = f"the header `{header}` is missing or does not match the body"
    return WireError(RpcCode.HEADER_MISMATCH, text, request_id=request_id)


def _unsupported(version: str, request_id: RequestId | None) -> WireError:
    return WireError(
        RpcCode.UNSUPPORTED_VERSION,
        f"the protocol version {version[:40]!a} is not spoken here",
        request_id=request_id,
        data={"supported": list(SUPPORTED_VERSIONS), "requested": version[:40]},
    )
