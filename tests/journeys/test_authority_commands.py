"""Authority from the terminal: tokens, agents, approvals; restrain, suspend, resume, kill, retire; keys that rotate."""

from __future__ import annotations

import json
import re
import sys

import httpx
import pytest

from terminal import Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
READ_A = READ | {"arguments": {"id": "a"}}
WRITE = {"system": "notes", "tool": "write_note", "arguments": {"id": "a", "text": "b"}}
DROP = {"system": "notes", "tool": "drop_note", "arguments": {"id": "welcome"}}


@pytest.mark.slow
def test_each_move_says_what_it_did_and_when(running: Terminal) -> None:
    moves = [
        ("restrain", "active", "restrained"),
        ("suspend", "restrained", "suspended"),
        ("resume", "suspended", "active"),
        ("kill", "active", "revoked"),
        ("retire", "revoked", "retired"),
    ]
    for move, before, after in moves:
        said = running.say(move, "note-keeper", "--reason", f"to {move} it")
        lines = said.splitlines()
        assert lines[0] == f"note-keeper: {before} → {after}"
        assert re.fullmatch(
            r" +\d+\.\d\d ms  durable in the evidence, and in force for every decision and token", lines[1]
        )
        assert len(lines) == (3 if after in ("suspended", "revoked", "retired") else 2)
    told = running.ask("evidence", "query", "--principal", "note-keeper", "--kind", "standing.changed")["entries"]

    assert [(e["body"]["before"], e["body"]["after"]) for e in told] == [(b, a) for _, b, a in moves]
    assert [e["body"]["reason"] for e in told] == [f"to {move} it" for move, _, _ in moves]
    assert running.refused("resume", "note-keeper", "--reason", "too late", expect=5)["error"] == "bad_move"
    assert running.refused("kill", "note-kepeer", "--reason", "x", expect=4)["help"] == "did you mean `note-keeper`?"
    assert running.ask("show", "note-reader")["standing"] == "active"


@pytest.mark.slow
def test_an_agent_works_waits_for_a_person_and_is_stopped(running: Terminal) -> None:
    read, write, drop = running.agent("note-keeper", READ, WRITE, DROP)

    assert (read["ok"], write["ok"], drop["ok"]) == (True, True, False)
    (waiting,) = running.ask("approvals", "ls")["approvals"]
    assert waiting["id"] == drop["data"]["approval"]
    assert waiting["call"]["arguments"] == {"id": "welcome"}
    assert waiting["roles"] == ["platform-lead"]
    assert "drop_note" in running.say("approvals", "show", waiting["id"])
    assert running.refused("approvals", "approve", waiting["id"], "--as", "rita@example.com", expect=3)["help"]
    said = running.say("approvals", "approve", waiting["id"], "--as", "sam@example.com", "--reason", "it is old")
    assert "approved: the principal can repeat the call until" in said
    assert running.ask("approvals", "ls")["approvals"] == []
    once, twice, another = running.agent("note-keeper", DROP, DROP, DROP | {"arguments": {"id": "old"}})
    assert (once["ok"], twice["ok"], another["ok"]) == (True, False, False)
    refused = running.ask("approvals", "refuse", another["data"]["approval"], "--as", "sam@example.com")
    assert refused["state"] == "refused"
    states = {a["state"] for a in running.ask("approvals", "ls", "--all")["approvals"]}
    assert states >= {"spent", "refused", "waiting"}
    story = running.ask("show", drop["data"]["verdict_id"])["entries"]
    assert {entry["kind"] for entry in story} >= {"verdict", "approval.asked"}
    assert "to allow it: " in running.say("show", drop["data"]["verdict_id"])

    running.charter("restrain", "note-keeper", "--reason", "odd notes")
    read, write = running.agent("note-keeper", READ_A, WRITE)
    assert (read["ok"], write["ok"], write["data"]["approvers"]) == (True, False, ["owner"])
    running.charter("kill", "note-keeper", "--reason", "enough")
    assert running.agent("note-keeper", READ_A, expect=3) == []
    assert running.agent("note-reader", READ_A)[0]["ok"]
    assert running.ask("show", "note-keeper")["standing"] == "revoked"


@pytest.mark.slow
def test_a_token_is_for_one_system_and_one_key(running: Terminal) -> None:
    token = running.ask("token", "note-reader", "notes")

    assert token["token_type"] == "DPoP"
    assert token["expires_in"] == 300
    assert running.say("token", "note-reader", "notes").count(".") == 2
    stolen = {"authorization": f"Bearer {token['access_token']}", "accept": "application/json, text/event-stream"}
    answer = httpx.post(token["resource"], headers=stolen, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert answer.status_code == 401
    assert "resource_metadata" in answer.headers["www-authenticate"]
    assert running.refused("token", "note-reader", "payments", expect=3)["detail"]
    assert "bearer: allowed" in running.refused("token", "note-reader", "notes", "--unbound", expect=3)["detail"]
    assert running.refused("token", "nobody", "notes", expect=4)["error"] == "unknown_principal"
    (key,) = running.ask("show", "note-reader")["keys"]
    assert key["standing"] == "active"
    stranger = running.but(CHARTER_KEYS=str(running.folder / "other-keys"))
    stranger.charter("token", "note-reader", "notes")  # another machine registers a key of its own
    assert len(running.ask("show", "note-reader")["keys"]) == 2


def test_a_command_under_charter_run_is_left_as_it_is(running: Terminal) -> None:
    program = (
        "import os, sys, json; print(json.dumps({k: v for k, v in os.environ.items() if 'CHARTER' in k})); sys.exit(7)"
    )

    done = running.charter("run", "note-reader", "--", sys.executable, "-c", program, "--json", expect=7)

    told = json.loads(done.out)
    assert told["CHARTER_PRINCIPAL"] == "note-reader"
    assert told["CHARTER_MCP_URL_NOTES"].startswith("http://127.0.0.1:")
    assert running.charter("run", "note-reader", "--", "no-such-command", expect=2).err
    assert running.charter("run", "note-reader", expect=2).err


@pytest.mark.slow
def test_signing_keys_rotate_and_what_they_signed_still_verifies(running: Terminal) -> None:
    before = running.ask("show", "note-reader")["envelope"]

    for use in ("token", "evidence", "charter"):
        rotated = running.ask("rotate", use)
        assert (rotated["use"], rotated["state"]) == (use, "active")
        assert rotated["key_id"] in running.say("evidence", "query", "--kind", "key.rotated")

    assert running.agent("note-reader", READ)[0]["ok"]
    assert running.ask("evidence", "verify")["ok"]
    assert running.ask("show", "note-reader")["envelope"] == before


@pytest.mark.slow
def test_the_same_key_for_two_principals_is_a_finding(running: Terminal) -> None:
    running.charter("token", "note-reader", "notes")
    (folder,) = (running.folder.parent / "estate-home" / ".config" / "charter" / "keys").iterdir()
    (folder / "note-keeper.pem").hardlink_to(folder / "note-reader.pem")

    assert running.refused("token", "note-keeper", "notes", expect=5)["error"] == "shared_credential"

    (finding,) = running.ask("findings")["findings"]
    assert finding["kind"] == "shared-credential"
    assert "note-keeper" in running.say("findings")


@pytest.mark.slow
def test_who_may_reach_what_is_drawn(running: Terminal) -> None:
    edges = running.ask("graph")["edges"]

    assert {"principal": "note-reader", "system": "notes"} in edges
    drawn = running.say("graph")
    assert re.search(r"platform\n(.*\n)*.*note-reader \(active\)\n.*notes", drawn)
    assert running.ask("ls", "--team", "platform", "--kind", "agent")["total"] == 2
    assert running.ask("ls", "--standing", "revoked")["total"] == 0
    (notes,) = [s for s in running.ask("systems", "ls")["systems"] if s["system"] == "notes"]
    assert notes["pinned"] == len(notes["actions"]) == 6


@pytest.mark.slow
def test_the_review_answers_five_questions_from_what_happened(running: Terminal) -> None:
    running.agent("note-reader", READ, WRITE, WRITE, WRITE)

    answer = running.ask("review", "--since", "1d")

    assert len(answer["questions"]) == 5
    said = running.say("review", "--since", "1d", "--team", "platform")
    assert "note-reader made 4 calls" in said
    assert "note-reader was refused 3 times" in said
    assert "note-keeper may drop_note on notes" in said
    assert "SELECT" in running.say("review", "--sql")
