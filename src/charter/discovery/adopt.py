"""Adopt: a finding becomes a draft charter that says what a person still has to say.

What the scan saw is filled in; what nobody but a person can know is left out and named in a `MISSING` comment, so that
`charter validate` asks for exactly that. Nothing of a draft is in force.

INVARIANT: whatever a finding holds, the draft is strict YAML whose only problems are the fields left out.
INVARIANT: a draft grants nothing but reading, and only on systems the estate has.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence

from charter.core.errors import MalformedError
from charter.core.values import parse_name
from charter.discovery.catalogue import provider_of_model
from charter.discovery.findings import ScanFinding
from charter.discovery.sighting import Server, clean
from charter.registry.charter import Effect
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.upstream import HttpUpstream, StdioUpstream

_MANY = 12  # teams or roles named in a comment
A_YEAR = dt.timedelta(days=365)
_MAX_MODEL = 128


def draft_charter(
    finding: ScanFinding, *, teams: Teams, systems: Mapping[str, System], at: dt.datetime | None = None
) -> tuple[str, str]:
    """Return the name of the principal and the text of its draft file.

    `teams` and `systems` are the estate's; with `at`, the draft is dated and proposes an expiry.
    """
    name = finding.proposes if is_name(finding.proposes) else f"found-{_plain_id(finding.id)}"
    return name, "\n".join(_lines(finding, name, teams, systems, at)) + "\n"


def _lines(
    finding: ScanFinding, name: str, teams: Teams, systems: Mapping[str, System], at: dt.datetime | None
) -> Iterator[str]:
    yield f"# Drafted {f'on {at.date().isoformat()} ' if at else ''}from the finding {said(finding.id)}"
    yield f"# {said(finding.title)}"
    yield f"# Seen at {said(finding.where)}: {said(finding.evidence)} ({finding.confidence.value})"
    yield f"# Risk: {said(finding.risk)}"
    yield "charter: v1"
    yield f"principal: {word(name)}"
    yield f"kind: {finding.suggests.value}"
    yield "# MISSING: environment: where it runs: sandbox, staging or production"
    yield f"# MISSING: owner: {{person: who answers for it, team: {among(teams.teams, 'one of teams.yaml')}}}"
    yield "# MISSING: purpose: what it is for, in one sentence"
    yield from _model(finding)
    yield from _grants(finding, systems)
    yield f"# MISSING: approved: {{by: someone else, role: {among(teams.roles, 'a human role')}, on: the day}}"
    yield "credential: {type: private-key-jwt}"
    yield "review: 90d"
    until = f", at most {(at + A_YEAR).date().isoformat()}" if at else ""
    yield f"# MISSING: expires: the day it needs a new yes{until}"


def _model(finding: ScanFinding) -> Iterator[str]:
    providers = [provider for provider in finding.providers if is_name(provider)]
    names = [shown for shown in (clean(name, _MAX_MODEL - 1) for name in finding.models) if shown]
    if not providers:
        seen = f" (seen: {', '.join(names[:_MANY])})" if names else ""
        yield f"# MISSING: model: {{provider: whose model it calls, name: which}}{seen}"
        return
    provider, name = _pair(providers, names)
    others = [each for each in (*providers, *names) if each not in (provider, name)]
    if others:
        yield f"# Also seen: {', '.join(others[:_MANY])}"
    yield f"model: {{provider: {word(provider)}, name: {json.dumps(name, ensure_ascii=False)}}}"


def _pair(providers: Sequence[str], names: Sequence[str]) -> tuple[str, str]:
    """Return a provider and a model that belong together: the first model that one of the providers makes.

    Where none is, the models of others are served by the first provider, as clouds do.
    """
    made = ((provider_of_model(name), name) for name in names)
    pairs = [(maker, name) for maker, name in made if maker is not None and maker in providers]
    return pairs[0] if pairs else (providers[0], names[0] if names else "*")


def _grants(finding: ScanFinding, systems: Mapping[str, System]) -> Iterator[str]:
    """Propose to read on the systems the finding reaches, where the estate has them; name the others."""
    reached: dict[str, Server] = {}
    for server in finding.servers:
        known = system_of(server, systems)
        if known is None:
            what = server.url or server.command or server.transport
            yield f"# MISSING: a system for the MCP server {said(server.name)} ({said(what)}):"
            yield "#   write systems/NAME.yaml, then charter systems import NAME, then grant what it needs"
        else:
            reached[known] = server
    for application in finding.reaches:
        if application not in systems:
            yield f"# MISSING: a system for {said(application)}, which the workflow reaches"
    readable = {name: _reads(systems[name]) for name in reached if _reads(systems[name])}
    data = sorted({each for name, actions in readable.items() for a in actions for each in systems[name].data_of(a)})
    if data:
        yield f"data: [{', '.join(map(word, data))}]"
    for name in sorted(set(reached) - set(readable)):
        yield f"# MISSING: actions of {name}: none only reads; grant what it needs"
    if not readable:
        yield "grants: []  # nothing is allowed until someone grants it"
        return
    yield "grants:  # reading only; add what it needs beyond that"
    for name, actions in readable.items():
        yield f"  - system: {word(name)}  # the MCP server {said(reached[name].name)}"
        yield f"    actions: [{', '.join(json.dumps(action) for action in actions)}]"


def system_of(server: Server, systems: Mapping[str, System]) -> str | None:
    """Return the system that a client's MCP server is: of the same name, address or command."""
    if server.name in systems:
        return server.name
    for name, system in systems.items():
        upstream = system.upstream
        if isinstance(upstream, HttpUpstream) and server.url and _address(upstream.url) == _address(server.url):
            return name
        if isinstance(upstream, StdioUpstream) and server.command and _starts_alike(upstream.command, server.command):
            return name
    return None


def _starts_alike(words: Sequence[str], command: str) -> bool:
    """Whether two commands start the same server: the same words, wherever the program lies and whoever launches it."""
    ours = [word.rpartition("/")[2] for word in words]
    theirs = [word.rpartition("/")[2] for word in command.split(" ")]
    return ours == theirs or (len(ours) > 1 and len(theirs) > 1 and ours[-len(theirs) :] == theirs)


def _address(url: str) -> str:
    return url.partition("?")[0].rstrip("/").lower()


def _reads(system: System) -> list[str]:
    return [name for name, action in system.actions.items() if action.effect is Effect.READ]


def among(names: Mapping[str, object], otherwise: str) -> str:
    """Return some names to choose from, for a comment; `otherwise` where there are none."""
    listed = sorted(names)[:_MANY]
    return f"one of {', '.join(listed)}" if listed else otherwise


def is_name(text: str) -> bool:
    """Return whether a principal can be called that."""
    try:
        parse_name(text)
    except MalformedError:
        return False
    return True


def _plain_id(text: str) -> str:
    return "".join(ch for ch in text if ch in "0123456789abcdef")[:12] or "ai"


def word(name: str) -> str:
    """Return a name as YAML: bare if it can only be text, else in quotes (`0`, `true`, `1e5`)."""
    is_text = name[0].isalpha() and name not in ("true", "false", "null")
    return name if is_text else json.dumps(name)


def said(text: str) -> str:
    """Return text of a scan for a comment: on one line, with nothing invisible in it."""
    return clean(text)
