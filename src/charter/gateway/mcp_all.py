"""One endpoint for all of a principal's MCP systems: the names that tools have there.

    <system>__<tool>                          where that is no longer than 64 characters
    <system, cut>__<tool, cut>__<8 of a digest>   else

INVARIANT: two tools never have one name: a system's name holds no underscore, so the first `__` ends it; what had to be
cut, and that alone, ends in a digest of both names whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from charter.gateway.pins import ToolDefinition
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
            if name_of(record.name, action.tool) == name:
                return record, action.tool
    return None


def renamed(system: str, tool: ToolDefinition) -> ToolDefinition:
    """Return a tool as it is shown where all are together."""
    name = name_of(system, tool.name)
    return replace(tool, name=name, definition=tool.definition | {"name": name})


def mcp_systems(live: LiveEstate) -> list[SystemRecord]:
    """Return the MCP systems, by name."""
    return [record for _, record in sorted(live.systems.items()) if record.system.kind is SystemKind.MCP]
