"""MCP client configurations: which servers an assistant or agent is given, read without starting any.

Known products keep them in known places; anywhere else an object called `mcpServers` counts if what it holds are
servers: a command or an address as text. So a JSON Schema that describes the object does not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charter.discovery.file import File
from charter.discovery.keys import is_written_secret, without_secrets, words_without_secrets
from charter.discovery.sighting import Confidence, FindingKind, Server, Sighting, SightingKind, clean
from charter.discovery.tree import Node, UnreadableError, read_json, read_yaml
from charter.registry.charter import Kind

MAX_SERVERS = 200
_MAX_TOML_LINE = 20_000  # tomllib takes quadratic time over the parts of one dotted key


@dataclass(frozen=True, slots=True)
class _Client:
    """A product's configuration file: the end of its path, and the keys under which its servers stand."""

    end: str
    product: str
    keys: tuple[tuple[str, ...], ...] = (("mcpServers",),)
    suggests: Kind = Kind.DEVELOPER_ASSISTANT


_CLIENTS = (
    _Client(".mcp.json", "claude-code"),
    _Client(".claude.json", "claude-code"),
    _Client(".claude/settings.json", "claude-code"),
    _Client(".claude/settings.local.json", "claude-code"),
    _Client("claude_desktop_config.json", "claude-desktop", suggests=Kind.COPILOT),
    _Client(".cursor/mcp.json", "cursor"),
    _Client(".vscode/mcp.json", "vscode", (("servers",), ("mcpServers",))),
    _Client(".vscode/settings.json", "vscode", (("mcp", "servers"), ("mcp.servers",), ("mcpServers",))),
    _Client(".codex/config.toml", "codex", (("mcp_servers",),)),
    _Client(".gemini/settings.json", "gemini-cli"),
    _Client("gemini-extension.json", "gemini-cli"),
    _Client(".zed/settings.json", "zed", (("context_servers",),)),
    _Client("zed/settings.json", "zed", (("context_servers",),)),
    _Client(".continue/config.json", "continue", (("mcpServers",), ("experimental", "modelContextProtocolServers"))),
    _Client(".continue/config.yaml", "continue"),
    _Client("windsurf/mcp_config.json", "windsurf"),
    _Client(".windsurf/mcp.json", "windsurf"),
    _Client("cline_mcp_settings.json", "cline"),
    _Client(".roo/mcp.json", "roo-code"),
    _Client(".kiro/settings/mcp.json", "kiro"),
    _Client(".amazonq/mcp.json", "amazon-q"),
    _Client(".junie/mcp/mcp.json", "junie"),
    _Client(".trae/mcp.json", "trae"),
    _Client(".copilot/mcp-config.json", "copilot"),
    _Client(".qwen/settings.json", "qwen-code"),
    _Client("opencode.json", "opencode", (("mcp",), ("mcpServers",))),
    _Client("opencode.jsonc", "opencode", (("mcp",), ("mcpServers",))),
    _Client("goose/config.yaml", "goose", (("extensions",),)),
    _Client(".lmstudio/mcp.json", "lm-studio", suggests=Kind.COPILOT),
    _Client("librechat.yaml", "librechat", suggests=Kind.COPILOT),
)
_BY_NAME: dict[str, list[_Client]] = {}
for _each in _CLIENTS:
    _BY_NAME.setdefault(_each.end.rpartition("/")[2], []).append(_each)
_GENERIC_KEYS = ("mcpServers", "mcp_servers", "context_servers")
_MARKERS = (b"mcpServers", b"mcp_servers", b"context_servers")
_SUFFIXES = (".json", ".jsonc", ".json5", ".toml", ".yaml", ".yml")


def client_of(path: str) -> _Client | None:
    """Return whose configuration the file at `path` (in lower case) is, by its place."""
    for client in _BY_NAME.get(path.rpartition("/")[2], ()):
        if path == client.end or path.endswith("/" + client.end):
            return client
    return None


def mcp_sightings(file: File) -> Iterator[Sighting]:
    """Yield the MCP servers that a file gives to a client.

    Raises:
        UnreadableError: it should hold some and cannot be read.
    """
    if file.suffix not in _SUFFIXES:
        return
    client = client_of("/".join(file.parts))
    if client is None and not file.holds(*_MARKERS):
        return
    for count, (line, server) in enumerate(_servers(file, client)):
        if count >= MAX_SERVERS:
            return
        yield _sighting(file, client, line, server)


def _sighting(file: File, client: _Client | None, line: int, server: Server) -> Sighting:
    where = f"at {server.url}" if server.url else f"`{server.command}`"
    return Sighting(
        SightingKind.MCP_SERVER,
        file.shown,
        line,
        clean(f"gives the MCP server {server.name} to {client.product if client else 'an MCP client'}: {where}"),
        client.suggests if client else Kind.AGENT,
        Confidence.DECLARED,
        "an MCP client's configuration",
        server=server,
        place=FindingKind.ASSISTANT if client else FindingKind.MCP_CLIENT,
        product=client.product if client else None,
    )


def _servers(file: File, client: _Client | None) -> Iterator[tuple[int, Server]]:
    """Yield (line, server) for each in the file."""
    root = _tree(file)
    seen: set[int] = set()
    for keys in client.keys if client else ():
        yield from _group(root.get(*keys), seen)
    for key, node in root.walk():
        if key in _GENERIC_KEYS:
            yield from _group(node, seen)


def _tree(file: File) -> Node:
    if file.suffix == ".toml":
        return _toml_tree(file)
    return read_yaml(file.text) if file.suffix in (".yaml", ".yml") else read_json(file.text)


def _toml_tree(file: File) -> Node:
    """Return TOML as nodes; the line of a table is that of its heading."""
    if max(map(len, file.text.split("\n")), default=0) > _MAX_TOML_LINE:
        raise UnreadableError(f"a line is longer than {_MAX_TOML_LINE:,} characters")
    try:
        return _node_of(tomllib.loads(file.text), file, ())
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise UnreadableError("this is no TOML") from err


def _node_of(value: Any, file: File, path: tuple[str, ...]) -> Node:  # noqa: ANN401 - any TOML value
    line = file.line_of(f"[{'.'.join(path)}]") if isinstance(value, dict) and path else 1
    if isinstance(value, dict):
        return Node({key: _node_of(item, file, (*path, key)) for key, item in value.items()}, line)
    if isinstance(value, list):
        return Node([_node_of(item, file, path) for item in value], line)
    return Node(str(value), line, isinstance(value, str))


def _group(node: Node | None, seen: set[int]) -> Iterator[tuple[int, Server]]:
    """Yield the servers of one `mcpServers`: a mapping by name, or a list of entries that name themselves."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    for name, entry in node.fields.items():
        server = _server(name, entry)
        if server is not None:
            yield entry.line, server
    for entry in node.items:
        own = entry.get("transport") if entry.get("transport", "command") else entry
        server = _server(entry.text_at("name") or entry.text_at("transport", "command") or "unnamed", own or entry)
        if server is not None:
            yield entry.line, server


_URL_KEYS = ("url", "serverUrl", "httpUrl", "uri", "endpoint")
_ENV_KEYS = ("env", "environment", "envs")
_HEADER_KEYS = ("headers", "http_headers", "requestOptions")


def _server(name: str, entry: Node) -> Server | None:
    """Return the server an entry describes, or None if it describes none."""
    words = _command(entry)
    url = next((text for key in _URL_KEYS if (text := entry.text_at(key))), None)
    if not words and not (url and re.match(r"https?://|wss?://|\$|\{", url)):
        return None
    env = _pairs(entry, _ENV_KEYS) | _pairs(entry.get("command") or Node("", 1), _ENV_KEYS)
    headers = _pairs(entry, _HEADER_KEYS)
    written = [key for key, value in (env | headers).items() if is_written_secret(key, value)]
    return Server(
        clean(name, 80),
        _transport(entry, url),
        clean(" ".join(words_without_secrets(words))) if words else None,
        clean(without_secrets(url)) if url else None,
        tuple(clean(key, 80) for key in env),
        tuple(clean(key, 80) for key in headers),
        tuple(clean(key, 80) for key in written),
    )


def _command(entry: Node) -> list[str]:
    """Return the words a client would start a stdio server with."""
    command = entry.get("command") or entry.get("cmd")
    if command is None:
        return []
    if command.fields:  # Zed: {path, args}
        head, arguments = [command.text_at("path") or ""], command.get("args")
    else:
        head, arguments = [command.text] if command.text else [], entry.get("args")
        head += [item.text for item in command.items if item.text]
    words = [*head, *(item.text for item in (arguments.items if arguments else ()) if item.text is not None)]
    return [word for word in words[:64] if word]


def _transport(entry: Node, url: str | None) -> str:
    said = (entry.text_at("type") or entry.text_at("transport") or "").lower()
    if not url:
        return "stdio"
    return "sse" if "sse" in said or url.partition("?")[0].rstrip("/").endswith("/sse") else "http"


def _pairs(entry: Node, keys: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        node = entry.get(key)
        if node is not None:
            found |= {name: item.text or "" for name, item in list(node.fields.items())[:100]}
    return found
