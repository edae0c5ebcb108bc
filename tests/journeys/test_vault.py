"""Secrets for upstreams as an operator keeps them: put in from standard input, used by the server, never shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from terminal import NOTES, Terminal

SECRET = "sk-a-secret-of-the-notes-server"
SERVER = """\
import os, sys
if os.environ.get("NOTES_KEY") != "{secret}":
    sys.exit("who are you?")
os.execv(sys.executable, {words!r})
"""
SYSTEM = """\
charter: v1
system: locked-notes
kind: mcp
environment: sandbox
owner: {{person: rita@example.com, team: platform}}
upstream:
  transport: stdio
  command: {command}
  secrets: {{NOTES_KEY: "vault:notes-key"}}
"""


@pytest.fixture
def locked(estate: Terminal, tmp_path: Path) -> Terminal:
    """An estate with an MCP server that serves only who shows its secret."""
    program = tmp_path / "locked.py"
    program.write_text(SERVER.format(secret=SECRET, words=NOTES), encoding="utf-8")
    command = json.dumps([sys.executable, str(program)])
    (estate.folder / "systems" / "locked-notes.yaml").write_text(SYSTEM.format(command=command), encoding="utf-8")
    estate.charter("apply", "--yes", "--reason", "a locked server")
    return estate


@pytest.mark.slow
def test_a_server_is_reached_with_a_secret_that_only_charter_has(locked: Terminal) -> None:
    with locked.up():
        refused = locked.refused("systems", "import", "locked-notes", expect=6)
        assert "the vault holds no secret 'notes-key'" in refused["detail"]
        assert refused["help"] == "put it in: charter vault set notes-key --for locked-notes"
        said = locked.charter("vault", "set", "notes-key", "--for", "locked-notes", stdin=f"{SECRET}\n")
        assert SECRET not in said.out + said.err
        imported = locked.ask("systems", "import", "locked-notes", "--accept")
        assert imported["tools"] >= 3
    listed = (
        locked.say("vault", "ls") + json.dumps(locked.ask("vault", "ls")) + json.dumps(locked.ask("evidence", "query"))
    )
    assert "notes-key" in listed
    assert SECRET not in listed
    assert SECRET.encode() not in b"".join(
        path.read_bytes() for path in (locked.folder / ".charter").iterdir() if path.is_file()
    )


def test_a_secret_is_never_an_argument(locked: Terminal) -> None:
    """What stands in a command line is read by every process of the machine."""
    done = locked.charter("vault", "set", "notes-key", SECRET, "--for", "locked-notes", expect=2, stdin="x")
    assert "unexpected extra argument" in done.err
    empty = locked.charter("vault", "set", "notes-key", "--for", "locked-notes", expect=2)
    assert "there is no secret on standard input" in empty.err


@pytest.mark.slow
def test_doctor_tells_of_secrets_that_systems_lack(locked: Terminal) -> None:
    found = {check["name"]: check for check in locked.ask("doctor", expect=1)["checks"]}
    assert found["vault"]["found"] == "`locked-notes` needs the secret `notes-key`"
    locked.charter("vault", "set", "notes-key", "--for", "locked-notes", stdin=SECRET)
    found = {check["name"]: check for check in locked.ask("doctor")["checks"]}
    assert found["vault"]["found"] == "1 secret, 0 connected people"
    locked.charter("vault", "rm", "notes-key", "--reason", "no longer needed")
    assert locked.ask("vault", "ls")["missing"] == [{"name": "notes-key", "system": "locked-notes"}]


@pytest.mark.slow
def test_a_piped_secret_keeps_all_of_its_bytes_but_one_line_end(locked: Terminal) -> None:
    """`printf` and `echo` are both used for this."""
    charter = Path(sys.executable).parent / "charter"
    for sent in ("two words\n", "two words", "two words\r\n"):
        subprocess.run(
            [str(charter), "vault", "set", "notes-key", "--for", "locked-notes"],
            cwd=locked.folder,
            env=dict(locked.environment),
            input=sent.encode(),
            check=True,
            capture_output=True,
        )
    assert locked.ask("vault", "ls")["secrets"][0]["version"] == 3
