"""Estate files by hand: init, validate, test, plan, apply; what is wrong is told by its place, nothing is half done."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from terminal import Terminal

AGENT = "principals/refund-agent.yaml"


def edit(terminal: Terminal, name: str, old: str, new: str) -> None:
    file = terminal.folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.slow
def test_a_new_estate_is_applied_at_once_and_once_only(tmp_path: Path) -> None:
    terminal = Terminal.at(tmp_path / "work")
    written = terminal.ask("init", "estate")["files"]
    estate = terminal.inside("estate")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "The estate"]):
        subprocess.run([*git, *words], cwd=estate.folder, check=True)

    assert (estate.folder / "principals" / "refund-agent.yaml").is_file()
    assert "teams.yaml" in written
    assert estate.ask("validate")["principals"] == 7
    assert estate.ask("test")["failed"] == 0
    planned = estate.ask("plan")
    assert planned["counts"]["create"] == len(planned["changes"]) > 20
    applied = estate.ask("apply", "--reason", "the beginning")
    assert applied["plan"] == planned["digest"]
    assert len(applied["applied"]) == len(planned["changes"])
    size = estate.ask("evidence", "verify")["size"]
    assert estate.ask("apply")["applied"] == []
    assert estate.say("plan", "--check").splitlines()[-1].split()[:4] == ["0", "0", "0", "0"]
    assert estate.ask("evidence", "verify")["size"] == size  # applying again records nothing either
    unclean = subprocess.run([*git, "status", "--porcelain"], cwd=estate.folder, check=True, capture_output=True)
    assert unclean.stdout == b""  # keys and database are not offered to the estate's repository
    terminal.refused("init", "estate", expect=5)


@pytest.mark.slow
def test_every_applied_version_stands_with_digest_and_signature(running: Terminal) -> None:
    first = running.ask("show", "refund-agent")
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")
    (change,) = running.ask("plan")["changes"]
    assert [d["path"] for d in change["differences"]] == ["grants.1.when.amount.max"]
    assert running.charter("plan", "--check", expect=1).out.startswith("~ principal refund-agent")
    running.charter("apply", "--yes", "--reason", "larger refunds")

    second = running.ask("show", "refund-agent")

    assert (first["version"], second["version"]) == (1, 2)
    assert first["digest"] != second["digest"] == change["after"]
    assert (first["id"], first["spiffe_id"]) == (second["id"], second["spiffe_id"])
    envelope = second["envelope"]
    assert envelope["payloadType"] == "application/vnd.charter.charter+json"
    assert envelope["signatures"]
    entries = running.ask("evidence", "query", "--principal", "refund-agent", "--kind", "charter.applied")["entries"]
    assert [e["body"]["version"] for e in entries] == [1, 2]
    assert entries[1]["actor"] == "operator@example.com"
    assert entries[1]["body"]["reason"] == "larger refunds"


def test_wrong_files_are_told_by_their_places_and_nothing_is_done(running: Terminal) -> None:
    edit(running, AGENT, "purpose:", "purpos:")
    edit(running, AGENT, "kind: agent", "kind: agnt")
    edit(running, "principals/coding-assistant.yaml", "[repo.branch]", "[repo.brnch]")
    edit(running, "principals/travel-browser.yaml", "system: browser", "system: browsr")
    edit(running, "principals/churn-forecast.yaml", "grants:", "grants: [")
    size = running.ask("evidence", "verify")["size"]

    told = running.charter("validate", expect=2).err

    for place in (
        r"principals/refund-agent\.yaml:6:7: .*`agnt`.*did you mean `agent`\?",
        r"principals/refund-agent\.yaml:9:1: `purpos` is no field of a principal; did you mean `purpose`\?",
        r"principals/coding-assistant\.yaml:17:15: .*`repo\.brnch`.*did you mean `repo\.branch`\?",
        r"principals/travel-browser\.yaml:\d+:13: .*`browsr`.*did you mean `browser`\?",
        r"principals/churn-forecast\.yaml:\d+:\d+: ",
    ):
        assert re.search(rf"^  {place}", told, re.MULTILINE), told
    for command in ("plan", "apply"):
        problems = running.refused(command, expect=2)["problems"]
        assert [f"{p['path']}:{p['line']}:{p['column']}" for p in problems] == re.findall(
            r"^  (\S+:\d+:\d+): ", told, re.MULTILINE
        )
    assert running.ask("evidence", "verify")["size"] == size


@pytest.mark.slow
def test_one_charter_that_cannot_be_applied_stops_all_others(running: Terminal) -> None:
    """A retired name may not come back: that is known only to the registry, not to the files."""
    running.charter("retire", "churn-forecast", "--reason", "no longer used")
    edit(running, AGENT, "max: 200 EUR", "max: 300 EUR")
    before = running.ask("evidence", "verify")["size"]

    error = running.refused("apply", expect=2)

    assert "`churn-forecast` is retired" in error["problems"][0]["text"]
    assert running.ask("show", "refund-agent")["version"] == 1
    assert running.ask("evidence", "verify")["size"] == before


@pytest.mark.slow
def test_what_was_changed_by_hand_is_shown_as_drift_and_taken_back(estate: Terminal) -> None:
    with sqlite3.connect(estate.folder / ".charter" / "charter.db") as database:
        database.execute("UPDATE principal SET owner_person = 'mallory@example.com' WHERE name = 'refund-agent'")
    database.close()

    (change,) = estate.ask("plan")["changes"]

    assert (change["change"], change["name"]) == ("drift", "refund-agent")
    assert "mallory@example.com" in json.dumps(change["differences"])
    assert estate.say("plan").startswith("! principal refund-agent")
    estate.charter("apply", "--yes")
    assert estate.ask("show", "refund-agent")["owner"]["person"] == "maria@example.com"
    assert estate.ask("plan")["changes"] == []


@pytest.mark.slow
def test_a_charter_comes_from_a_pattern(running: Terminal) -> None:
    values = ["principal=docs-bot", "owner=rita@example.com", "branch=docs-bot"]
    missing = running.refused("new", "coding-agent", *values[:2], expect=2)
    assert "`branch`" in missing["detail"]

    twice = running.refused("new", "coding-agent", *values, "--owner", "rita@example.com", expect=2)
    assert "`owner` is given twice" in twice["detail"]
    assert "no value" in running.refused("new", "coding-agent", *values, "--branch", expect=2)["detail"]

    made = running.ask("new", "coding-agent", "--principal", "docs-bot", "--owner=rita@example.com", values[2])

    assert (running.folder / made["path"]).read_text(encoding="utf-8") == made["text"]
    assert running.refused("new", "coding-agent", *values, expect=5)["error"] == "exists"
    (change,) = running.ask("plan")["changes"]
    assert (change["change"], change["name"]) == ("create", "docs-bot")
    running.charter("apply", "--yes")
    assert running.ask("show", "docs-bot")["owner"] == {"person": "rita@example.com", "team": "platform"}


@pytest.mark.slow
def test_a_failing_table_test_is_an_answer_of_no(estate: Terminal) -> None:
    edit(estate, "tests/refunds.yaml", "expect: allow", "expect: deny")

    answer = estate.ask("test", expect=1)

    assert answer["failed"] == 1
    (failed,) = [r for r in answer["results"] if not r["passed"]]
    assert failed["source"].startswith("tests/refunds.yaml:")
    assert "FAIL" in estate.say("test", expect=1)


def test_schemas_are_for_editors(estate: Terminal) -> None:
    schemas = json.loads(estate.say("schema"))

    assert {"principal.json", "system.json", "teams.json"} <= set(schemas)
    assert all((estate.folder / ".schema" / name).is_file() for name in schemas)
    assert "namespace Charter" in estate.say("schema", "--cedar")


@pytest.mark.slow
def test_a_folder_that_is_no_estate_is_left_alone(tmp_path: Path) -> None:
    elsewhere = Terminal.at(tmp_path / "elsewhere")

    for words in (("ls",), ("kill", "refund-agent", "--reason", "x"), ("plan",), ("evidence", "verify")):
        assert elsewhere.refused(*words, expect=2)["help"] == "mend them and run charter validate"
    nowhere = elsewhere.but("-C", "nowhere").refused("up", expect=2)
    assert nowhere["detail"] == "there is no folder `nowhere`"
    assert list(elsewhere.folder.iterdir()) == []
