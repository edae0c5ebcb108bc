"""Import an MCP server's tools: ask it what it has, show what changed, and write the system's file with its pins.

The definitions a person accepted are kept in `pins/NAME.json` beside the estate's folders, so that a later change can
be told in words. Nothing is written without `accept` where a file is there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from charter.adapters import whole_file
from charter.adapters.upstream import UpstreamSettings, read_tools
from charter.config import Settings, variable
from charter.core.clock import Deadline, SystemClock
from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.gateway.draft_labels import drafted, parse_listed
from charter.gateway.mcp_import import (
    accept_tools,
    changes,
    describe_tools,
    dump_definitions,
    load_definitions,
    parse_definition,
    system_text,
    worth_accepting,
)
from charter.gateway.pins import FEATURES, ToolDefinition
from charter.registry.destination import needs_broker
from charter.registry.document import MAX_FILE_BYTES
from charter.registry.estate import Estate
from charter.registry.manifest import load_estate
from charter.registry.principal import SystemRecord
from charter.registry.problem import suggestion
from charter.registry.system import System

if TYPE_CHECKING:
    from charter.bootstrap.house import House

IMPORT_SECONDS = 60.0
MAX_LIST = 16 * 1024 * 1024  # bytes of a list of tools, or of their definitions as they are kept


@dataclass(frozen=True, slots=True)
class ImportAsked:
    """What `charter systems import` was told. Without command and url, the system's own file says where it is."""

    name: str
    command: tuple[str, ...]
    url: str | None
    environment: str
    owner: str
    team: str | None
    accept: bool


async def import_tools(
    settings: Settings, asked: ImportAsked, brokered: Callable[[str], Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Ask the server for its tools; write the system's file if it is new or the changes are accepted.

    `brokered` gives the definitions of a system that the running Charter alone can reach: it holds the credential.

    Raises:
        MalformedError: the name, the estate or what was asked does not fit.
        UpstreamError: the server cannot be reached, or answers nonsense.
    """
    name, root = parse_name(asked.name, "system"), settings.estate
    estate = load_estate(root)
    known = estate.systems.get(name)
    head = _head(asked, estate)
    system = known.value if known and not (asked.command or asked.url) else _system(head)
    if known and system is known.value and needs_broker(system):
        tools = [parse_definition(each) for each in await asyncio.to_thread(brokered, name)]
    else:
        tools = worth_accepting(system, await _tools_of(settings, system))
    file, kept = root / "systems" / f"{name}.yaml", root / "pins" / f"{name}.json"
    if known is None:
        text, lines = system_text(head, describe_tools(tools)), [f"{tool.name} is new" for tool in tools]
    else:
        accepted = _kept(kept) if kept.is_file() else {}
        found = changes(known.value, tools, accepted)
        told = f"{MAX_FILE_BYTES >> 10} KiB"
        text = accept_tools(whole_file.read_named(file, MAX_FILE_BYTES, told).decode(), tools)
        lines = [f"{change.tool}: {'; '.join(change.lines)}" for change in found]
    writes = known is None or (asked.accept and bool(lines))
    if writes:
        _write(file, text)
        _write(kept, dump_definitions(tools))
    beside = [tool.name for tool in tools if tool.name in FEATURES]
    count = len(tools) - len(beside)
    return {
        "system": name,
        "path": str(file),
        "tools": count,
        "features": beside,
        "changes": lines,
        "written": writes,
    }


def _kept(file: Path) -> dict[str, ToolDefinition]:
    return load_definitions(whole_file.read_named(file, MAX_LIST, "16 MiB"))


@dataclass(frozen=True, slots=True)
class DraftAsked:
    """What `charter systems draft` was told."""

    name: str
    file: Path
    environment: str
    owner: str
    team: str | None
    write: bool


def draft_tools(settings: Settings, asked: DraftAsked) -> dict[str, Any]:
    """Draft a system's file for the tools that a file lists; write it, and their definitions, if that is asked.

    Raises:
        MalformedError: the name, the estate or the list is none, or the system has a file already.
    """
    name, root = parse_name(asked.name, "system"), settings.estate
    estate = load_estate(root)
    file = root / "systems" / f"{name}.yaml"
    if name in estate.systems or file.exists():
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the system `{name}` has a file already",
            help="take another name, or look at a draft with --print after moving the file away",
        )
    tools = parse_listed(whole_file.read_named(asked.file, MAX_LIST, "16 MiB"))
    head = {
        "charter": "v1",
        "system": name,
        "kind": "http",
        "environment": str(asked.environment),
        "owner": {"person": asked.owner, "team": asked.team or _first_team(estate)},
    }
    text = drafted(head, tools)
    if asked.write:
        _write(file, text)
        _write(root / "pins" / f"{name}.json", dump_definitions(tools))
    return {"system": name, "path": str(file), "tools": len(tools), "text": text, "written": asked.write}


def _first_team(estate: Estate) -> str:
    return next(iter(sorted(estate.teams.value.teams)), "team")


def known_choices(root: Path) -> dict[tuple[str, str], frozenset[str]]:
    """Return, by system and tool, the arguments that take one of a few values alone, as kept definitions list them."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for file in sorted((root / "pins").glob("*.json")):
        for tool in _kept(file).values():
            found[file.stem, tool.name] = tool.choices
    return found


def said(house: House, name: str) -> list[str]:
    """Return what the servers of a system that Charter started wrote last to their error streams; it may be anything.

    Raises:
        AbsentError: there is no such system.
    """
    return list(house.upstreams.logs(_registered(house, name).name))


def _registered(house: House, name: str) -> SystemRecord:
    record = house.live.systems.get(name)
    if record is None:
        mend = suggestion(name[:80], house.live.systems)
        raise AbsentError(ErrorCode.UNKNOWN_SYSTEM, f"there is no system {name[:80]!a}", help=mend)
    return record


async def definitions(house: House, name: str) -> list[dict[str, Any]]:
    """Return the definitions of the tools that a registered system has right now.

    Raises:
        AbsentError: there is no such system.
        UpstreamError: it cannot be reached, or answers nonsense.
    """
    record = _registered(house, name)
    tools = await house.upstreams.tools(record, Deadline.after(house.clock, IMPORT_SECONDS))
    return [tool.definition for tool in worth_accepting(record.system, tools)]


async def _tools_of(settings: Settings, system: System) -> Sequence[ToolDefinition]:
    if system.upstream is None:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the system `{system.system}` has no upstream",
            help="write `upstream` into the system's file",
        )
    own = UpstreamSettings(settings.estate.resolve(), variable)
    return (await read_tools(system.upstream, own, Deadline.after(SystemClock(), IMPORT_SECONDS))).tools


def _head(asked: ImportAsked, estate: Estate) -> dict[str, Any]:
    """Return the fields of a new system's file."""
    known = estate.systems.get(asked.name)
    if known is None and not (asked.command or asked.url):
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"there is no system `{asked.name}` yet, so it must be said where it is",
            help="charter systems import NAME -- COMMAND …, or --url URL",
        )
    team = asked.team or _first_team(estate)
    upstream: dict[str, Any] = (
        {"transport": "http", "url": asked.url} if asked.url else {"transport": "stdio", "command": list(asked.command)}
    )
    return {
        "charter": "v1",
        "system": asked.name,
        "kind": "mcp",
        "environment": asked.environment,
        "owner": {"person": asked.owner, "team": team},
        "upstream": upstream,
    }


def _system(head: dict[str, Any]) -> System:
    try:
        return System.model_validate(head)
    except ValidationError as err:
        faults = "; ".join(f"`{e['loc'][-1]}` {e['msg'][:1].lower()}{e['msg'][1:]}" for e in err.errors())
        raise MalformedError(ErrorCode.BAD_VALUE, faults, help="charter systems import --help") from err


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole_file.replace(file, text.encode(), whole_file.SHARED)
