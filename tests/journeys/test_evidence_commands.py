"""Evidence from the terminal: read it, follow it, prove it, take it away, verify it where no Charter is installed."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from terminal import BIN, Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
WITHOUT_CHARTER = """
import runpy, sys
sys.modules["charter"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
WRITE = {"system": "notes", "tool": "write_note", "arguments": {"id": "a", "text": "b"}}


def verified(pack: str | Path, key: str, verifier: str) -> subprocess.CompletedProcess[str]:
    """Run the stand-alone verifier as an auditor would, where there is no Charter."""
    words = [sys.executable, "-I", "-c", WITHOUT_CHARTER, verifier, str(pack), "--key", key]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_what_happened_can_be_asked_for(running: Terminal) -> None:
    running.agent("note-reader", READ, WRITE)
    (denied,) = running.ask("evidence", "query", "--principal", "note-reader", "--verdict", "deny")["entries"]

    assert denied["body"]["tool"] == "write_note"
    assert denied["body"]["charter"]["version"] == 1
    assert "no grant for `write_note`" in running.say("evidence", "query", "--verdict", "deny", "--since", "1h")
    assert running.ask("evidence", "query", "--verdict", "deny", "--until", "2026-01-01")["entries"] == []
    named = running.ask("evidence", "query", "--text", denied["body"]["verdict_id"])["entries"]
    assert [each["kind"] for each in named if each["kind"] != "finding.opened"] == ["verdict"]
    assert len(running.ask("evidence", "query", "--limit", "3")["entries"]) == 3
    newest = running.ask("evidence", "tail", "-n", "2")["entries"]
    assert [e["index"] for e in newest] == [newest[-1]["index"] - 1, newest[-1]["index"]]
    proof = running.ask("evidence", "prove", str(denied["index"]))
    hashed = proof["entry"]  # what can be erased stands apart from what is proven
    assert hashed["body"]["verdict_id"] == denied["body"]["verdict_id"]
    assert (hashed["body"]["object"], "/object" in hashed["apart"]["fields"]) == ("<apart>", True)
    assert proof["path"]
    shown = running.say("evidence", "prove", str(denied["index"]))
    assert all(line in shown for line in (*proof["checkpoint"].splitlines(), *proof["path"]))
    assert running.refused("evidence", "prove", "99999", expect=4)["error"] == "unknown_entry"
    assert running.refused("evidence", "query", "--since", "yesterday", expect=2)["help"]


@pytest.mark.slow
def test_the_log_can_be_followed_by_a_program(running: Terminal) -> None:
    follower = subprocess.Popen(
        [BIN / "charter", "evidence", "tail", "-f", "-n", "1", "--json"],
        cwd=running.folder,
        env=dict(running.environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    seen: list[dict[str, Any]] = [json.loads(follower.stdout.readline())]  # it follows from here on
    running.charter("suspend", "note-reader", "--reason", "watched")
    timer = threading.Timer(60, follower.kill)
    timer.start()
    while seen[-1]["kind"] != "standing.changed":
        seen.append(json.loads(follower.stdout.readline()))
    timer.cancel()
    follower.terminate()
    follower.communicate()

    assert seen[-1]["body"]["reason"] == "watched"
    assert [e["index"] for e in seen] == list(range(seen[0]["index"], seen[-1]["index"] + 1))


def test_following_needs_a_running_server(estate: Terminal) -> None:
    assert estate.refused("evidence", "tail", "-f", expect=6)["error"] == "not_running"


def test_a_pack_verifies_without_charter_and_a_changed_one_does_not(running: Terminal, tmp_path: Path) -> None:
    running.agent("note-reader", READ, WRITE)
    made = running.ask("evidence", "export", str(tmp_path / "all.pack"))
    pack, key, verifier = made["pack"], made["key"], made["verifier"]

    assert Path(pack) == tmp_path / "all.pack"
    good = verified(pack, key, verifier)
    assert good.returncode == 0, good.stderr
    assert "VERIFIED" in good.stdout
    bare = subprocess.run(
        [Path(sys.executable).resolve(), "-I", "-S", verifier], capture_output=True, text=True, check=False
    )
    assert (bare.returncode, bare.stderr.count("\n")) == (2, 1)  # a Python without `cryptography` is told so
    assert running.refused("evidence", "export", pack, expect=5)["error"] == "exists"
    assert running.refused("evidence", "export", str(tmp_path / "none" / "x.pack"), expect=6)["help"]
    text = Path(pack).read_text(encoding="utf-8")
    assert "deny" in text
    lines = text.splitlines(keepends=True)
    changes = {
        "changed": text.replace("deny", "allow", 1),
        "removed": "".join(lines[:5] + lines[6:]),
        "reordered": "".join([*lines[:5], lines[6], lines[5], *lines[7:]]),
        "cut short": "".join(lines[:-1]),
    }
    for what, tampered in changes.items():
        copy = tmp_path / "tampered.pack"
        copy.write_text(tampered, encoding="utf-8")
        assert verified(copy, key, verifier).returncode != 0, what
    other = Terminal.at(tmp_path / "other")
    other.charter("init", "estate")
    strangers = other.inside("estate").ask("evidence", "export", str(tmp_path / "stranger.pack"))["key"]
    assert verified(pack, strangers, verifier).returncode != 0


def test_a_log_changed_behind_the_back_stops_the_node_and_is_named(estate: Terminal) -> None:
    with sqlite3.connect(estate.folder / ".charter" / "charter.db") as database:
        ((index,),) = database.execute('SELECT max("index") FROM evidence_entry WHERE instr(data, ?)', ("note-keeper",))
        database.execute(
            'UPDATE evidence_entry SET data = replace(data, ?, ?) WHERE "index" = ?',
            ("note-keeper", "note-kaeper", index),
        )
    database.close()

    for words in (("evidence", "verify"), ("ls",), ("up",)):
        error = estate.refused(*words, expect=7)
        assert error["error"] == "evidence_broken"
        assert f"entry {index} is not what was recorded" in error["detail"]


def test_each_fault_of_the_log_is_a_sentence(estate: Terminal) -> None:
    with sqlite3.connect(estate.folder / ".charter" / "charter.db") as database:
        database.execute("UPDATE evidence_entry SET principal_id = NULL WHERE kind = ?", ("charter.applied",))
    database.close()

    for said in estate.charter("evidence", "verify", expect=1).out.splitlines():
        assert re.fullmatch(r"entry \d+ is filed under another index, time, kind or principal than it says", said)
