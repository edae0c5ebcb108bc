"""AI in CI pipelines: actions that run a model or an assistant, commands that do, and steps given a model's key.

Read from the workflow's own tree: `uses`, `run`, `env`. What a pipeline may do with its answer matters as much as that
it asks, so the permissions it has and the events that start it stand in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from charter.discovery.catalogue import endpoints_in
from charter.discovery.file import File
from charter.discovery.keys import provider_of_variable
from charter.discovery.sighting import Confidence, FindingKind, Sighting, SightingKind, clean
from charter.discovery.tree import Node, read_yaml
from charter.registry.charter import Kind

_ASSISTANT, _WORKFLOW, _FEATURE = Kind.DEVELOPER_ASSISTANT, Kind.WORKFLOW, Kind.SAAS_FEATURE


@dataclass(frozen=True, slots=True)
class _Runs:
    """What an action or command runs."""

    what: str
    provider: str | None
    suggests: Kind


# an action is looked up by owner/name, and by owner alone
_ACTIONS = {
    "anthropics/claude-code-action": _Runs("Claude Code", "anthropic", _ASSISTANT),
    "anthropics/claude-code-base-action": _Runs("Claude Code", "anthropic", _ASSISTANT),
    "anthropics/claude-code-security-review": _Runs("Claude Code", "anthropic", _ASSISTANT),
    "openai/codex-action": _Runs("Codex", "openai", _ASSISTANT),
    "google-github-actions/run-gemini-cli": _Runs("Gemini CLI", "google", _ASSISTANT),
    "google-gemini/gemini-cli-action": _Runs("Gemini CLI", "google", _ASSISTANT),
    "actions/ai-inference": _Runs("a model of GitHub Models", "github-models", _WORKFLOW),
    "github/copilot-cli-action": _Runs("Copilot", "github", _ASSISTANT),
    "sst/opencode": _Runs("opencode", None, _ASSISTANT),
    "anomalyco/opencode": _Runs("opencode", None, _ASSISTANT),
    "aider-ai/aider-action": _Runs("Aider", None, _ASSISTANT),
    "mirrajabi/aider-github-action": _Runs("Aider", None, _ASSISTANT),
    "all-hands-ai/openhands-resolver": _Runs("OpenHands", None, _ASSISTANT),
    "all-hands-ai/openhands": _Runs("OpenHands", None, _ASSISTANT),
    "qwenlm/qwen-code-action": _Runs("Qwen Code", "alibaba", _ASSISTANT),
    "augmentcode/review-pr": _Runs("Augment", None, _ASSISTANT),
    "coderabbitai/ai-pr-reviewer": _Runs("CodeRabbit", "openai", _FEATURE),
    "codium-ai/pr-agent": _Runs("PR-Agent", None, _FEATURE),
    "qodo-ai/pr-agent": _Runs("PR-Agent", None, _FEATURE),
    "the-pr-agent/pr-agent": _Runs("PR-Agent", None, _FEATURE),
    "freeedcom/ai-codereviewer": _Runs("a model", "openai", _WORKFLOW),
    "anc95/chatgpt-codereview": _Runs("a model", "openai", _WORKFLOW),
    "appleboy/llm-action": _Runs("a model", None, _WORKFLOW),
}
# the programs, as the first word of a command, and what must follow where the name alone is too common
_COMMANDS = {
    "claude": (_Runs("Claude Code", "anthropic", _ASSISTANT), r"(?:\s|$)"),
    "codex": (_Runs("Codex", "openai", _ASSISTANT), r"\s+(?:exec|e|review|--?\w|\"|')"),
    "gemini": (_Runs("Gemini CLI", "google", _ASSISTANT), r"\s+(?:--?\w|\"|')"),
    "aider": (_Runs("Aider", None, _ASSISTANT), r"\s+\S"),
    "opencode": (_Runs("opencode", None, _ASSISTANT), r"\s+(?:run|serve|github|-)"),
    "cursor-agent": (_Runs("Cursor", "cursor", _ASSISTANT), r"(?:\s|$)"),
    "goose": (_Runs("Goose", None, _ASSISTANT), r"\s+(?:run|session)\b.*(?:-t|-i|--text|--recipe|--instructions)"),
    "copilot": (_Runs("Copilot", "github", _ASSISTANT), r"\s+(?:-p|--prompt|--allow)"),
    "gh": (_Runs("a model of GitHub Models", "github-models", _WORKFLOW), r"\s+(?:models\s+(?:run|eval)|copilot\s+\w)"),
    "llm": (_Runs("a model through llm", None, _WORKFLOW), r"\s+(?:-m|--model|-s|--system|-t|prompt|chat|\"|')"),
    "sgpt": (_Runs("a model through sgpt", None, _WORKFLOW), r"\s+\S"),
    "ollama": (_Runs("a model through Ollama", "ollama", _WORKFLOW), r"\s+(?:run|serve|pull)"),
}
_PACKAGES = {
    "@anthropic-ai/claude-code": "claude",
    "@openai/codex": "codex",
    "@google/gemini-cli": "gemini",
    "aider-chat": "aider",
    "opencode-ai": "opencode",
    "@github/copilot": "copilot",
}
_COMMAND = re.compile(
    r"(?:^|[\n;|&(`]|\$\(|\bthen\b|\bdo\b|\belse\b)[ \t]*"
    r"(?:(?:sudo|time|exec|timeout[ \t]+\S+|[A-Z_][A-Z0-9_]*=\S*)[ \t]+)*"
    r"(?P<word>" + "|".join(_COMMANDS) + r")(?P<rest>(?=[\s\"']|$)[^\n]{0,400})",
    re.MULTILINE,
)
_LAUNCHED = re.compile(
    r"(?:npx|bunx|pnpm[ \t]+dlx|yarn[ \t]+dlx|uvx|pipx[ \t]+run)[ \t]+(?:-\S+[ \t]+)*(?P<package>"
    + "|".join(map(re.escape, _PACKAGES)) + r")(?:@[\w.^~-]+)?(?=[\s\"']|$)"
)  # fmt: skip
_GITHUB = re.compile(r"(?:^|/)\.(?:github|gitea|forgejo)/workflows/[^/]+\.ya?ml$")
_ACTION_FILE = re.compile(r"(?:^|/)action\.ya?ml$")
_OTHERS = {
    ".gitlab-ci.yml": "GitLab",
    "azure-pipelines.yml": "Azure",
    "bitbucket-pipelines.yml": "Bitbucket",
    "buildkite.yml": "Buildkite",
    ".drone.yml": "Drone",
    ".woodpecker.yml": "Woodpecker",
}
_OTHER_PATHS = (
    (re.compile(r"(?:^|/)\.gitlab/(?:ci|pipelines?)/.+\.ya?ml$|\.gitlab-ci\.ya?ml$"), "GitLab"),
    (re.compile(r"(?:^|/)\.circleci/.+\.ya?ml$"), "CircleCI"),
    (re.compile(r"(?:^|/)\.buildkite/.+\.ya?ml$"), "Buildkite"),
)
_SCRIPT_KEYS = frozenset({"run", "script", "before_script", "after_script", "command", "commands", "bash"})
_VARIABLE_KEYS = frozenset({"env", "variables", "environment"})
_MARKERS = (
    b"claude", b"codex", b"gemini", b"aider", b"opencode", b"cursor-agent", b"goose", b"copilot", b"models", b"llm",
    b"sgpt", b"ollama", b"ai-inference", b"openhands", b"OpenHands", b"qwen", b"augment", b"coderabbit", b"pr-agent",
    b"ai-codereviewer", b"ChatGPT", b"chatgpt", b"_API_KEY", b"_TOKEN", b"api.", b"bedrock",
)  # fmt: skip
_UNTRUSTED = frozenset(
    {"pull_request_target", "issue_comment", "issues", "discussion", "discussion_comment", "workflow_run"}
    | {"pull_request_review_comment"}
)


def system_of(file: File) -> str | None:
    """Return whose pipeline the file is, by its place: `GitHub`, `GitLab`, …; None if it is none."""
    path = "/".join(file.parts)
    if _GITHUB.search(path) or _ACTION_FILE.search(path):
        return "GitHub"
    return _OTHERS.get(file.name) or next((name for pattern, name in _OTHER_PATHS if pattern.search(path)), None)


def pipeline_sightings(file: File) -> Iterator[Sighting]:
    """Yield the AI in a pipeline's file.

    Raises:
        UnreadableError: the file cannot be read.
    """
    system = system_of(file) if file.suffix in (".yml", ".yaml") else None
    if system is None or not file.holds(*_MARKERS):
        return
    root = read_yaml(file.text)
    found = list(_Reader(file, system, root).read())
    notes = tuple(_notes(root)) if found else ()
    for each in found:
        yield _noted(each, notes)


def script_sightings(file: File) -> Iterator[Sighting]:
    """Yield the AI a shell script runs."""
    if file.suffix not in (".sh", ".bash", ".zsh") or not file.holds(*_MARKERS):
        return
    for offset, runs, evidence in commands_in(file.text):
        yield Sighting(
            SightingKind.CI_STEP,
            file.shown,
            file.line_at(offset),
            f"runs {runs.what}",
            runs.suggests,
            Confidence.INFERRED,
            evidence,
            provider=runs.provider,
        )


class _Reader:
    """Reads one pipeline's tree."""

    def __init__(self, file: File, system: str, root: Node) -> None:
        self.file = file
        self.system = system
        self.name = root.text_at("name")
        self.root = root

    def read(self) -> Iterator[Sighting]:
        """Yield what the tree shows."""
        seen: set[tuple[int, str]] = set()
        for key, node in self.root.walk():
            for each in self._node(key, node):
                if (each.line, each.what) not in seen:
                    seen.add((each.line, each.what))
                    yield each

    def _node(self, key: str, node: Node) -> Iterator[Sighting]:
        text = node.text
        if key == "uses" and text:
            yield from self._action(node, text)
        elif key in _SCRIPT_KEYS and text:
            yield from self._script(node, text)
        elif key in _VARIABLE_KEYS:
            yield from self._variables(node)
        elif key == "with":
            yield from self._inputs(node)

    def _action(self, node: Node, text: str) -> Iterator[Sighting]:
        path = text.partition("@")[0].lower().removeprefix("https://github.com/")
        name = "/".join(path.split("/")[:2])
        runs = _ACTIONS.get(name)
        if runs:
            yield self._sighting(node.line, f"runs {runs.what}", runs, f"the action {clean(text, 120)}")

    def _script(self, node: Node, text: str) -> Iterator[Sighting]:
        first = node.line + (1 if node.is_text and "\n" in text else 0)  # a block's text begins below its key
        for offset, runs, evidence in commands_in(text):
            yield self._sighting(first + text.count("\n", 0, offset), f"runs {runs.what}", runs, evidence)

    def _variables(self, node: Node) -> Iterator[Sighting]:
        named = {name: child.line for name, child in node.fields.items()}
        named |= {item.text_at("name") or "": item.line for item in node.items}
        for name, line in named.items():
            provider = provider_of_variable(name)
            if provider:
                yield self._key(line, clean(name, 80), provider)

    def _inputs(self, node: Node) -> Iterator[Sighting]:
        for child in node.fields.values():
            for name in re.findall(r"secrets\.([A-Za-z0-9_]{1,100})", child.text or ""):
                provider = provider_of_variable(name)
                if provider:
                    yield self._key(child.line, name, provider)

    def _key(self, line: int, name: str, provider: str) -> Sighting:
        return Sighting(
            SightingKind.CI_KEY,
            self.file.shown,
            line,
            f"is given {name}",
            _WORKFLOW,
            Confidence.INFERRED,
            "a variable named for a model provider's key",
            provider=provider,
            place=FindingKind.PIPELINE,
            product=self.system,
            name=clean(self.name, 80) if self.name else None,
        )

    def _sighting(self, line: int, what: str, runs: _Runs, evidence: str) -> Sighting:
        return Sighting(
            SightingKind.CI_STEP,
            self.file.shown,
            line,
            what,
            runs.suggests,
            Confidence.DECLARED,
            evidence,
            provider=runs.provider,
            place=FindingKind.PIPELINE,
            product=self.system,
            name=clean(self.name, 80) if self.name else None,
        )


def commands_in(text: str) -> Iterator[tuple[int, _Runs, str]]:
    """Yield (offset, what is run, evidence) of each command in a script that runs a model or an assistant."""
    code = re.sub(r"(?m)(^|\s)#[^\n]*", lambda match: match[1] + " " * (len(match[0]) - len(match[1])), text)
    for match in _COMMAND.finditer(code):
        runs, follows = _COMMANDS[match["word"]]
        if re.match(follows, match["rest"]):
            yield match.start("word"), runs, f"the command `{match['word']}`"
    for match in _LAUNCHED.finditer(code):
        word = _PACKAGES[match["package"]]
        yield match.start(), _COMMANDS[word][0], f"the command `{match['package']}`"
    if "curl" in code or "wget" in code or "http" in code:
        for provider, offset in endpoints_in(code):
            yield (
                offset,
                _Runs(f"a model of {provider}", provider, _WORKFLOW),
                "the address of a model API in a command",
            )


def _notes(root: Node) -> Iterator[str]:
    """Yield what a pipeline may do and what starts it: `write:contents`, `trigger:issue_comment`."""
    started = root.get("on") or root.get("true")
    words = [*started.fields, *(item.text or "" for item in started.items), started.text or ""] if started else []
    yield from (f"trigger:{word}" for word in words if word in _UNTRUSTED)
    for key, node in root.walk():
        if key == "permissions":
            if node.text == "write-all":
                yield "write:everything"
            yield from (f"write:{clean(name, 40)}" for name, child in node.fields.items() if child.text == "write")


def _noted(sighting: Sighting, notes: tuple[str, ...]) -> Sighting:
    values = {name: getattr(sighting, name) for name in Sighting.__slots__}
    return Sighting(**values | {"notes": tuple(dict.fromkeys(notes))})
