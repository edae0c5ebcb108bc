"""Tool definitions, pinned: what a model reads about a tool is what a person accepted, or the tool is held.

INVARIANT: the digest covers everything of a definition that is passed on to a model, and nothing that is not covered is
passed on. Icons, `_meta` and extensions of a tool are therefore left out of what principals see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from charter.core.canonical import canonical, digest
from charter.core.errors import ErrorCode, MalformedError, UnavailableError
from charter.gateway.mcp_params import ParamHeader, declared_headers

READ_BY_MODELS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
MAX_TOOLS = 1000
MAX_DEFINITION_BYTES = 262_144
MAX_NAME = 128
FEATURES = ("resources/read", "prompts/get", "completion/complete")  # names that no tool has: see mcp_features
_OBJECTS = frozenset({"inputSchema", "outputSchema", "annotations"})
_encode = msgspec.json.Encoder(order="deterministic").encode


class UpstreamError(UnavailableError):
    """An upstream could not be reached, failed, or answered nonsense.

    `sent` says whether the request may have reached it: with False the call surely did not happen, so that limits can
    be given back.
    """

    def __init__(
        self, code: ErrorCode, detail: str, *, sent: bool, help: str | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(code, detail, help=help, retry_after_seconds=retry_after_seconds)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """One tool as its upstream defines it: what models read of it, and the digest of exactly that."""

    name: str
    definition: dict[str, Any]  # the keys of READ_BY_MODELS that the upstream gave
    digest: str  # sha256:…
    params: tuple[ParamHeader, ...] = ()  # arguments that travel as headers too
    is_idle: bool = field(default=False, compare=False)  # a feature of which the server has nothing to show now

    @property
    def choices(self) -> frozenset[str]:
        """The arguments that take one of a few values which the definition names."""
        properties = self.definition["inputSchema"].get("properties")
        known = properties.items() if isinstance(properties, dict) else ()
        return frozenset(name for name, its in known if isinstance(its, dict) and ("enum" in its or "const" in its))


@dataclass(frozen=True, slots=True)
class ToolList:
    """What an upstream listed: the tools, and why others of its list are held back."""

    tools: tuple[ToolDefinition, ...]
    faults: tuple[str, ...] = ()


def parse_tools(raw: Iterable[Any]) -> ToolList:
    """Return the tools of a `tools/list` answer, in its order.

    Raises:
        MalformedError: there are more than 1,000, or two of one name, so that nobody could say which is meant.
    """
    tools: dict[str, ToolDefinition] = {}
    faults: list[str] = []
    for count, item in enumerate(raw):
        if count >= MAX_TOOLS:
            raise MalformedError(ErrorCode.TOO_LARGE, f"the upstream lists more than {MAX_TOOLS} tools")
        try:
            tool = parse_tool(item)
        except MalformedError as err:
            faults.append(err.detail)
            continue
        if tool.name in tools:
            raise MalformedError(ErrorCode.BAD_VALUE, f"the upstream lists two tools called {tool.name!a}")
        tools[tool.name] = tool
    return ToolList(tuple(tools.values()), tuple(faults))


def parse_tool(raw: Any) -> ToolDefinition:  # noqa: ANN401 - an upstream's JSON
    """Return the tool that an upstream's JSON defines.

    Raises:
        MalformedError: it has no usable name or input schema, is larger than 256 KiB, or annotates headers wrongly.
    """
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise MalformedError(ErrorCode.BAD_VALUE, f"a tool has no name of 1 to {MAX_NAME} printable characters")
    if name in FEATURES:
        raise MalformedError(ErrorCode.BAD_VALUE, f"no tool may be called {name!a}, as a method of MCP is")
    definition = {key: raw[key] for key in READ_BY_MODELS if raw.get(key) is not None}
    wrong = [key for key, value in definition.items() if not isinstance(value, dict if key in _OBJECTS else str)]
    if wrong or "inputSchema" not in definition:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"the definition of the tool {name!a} has no proper `{(wrong or ['inputSchema'])[0]}`"
        )
    data = _definition_bytes(definition)
    if len(data) > MAX_DEFINITION_BYTES:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the definition of the tool {name!a} exceeds 256 KiB")
    params = declared_headers(definition["inputSchema"]) if b"x-mcp-header" in data else ()
    return ToolDefinition(name, definition, digest(data), params)


def _definition_bytes(definition: dict[str, Any]) -> bytes:
    """Return the bytes a definition is recognised by.

    Schemas of other languages' servers hold 64-bit bounds, which have no canonical JSON form (RFC 8785); those fall
    back to msgspec's deterministic one, which differs for equal values nowhere either.
    """
    try:
        return canonical(definition)
    except MalformedError:
        return _encode(definition)
