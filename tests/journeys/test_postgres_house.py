"""One whole journey on PostgreSQL: what SQLite does, it does, and a second node is kept out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from terminal import Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
DROP = {"system": "notes", "tool": "drop_note", "arguments": {"id": "welcome"}}


@pytest.mark.slow
@pytest.mark.postgres
def test_an_estate_is_governed_on_postgresql(applied_estate: Path, postgres_url: str, tmp_path: Path) -> None:
    shutil.copytree(applied_estate, tmp_path / "estate", ignore=shutil.ignore_patterns(".charter"))
    estate = Terminal.at(tmp_path / "estate", CHARTER_MASTER="file").but("--database", postgres_url)
    assert estate.ask("doctor")["ok"]
    planned = estate.ask("plan")
    assert planned["counts"]["create"] == len(planned["changes"])
    estate.charter("apply", "--yes", "--reason", "the first estate")
    assert estate.ask("apply")["applied"] == []

    with estate.up() as server:
        read, drop = estate.agent("note-keeper", READ, DROP)
        assert (read["ok"], drop["ok"]) == (True, False)
        approval = drop["data"]["approval"]
        estate.charter("approvals", "approve", approval, "--as", "sam@example.com", "--reason", "it is old")
        assert [answer["ok"] for answer in estate.agent("note-keeper", DROP, DROP)] == [True, False]
        other = Terminal.at(tmp_path / "other").but("--database", postgres_url)
        assert other.refused("up", expect=5)["error"] == "already_running"
        killed = estate.ask("kill", "note-reader", "--reason", "over")
        assert killed["after"] == "revoked"
        server.process.kill()  # in the middle of whatever it does
        server.process.wait()

    assert not (tmp_path / "estate" / ".charter" / "charter.db").exists()
    with estate.up():
        assert estate.ask("evidence", "verify")["ok"]
        assert estate.ask("show", "note-reader")["standing"] == "revoked"
        assert estate.agent("note-reader", READ, expect=3) == []
        assert estate.agent("note-keeper", READ)[0]["ok"]
        assert len(estate.ask("review")["questions"]) == 5
        pack = estate.ask("evidence", "export", str(tmp_path / "all.pack"))
        assert pack["entries"] == estate.ask("evidence", "verify")["size"]
