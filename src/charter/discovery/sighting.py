"""What a scan sees: one place in one file that shows AI in use, with the evidence and how sure it is.

INVARIANT: no text of a sighting holds a secret, a control character or an invisible one, whatever the file holds.
Files are written by strangers; `clean` stands between them and every terminal, log and draft.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.discovery.key_forms import without_keys
from charter.registry.charter import Kind

MAX_TEXT = 300  # characters of any text taken from a file
MAX_PATH = 1024


class SightingKind(StrEnum):
    """What was seen."""

    MCP_SERVER = "mcp-server"  # a server in an MCP client's configuration
    SDK = "sdk"  # a model SDK or agent framework that code imports
    DEPENDENCY = "dependency"  # one that a manifest lists
    ENDPOINT = "endpoint"  # a model API's address in code
    MODEL = "model"  # a model's name in code
    KEY = "key"  # a model provider's key, written out
    CI_STEP = "ci-step"  # a step of a pipeline that runs a model or an assistant
    CI_KEY = "ci-key"  # a pipeline that is given a model provider's key
    NODE = "node"  # a model, agent or tool of a low-code workflow
    INSTRUCTIONS = "instructions"  # a file that tells an assistant how to work here
    AGENT = "agent"  # an assistant's own agent, by its definition
    FEATURE = "feature"  # AI inside a SaaS product, by its configuration


class Confidence(StrEnum):
    """How a sighting knows. A finding is as sure as its surest sighting."""

    DECLARED = "declared"  # the file says so itself
    INFERRED = "inferred"  # something else makes it likely


class FindingKind(StrEnum):
    """What kind of place one AI system was found in."""

    APPLICATION = "application"  # a package of code
    PIPELINE = "pipeline"  # one file of a CI system
    WORKFLOW = "workflow"  # one file of a low-code workflow
    ASSISTANT = "assistant"  # one assistant at work in a folder
    MCP_CLIENT = "mcp-client"  # one MCP client configuration of no known product
    FEATURE = "feature"  # one SaaS product's AI feature


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server as a client's configuration names it: names of variables and headers, never their values."""

    name: str
    transport: str  # stdio | http | sse
    command: str | None = None
    url: str | None = None
    env: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    written_secrets: tuple[str, ...] = ()  # variables and headers whose value stands in the file

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.name,
            "transport": self.transport,
            "command": self.command,
            "url": self.url,
            "env": list(self.env),
            "headers": list(self.headers),
            "written_secrets": list(self.written_secrets),
        }


@dataclass(frozen=True, slots=True)
class Key:
    """A hard-coded key, redacted. `digest` (12 hex digits of SHA-256) tells whether two places hold the same one."""

    provider: str
    shown: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"provider": self.provider, "shown": self.shown, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place. `place` and `product` say which finding it belongs to (findings.py)."""

    kind: SightingKind
    path: str
    line: int  # from 1
    what: str  # `imports anthropic`
    suggests: Kind
    confidence: Confidence
    evidence: str  # `an import`, `the address of a model API in a string`
    provider: str | None = None
    model: str | None = None
    server: Server | None = None
    key: Key | None = None
    place: FindingKind = FindingKind.APPLICATION
    product: str | None = None  # the assistant's, the CI system's, the SaaS product's name
    module: str | None = None  # the imported or listed package: a checkout's own package is no use of it
    notes: tuple[str, ...] = ()  # facts for the risk note: `write:contents`, `trigger:issue_comment`, `reaches:slack`
    name: str | None = None  # the workflow's or agent's own name

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; what it has nothing to say about is left out."""
        body: dict[str, Any] = {
            "kind": self.kind.value,
            "path": self.path,
            "line": self.line,
            "what": self.what,
            "suggests": self.suggests.value,
            "confidence": self.confidence.value,
            "evidence": self.evidence,
        }
        optional = {
            "provider": self.provider,
            "model": self.model,
            "server": self.server.to_json() if self.server else None,
            "key": self.key.to_json() if self.key else None,
        }
        return body | {name: value for name, value in optional.items() if value is not None}


_LONGEST_KEY = 300
_RUNS = re.compile(r"\s+")


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """Return `text` on one line, with everything unprintable or invisible made visible.

    What is longer than `limit` characters, escapes included, is cut there and ends in `…`.
    """
    flat = _RUNS.sub(" ", without_keys(str(text)[: limit + _LONGEST_KEY])[: limit + 1])
    shown: list[str] = []
    left = limit
    for character in flat:
        piece = character if character.isprintable() else _escape(character)
        left -= len(piece)
        if left < 0:
            return "".join(shown) + "…"
        shown.append(piece)
    return "".join(shown)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def clean_path(path: str) -> str:
    """Return a file's path fit to be shown; names that are no UTF-8 keep their bytes as escapes."""
    return clean(path, MAX_PATH)
