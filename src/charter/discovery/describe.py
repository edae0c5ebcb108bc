"""A finding in words: its title, its evidence, the risk a person should know of, a name for its principal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sized
from typing import assert_never

from charter.discovery.findings import ScanFinding
from charter.discovery.sighting import FindingKind, Sighting, SightingKind, clean

_PRODUCTS = {
    "claude-code": "Claude Code", "claude-desktop": "Claude Desktop", "cursor": "Cursor", "vscode": "VS Code",
    "codex": "Codex", "gemini-cli": "Gemini CLI", "zed": "Zed", "continue": "Continue", "windsurf": "Windsurf",
    "cline": "Cline", "roo-code": "Roo Code", "kiro": "Kiro", "amazon-q": "Amazon Q", "junie": "Junie",
    "copilot": "GitHub Copilot", "qwen-code": "Qwen Code", "lm-studio": "LM Studio", "librechat": "LibreChat",
    "aider": "Aider", "goose": "Goose", "trae": "Trae", "coding-agent": "a coding agent",
}  # fmt: skip
_FEW = 3
_MAX_NAME = 63
_PINNED = re.compile(r"@v?\d|[=@]{1,2}\d|sha256:|--from \S+[=@]")
_LAUNCHERS = ("npx", "uvx", "bunx", "docker", "pipx", "pnpm dlx", "yarn dlx")


def listed(values: tuple[str, ...], few: int = _FEW) -> str:
    """Return `a, b and c`, or `a, b, c and 4 more`."""
    if len(values) > few:
        return f"{', '.join(values[:few])} and {len(values) - few} more"
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def title_of(finding: ScanFinding, path: str, product: str) -> str:
    """Return one line that says what was found."""
    return clean(_TITLES[finding.kind](finding, path, product))


def _application(finding: ScanFinding, path: str, _: str) -> str:
    used = tuple(
        dict.fromkeys(each.what.removeprefix("uses ") for each in finding.sightings if each.what.startswith("uses "))
    )
    place = "the checkout's root" if path == "." else path
    models = f" ({listed(finding.models, 2)})" if finding.models else ""
    if used:
        return f"{place} uses {listed(used)}{models}"
    runs = tuple(dict.fromkeys(each.what for each in finding.sightings if each.kind is SightingKind.CI_STEP))
    if runs:
        return f"{place} {listed(runs)}{models}"
    if any(each.kind is SightingKind.ENDPOINT for each in finding.sightings):
        return f"{place} speaks to the API of {listed(finding.providers)}{models}"
    depends = tuple(
        each.what.removeprefix("depends on ") for each in finding.sightings if each.kind is SightingKind.DEPENDENCY
    )
    return (
        f"{place} depends on {listed(tuple(dict.fromkeys(depends)))}"
        if depends
        else f"{place} holds a hard-coded key of {listed(finding.providers)}"
    )


def _pipeline(finding: ScanFinding, path: str, _: str) -> str:
    steps = tuple(dict.fromkeys(each.what for each in finding.sightings if each.kind is SightingKind.CI_STEP))
    keys = tuple(dict.fromkeys(each.what for each in finding.sightings if each.kind is SightingKind.CI_KEY))
    first = finding.sightings[0]
    given = f"is given {listed(tuple(key.removeprefix('is given ') for key in keys))}"
    return f"{first.product} pipeline {first.name or path} {listed(steps) or given}"


def _workflow(finding: ScanFinding, path: str, _: str) -> str:
    names = tuple(dict.fromkeys(each.name for each in finding.sightings if each.name))
    tools = sum(1 for each in finding.sightings if each.what.startswith("the tool "))
    using = listed(finding.models or finding.providers, 2) or "a model"
    return f"n8n workflow {listed(names, 2) or path} uses {using}" + (f" and {tools} tools" if tools else "")


def _assistant(finding: ScanFinding, path: str, product: str) -> str:
    name = _PRODUCTS.get(product, product)
    place = "in this checkout" if path == "." else f"in {path}"
    agents = sum(1 for each in finding.sightings if each.kind is SightingKind.AGENT)
    parts = []
    if finding.servers:
        parts.append(f"with the MCP server{_s(finding.servers)} {listed(tuple(each.name for each in finding.servers))}")
    if agents:
        parts.append(f"with {agents} agent{'' if agents == 1 else 's'} of its own")
    return f"{name} works {place}" + (f", {', '.join(parts)}" if parts else "")


def _s(many: Sized) -> str:
    return "" if len(many) == 1 else "s"


def _client(finding: ScanFinding, path: str, _: str) -> str:
    return f"an MCP client is configured in {path}, with {listed(tuple(server.name for server in finding.servers))}"


def _feature(finding: ScanFinding, _path: str, _product: str) -> str:
    return finding.sightings[0].what


_TITLES = {
    FindingKind.APPLICATION: _application,
    FindingKind.PIPELINE: _pipeline,
    FindingKind.WORKFLOW: _workflow,
    FindingKind.ASSISTANT: _assistant,
    FindingKind.MCP_CLIENT: _client,
    FindingKind.FEATURE: _feature,
}


def evidence_of(finding: ScanFinding, telling: list[Sighting]) -> str:
    """Return what the finding rests on: each sort of evidence and how often it was seen."""
    counts: dict[str, int] = {}
    for each in telling:
        counts[each.evidence] = counts.get(each.evidence, 0) + 1
    words = tuple(f"{what} ({n}x)" if n > 1 else what for what, n in counts.items())
    only = "" if finding.setting == "code" else f"; seen in {finding.setting} only"
    return clean(listed(words) + only)


# --- risk ---


def risk_of(finding: ScanFinding, group: list[Sighting]) -> str:
    """Return what a person should know of first, the most serious first, in at most three sentences' parts."""
    told = list(_risks(finding, group))
    return clean("; ".join(told[:3]), 500) if told else "nobody is registered as answering for it"


def _risks(finding: ScanFinding, group: list[Sighting]) -> Iterator[str]:
    yield from _key_risks(group)
    written = tuple(f"{name} of {server.name}" for server in finding.servers for name in server.written_secrets)
    if written:
        yield f"secrets are written into the configuration: {listed(written)}"
    yield from _pipeline_risks(group)
    yield from _server_risks(finding)
    if finding.kind is FindingKind.WORKFLOW and any("trigger:" in note for each in group for note in each.notes):
        yield "it can be started from outside, and its model reads what was sent"
    if finding.reaches:
        yield f"it reaches {listed(finding.reaches)}"
    if finding.setting != "code":
        yield f"seen in {finding.setting} only"


def _key_risks(group: list[Sighting]) -> Iterator[str]:
    """Tell of the keys written into files; one that stands in several is one."""
    keys: dict[str, tuple[str, str]] = {}
    for each in group:
        if each.key:
            keys.setdefault(each.key.digest, (each.key.provider, f"{each.path}:{each.line}"))
    whose = listed(tuple(dict.fromkeys(provider for provider, _ in keys.values())))
    where = listed(tuple(place for _, place in keys.values()))
    if len(keys) == 1:
        yield f"a key of {whose} is written into {where}: whoever reads the file can use it"
    elif keys:
        yield f"{len(keys)} keys of {whose} are written into {where}: whoever reads the files can use them"


def _pipeline_risks(group: list[Sighting]) -> Iterator[str]:
    notes = list(dict.fromkeys(note for each in group for note in each.notes))
    started = tuple(note.removeprefix("trigger:") for note in notes if note.startswith("trigger:"))
    writes = tuple(note.removeprefix("write:") for note in notes if note.startswith("write:"))
    if any(each.place is not FindingKind.PIPELINE for each in group):
        return
    if started and writes:
        yield f"text of strangers starts it ({listed(started)}) and it may write {listed(writes)}"
    elif started:
        yield f"text of strangers starts it ({listed(started)})"
    elif writes:
        yield f"it may write {listed(writes)}"


def _server_risks(finding: ScanFinding) -> Iterator[str]:
    loose = tuple(
        server.name
        for server in finding.servers
        if server.command and server.command.startswith(_LAUNCHERS) and not _PINNED.search(server.command)
    )
    if loose:
        yield f"it starts whatever is newest of {listed(loose)}: no version is pinned"
    remote = tuple(server.name for server in finding.servers if server.url)
    if remote:
        yield f"it sends what it knows to {listed(remote)}"


# --- a name ---


def name_of(finding: ScanFinding, checkout: str, product: str) -> str:
    """Return a name for the finding's principal: 1 to 63 of a-z, 0-9 and inner hyphens, whatever it was found as."""
    last = finding.path.rstrip("/").rpartition("/")[2].partition(".")[0] if finding.path != "." else ""
    match finding.kind:
        case FindingKind.APPLICATION:
            words = [checkout, last] if last and last != checkout else [checkout]
        case FindingKind.WORKFLOW:
            words = [next((each.name for each in finding.sightings if each.name), last)]
        case FindingKind.PIPELINE:
            words = [checkout, last or "ci"]
        case FindingKind.ASSISTANT | FindingKind.FEATURE:
            words = [checkout, *([last] if last else []), product]
        case FindingKind.MCP_CLIENT:
            words = [checkout, last, "client"]
        case _:
            assert_never(finding.kind)
    return slug("-".join(words)) or f"found-{finding.fingerprint.removeprefix('sha256:')[:8]}"


def slug(text: str) -> str:
    """Return `text` as a name: lower case, what is no letter or digit as one hyphen; "" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_MAX_NAME].strip("-")
