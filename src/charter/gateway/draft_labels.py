"""From a list of tool definitions to a system's file with labels for data flow, for a person to look through.

Read are the forms in which tools are listed: of MCP (`inputSchema`), of Anthropic (`input_schema`) and of OpenAI
(`{"type": "function", "function": {…, "parameters": …}}`), or any of them without its wrapping; a list, or an object
that holds one as `tools`.

All labels are guessed from names, and lean to the worse side: what a tool answers counts as strangers' words, save what
is called like an id that the system itself makes, and names nobody, and the names of channels, folders and the like in
a listing of them; what sounds neither like reading nor like a change that can be taken back is irreversible; what takes
the address of a page or host sends out. Every guess is there to be looked at: which answers are your own records
(`internal`) or a directory (`trusted`), which other listings name things for later calls (`names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.mcp_import import describe_tools, scalar, system_text
from charter.gateway.mcp_json import parse_json
from charter.gateway.pins import ToolDefinition, parse_tools
from charter.registry.charter import Effect

MAX_IDS = 60
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_READS: frozenset[str] = frozenset(
    """get list read search find show view describe count fetch query diff lookup check browse ls cat grep head tail pwd
    cd wc du stat display retrieve compute calculate estimate convert filter verify validate compare""".split()  # noqa: SIM905
)
_MILD: frozenset[str] = frozenset(
    """create add update edit set write append insert save schedule reschedule rename move copy mv cp mkdir touch echo
    open start stop login log authenticate register subscribe follow unfollow like react mark archive assign label tag
    upload import reserve comment mention draft enable lock turn adjust""".split()  # noqa: SIM905
)
_STRONG: frozenset[str] = frozenset(
    """send post publish share delete remove erase drop rm rmdir cancel revoke grant pay transfer refund withdraw buy
    sell purchase order book run execute submit invite unlock deploy merge place kick ban""".split()  # noqa: SIM905
)
_CARRIED: frozenset[str] = frozenset(
    """body content message text subject title description comment caption note notes reason summary bio details memo
    remark remarks resolution feedback review snippet""".split()  # noqa: SIM905
)
_EVENT_TEXT: frozenset[str] = frozenset(("location", "venue", "place", "agenda"))  # of what has a date; else a path
_EVENTS: frozenset[str] = frozenset("event events calendar meeting meetings appointment appointments".split())  # noqa: SIM905
_ADDRESSES: frozenset[str] = frozenset("url urls uri link links href website webpage domain host hostname".split())  # noqa: SIM905
_OF_PEOPLE: frozenset[str] = frozenset(
    "user sender receiver recipient account customer contact member author owner from to payee guest".split()  # noqa: SIM905
)
_ASKED_AS = (  # groups of words that people use for one deed; a tool whose name has one is asked for by each
    ("send", "mail", "write", "reply", "forward", "notify", "message"),
    ("post", "publish", "share", "write", "announce"),
    ("comment", "reply", "respond", "write", "review"),
    ("delete", "remove", "erase", "clear", "drop", "rm", "rmdir"),
    ("cancel", "remove", "delete", "revoke"),
    ("create", "make", "add", "new", "open", "draft", "mkdir", "touch"),
    ("add", "put", "include", "append", "insert", "invite"),
    ("update", "edit", "change", "modify", "adjust", "set", "correct"),
    ("move", "transfer", "rename", "mv", "archive"),
    ("copy", "duplicate", "backup", "cp"),
    ("write", "save", "echo", "put", "store"),
    ("pay", "transfer", "refund", "settle", "payment", "money", "transaction"),
    ("buy", "purchase", "order", "place", "checkout", "sell"),
    ("book", "reserve", "reservation", "schedule"),
    ("schedule", "plan", "arrange", "meeting", "appointment", "event", "reminder", "invite"),
    ("login", "log", "sign", "authenticate", "account", "user", "username", "password"),
    ("share", "give", "access", "grant", "permission"),
    ("run", "execute", "command", "start", "launch"),
)
_NOUNS: frozenset[str] = frozenset("event meeting appointment reminder payment money transaction".split())  # noqa: SIM905
_PLACES = {  # what an organisation sets up to work in: who may act there may be told its name by a listing
    f"{each}s": each
    for each in (
        "channel",
        "folder",
        "board",
        "table",
        "database",
        "bucket",
        "repo",
        "project",
        "workspace",
        "calendar",
    )
} | {"directories": "directory", "repositories": "repository", "branches": "branch", "labels": "label"}
_LISTS: frozenset[str] = frozenset(("get", "list", "ls", "show", "browse", "fetch", "read"))
_IDS = re.compile(r"(?:.*[_-])?(?:id|ids|uuid)_?|.*(?:Id|ID|Ids)")
_MADE_BY_SYSTEMS = ("created_at", "date", "id", "id_", "timestamp", "updated_at")


def parse_listed(data: bytes) -> tuple[ToolDefinition, ...]:
    """Return the tools that a file lists.

    Raises:
        MalformedError: it is no JSON, lists no tools, or one of them has no name or no schema of its arguments.
    """
    listed = parse_json(data)
    if isinstance(listed, dict):
        listed = listed.get("tools", listed.get("functions", listed.get("result")))
    if isinstance(listed, dict):
        listed = listed.get("tools")
    if not isinstance(listed, list) or not listed:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "the file lists no tools",
            help='write a JSON list of them, each with `name` and `inputSchema`, or {"tools": […]}',
        )
    found = parse_tools(_as_mcp(each) for each in listed)
    if found.faults:
        raise MalformedError(ErrorCode.BAD_VALUE, found.faults[0], help="each has a `name` and an `inputSchema`")
    return found.tools


def _as_mcp(raw: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a definition in MCP's form, whichever of the known forms it has."""
    inner = raw.get("function") if isinstance(raw, dict) and isinstance(raw.get("function"), dict) else raw
    if not isinstance(inner, dict) or "inputSchema" in inner:
        return inner
    schema: dict[str, Any] = next(
        (inner[key] for key in ("input_schema", "parameters") if isinstance(inner.get(key), dict)), {}
    )
    known = {key: inner[key] for key in ("name", "title", "description", "annotations") if key in inner}
    return {**known, "inputSchema": {"type": "object", **schema}}


def drafted(head: Mapping[str, Any], tools: Sequence[ToolDefinition]) -> str:
    """Return a system's file for `tools`: the fields of `head`, then an action for each with its guessed labels."""
    by_tool = {tool.name: tool for tool in tools}
    lines = [line for line in system_text(head, ()).splitlines() if line != "actions: {}"]
    ids = _ids(tools)
    lines += [
        "untrusted: true  # strangers may have written what it answers; say `internal` or `trusted` where none can",
        "# external: true  # if others run it, so that what is sent there leaves the organisation",
        "actions:",
    ]
    for action in describe_tools(tools):
        tool = by_tool[action.tool]
        effect = _effect(tool)
        labels: dict[str, Any] = {
            "tool": tool.name,
            "effect": effect.value,
            "object": action.object,
            "results": {"origin": "untrusted", "fields": dict.fromkeys(ids, "internal")} | _names(tool, tools),
        }
        if effect is not Effect.READ:
            labels |= {"carries": _carried(tool), "asked_as": _asked_as(tool.name)}
        address = _address(tool)
        if address is not None:
            labels |= {"external": True}
        outside = f"guessed: its `{address}` may be anywhere, so what it is given leaves" if address else ""
        lines += [f"  # {note}" for note in (action.notes[0], _why(effect), outside) if note]
        lines += [f"  {_flow(action.name)}:"]
        lines += [f"    {key}: {_flow(value)}" for key, value in labels.items() if value not in ([], "*")]
    return "\n".join(lines) + "\n"


def _effect(tool: ToolDefinition) -> Effect:
    hints = tool.definition.get("annotations", {})
    if hints.get("readOnlyHint") is True:
        return Effect.READ
    deed = _deed(tool.name)
    if deed in _READS:
        return Effect.READ
    return Effect.WRITE if deed in _MILD or hints.get("destructiveHint") is False else Effect.IRREVERSIBLE


def _deed(tool: str) -> str | None:
    """Return the word of a tool's name that says what it does: the first, or the worst where names of things lead."""
    words = _words(tool)
    deeds = [word for word in words if word in _READS or word in _MILD or word in _STRONG]
    if not deeds or deeds[0] in _READS or deeds[0] == words[0]:
        return next(iter(deeds), None)
    return next((word for word in deeds if word in _STRONG), deeds[0])


def _why(effect: Effect) -> str:
    return {
        Effect.READ: "guessed from its name: it only reads",
        Effect.WRITE: "guessed from its name: what it changes can be changed back",
        Effect.IRREVERSIBLE: "guessed, as its name does not say that it could be undone",
    }[effect]


def _ids(tools: Iterable[ToolDefinition]) -> list[str]:
    """Return names of fields that a system makes itself: what its tools take as ids, and what is commonly called so."""
    taken = {name for tool in tools for name in _arguments(tool) if _is_id(name)}
    return sorted({*_MADE_BY_SYSTEMS, *sorted(taken)[:MAX_IDS]})


def _is_id(name: str) -> bool:
    """Whether a system makes such a value itself, and it names nobody: strangers have ids of their own."""
    return _IDS.fullmatch(name) is not None and _OF_PEOPLE.isdisjoint(_words(name))


def _names(tool: ToolDefinition, tools: Iterable[ToolDefinition]) -> dict[str, list[str]]:
    """Return the arguments that what a listing of places names may be given for, if the tool is one."""
    words = _words(tool.name)
    place = _PLACES.get(words[-1]) if words and words[0] in _LISTS else None
    taken = {name for each in tools for name in _arguments(each) if place in _words(name)[-1:] + _words(name)[:1]}
    return {"names": sorted(taken)[:MAX_IDS]} if place is not None and taken else {}


def _address(tool: ToolDefinition) -> str | None:
    """Return the argument that says where on the network the tool goes, by the word that its name ends in."""
    return next((name for name in _arguments(tool) if _last_word(name) in _ADDRESSES), None)


def _carried(tool: ToolDefinition) -> list[str]:
    """Return the arguments that are text, by the word that their names end in, and those that are choices of a list."""
    texts = _CARRIED if _EVENTS.isdisjoint(_words(tool.name)) else _CARRIED | _EVENT_TEXT
    named = _arguments(tool).items()
    return [
        name for name, kind in named if kind == "choice" or (kind in ("string", None) and _last_word(name) in texts)
    ]


def _asked_as(tool: str) -> list[str]:
    """Return words by which people ask for what it does, besides those of its name."""
    words = set(_words(tool))
    deed = "pay" if _deed(tool) == "send" and "money" in words else _deed(tool)
    about = words & _NOUNS
    return sorted({word for group in _ASKED_AS if deed in group or about & set(group) for word in group} - words)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _last_word(name: str) -> str:
    """Return the word that says what a thing is: `page` of `landing_page`; nothing where there is none."""
    return next(reversed(_words(name)), "")


def _arguments(tool: ToolDefinition) -> dict[str, str | None]:
    """Return the arguments of a tool with their type, `choice` of those whose values the definition lists."""
    schema = tool.definition["inputSchema"]
    properties, named = schema.get("properties"), schema.get("$defs", schema.get("definitions"))
    if not isinstance(properties, dict):
        return {}
    return {name: _type(its, named if isinstance(named, dict) else {}) for name, its in properties.items()}


def _type(its: Any, named: Mapping[str, Any]) -> str | None:  # noqa: ANN401 - any JSON
    if isinstance(its, dict) and isinstance(its.get("$ref"), str):
        its = named.get(its["$ref"].rpartition("/")[2])  # one step: a reference to a reference is no choice
    if not isinstance(its, dict):
        return None
    some = [each for each in its["anyOf"] if each != {"type": "null"}] if isinstance(its.get("anyOf"), list) else []
    if len(some) == 1:
        return _type(some[0], named)
    if isinstance(its.get("enum"), list):
        return "choice"
    return its["type"] if isinstance(its.get("type"), str) else None


def _flow(value: Any) -> str:  # noqa: ANN401 - plain JSON
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return scalar(value)


__all__ = ["drafted", "parse_listed"]
