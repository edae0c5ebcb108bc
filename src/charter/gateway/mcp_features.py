"""What MCP servers offer beside tools, each as one thing that a person accepts and policy decides on.

    resources/read        {"uri": …}                                   its object is the resource's URI
    prompts/get           {"name": …, "arguments": {…}}                `prompt/NAME`
    completion/complete   {"of": "prompt/NAME" | URI template, "argument": …, "value": …, "context": {…}}

A server that offers one of them has a definition of that name beside its tools: what models and people read of it
(prompts, and templates of resources) is part of it, so that what changes is held until someone accepts it, like a tool.
The resources that a server lists are data, not definitions: they come and go, and count as read by whoever lists them.

INVARIANT: no tool has one of these names; a server that lists such a tool has that tool held back.

Source: 2026-07-28 server/resources, server/prompts, server/utilities/completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from charter.core.canonical import digest_of
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.pins import FEATURES, ToolDefinition

READ, PROMPT, COMPLETE = FEATURES
MAX_LISTED = 1000  # resources of one page, prompts and templates of one server
MAX_URI = 1024
MAX_NAME = 128
MAX_TEXT = 16 * 1024
MAX_ARGUMENTS = 64
_RESOURCE = ("uri", "name", "title", "description", "mimeType", "size", "annotations")
_TEMPLATE = ("uriTemplate", "name", "title", "description", "mimeType", "annotations")
_PROMPT = ("name", "title", "description", "arguments")
_ARGUMENT = ("name", "title", "description", "required")
_TEXT = {"type": "string"}
_SCHEMAS: Mapping[str, dict[str, Any]] = {
    READ: {"type": "object", "properties": {"uri": _TEXT}, "required": ["uri"]},
    PROMPT: {"type": "object", "properties": {"name": _TEXT, "arguments": {"type": "object"}}, "required": ["name"]},
    COMPLETE: {
        "type": "object",
        "properties": {"of": _TEXT, "argument": _TEXT, "value": _TEXT, "context": {"type": "object"}},
        "required": ["of", "argument", "value"],
    },
}
_WORDS = {
    READ: "Read a resource of this server by its URI.",
    PROMPT: "Get one of the prompts of this server, filled in.",
    COMPLETE: "Ask this server to complete an argument of a prompt, or of a template of resources.",
}
OBJECTS = {READ: "{uri}", PROMPT: "prompt/{name}", COMPLETE: "{of}"}


@dataclass(frozen=True, slots=True)
class Offered:
    """What a server says that it offers beside tools."""

    resources: bool = False
    prompts: bool = False
    completions: bool = False
    updates: bool = False  # of single resources that someone subscribed to

    @classmethod
    def of(cls, capabilities: object) -> Offered:
        """Return what a server's `capabilities` declare."""
        told = capabilities if isinstance(capabilities, dict) else {}
        resources = told.get("resources")
        updates = isinstance(resources, dict) and resources.get("subscribe") is True
        given = [isinstance(told.get(name), dict) for name in ("resources", "prompts", "completions")]
        return cls(given[0], given[1], given[2], updates)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what it offers."""
        given = (self.resources, self.prompts, self.completions)
        return tuple(name for name, is_given in zip(FEATURES, given, strict=True) if is_given)


def feature(name: str, listed: Iterable[Any] = (), *, is_idle: bool = False) -> tuple[ToolDefinition, tuple[str, ...]]:
    """Return the definition of a feature, with what its server lists of it, and why others of the list are left out."""
    kept, faults = _kept(name, listed)
    definition: dict[str, Any] = {
        "name": name,
        "description": _WORDS[name],
        "inputSchema": _SCHEMAS[name],
        "annotations": {"readOnlyHint": True},
    }
    if name != COMPLETE:
        definition["listed"] = kept
    return replace(kept_feature(definition), is_idle=is_idle), tuple(faults)


def kept_feature(definition: dict[str, Any]) -> ToolDefinition:
    """Return a feature from its definition, as it was kept beside a system's file.

    Raises:
        MalformedError: it has no canonical form.
    """
    return ToolDefinition(definition["name"], definition, digest_of(definition))


def listed_by(tool: ToolDefinition) -> list[dict[str, Any]]:
    """Return the prompts or templates that a feature's definition holds."""
    listed = tool.definition.get("listed")
    return listed if isinstance(listed, list) else []


def resources_in(listed: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the resources of a page, as they are passed on; what is none is left out."""
    for count, item in enumerate(listed):
        if count >= MAX_LISTED:
            return
        found = _said(item, _RESOURCE)
        if found is not None and _is_text(found.get("uri"), MAX_URI) and _is_text(found.get("name"), MAX_TEXT):
            yield found


def _kept(name: str, listed: Iterable[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the entries of a server's list of prompts or templates, by name, and what is wrong with the others."""
    keys, key = (_PROMPT, "name") if name == PROMPT else (_TEMPLATE, "uriTemplate")
    most = MAX_NAME if name == PROMPT else MAX_URI
    kept: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    for item in listed:
        found = _said(item, keys)
        which = found.get(key) if found is not None else None
        if found is None or not isinstance(which, str) or not _is_text(which, most) or not which.isprintable():
            faults.append(f"an entry of the server's list for `{name}` has no usable `{key}`")
        elif which in kept or len(kept) >= MAX_LISTED:
            faults.append(f"the server's list for `{name}` names {which!a} twice, or more than {MAX_LISTED}")
        else:
            kept[which] = found
    return [kept[each] for each in sorted(kept)], faults


def _said(item: Any, keys: tuple[str, ...]) -> dict[str, Any] | None:  # noqa: ANN401 - an upstream's JSON
    if not isinstance(item, dict):
        return None
    found = {key: item[key] for key in keys if item.get(key) is not None}
    arguments = found.get("arguments")
    if arguments is not None:
        if not isinstance(arguments, list) or len(arguments) > MAX_ARGUMENTS:
            return None
        own = [_said(each, _ARGUMENT) for each in arguments]
        if any(each is None or not _is_text(each.get("name"), MAX_NAME) for each in own):
            return None
        found["arguments"] = own
    texts = (found.get(key) for key in ("title", "description", "mimeType"))
    if any(each is not None and not _is_text(each, MAX_TEXT) for each in texts):
        return None
    try:
        digest_of(found)
    except MalformedError:  # numbers that readers disagree about, texts that are none
        return None
    return found


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most


# --- what callers ask for, and what is sent on ------------------------------------------------------------------------


def asked_of(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that policy decides on, from the parameters of a caller's request.

    Raises:
        MalformedError: they are none of such a request.
    """
    match method:
        case "resources/read":
            return {"uri": _text(params, "uri", MAX_URI)}
        case "prompts/get":
            arguments = _texts(params.get("arguments", {}), "arguments")
            return {"name": _text(params, "name", MAX_NAME)} | ({"arguments": arguments} if arguments else {})
        case _:
            return _completion(params)


def _completion(params: Mapping[str, Any]) -> dict[str, Any]:
    ref, argument, context = params.get("ref"), params.get("argument"), params.get("context", {})
    if not isinstance(ref, dict) or not isinstance(argument, dict) or not isinstance(context, dict):
        raise _wrong("a completion needs `ref` and `argument`")
    match ref.get("type"):
        case "ref/prompt":
            of = f"prompt/{_text(ref, 'name', MAX_NAME)}"
        case "ref/resource":
            of = _text(ref, "uri", MAX_URI)
            if of.startswith("prompt/"):
                raise _wrong("`ref` names a resource by no URI")
        case _:
            raise _wrong("`ref` is neither of a prompt nor of a resource")
    said: dict[str, Any] = {"of": of, "argument": _text(argument, "name", MAX_NAME)}
    said["value"] = _text(argument, "value", MAX_TEXT, empty=True)
    given = _texts(context.get("arguments", {}), "context")
    return said | ({"context": given} if given else {})


def sent_as(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a decided call is sent with, made of what was decided on and of nothing else."""
    if tool != COMPLETE:
        return dict(arguments)
    of = str(arguments["of"])
    is_prompt = of.startswith("prompt/")
    ref = (
        {"type": "ref/prompt", "name": of.removeprefix("prompt/")} if is_prompt else {"type": "ref/resource", "uri": of}
    )
    sent: dict[str, Any] = {"ref": ref, "argument": {"name": arguments["argument"], "value": arguments["value"]}}
    return sent | ({"context": {"arguments": arguments["context"]}} if "context" in arguments else {})


def _text(given: Mapping[str, Any], key: str, most: int, *, empty: bool = False) -> str:
    found = given.get(key)
    if not isinstance(found, str) or len(found) > most or not (found or empty):
        raise _wrong(f"`{key}` is no text of 1 to {most} characters")
    return found


def _texts(given: object, key: str) -> dict[str, str]:
    is_one = isinstance(given, dict) and len(given) <= MAX_ARGUMENTS
    if not is_one or not all(len(name) <= MAX_NAME and isinstance(text, str) for name, text in given.items()):  # type: ignore[attr-defined]
        raise _wrong(f"`{key}` holds more than {MAX_ARGUMENTS} texts by name, or something else")
    return dict(given)  # type: ignore[call-overload,no-any-return]


def _wrong(detail: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, detail)
