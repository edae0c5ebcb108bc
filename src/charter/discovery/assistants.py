"""Signs of assistants at work: files that instruct them, agents of their own, and AI switched on inside SaaS products.

An instruction file proves that someone expects an assistant here, not that one ran: such sightings are inferred.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from charter.discovery.catalogue import provider_of_model
from charter.discovery.file import File
from charter.discovery.sighting import Confidence, FindingKind, Sighting, SightingKind, clean
from charter.registry.charter import Kind

GENERIC = "coding-agent"  # AGENTS.md is read by many assistants
_INSTRUCTIONS = (
    (r"claude(?:\.local)?\.md", "claude-code"),
    (r"\.claude/(?:claude\.md|settings(?:\.local)?\.json|commands/.+\.md|skills/.+/skill\.md)", "claude-code"),
    (r"\.cursorrules|\.cursor/rules/.+\.mdc?", "cursor"),
    (r"\.windsurfrules|\.windsurf/rules/.+\.md", "windsurf"),
    (r"\.clinerules(?:/.+\.md)?", "cline"),
    (r"\.roomodes|\.roo/rules.*/.+\.md", "roo-code"),
    (r"\.github/copilot-instructions\.md|\.github/instructions/.+\.instructions\.md", "copilot"),
    (r"\.github/(?:chatmodes/.+\.chatmode|prompts/.+\.prompt)\.md", "copilot"),
    (r"gemini\.md", "gemini-cli"),
    (r"\.junie/guidelines\.md", "junie"),
    (r"\.kiro/steering/.+\.md", "kiro"),
    (r"\.amazonq/rules/.+\.md", "amazon-q"),
    (r"\.aider\.conf\.ya?ml", "aider"),
    (r"\.goosehints", "goose"),
    (r"agents\.md|agents\.override\.md", GENERIC),
)
_AGENTS = (
    (r"\.claude/agents/.+\.md", "claude-code"),
    (r"\.github/agents/.+\.md", "copilot"),
    (r"\.opencode/agents?/.+\.md", "opencode"),
    (r"\.gemini/agents/.+\.md", "gemini-cli"),
)
_INSTRUCTED = re.compile(r"\"instructions\"")
_FEATURES = (
    (re.compile(r"(?:^|/)\.coderabbit\.ya?ml$"), None, "CodeRabbit", "reviews changes"),
    (re.compile(r"(?:^|/)\.pr_agent\.toml$"), None, "Qodo PR-Agent", "reviews changes"),
    (re.compile(r"(?:^|/)greptile\.json$"), None, "Greptile", "reviews changes"),
    (re.compile(r"(?:^|/)manifest\.ya?ml$"), re.compile(r"(?m)^\s*rovo:agent\s*:"), "Atlassian Rovo", "an agent"),
    (re.compile(r"\.genai(?:plugin|planner\w*|function|prompttemplate)-meta\.xml$"), None, "Salesforce", "an agent"),
    (re.compile(r"(?:^|/)declarativeagent[^/]*\.json$"), _INSTRUCTED, "Microsoft 365 Copilot", "a declarative agent"),
    (re.compile(r"\.mcs\.ya?ml$"), re.compile(r"(?m)^kind:\s"), "Microsoft Copilot Studio", "an agent"),
)  # fmt: skip


def _at_end(patterns: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<p{i}>(?:^|/)(?:{pattern})$)" for i, (pattern, _) in enumerate(patterns)))


_INSTRUCTION_PATH, _AGENT_PATH = _at_end(_INSTRUCTIONS), _at_end(_AGENTS)
_FRONT_FIELD = re.compile(r"^(name|model|tools)[ \t]*:[ \t]*(\S[^\n]{0,300})$", re.MULTILINE)
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\n(.{0,8000}?)\n---", re.DOTALL)


def assistant_sightings(file: File) -> Iterator[Sighting]:
    """Yield the signs of assistants that a file's place, or its first lines, give."""
    path = "/".join(file.parts)
    agent = _AGENT_PATH.search(path)
    if agent:
        yield _agent(file, _AGENTS[int((agent.lastgroup or "p0")[1:])][1])
        return
    found = _INSTRUCTION_PATH.search(path)
    if found:
        product = _INSTRUCTIONS[int((found.lastgroup or "p0")[1:])][1]
        yield _sighting(
            file, SightingKind.INSTRUCTIONS, product, "instructs an assistant", "a file that assistants read"
        )
    for place, words, product, what in _FEATURES:
        if place.search(path) and (words is None or words.search(file.text)):
            yield _feature(file, product, what)


def _agent(file: File, product: str) -> Sighting:
    """Return the sighting of an agent's definition: its name, model and tools are in its front matter."""
    front = _FRONT.match(file.text)
    fields = dict(_FRONT_FIELD.findall(front[1])) if front else {}
    name = fields.get("name") or file.name.removesuffix(".md").removesuffix(".agent")
    tools = f", with {fields['tools']}" if "tools" in fields else ""
    model = fields.get("model", "").strip("\"' ")
    return _sighting(
        file,
        SightingKind.AGENT,
        product,
        f"defines the agent {name}{tools}",
        "an agent's definition",
        model if provider_of_model(model) or model in ("opus", "sonnet", "haiku") else None,
    )


def _sighting(
    file: File, kind: SightingKind, product: str, what: str, evidence: str, model: str | None = None
) -> Sighting:
    return Sighting(
        kind,
        file.shown,
        1,
        clean(what),
        Kind.DEVELOPER_ASSISTANT,
        Confidence.INFERRED,
        evidence,
        provider=provider_of_model(model) if model else None,
        model=clean(model, 128) if model else None,
        place=FindingKind.ASSISTANT,
        product=product,
    )


def _feature(file: File, product: str, what: str) -> Sighting:
    return Sighting(
        SightingKind.FEATURE,
        file.shown,
        1,
        f"{product}: {what}",
        Kind.SAAS_FEATURE,
        Confidence.DECLARED,
        "a SaaS product's configuration",
        place=FindingKind.FEATURE,
        product=product,
    )
