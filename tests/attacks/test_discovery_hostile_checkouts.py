"""A checkout written by an enemy: nothing of it runs, nothing outside it is read, nothing in it steers a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters.scanners import FolderTree, normal_remote, scan
from charter.discovery.scan import Limits
from fakes import FixedClock
from scan_corpus import made_key

KEY = made_key("anthropic", "hostile")
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *identity, *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def a_checkout(root: Path, files: dict[str, str]) -> Path:
    """Make a git checkout with `files` added."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    git(root, "add", "-A")
    return root


def test_no_program_that_a_checkout_configures_is_run(tmp_path: Path) -> None:
    root = a_checkout(tmp_path / "app", {"a.py": "import openai\n", ".gitattributes": "*.py filter=evil\n"})
    marker = tmp_path / "ran"
    program = tmp_path / "evil.sh"
    program.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n", encoding="utf-8")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "diff.external"):
        git(root, "config", name, str(program))
    for name in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "credential.helper"):
        git(root, "config", name, str(program))
    for hook in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (root / ".git" / "hooks" / hook).write_text(program.read_text(encoding="utf-8"), encoding="utf-8")
        (root / ".git" / "hooks" / hook).chmod(0o755)
    (root / "b.py").write_text("import anthropic\n", encoding="utf-8")

    report = scan(root)

    assert len(report.findings) == 1
    assert not marker.exists()


def test_a_server_that_is_found_is_not_started(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    server = {"command": "sh", "args": ["-c", f"touch {marker}"]}
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}), encoding="utf-8")
    (tmp_path / "setup.py").write_text(f"open({str(marker)!r}, 'w')\nimport openai\n", encoding="utf-8")

    assert len(scan(tmp_path).findings) == 2
    assert not marker.exists()


def test_another_work_tree_named_by_the_checkout_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text(f"KEY = '{KEY}'\n", encoding="utf-8")
    root = a_checkout(tmp_path / "app", {"a.txt": "hello\n"})
    git(root, "config", "core.worktree", str(outside))

    report = scan(root)

    assert report.findings == ()
    assert report.counts["files"] == 1


@pytest.mark.parametrize("in_git", [True, False])
def test_links_are_not_followed(tmp_path: Path, in_git: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text(f"KEY = '{KEY}'\n", encoding="utf-8")
    root = tmp_path / "app"
    root.mkdir()
    (root / "file.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    if in_git:
        a_checkout(root, {})

    report = scan(root)

    assert report.findings == ()
    assert report.counts["links"] == 3


def test_a_folder_that_becomes_a_link_after_listing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.py").write_text("import openai\n", encoding="utf-8")
    root = a_checkout(tmp_path / "app", {"inner/a.py": "x = 1\n"})
    (root / "inner" / "a.py").unlink()
    (root / "inner").rmdir()
    (root / "inner").symlink_to(tmp_path / "outside")

    assert scan(root).findings == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import openai\n", encoding="utf-8")
    (tmp_path / "a.py").chmod(0)

    assert [each.path for each in scan(tmp_path).unread] == ["a.py"]


def test_pipes_and_huge_files_do_not_hold_a_scan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "big.py").write_bytes(b"import openai\n" + b"#" * 2_000_000)
    (tmp_path / "a.py").write_text("import openai\n", encoding="utf-8")

    report = scan(tmp_path)

    assert len(report.findings) == 1
    assert [(each.path, each.why) for each in report.unread] == [("big.py", "it is larger than 1024 KiB")]


ESCAPES = "\x1b[31mred\x07\x1b]8;;http://evil\x1b\\ \u202eevil \u2028 \x00 \x85"


def test_names_and_contents_with_escapes_are_harmless_in_what_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "a\x1b[31m\nb\u202e"
    (folder / ".github" / "workflows").mkdir(parents=True)
    name = json.dumps(ESCAPES.replace("\x00", ""))
    (folder / ".mcp.json").write_text(
        json.dumps({"mcpServers": {ESCAPES: {"command": ESCAPES, "env": {ESCAPES: "x"}}}}), encoding="utf-8"
    )
    (folder / ".github" / "workflows" / "w.yml").write_text(
        f"name: {name}\non: push\njobs: {{a: {{steps: [{{uses: 'openai/codex-action@{ESCAPES[5:8]}'}}]}}}}\n",
        encoding="utf-8",
    )
    node = {"name": ESCAPES, "type": "@n8n/n8n-nodes-langchain.agent", "credentials": {ESCAPES: {"name": ESCAPES}}}
    (folder / "flow.json").write_text(
        json.dumps({"name": ESCAPES, "nodes": [node], "connections": {}}) + "  ", encoding="utf-8"
    )
    (folder / "bad.json").write_text('{"mcpServers": ' + ESCAPES, encoding="utf-8")

    report = scan(tmp_path)

    assert len(report.findings) >= 2
    told = json.dumps(report.to_json(), ensure_ascii=False)
    assert all(ch.isprintable() for ch in told)


def test_a_name_that_is_no_utf8_is_told_and_its_file_scanned(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"\xff\xfe.py"), "wb") as file:  # noqa: PTH118, PTH123 - bytes
        file.write(b"import openai\n")

    (finding,) = scan(tmp_path).findings

    assert finding.where == "\\udcff\\udcfe.py:1"
    json.dumps(finding.to_json()).encode()


def test_no_key_is_told_wherever_it_stands(tmp_path: Path) -> None:
    server = {
        "command": "x",
        "args": [f"--key={KEY}", KEY],
        "env": {"A": KEY, KEY: "b"},
        "url": f"https://u:{KEY}@h/{KEY}?k={KEY}",
    }
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {f"s-{KEY}": server}}), encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("openai\n", encoding="utf-8")
    (tmp_path / "a.py").write_text(
        f"import openai\nopenai.x(model='{KEY}', y='https://api.openai.com/{KEY}')\n", encoding="utf-8"
    )
    (tmp_path / f"{KEY}.py").write_text("import anthropic\n", encoding="utf-8")
    workflow = tmp_path / ".github" / "workflows" / "a.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(
        f"name: {KEY}\njobs: {{a: {{steps: [{{run: 'claude --key {KEY}'}}], env: {{OPENAI_API_KEY: {KEY}}}}}}}\n"
    )
    node = {
        "name": KEY,
        "type": "@n8n/n8n-nodes-langchain.openAi",
        "credentials": {"a": {"name": KEY}},
        "parameters": {"model": KEY},
    }
    (tmp_path / "flow.json").write_text(json.dumps({"name": KEY, "nodes": [node], "connections": {}}), encoding="utf-8")
    agent = tmp_path / ".claude" / "agents" / "a.md"
    agent.parent.mkdir(parents=True)
    agent.write_text(f"---\nname: {KEY}\ntools: {KEY}\n---\n", encoding="utf-8")

    told = json.dumps(scan(tmp_path).to_json())

    assert KEY not in told
    assert KEY[10:40] not in told


SLOW = {
    "a.py": "import openai\n" + "x = " + "-" * 200_000 + "1\n",
    "b.py": "import openai\nx = " + "(" * 5_000 + ")" * 5_000,
    "c.py": "import openai\nx = [" + "1+" * 100_000 + "1]\n",
    "d.js": "import OpenAI from 'openai'\n" + "`" * 100_001 + "/*" * 50_000,
    "e.js": "'openai'" + "\\" * 300_000,
    "f.json": '{"mcpServers": ' + '{"a":' * 50_000,
    "g.json": '{"mcpServers": {"a": "' + "\\u0041" * 100_000 + '"}}',
    "config.toml": "mcp_servers." + "a." * 200_000 + "b = 1",
    "pyproject.toml": "openai = " + "[" * 50_000,
    ".github/workflows/a.yml": "claude: " + "[" * 100_000,
    ".github/workflows/b.yml": "claude: &a [" + "*a," * 50_000 + "]",
    ".github/workflows/c.yml": "run: " + "claude " * 30_000,
    "h.sh": "claude" + " " * 500_000 + "\n" + "$(" * 100_000,
    "package.json": '{"dependencies": {' + '"openai":' * 50_000,
    "flow.json": '{"nodes": "n8n-nodes-base.openAi",' * 10_000,
    "keys.txt": "OPENAI_API_KEY " + "=" * 300_000 + "sk-" * 100_000 + "A" * 300_000,
    "requirements.txt": "a" * 300_000 + "[" * 300_000 + "openai",
    "pom.xml": "<groupId>" * 80_000,
    "x.ipynb": '{"cells": [' * 50_000,
    "CLAUDE.md": "---\n" * 100_000,
    ".claude/agents/a.md": "---\n" + "name: \n" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(SLOW))
def test_no_file_holds_a_scan_for_long(path: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(SLOW[path][:1_000_000], encoding="utf-8")
    started = time.process_time()

    scan(tmp_path)

    assert time.process_time() - started < 15  # of work: a busy machine makes no difference


def test_a_scan_stops_at_its_bounds_and_says_so(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n}.py").write_text("import openai\n", encoding="utf-8")

    assert scan(tmp_path, limits=Limits(files=5)).stopped == "after 5 files"
    assert scan(tmp_path, limits=Limits(sightings=3)).stopped == "after 3 sightings"
    assert scan(tmp_path, limits=Limits(seconds=0), clock=FixedClock()).stopped == "after 0 seconds"
    assert scan(tmp_path).stopped is None


def test_folders_deeper_than_the_bound_are_left_out_and_counted(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 50)
    deep.mkdir(parents=True)
    (deep / "a.py").write_text("import openai\n", encoding="utf-8")

    report = scan(tmp_path)

    assert report.findings == ()
    assert report.counts["deep"] == 1


FILES = ("a.py", "a.ts", "b.go", ".mcp.json", "x.json", ".codex/config.toml", ".github/workflows/a.yml", "package.json")
MORE = (
    "pyproject.toml",
    "requirements.txt",
    "a.ipynb",
    "run.sh",
    ".claude/agents/a.md",
    "pom.xml",
    "Gemfile",
    "setup.py",
)
WORDS = (
    "mcpServers",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    "\n",
    "import openai",
    "from agents import Runner",
    "command",
    "url",
)
MORE_WORDS = (
    "model=",
    "gpt-4o",
    "'",
    "`",
    "//",
    "/*",
    "#",
    "uses: openai/codex-action@v1",
    "run: claude -p",
    "n8n-nodes-base.openAi",
)


@settings(max_examples=120)
@given(
    st.sampled_from(FILES + MORE),
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.one_of(st.sampled_from(WORDS + MORE_WORDS), st.text(max_size=5)), max_size=40).map(
            lambda words: "".join(words).encode("utf-8", "surrogatepass")
        ),
    ),
)
def test_any_bytes_in_any_file_are_scanned_without_an_error(tmp_path: Path, path: str, data: bytes) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(data)

    report = scan(tmp_path)

    assert all(ch.isprintable() for ch in json.dumps(report.to_json(), ensure_ascii=False))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    report = scan(tmp_path / "nowhere")

    assert [each.path for each in report.unread] == ["."]


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://user:token@example.com/acme/app.git", "example.com/acme/app"),
        ("git@example.com:acme/app.git", "example.com/acme/app"),
        ("ssh://git@example.com:2222/acme/app", "example.com:2222/acme/app"),
        ("https://example.com/acme/app/", "example.com/acme/app"),
        ("/srv/git/app.git", "/srv/git/app"),
    ],
)
def test_a_remote_is_told_without_its_credentials(url: str, normal: str) -> None:
    assert normal_remote(url) == normal


def test_ignored_files_are_left_out_and_untracked_ones_are_not(tmp_path: Path) -> None:
    root = a_checkout(tmp_path, {".gitignore": "local/\n", "a.py": "import openai\n"})
    (root / "local").mkdir()
    (root / "local" / "b.py").write_text("import anthropic\n", encoding="utf-8")
    (root / "new.py").write_text("import cohere\n", encoding="utf-8")

    assert sorted(FolderTree(root).paths()) == [".gitignore", "a.py", "new.py"]


def test_a_checkout_within_a_checkout_is_scanned_too(tmp_path: Path) -> None:
    root = a_checkout(tmp_path / "outer", {"a.txt": "x"})
    a_checkout(root / "inner", {"b.py": "import openai\n", ".gitignore": "c.py\n"})
    (root / "inner" / "c.py").write_text("import cohere\n", encoding="utf-8")

    assert [path for path in FolderTree(root).paths() if path.endswith(".py")] == ["inner/b.py"]
