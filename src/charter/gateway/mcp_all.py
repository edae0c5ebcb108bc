"""One endpoint for all of a principal's MCP systems: the names that tools, prompts and resources have there.

    <system>__<tool>                          where that is no longer than 64 characters; prompts likewise
    <system, cut>__<tool, cut>__<8 of a digest>   else
    <system>+<URI>                            of resources and their templates

INVARIANT: two tools never have one name: a system's name holds no underscore, so the first `__` ends it; what had to be
cut, and that alone, ends in a digest of both names whole. Nor have two resources one URI: a system's name holds no `+`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from charter.gateway.mcp_features import READ
from charter.gateway.pins import FEATURES, ToolDefinition
from charter.registry.principal import LiveEstate, SystemRecord
from charter.registry.system import SystemKind

BETWEEN = "__"
MAX_SHOWN = 64  # characters that clients and models' APIs take
_DIGITS = 8
_CUT = re.compile(r"__[0-9a-f]{8}\Z")  # how cut names end, and no others


def name_of(system: str, tool: str) -> str:
    """Return what a system's tool is called where all are together."""
    whole = f"{system}{BETWEEN}{tool}"
    if len(whole) <= MAX_SHOWN and not _CUT.search(whole):
        return whole
    digest = hashlib.sha256(f"{system}\0{tool}".encode()).hexdigest()[:_DIGITS]
    room = MAX_SHOWN - _DIGITS - 2 * len(BETWEEN)
    first = system[: room // 2]
    return f"{first}{BETWEEN}{tool[: room - len(first)]}{BETWEEN}{digest}"


def tool_named(records: Iterable[SystemRecord], name: str) -> tuple[SystemRecord, str] | None:
    """Return the system and the tool, of those that some action names, that are called so."""
    for record in records:
        for action in record.system.actions.values():
            if action.tool not in FEATURES and name_of(record.name, action.tool) == name:
                return record, action.tool
    return None


def tool_spelt(records: Iterable[SystemRecord], name: str) -> tuple[SystemRecord, str] | None:
    """Return the system and the tool that a name would mean: a call to what is not there is denied, and recorded."""
    system, between, tool = name.partition(BETWEEN)
    return next(((record, tool) for record in records if between and tool and record.name == system), None)


def uri_of(system: str, uri: str) -> str:
    """Return the URI that a system's resource has where all are together."""
    return f"{system}+{uri}"


def resource_of(records: Iterable[SystemRecord], uri: str) -> tuple[SystemRecord, str] | None:
    """Return the system and its own URI of what is called so, of those that offer resources."""
    system, between, own = uri.partition("+")
    for record in records:
        if between and own and record.name == system and record.system.action_of_tool(READ) is not None:
            return record, own
    return None


def with_uris(prefix: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return an upstream's result with the URIs of its resources as they are where all are together."""

    def block(given: Any) -> Any:  # noqa: ANN401 - an upstream's JSON
        if not isinstance(given, dict):
            return given
        named = {"uri": prefix + given["uri"]} if isinstance(given.get("uri"), str) else {}
        inner = {"resource": block(given["resource"])} if isinstance(given.get("resource"), dict) else {}
        content = {"content": block(given["content"])} if isinstance(given.get("content"), dict) else {}
        return given | named | inner | content

    keys = [key for key in ("contents", "content", "messages") if isinstance(result.get(key), list)]
    return result | {key: [block(each) for each in result[key]] for key in keys}


def renamed(system: str, tool: ToolDefinition) -> ToolDefinition:
    """Return a tool as it is shown where all are together."""
    name = name_of(system, tool.name)
    return replace(tool, name=name, definition=tool.definition | {"name": name})


def mcp_systems(live: LiveEstate) -> list[SystemRecord]:
    """Return the MCP systems, by name."""
    return [record for _, record in sorted(live.systems.items()) if record.system.kind is SystemKind.MCP]
