"""Importing an MCP server: from the tools it lists to a system file that a person looks through.

What a tool does is guessed from what its server says of it, and the guess leans to the worse side: a tool that does not
say otherwise is irreversible. Each guess stands in the file as a comment. A server may lie; the comment says so too.

The definitions a person accepted are kept beside the system's file (`dump_definitions`), so that a later change can be
told in words; the pin, a digest, could only say that something changed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import parse_action
from charter.gateway.mcp_features import OBJECTS, kept_feature, listed_by
from charter.gateway.mcp_json import parse_json
from charter.gateway.pins import FEATURES, ToolDefinition, parse_tool
from charter.registry.charter import Effect
from charter.registry.system import System

_READING = re.compile(r"(get|list|read|search|find|show|describe|count|fetch|query|status|diff|log)([_.-]|[A-Z]|$)")
_PLACES = ("path", "file_path", "filepath", "repo_path", "file", "filename", "uri", "url", "directory", "dir")
_NAMES = ("id", "key", "name")
_THING = re.compile(r"(?P<thing>[a-z][a-z0-9_]*?)(?:_id|Id)")
_NO_ACTION = re.compile(r"[^A-Za-z0-9_.:/-]+")
_UNSEEN = re.compile(r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u0370-\u03ff\u0400-\u04ff\u3040-\u30ff\u4e00-\u9fff]+")
_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_KEYWORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_CLIP = 300


@dataclass(frozen=True, slots=True)
class DraftAction:
    """An action proposed for a tool, and what was guessed about it."""

    name: str
    tool: str
    effect: Effect
    object: str
    pin: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolChange:
    """How one tool differs from what was accepted, in words."""

    tool: str
    lines: tuple[str, ...]


def describe_tools(tools: Iterable[ToolDefinition], taken: Iterable[str] = ()) -> tuple[DraftAction, ...]:
    """Return an action for each tool, named like it; names in `taken` are not used again."""
    used = set(taken)
    actions: list[DraftAction] = []
    for tool in tools:
        if tool.is_idle:
            continue
        name = _action_name(tool.name, used)
        used.add(name)
        effect, why = _effect(tool)
        object_path, which = _object(tool)
        actions.append(DraftAction(name, tool.name, effect, object_path, tool.digest, (_words(tool), why, which)))
    return tuple(actions)


def system_text(head: Mapping[str, Any], actions: Sequence[DraftAction]) -> str:
    """Return a system file: the fields of `head` (JSON, in order), then the actions with their comments."""
    lines = [f"{key}: {scalar(value)}" for key, value in head.items()]
    lines += ["actions:", *action_lines(actions)] if actions else ["actions: {}"]
    return "\n".join(lines) + "\n"


def action_lines(actions: Sequence[DraftAction]) -> list[str]:
    """Return the lines of actions in a system file, indented under `actions:`."""
    lines: list[str] = []
    for action in actions:
        lines += [f"  # {note}" for note in action.notes if note]
        lines += [
            f"  {scalar(action.name)}:",
            f"    tool: {scalar(action.tool)}",
            f"    effect: {action.effect.value}",
            f"    object: {scalar(action.object)}",
            f"    pin: {action.pin}",
        ]
    return lines


def accept_tools(text: str, tools: Sequence[ToolDefinition]) -> str:
    """Return the text of a system's file with the pins of `tools`, and an action for each that has none.

    Everything a person wrote stays: comments, order, effects, objects.

    Raises:
        MalformedError: the text is no system's file.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        document = yaml.load(text)
    except YAMLError as err:
        raise MalformedError(ErrorCode.BAD_ESTATE, "the system's file is no YAML", help="charter validate") from err
    is_system = isinstance(document, CommentedMap) and "system" in document
    actions = document.get("actions", CommentedMap()) if is_system else None
    if isinstance(actions, CommentedMap) and not actions:
        actions = document["actions"] = CommentedMap()  # none yet, or `{}`, which would take them all on one line
    if not isinstance(actions, CommentedMap):
        raise MalformedError(ErrorCode.BAD_ESTATE, "the system's file has no `actions`", help="charter validate")
    pins = {tool.name: tool.digest for tool in tools}
    known = {action["tool"]: action for action in actions.values()}
    for tool, action in known.items():
        if tool in pins:
            action["pin"] = pins[tool]
    for draft in describe_tools((tool for tool in tools if tool.name not in known), taken=actions):
        actions[draft.name] = CommentedMap(
            tool=draft.tool, effect=draft.effect.value, object=DoubleQuotedScalarString(draft.object), pin=draft.pin
        )
        notes = "\n".join(note for note in draft.notes if note)
        actions.yaml_set_comment_before_after_key(draft.name, before=notes, indent=2)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def changes(
    system: System, tools: Sequence[ToolDefinition], accepted: Mapping[str, ToolDefinition]
) -> tuple[ToolChange, ...]:
    """Return what differs between the tools a server has now and those that `system` accepted.

    `accepted` holds the definitions kept at import, as far as they were; they are believed only if their digest is the
    pin.
    """
    pins = {action.tool: action.pin for action in system.actions.values()}
    live = {tool.name: tool for tool in tools}
    found: list[ToolChange] = []
    for name, pin in pins.items():
        before, now = accepted.get(name), live.get(name)
        if now is None:
            found.append(ToolChange(name, ("the server has it no more",)))
        elif pin is None:
            found.append(ToolChange(name, ("nobody accepted its definition yet", _words(now))))
        elif now.digest != pin:
            known = before is not None and before.digest == pin
            lines = describe_change(before, now) if known and before else ("its definition changed", _words(now))
            found.append(ToolChange(name, lines))
    new = (tool for name, tool in live.items() if name not in pins and not tool.is_idle)
    found += [ToolChange(tool.name, ("is new", _words(tool))) for tool in new]
    return tuple(found)


def describe_change(before: ToolDefinition, now: ToolDefinition) -> tuple[str, ...]:
    """Return in words what changed between two definitions of one tool; hidden characters are made visible."""
    old, new = before.definition, now.definition
    lines = [
        f"its {key} was {_quoted(old.get(key))} and is {_quoted(new.get(key))}"
        for key in ("title", "description")
        if old.get(key) != new.get(key)
    ]
    lines += _argument_changes(old["inputSchema"], new["inputSchema"])
    if old.get("outputSchema") != new.get("outputSchema"):
        lines.append("what it gives back is described otherwise")
    lines += _listed_changes(before, now)
    hints, was = new.get("annotations", {}), old.get("annotations", {})
    lines += [
        f"its hint {_quoted(key)} was {_quoted(was.get(key))} and is {_quoted(hints.get(key))}"
        for key in sorted({*hints, *was})
        if hints.get(key) != was.get(key)
    ]
    return tuple(lines) or ("its definition is written otherwise",)


def dump_definitions(tools: Iterable[ToolDefinition]) -> str:
    """Return the text that keeps accepted definitions beside a system's file."""
    kept = [tool.definition for tool in sorted(tools, key=lambda tool: tool.name)]
    return json.dumps({"tools": kept}, indent=1, sort_keys=True) + "\n"


def load_definitions(data: bytes) -> dict[str, ToolDefinition]:
    """Return the definitions that `dump_definitions` kept, by name.

    Raises:
        MalformedError: the text was changed into something else.
    """
    kept = parse_json(data)
    if not isinstance(kept, dict) or not isinstance(kept.get("tools"), list):
        raise MalformedError(ErrorCode.BAD_VALUE, "the kept definitions are none", help="import the system again")
    tools = [parse_definition(item) for item in kept["tools"]]
    return {tool.name: tool for tool in tools}


def parse_definition(item: Any) -> ToolDefinition:  # noqa: ANN401 - any JSON value
    """Return a definition from how we keep it or tell it ourselves: of a tool, or of what is offered beside tools.

    Raises:
        MalformedError: it is none.
    """
    is_feature = isinstance(item, dict) and item.get("name") in FEATURES and isinstance(item.get("inputSchema"), dict)
    return kept_feature(item) if is_feature else parse_tool(item)


def worth_accepting(system: System, tools: Iterable[ToolDefinition]) -> list[ToolDefinition]:
    """Return the tools, and what else a server has something to show of, or was accepted to have."""
    return [tool for tool in tools if not tool.is_idle or system.action_of_tool(tool.name) is not None]


def _action_name(tool: str, used: set[str]) -> str:
    wanted = _NO_ACTION.sub("-", tool).strip(".:/-")[:120] or "tool"
    name, number = wanted, 2
    while name in used:
        name, number = f"{wanted}-{number}", number + 1
    return parse_action(name)


def _effect(tool: ToolDefinition) -> tuple[Effect, str]:
    hints = tool.definition.get("annotations", {})
    if hints.get("readOnlyHint") is True:
        return Effect.READ, "effect: the server says that it only reads; believe it only as far as the server"
    if hints.get("destructiveHint") is False:
        return Effect.WRITE, "effect: the server says that it destroys nothing; believe it only as far as the server"
    if _READING.match(tool.name):
        return Effect.IRREVERSIBLE, "effect: guessed, as the server says nothing; its name sounds like `read`"
    return Effect.IRREVERSIBLE, "effect: guessed, as the server does not say that it could be undone"


def _object(tool: ToolDefinition) -> tuple[str, str]:
    """Return the object template guessed from the arguments that every call must bring."""
    if tool.name in OBJECTS:
        return OBJECTS[tool.name], ""
    schema = tool.definition["inputSchema"]
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return "*", ""
    usable = [
        name
        for name in required
        if isinstance(name, str)
        and isinstance(properties.get(name), dict)
        and properties[name].get("type") in ("string", "integer")
    ]
    place = next((name for name in _PLACES if name in usable), None)
    thing = next((found for name in usable if (found := _THING.fullmatch(name))), None)
    plain = next((name for name in _NAMES if name in usable), None)
    if place is not None:
        return f"{{{place}}}", f"object: guessed from the argument `{place}`"
    if thing is not None:
        return f"{thing['thing']}/{{{thing[0]}}}", f"object: guessed from the argument `{thing[0]}`"
    return (f"{{{plain}}}", f"object: guessed from the argument `{plain}`") if plain is not None else ("*", "")


def _listed_changes(before: ToolDefinition, now: ToolDefinition) -> list[str]:
    """Return what changed in the prompts, or the templates of resources, that a server lists."""
    was, has = (
        {str(each.get("name" if "name" in each else "uriTemplate")): each for each in listed_by(tool)}
        for tool in (before, now)
    )
    lines = [f"it lists {_quoted(name)} no more" for name in was if name not in has]
    for name, each in has.items():
        if name not in was:
            lines.append(f"it lists a new {_quoted(name)}: {_quoted(each.get('description'))}")
        elif each != was[name]:
            lines.append(f"its {_quoted(name)} was {_quoted(was[name])} and is {_quoted(each)}")
    return lines


def _argument_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    was, now = _arguments(old), _arguments(new)
    needed_before, needed = _required(old), _required(new)
    lines = [
        f"it takes a new argument {_quoted(name)}{', which every call must bring' if name in needed else ''}: "
        f"{_quoted(now[name].get('description'))}"
        for name in now
        if name not in was
    ]
    lines += [f"it takes the argument {_quoted(name)} no more" for name in was if name not in now]
    for name in now:
        if name in was and now[name] != was[name]:
            lines.append(f"its argument {_quoted(name)} was {_quoted(was[name])} and is {_quoted(now[name])}")
        if name in was and (name in needed) != (name in needed_before):
            must = "must now" if name in needed else "need no longer"
            lines.append(f"a call {must} bring the argument {_quoted(name)}")
    rest = ("properties", "required")
    if {k: v for k, v in old.items() if k not in rest} != {k: v for k, v in new.items() if k not in rest}:
        lines.append("its arguments are constrained otherwise")
    return lines


def _arguments(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: value if isinstance(value, dict) else {} for name, value in properties.items()}


def _required(schema: dict[str, Any]) -> set[str]:
    required = schema.get("required")
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _words(tool: ToolDefinition) -> str:
    """Return the beginning of a tool's description, on one line and without anything that cannot be seen."""
    return _UNSEEN.sub(" ", tool.definition.get("description", "")).strip()[:120]


def _quoted(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a value for a person to read: on one line, clipped, each unseen character spelt out."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    shown = "".join(ch if not _UNSEEN.match(ch) else f"\\u{ord(ch):04x}" for ch in text)
    return shown if len(shown) <= _CLIP else f"{shown[:_CLIP]}… ({len(shown)} characters)"


def scalar(value: Any) -> str:  # noqa: ANN401
    """Return `value` in YAML: a plain word as it is, all else as JSON, which is YAML and means nothing else."""
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and value.lower() not in _KEYWORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
