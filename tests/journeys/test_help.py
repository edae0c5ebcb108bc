"""Every command explains itself: what it does, an example that can be typed, what --json gives. So does an error."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from charter.cli.main import app
from charter.config import Settings
from terminal import ROOT as CHECKOUT
from terminal import Terminal

NO_JSON = {"demo", "run", "mcp", "schema"}  # a show, another program's output, MCP, and JSON by itself
DOCS = CHECKOUT / "docs"
ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_an_example_that_can_be_typed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("our-app", "estate"):
        (tmp_path / folder).mkdir()
    (tmp_path / "estate" / "refund-agent.pem").touch()
    monkeypatch.chdir(tmp_path / "estate")
    examples = re.findall(r"^Example: charter (.+)$", COMMANDS[name].help, re.MULTILINE)

    assert examples
    for example in examples:
        parsed(shlex.split(re.split(" [<>|] ", example)[0]))
        assert re.match(rf"(-C \S+ )?{name}\b", example)


HOUSE = {"aiohttp", "charter.bootstrap.house", "fastapi", "z3"}
ESTATE = {"cedarpy", "charter.registry.field", "ruamel.yaml", "sqlalchemy"}


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("charter.cli.main", HOUSE | ESTATE | {"cryptography", "httpx"}),
        ("charter.cli.agent", HOUSE | ESTATE),  # charter token
        ("charter.bootstrap.estate", HOUSE),  # charter validate
    ],
)
def test_commands_load_what_they_need_alone(module: str, others: set[str]) -> None:
    """Each command pays for what all of them load: to ask a server takes no estate, and to read an estate no house."""
    program = f"import sys, charter.cli.main, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert others.isdisjoint(loaded), others.intersection(loaded)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_json_gives(name: str) -> None:
    command = COMMANDS[name]
    has_option = any("--json" in option.opts for option in command.params)

    assert has_option == (name not in NO_JSON)
    told = re.search(r"^With --json: (as of [a-z]+|[a-z_0-9]+(, [a-z_0-9]+)*)\.", squeezed(command.help), re.MULTILINE)
    assert bool(told) == has_option


def test_what_starts_a_server_lists_every_setting() -> None:
    told = (DOCS / "operating.md").read_text(encoding="utf-8")

    for name in Settings.model_fields:
        assert f"CHARTER_{name.upper()}" in COMMANDS["up"].epilog
        assert f"`CHARTER_{name.upper()}`" in told


def test_the_whole_says_what_exit_codes_mean(tmp_path: Path) -> None:
    said = Terminal.at(tmp_path).say("--help")

    for number in (*range(8), 130):
        assert re.search(rf"\b{number}\s+[a-z]", said)
    for name in COMMANDS:
        assert re.search(rf"^  {name.split()[0]} ", said, re.MULTILINE)


def test_wrong_usage_is_told_to_people_and_to_programs(tmp_path: Path) -> None:
    terminal = Terminal.at(tmp_path)

    for words, detail in (
        (("kill", "refund-agent"), "Missing option '--reason'"),
        (("ls", "--kind", "robot"), "'robot' is not one of"),
        (("evidence", "query", "--limit", "0"), "greater than or equal to 1"),
        (("aply",), "No such command 'aply'"),
        (("show", "--bogus", "x"), "No such option: --bogus"),
    ):
        error = terminal.refused(*words, expect=2)
        assert error["error"] == "bad_request"
        assert detail in error["detail"]
        assert error["help"].endswith("--help")
        done = terminal.charter(*words, expect=2)
        assert done.out == ""
        assert detail in done.err


def squeezed(text: str) -> str:
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def parsed(words: list[str]) -> None:
    """Parse words as the command line does, without running anything."""
    command, context, name = ROOT, None, "charter"
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "commands"):
            return
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
