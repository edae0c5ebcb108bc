"""MCP's fixed words: versions, header names, `_meta` keys, error codes, and how a header carries any text.

Two eras are spoken. *Modern* (2026-07-28): stateless, each request carries its version in `_meta` and mirrors its
method and name in headers. *Legacy* (2025-11-25 and before): an `initialize` handshake opens a session.

Charter's own error codes lie outside the range JSON-RPC reserves (-32768 to -32000), as 2026-07-28 asks of new
implementations (basic/index, "Error Codes"): -32000 to -32019 are not to be used any more, -32020 to -32099 are MCP's.
"""

from __future__ import annotations

import base64
import binascii
import re
from enum import IntEnum

from charter.core.errors import ErrorCode, MalformedError

MODERN_VERSION = "2026-07-28"
LEGACY_VERSIONS = ("2025-11-25", "2025-06-18")  # what the gateway's own endpoint speaks, newest first
SUPPORTED_VERSIONS = (MODERN_VERSION, *LEGACY_VERSIONS)
UPSTREAM_LEGACY_VERSIONS = (*LEGACY_VERSIONS, "2025-03-26", "2024-11-05")  # what an upstream may answer with

VERSION_HEADER = "mcp-protocol-version"
METHOD_HEADER = "mcp-method"
NAME_HEADER = "mcp-name"
SESSION_HEADER = "mcp-session-id"
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}  # what that header mirrors
PARAM_HEADER_PREFIX = "mcp-param-"

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO_KEY = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

VERDICT_KEY = "charter/verdict"  # in `_meta` of every result of a governed call
REFUSAL_KEY = "charter/refusal"  # in `_meta` of a result that is Charter's refusal
WHY_KEY = "charter/why"  # in `_meta` of an empty list


class RpcCode(IntEnum):
    """The JSON-RPC error codes the gateway answers with."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    HEADER_MISMATCH = -32020
    MISSING_CAPABILITY = -32021
    UNSUPPORTED_VERSION = -32022
    UNAUTHENTICATED = -31001
    DENIED = -31011
    ABSENT = -31012
    CONFLICT = -31013
    THROTTLED = -31014
    UNAVAILABLE = -31015


_ENCODED = re.compile(r"=\?base64\?(?P<payload>.*)\?=")
_PLAIN = re.compile(r"[\x20-\x7e]*")


def encode_header(value: str) -> str:
    """Return `value` as a header value, base64 where plain ASCII would not bring it over unchanged.

    Source: 2026-07-28 basic/transports/streamable-http, "Value Encoding".
    """
    if _PLAIN.fullmatch(value) and value == value.strip() and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_header(value: str) -> str:
    """Return the text that a header value carries.

    Raises:
        MalformedError: it holds characters a header may not, or its base64 is not exactly what an encoder writes.
    """
    if not _PLAIN.fullmatch(value):
        raise MalformedError(ErrorCode.BAD_REQUEST, "a header value holds characters other than printable ASCII")
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        decoded = base64.b64decode(found["payload"], validate=True)
        text = decoded.decode()
    except (binascii.Error, UnicodeDecodeError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, "a header value marked as base64 is not base64 of UTF-8") from err
    if base64.b64encode(decoded).decode() != found["payload"]:  # stray trailing bits: two spellings of one value
        raise MalformedError(ErrorCode.BAD_REQUEST, "a header value marked as base64 is not in its one canonical form")
    return text
