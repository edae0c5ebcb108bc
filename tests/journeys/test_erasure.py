"""A person asks to be forgotten: previewed, stopped by a legal hold, erased, and verified by who trusts nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from terminal import Terminal

LENA = "lena@example.com"
WORDS = f"{LENA} asked for her notes"


def verified(made: dict[str, str]) -> str:
    """Run the stand-alone verifier on a pack; return what it says."""
    words = [sys.executable, made["verifier"], made["pack"], "--key", made["key"]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_a_person_is_erased_and_the_log_verifies(running: Terminal, tmp_path: Path) -> None:
    running.charter("suspend", "note-reader", "--reason", WORDS)
    (entry,) = running.ask("evidence", "query", "--text", LENA)["entries"]
    assert entry["body"]["reason"] == WORDS

    held = running.ask("evidence", "hold", "add", "--person", LENA, "--reason", "case 12")["id"]
    looked = running.ask("evidence", "erase", "--person", LENA, "--reason", "request 4711")
    assert (looked["done"], looked["found"], looked["held"]) == (False, 0, 1)
    said = running.say("evidence", "erase", "--person", LENA, "--reason", "request 4711", "--yes", expect=1)
    assert "1 payload held: charter evidence hold ls" in said
    assert "nothing was erased" in said
    assert running.ask("evidence", "query", "--text", LENA)["entries"]

    running.charter("evidence", "hold", "release", held, "--reason", "case 12 is closed")
    done = running.ask("evidence", "erase", "--person", LENA, "--reason", "request 4711", "--yes")
    assert (done["done"], done["erased"]) == (True, 1)
    assert running.ask("evidence", "query", "--text", LENA)["entries"] == []
    assert running.ask("evidence", "prove", str(entry["index"]))["path"]  # that it was there can still be shown
    told = running.ask("evidence", "query", "--principal", "note-reader", "--limit", "200")["entries"]
    assert [each["body"]["reason"] for each in told if each["index"] == entry["index"]] == ["<erased>"]
    assert "<erased>" in running.say("evidence", "query", "--principal", "note-reader")
    said = verified(running.ask("evidence", "export", str(tmp_path / "all.pack")))
    assert "1 were erased" in said
    assert "request 4711" in said
    assert LENA not in (tmp_path / "all.pack").read_text(encoding="utf-8")


def test_retention_is_tried_before_it_is_in_force(running: Terminal) -> None:
    assert running.ask("evidence", "retention", "ls")["rules"] == []
    (tried,) = running.ask("evidence", "retention", "preview", "default=1d")["rules"]
    assert (tried["rule"], tried["found"], tried["held"]) == ("default", 0, 0)  # nothing is a day old
    assert running.refused("evidence", "retention", "preview", "default=1h", expect=2)["help"]


def test_retention_that_is_set_is_shown_and_run(estate: Terminal) -> None:
    kept = estate.but(CHARTER_RETENTION="default=400d,kind:observed=30d")
    with kept.up():
        shown = [each["rule"] for each in kept.ask("evidence", "retention", "ls")["rules"]]
        assert shown == ["default", "kind:observed"]
        said = kept.say("evidence", "retention", "ls")
        assert "400 days" in said or "400d" in said
        assert kept.ask("evidence", "retention", "run", "--reason", "a look")["rules"][0]["erased"] == 0
