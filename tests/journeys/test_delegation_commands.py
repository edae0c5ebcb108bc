"""Lending authority from the terminal: a person to a principal, that to the next; withdrawn, switched off."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from terminal import AGENT, OPERATOR, Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
WRITE = {"system": "notes", "tool": "write_note", "arguments": {"id": "a", "text": "b"}}
PURPOSE = ("--purpose", "minutes")
TERMS = {
    "note-keeper": "delegation: {from: [humans], to: [note-reader], purposes: [minutes], max_ttl: 1h, max_depth: 2}\n",
    "note-reader": "delegation: {from: [humans, note-keeper], purposes: [minutes], max_ttl: 1h, max_depth: 2}\n",
}


@pytest.fixture
def lending(running: Terminal) -> Terminal:
    """A terminal whose two principals may borrow from people, and one from the other."""
    for name, terms in TERMS.items():
        file = running.folder / "principals" / f"{name}.yaml"
        file.write_text(file.read_text(encoding="utf-8") + terms, encoding="utf-8")
    running.charter("apply", "--yes", "--reason", "they may act for people")
    return running


def on_behalf(terminal: Terminal, name: str, whose: str, *calls: Any) -> list[dict[str, Any]]:
    """Let an agent make calls with tokens under a delegation; return how each went."""
    words = ["run", name, "--on-behalf-of", whose, *PURPOSE, "--", sys.executable, AGENT]
    done = terminal.charter(*words, stdin=json.dumps(calls))
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_a_person_lends_looks_and_takes_back(lending: Terminal) -> None:
    made = lending.ask(
        "delegate", "note-keeper", *PURPOSE, "--for", "30m", "--system", "notes", "--action", "read_note"
    )
    assert (made["initiator"], made["borrower"], made["accepted"]) == (OPERATOR, "note-keeper", False)
    assert made["scope"] == [{"system": "notes", "actions": ["read_note"], "objects": ["*"]}]

    read, write = on_behalf(lending, "note-keeper", made["id"], READ, WRITE)
    assert (read["ok"], write["ok"]) == (True, False)  # its charter lets it write; what was lent does not

    (listed,) = lending.ask("delegations", "ls", "--person", OPERATOR)["delegations"]
    assert (listed["id"], listed["usable"]) == (made["id"], True)
    assert "note-keeper" in lending.say("graph", "--delegations")
    assert f"{OPERATOR}  (initiator" in lending.say("delegations", "show", made["id"])
    chain = lending.folder / "chain.json"
    chain.write_text(lending.say("delegations", "show", made["id"], "--json"), encoding="utf-8")
    assert lending.ask("delegations", "verify", str(chain))["actors"] == [OPERATOR, "note-keeper"]
    forged = json.loads(chain.read_text())
    forged["chain"][0]["party"] = "eve@example.com"
    chain.write_text(json.dumps(forged), encoding="utf-8")
    assert not lending.ask("delegations", "verify", str(chain), expect=1)["ok"]

    done = lending.ask("delegations", "withdraw", made["id"], "--reason", "the minutes are written")
    assert done["count"] == 1
    (gone,) = on_behalf(lending, "note-keeper", made["id"], READ)
    assert not gone["ok"]
    assert "was withdrawn" in gone["error"]
    assert lending.agent("note-keeper", READ)[0]["ok"]  # what it may do by itself is nobody else's
    told = lending.ask("evidence", "query", "--kind", "delegation.withdrawn")["entries"]
    assert [entry["body"]["reason"] for entry in told] == ["the minutes are written"]


@pytest.mark.slow
def test_a_principal_lends_on_and_a_switch_stops_that_edge_alone(lending: Terminal) -> None:
    words = ("token", "note-keeper", "notes", "--on-behalf-of", OPERATOR, *PURPOSE, "--may-act", "note-reader")
    kept = lending.folder / "token"
    kept.write_text(lending.ask(*words)["access_token"], encoding="ascii")
    kept.chmod(0o600)
    (read,) = on_behalf(lending, "note-reader", f"@{kept}", READ)
    assert read["ok"]
    (newest, *_) = lending.ask("delegations", "ls", "--agent", "note-reader")["delegations"]
    assert [party["name"] for party in lending.ask("delegations", "show", newest["id"])["chain"]] == [
        OPERATOR,
        "note-keeper",
        "note-reader",
    ]

    lending.charter("delegations", "switch", "note-keeper", "note-reader", "--off", "--reason", "looking into it")
    assert "switched off: note-keeper → note-reader" in lending.say("delegations", "ls")
    (stopped,) = on_behalf(lending, "note-reader", newest["id"], READ)
    assert not stopped["ok"]
    assert "delegation from 'note-keeper' to 'note-reader' is switched off" in stopped["error"]
    own = lending.ask("delegate", "note-reader", *PURPOSE)
    assert on_behalf(lending, "note-reader", own["id"], READ)[0]["ok"]
    lending.charter("delegations", "switch", "note-keeper", "note-reader", "--on", "--reason", "it was nothing")
    assert on_behalf(lending, "note-reader", newest["id"], READ)[0]["ok"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("delegate", "note-keeper", "--purpose", "shopping"), 3),
        (("delegate", "note-kepeer", *PURPOSE), 4),
        (("delegate", "note-keeper", *PURPOSE, "--for", "soon"), 2),
        (("delegate", "note-keeper", *PURPOSE, "--action", "read_note"), 2),
        (("delegations", "show", "del_nothing"), 4),
        (("delegations", "withdraw", "--reason", "x"), 2),
        (("delegations", "switch", "note-keeper", "nobody", "--off", "--reason", "x"), 4),
    ],
)
def test_what_cannot_be_lent_is_told_with_what_can(lending: Terminal, words: tuple[str, ...], code: int) -> None:
    error = lending.refused(*words, expect=code)
    assert error["help"], error
    assert lending.ask("delegations", "ls")["delegations"] == []


def test_a_file_that_is_no_chain_is_told_so(running: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "chain.json"
    for text in ("", "[]", "{}", '{"chain": 7}'):
        file.write_text(text, encoding="utf-8")
        assert running.refused("delegations", "verify", str(file), expect=2)["help"]
