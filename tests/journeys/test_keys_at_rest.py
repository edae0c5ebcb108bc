"""Keys at rest as an operator meets them: doctor, rotate, and a server that runs meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def charter(folder: Path, *words: str, code: int = 0, **variables: str) -> str:
    """Run the command in `folder` and return what it printed."""
    command = [sys.executable, "-m", "charter.cli.main", *words]
    environment = os.environ | variables
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@contextmanager
def up(folder: Path) -> Iterator[None]:
    """Run the server in `folder`."""
    words = [sys.executable, "-m", "charter.cli.main", "up", "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("stop it"):
                break
        try:
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    charter(tmp_path, "init", "mine")
    charter(tmp_path / "mine", "apply", "--yes", "--reason", "the first charters")
    return tmp_path / "mine"


def checks(folder: Path, code: int = 0, **variables: str) -> dict[str, dict[str, Any]]:
    found = json.loads(charter(folder, "doctor", "--json", code=code, **variables))
    return {check["name"]: check for check in found["checks"]}


def test_keys_are_rotated_while_the_server_runs(folder: Path) -> None:
    before = (folder / ".charter" / "master.key").read_bytes()
    with up(folder):
        told = json.loads(charter(folder, "rotate", "master", "--json", "--reason", "a colleague left"))
        moved = json.loads(charter(folder, "rotate", "data", "--json"))
        found = checks(folder)
    assert (folder / ".charter" / "master.key").read_bytes() != before
    assert told["before"]["name"] != told["after"]["name"]
    assert moved["resealed"] >= 6
    assert moved["left"] == 0
    assert found["keys at rest"]["ok"]
    assert told["after"]["name"] in found["keys at rest"]["found"]
    assert checks(folder)["keys at rest"]["ok"]  # and by a process of its own, after the server ended
    reasons = [
        e["body"]["reason"]
        for e in json.loads(charter(folder, "evidence", "query", "--kind", "key.rotated", "--json"))["entries"]
    ]
    assert "a colleague left" in reasons


def test_a_master_that_moved_is_told_until_the_setting_follows(folder: Path) -> None:
    variables = {"CHARTER_MASTER_KEY": os.urandom(32).hex()}
    said = charter(folder, "rotate", "master", "--to", "environment", **variables)
    assert "CHARTER_MASTER='environment'" in said
    assert variables["CHARTER_MASTER_KEY"] not in said
    found = checks(folder, code=1, **variables)["keys at rest"]
    assert "is used no more" in found["found"]
    (folder / ".charter" / "master.key").unlink()
    assert checks(folder, **variables)["keys at rest"]["ok"]
    assert not checks(folder, code=1, CHARTER_MASTER="file", **variables)["keys at rest"]["ok"]
    lost = checks(folder, code=1)
    assert "the variable `CHARTER_MASTER_KEY` holds none" in lost["store"]["found"]
    assert "lost or exchanged" in lost["store"]["mend"]


def test_doctor_tells_of_a_key_file_that_others_can_read(folder: Path) -> None:
    (folder / ".charter" / "master.key").chmod(0o644)
    found = checks(folder, code=1)["master key"]
    assert not found["ok"]
    assert "mode 0644" in found["found"]
    assert found["mend"].startswith("chmod 600")


def test_what_cannot_be_rotated_is_wrong_input(folder: Path) -> None:
    charter(folder, "rotate", "everything", code=2)
    charter(folder, "rotate", "token", "--to", "file", code=2)
    charter(folder, "rotate", "master", "--to", "somewhere", code=2)
