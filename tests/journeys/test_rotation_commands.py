"""`charter rotate` as an operator types it: what there is, keys here and elsewhere, secrets, tokens, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terminal import Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}


def keys_of(terminal: Terminal, name: str = "note-reader") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = terminal.ask("key", "ls", name)["keys"]
    return found


def files_of(terminal: Terminal) -> list[str]:
    (folder,) = (terminal.folder.parent / "estate-home" / ".config" / "charter" / "keys").iterdir()
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.slow
def test_every_credential_is_listed_with_its_age(running: Terminal) -> None:
    running.agent("note-reader", READ)

    told = running.ask("rotate")

    kinds = {each["kind"] for each in told["credentials"]}
    assert {"token", "jwt-svid", "evidence", "charter", "x509-root", "x509-intermediate", "data", "master"} <= kinds
    assert [each["of"] for each in told["credentials"] if each["kind"] == "key"] == ["note-reader"]
    assert told["overdue"] == 0
    said = running.say("rotate")
    assert "note-reader" in said
    assert "1 credential of principals; 0 overdue" in said
    assert "none overdue" in running.say("doctor")


@pytest.mark.slow
def test_a_key_on_this_machine_is_replaced_here_and_the_agent_goes_on(running: Terminal) -> None:
    assert running.agent("note-reader", READ)[0]["ok"]
    (before,) = keys_of(running)

    told = running.ask("rotate", "key", "note-reader", "--reason", "due")

    assert (told["state"], told["before"]) == ("replaced", before["id"])
    assert files_of(running) == ["note-reader.pem"]
    assert running.agent("note-reader", READ)[0]["ok"]
    old, new = keys_of(running)
    assert (old["replaced_by"], new["id"], new["replaced_by"]) == (new["thumbprint"], told["after"], None)
    (entry,) = running.ask("evidence", "query", "--kind", "credential.rotated")["entries"]
    assert entry["body"]["reason"] == "due"

    assert "counts until" in running.say("key", "ls", "note-reader")
    at_once = running.ask("rotate", "key", "note-reader", "--at-once", "--reason", "seen in a log")

    assert at_once["state"] == "revoked"
    assert running.agent("note-reader", READ)[0]["ok"]
    assert [key["standing"] for key in keys_of(running)] == ["active", "revoked", "active"]


@pytest.mark.slow
def test_a_key_that_is_asked_for_is_overdue_until_its_agent_runs_again(running: Terminal) -> None:
    running.agent("note-reader", READ)
    (key,) = keys_of(running)
    elsewhere = running.but(CHARTER_KEYS=str(running.folder / "other-keys"))

    told = elsewhere.ask("rotate", "key", "note-reader")

    assert (told["state"], told["after"]) == ("asked", None)
    assert "what proves it was to be replaced by now" in running.say("ls")
    assert "overdue-credential" in running.say("findings")
    checks = {check["name"]: check for check in running.ask("doctor", expect=1)["checks"]}
    assert "the key of note-reader" in checks["credentials"]["found"]
    assert running.agent("note-reader", READ)[0]["ok"]  # it replaces its key by itself
    old, new = keys_of(running)
    assert (old["id"], old["replaced_by"]) == (key["id"], new["thumbprint"])
    told = running.ask("evidence", "query", "--kind", "credential.rotated")["entries"]
    (entry,) = [each for each in told if each["body"]["after"]]
    assert entry["actor"] == running.ask("show", "note-reader")["id"]
    assert running.ask("rotate")["overdue"] == 0


@pytest.mark.slow
def test_a_rotation_that_broke_off_is_gone_on_with(running: Terminal) -> None:
    """Killed after Charter took the new key and before it was put in place."""
    running.agent("note-reader", READ)
    (folder,) = (running.folder.parent / "estate-home" / ".config" / "charter" / "keys").iterdir()
    old = (folder / "note-reader.pem").read_bytes()
    running.ask("rotate", "key", "note-reader", "--at-once")
    (folder / "note-reader.pem").rename(folder / "note-reader.next.pem")
    (folder / "note-reader.pem").write_bytes(old)
    (folder / "note-reader.pem").chmod(0o600)

    assert running.agent("note-reader", READ)[0]["ok"]

    assert files_of(running) == ["note-reader.pem"]
    assert len(keys_of(running)) == 2


@pytest.mark.slow
def test_a_key_from_a_file_takes_the_place_of_another(running: Terminal, tmp_path: Path) -> None:
    from identity_stage import ClientKeyPair
    from rotation_stage import bare

    file = tmp_path / "new.jwk"
    running.agent("note-reader", READ)
    file.write_text(json.dumps(bare(ClientKeyPair.fresh("x"))), encoding="utf-8")

    told = running.ask("rotate", "key", "note-reader", "--file", str(file), "--overlap", "2d")

    assert told["state"] == "replaced"
    again = running.ask("rotate", "key", "note-reader", "--key", told["before"], "--file", str(file))
    assert (again["after"], again["ends"]) == (told["after"], told["ends"])
    file.write_text(json.dumps(bare(ClientKeyPair.fresh("x"))), encoding="utf-8")
    assert running.refused("rotate", "key", "note-reader", "--key", told["before"], "--file", str(file), expect=5)
    assert running.refused("rotate", "key", "note-reader", "--overlap", "1h", "--at-once", expect=2)
    assert running.refused("rotate", "key", expect=2)
    assert running.refused("rotate", "token", "note-reader", expect=2)
    assert running.refused("rotate", "token", "--overlap", "1h", expect=2)
    assert running.refused("rotate", "secret", "note-reader", expect=3)
    assert running.refused("rotate", "node", "web-1", expect=4)
    assert running.refused("rotate", "key", "nobody", expect=4)


@pytest.mark.slow
def test_a_directorys_token_and_a_vault_secret_are_replaced(running: Terminal) -> None:
    running.ask("people", "provisioner", "okta")
    told = running.ask("rotate", "provisioner", "okta")
    assert told["token"].startswith("cdp_")
    assert told["ends"]
    assert running.ask("rotate", "provisioner", "okta", "--at-once")["ends"] is None
    assert running.refused("rotate", "provisioner", "nobody", expect=4)

    done = running.charter("vault", "set", "key-1", "--for", "notes", stdin="first")
    assert "version 1" in done.out
    done = running.charter("rotate", "vault", "key-1", stdin="second")
    assert "version 2" in done.out


@pytest.mark.slow
def test_signing_keys_go_at_once_and_the_log_verifies(running: Terminal) -> None:
    assert running.agent("note-reader", READ)[0]["ok"]
    for use in ("token", "jwt-svid", "evidence", "charter"):
        assert running.ask("rotate", use, "--at-once", "--reason", "stolen")["state"] == "active"
        assert running.agent("note-reader", READ)[0]["ok"]
    assert "its root does" in running.refused("rotate", "x509-intermediate", "--at-once", expect=2)["help"]
    assert running.ask("evidence", "verify")["ok"]
