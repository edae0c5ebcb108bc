"""Keys at rest as an operator meets them: doctor, rotate, and a server that runs meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A starter estate, applied."""
    outside = Terminal.at(tmp_path / "work")
    outside.charter("init", "mine")
    inside = outside.inside("mine")
    inside.charter("apply", "--yes", "--reason", "the first charters")
    return inside


def master_key(terminal: Terminal) -> Path:
    return terminal.folder / ".charter" / "master.key"


def checks(terminal: Terminal, expect: int = 0) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in terminal.ask("doctor", expect=expect)["checks"]}


@pytest.mark.slow
def test_keys_are_rotated_while_the_server_runs(terminal: Terminal) -> None:
    before = master_key(terminal).read_bytes()
    with terminal.up():
        told = terminal.ask("rotate", "master", "--reason", "a colleague left")
        moved = terminal.ask("rotate", "data")
        found = checks(terminal)["keys at rest"]
    assert master_key(terminal).read_bytes() != before
    assert told["before"]["name"] != told["after"]["name"]
    assert moved["resealed"] >= 6
    assert moved["left"] == 0
    assert found["ok"]
    assert told["after"]["name"] in found["found"]
    assert checks(terminal)["keys at rest"]["ok"]  # and by a process of its own, after the server ended
    entries = terminal.ask("evidence", "query", "--kind", "key.rotated")["entries"]
    assert "a colleague left" in [entry["body"]["reason"] for entry in entries]


@pytest.mark.slow
def test_a_master_that_moved_is_told_until_the_setting_follows(terminal: Terminal) -> None:
    key = os.urandom(32).hex()
    there = terminal.but(CHARTER_MASTER_KEY=key)
    said = there.say("rotate", "master", "--to", "environment")
    assert "CHARTER_MASTER='environment'" in said
    assert key not in said
    assert "is used no more" in checks(there, expect=1)["keys at rest"]["found"]
    master_key(terminal).unlink()
    assert checks(there)["keys at rest"]["ok"]
    assert not checks(there.but(CHARTER_MASTER="file"), expect=1)["keys at rest"]["ok"]
    lost = checks(terminal, expect=1)["store"]
    assert "the variable `CHARTER_MASTER_KEY` holds none" in lost["found"]
    assert "lost or exchanged" in lost["mend"]


def test_doctor_tells_of_a_key_file_that_others_can_read(terminal: Terminal) -> None:
    master_key(terminal).chmod(0o644)
    found = checks(terminal, expect=1)["master key"]
    assert not found["ok"]
    assert "mode 0644" in found["found"]
    assert found["mend"].startswith("chmod 600")


@pytest.mark.slow
def test_what_cannot_be_rotated_is_wrong_input(terminal: Terminal) -> None:
    terminal.charter("rotate", "everything", expect=2)
    terminal.charter("rotate", "token", "--to", "file", expect=2)
    terminal.charter("rotate", "master", "--to", "somewhere", expect=2)


@pytest.mark.slow
def test_the_master_key_is_not_handed_to_a_command(terminal: Terminal) -> None:
    """An agent that `charter run` starts finds nothing of Charter's own in its environment."""
    there = terminal.but(CHARTER_MASTER_KEY=os.urandom(32).hex(), CHARTER_MASTER_PIN="4711")
    with there.up():
        said = there.say("run", "refund-agent", "--", "env")
    assert "CHARTER_PRINCIPAL=refund-agent" in said
    assert "CHARTER_MASTER" not in said
