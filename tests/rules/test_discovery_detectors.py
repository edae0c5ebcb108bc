"""What each detector sees: the line, the words, the certainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from charter.discovery.assistants import assistant_sightings
from charter.discovery.catalogue import endpoints_in, provider_of_model
from charter.discovery.file import File, setting_of
from charter.discovery.low_code import low_code_sightings
from charter.discovery.manifests import manifest_sightings
from charter.discovery.mcp_clients import mcp_sightings
from charter.discovery.pipelines import commands_in, pipeline_sightings
from charter.discovery.python_code import python_sightings
from charter.discovery.sighting import Confidence, Server, Sighting, SightingKind, clean
from charter.discovery.source_code import source_sightings
from charter.discovery.tree import UnreadableError

Detector = Callable[[File], Iterator[Sighting]]


def seen(detector: Detector, path: str, text: str) -> list[Sighting]:
    return list(detector(File(path, text.encode())))


def told(detector: Detector, path: str, text: str) -> list[tuple[int, str]]:
    return [(each.line, each.what) for each in seen(detector, path, text)]


def servers(path: str, text: str) -> list[Server]:
    return [each.server for each in seen(mcp_sightings, path, text) if each.server]


def test_python_sightings_have_their_lines() -> None:
    text = '"""Uses openai."""\nimport os\nfrom openai import OpenAI\n\nmodel = "gpt-4o"\nurl = "https://api.groq.com/v1"\n'

    assert told(python_sightings, "a.py", text) == [
        (3, "uses openai"),
        (5, "names the model gpt-4o"),
        (6, "speaks to the API of groq"),
    ]


def test_python_imports_within_functions_and_by_name_count() -> None:
    text = "def f():\n    import anthropic\nimport importlib\nimportlib.import_module('mistralai.client')\n"

    found = seen(python_sightings, "a.py", text)

    assert [(each.line, each.what, each.confidence) for each in found] == [
        (2, "uses anthropic", Confidence.DECLARED),
        (4, "uses mistralai", Confidence.INFERRED),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from . import openai",
        "from .openai import x",
        "import openai_mock",
        "x.openai = 1",
        "import google.cloud.storage",
    ],
)
def test_python_that_only_looks_like_it_shows_nothing(text: str) -> None:
    assert told(python_sightings, "a.py", text + "\n") == []


def test_imports_over_several_lines_and_with_subpaths_are_found() -> None:
    text = 'import {\na,\n} from "@anthropic-ai/sdk/x";\nexport * from \'openai\';\nx = require("langchain/llms");\n'

    assert [line for line, _ in told(source_sightings, "a.mts", text)] == [3, 4, 5]


@pytest.mark.parametrize(
    "text",
    [
        "// import 'openai'",
        "/*\nimport 'openai'\n*/",
        "const s = `import 'openai'`",
        "from './openai'",
        "x(\"from 'openai'\")",
    ],
)
def test_javascript_that_only_looks_like_it_shows_nothing(text: str) -> None:
    assert told(source_sightings, "a.ts", text + "\n") == []


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("a.java", "import com.openai.client.OpenAIClient;", "uses com.openai"),
        ("a.cs", "using OpenAI.Chat;", "uses OpenAI"),
        ("a.rs", "use rig::completion::Prompt;", "uses rig"),
        ("a.rb", "require 'openai'", "uses openai"),
        ("a.php", "use OpenAI\\Client;", "uses OpenAI"),
        (
            "a.go",
            'import "github.com/anthropics/anthropic-sdk-go/option"',
            "uses github.com/anthropics/anthropic-sdk-go",
        ),
    ],
)
def test_other_languages_imports_are_found(path: str, text: str, what: str) -> None:
    assert told(source_sightings, path, text + "\n") == [(1, what)]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("pyproject.toml", '[tool.uv]\ndev-dependencies = ["litellm>1"]\n', [(2, "depends on litellm")]),
        ("Pipfile", '[packages]\nopenai = "*"\n', [(2, "depends on openai")]),
        ("requirements/prod.in", "openai\n", []),
        ("dev-requirements.txt", "x\n Cohere >= 5 # c\n", [(2, "depends on cohere")]),
        ("package.json", '{"devDependencies": {"openai": "4"}}', [(1, "depends on openai")]),
        ("Cargo.toml", "[dependencies.async-openai]\nversion = '1'\n", [(1, "depends on async-openai")]),
        ("environment.yml", "dependencies:\n  - pip:\n    - openai==1.0\n", [(3, "depends on openai")]),
        ("setup.py", "setup(install_requires=['a', 'langgraph'])", [(1, "depends on langgraph")]),
        ("build.gradle", 'implementation "dev.langchain4j:langchain4j:1.0"', [(1, "depends on dev.langchain4j")]),
        ("package.json", '{"name": "openai", "dependencies": {"openai": "4"}}', [(1, "depends on openai")]),
    ],
)
def test_manifests_list_what_they_depend_on(path: str, text: str, expected: list[tuple[int, str]]) -> None:
    assert told(manifest_sightings, path, text) == expected


def test_a_manifest_that_cannot_be_read_says_so() -> None:
    with pytest.raises(UnreadableError, match="no TOML"):
        seen(manifest_sightings, "pyproject.toml", "[project\n")


def test_a_stdio_server_keeps_its_command_and_the_names_of_its_variables() -> None:
    text = '{"mcpServers": {"git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"A": "1", "B_TOKEN": "x"}}}}'

    assert servers(".mcp.json", text) == [Server("git", "stdio", "uvx mcp-server-git", env=("A", "B_TOKEN"))]


def test_a_remote_server_keeps_its_address_without_secrets() -> None:
    text = '{"mcpServers": {"a": {"url": "https://u:p@h.example/sse?token=abc", "headers": {"X-Key": "v"}}}}'

    assert servers("any.json", text) == [Server("a", "sse", url="https://h.example/sse?token=***", headers=("X-Key",))]


def test_a_written_token_is_named_and_not_shown() -> None:
    text = '{"mcpServers": {"a": {"command": "x", "env": {"API_TOKEN": "q8Zr2Lk0vT5nXw7BcYd1"}}}}'

    (server,) = servers("any.json", text)

    assert server.written_secrets == ("API_TOKEN",)
    assert "q8Zr2Lk0" not in repr(server)


def test_continue_and_goose_keep_servers_in_lists_and_extensions() -> None:
    listed = "mcpServers:\n  - name: db\n    command: db-mcp\n    args: [serve]\n"
    goose = "extensions:\n  web:\n    type: streamable_http\n    uri: https://web.example/mcp\n  dev: {type: builtin}\n"

    assert servers(".continue/config.yaml", listed) == [Server("db", "stdio", "db-mcp serve")]
    assert servers("home/.config/goose/config.yaml", goose) == [Server("web", "http", url="https://web.example/mcp")]


def test_a_known_configuration_that_is_broken_is_told() -> None:
    with pytest.raises(UnreadableError):
        seen(mcp_sightings, "x/.cursor/mcp.json", "{")


def test_a_pipeline_tells_what_starts_it_and_what_it_may_write() -> None:
    text = """on: [issue_comment, push]
permissions: {contents: write, issues: read}
jobs:
  a:
    steps:
      - run: |
          echo hi
          claude -p "fix"
"""

    (found,) = seen(pipeline_sightings, ".github/workflows/a.yml", text)

    assert (found.line, found.what) == (8, "runs Claude Code")
    assert found.notes == ("trigger:issue_comment", "write:contents")


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("claude -p hi", ["Claude Code"]),
        ("FOO=1 timeout 60 claude --version", ["Claude Code"]),
        ("cat x | llm -m gpt-4o", ["a model through llm"]),
        ("npx -y @google/gemini-cli@latest -p x", ["Gemini CLI"]),
        ("gh models run openai/gpt-4o", ["a model of GitHub Models"]),
        ("gh pr list", []),
        ("# claude -p hi", []),
        ("echo claude", []),
        ("./codex exec", []),
        ("goose up", []),
        ("ls claude", []),
        ("gemini", []),
    ],
)
def test_commands_that_run_models_are_told_from_words(script: str, what: list[str]) -> None:
    assert [runs.what for _, runs, _ in commands_in(script)] == what


def test_an_n8n_workflow_tells_its_model_tools_and_credentials_names() -> None:
    text = """{"name": "W", "nodes": [
 {"name": "M", "type": "@n8n/n8n-nodes-langchain.lmChatAnthropic",
  "parameters": {"model": {"value": "claude-3-haiku-20240307"}}, "credentials":
  {"anthropicApi": {"id": "1", "name": "shared"}}},
 {"name": "T", "type": "n8n-nodes-base.gmailTool", "parameters": {}},
 {"name": "H", "type": "n8n-nodes-base.webhook", "parameters": {}}
], "connections": {"T": {"ai_tool": []}}}"""

    model, tool = seen(low_code_sightings, "w.json", text)

    assert (model.line, model.what) == (2, "the model M (lmChatAnthropic), with the credential shared")
    assert (model.provider, model.model) == ("anthropic", "claude-3-haiku-20240307")
    assert (tool.line, tool.what) == (5, "the tool T (gmailTool)")
    assert set(model.notes) == {"reaches:gmail", "trigger:webhook"}


def test_an_agents_definition_tells_its_tools_and_model() -> None:
    (found,) = seen(assistant_sightings, "x/.claude/agents/r.md", "---\nname: r\ntools: Bash, Read\nmodel: opus\n---\n")

    assert (found.kind, found.what, found.model) == (SightingKind.AGENT, "defines the agent r, with Bash, Read", "opus")


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ("gpt-4o-mini-2024-07-18", "openai"),
        ("o3-mini", "openai"),
        ("claude-opus-4-1@20250805", "anthropic"),
        ("openrouter/anthropic/claude-3.5-sonnet", "openrouter"),
        ("eu.amazon.nova-lite-v1:0", "aws-bedrock"),
        ("llama3.1:70b", "meta"),
        ("Qwen2.5-Coder", "alibaba"),
        ("gpt", None),
        ("claude", None),
        ("claude-monet", None),
        ("o1/readme", None),
        ("command-line", None),
        ("gemini-protocol", None),
        ("command-runner", None),
        ("command-r-plus-08-2024", "cohere"),
        ("model-t", None),
        ("meta-data", None),
        ("us.army.mil", None),
    ],
)
def test_a_models_name_is_told_from_other_words(text: str, provider: str | None) -> None:
    assert provider_of_model(text) == provider


@pytest.mark.parametrize(
    ("text", "providers"),
    [
        ("https://api.openai.com/v1", ["openai"]),
        ("https://acme.openai.azure.com/", ["azure-openai"]),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com", ["aws-bedrock"]),
        ("https://api.openai.com.evil.example/", []),
        ("https://example.com/api.openai.com/", []),
        ("api.openai.com", []),
    ],
)
def test_an_api_is_known_by_its_whole_host(text: str, providers: list[str]) -> None:
    assert [provider for provider, _ in endpoints_in(text)] == providers


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("src/a.py", "code"),
        ("src/contest/a.py", "code"),
        ("tests/a.py", "tests"),
        ("src/a.test.ts", "tests"),
        ("pkg/a_test.go", "tests"),
        ("examples/a.py", "examples"),
        ("examples/tests/a.py", "tests"),
    ],
)
def test_what_code_is_for_is_told_by_its_path(path: str, setting: str) -> None:
    assert setting_of(path) == setting


def test_clean_text_is_one_printable_line_of_bounded_length() -> None:
    assert clean("a\n\tb\x1b[1m\u202e") == "a b\\x1b[1m\\u202e"
    assert clean("x" * 400) == "x" * 300 + "…"


def test_text_in_utf16_and_with_a_byte_order_mark_is_read() -> None:
    assert File("a.py", "import openai\r\n".encode("utf-16")).text == "import openai\n"
    assert File("a.py", b"\xef\xbb\xbfimport openai\n").text == "import openai\n"
