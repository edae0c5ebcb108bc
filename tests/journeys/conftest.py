"""An estate that is applied: made once by the commands a person types, copied for each journey."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from terminal import NOTES, Terminal

HERE = Path(__file__).parent
SECONDS = 400
CHARTER = """\
charter: v1
principal: {name}
kind: agent
environment: sandbox
owner: {{person: rita@example.com, team: platform}}
purpose: Keep the notes of our meetings in order
model: {{provider: anthropic, name: claude-*}}
approved: {{by: sam@example.com, role: platform-lead, on: 2026-11-02}}
credential: {{type: private-key-jwt}}
grants:
{grants}
review: 90d
expires: 2035-11-02
"""
KEEPER = """\
  - system: notes
    actions: [read_note, write_note, wait]
  - system: notes
    actions: [drop_note]
    approval: {by: platform-lead}
"""
READER = """\
  - system: notes
    actions: [read_note]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A journey starts a dozen processes: it is given more time than a test of one part, on a machine that is busy."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def applied_estate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter estate with a real MCP server for notes, a keeper and a reader of them, applied."""
    terminal = Terminal.at(tmp_path_factory.mktemp("template"))
    terminal.charter("init", "estate")
    inside = terminal.inside("estate")
    inside.charter("systems", "import", "notes", "--team", "platform", "--owner", "rita@example.com", "--", *NOTES)
    for name, grants in (("note-keeper", KEEPER), ("note-reader", READER)):
        text = CHARTER.format(name=name, grants=grants.rstrip())
        (inside.folder / "principals" / f"{name}.yaml").write_text(text, encoding="utf-8")
    inside.charter("apply", "--yes", "--reason", "the first estate")
    return inside.folder


@pytest.fixture
def running(estate: Terminal) -> Iterator[Terminal]:
    """A terminal in an applied estate whose server runs: commands are quicker."""
    with estate.up():
        yield estate


@pytest.fixture
def estate(applied_estate: Path, tmp_path: Path) -> Terminal:
    """A terminal in an applied estate of the test's own."""
    shutil.copytree(applied_estate, tmp_path / "estate", symlinks=True)
    return Terminal.at(tmp_path / "estate")
