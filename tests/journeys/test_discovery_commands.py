"""From AI that nobody registered to a governed principal: scan, adopt, answer what is missing, apply."""

from __future__ import annotations

import re
import shutil

import pytest

from terminal import ROOT, Terminal

LEAKED = "sk-ant-api03-" + "Zk3vQ9xW7bL2mN8pR4tY6uI1oA5sD0fG" * 3 + "AA"
ANSWERS = {
    "environment": "environment: sandbox",
    "owner": "owner: {person: rita@example.com, team: platform}",
    "purpose": "purpose: Review pull requests",
    "model": "model: {provider: anthropic, name: claude-*}",
    "approved": "approved: {by: sam@example.com, role: platform-lead, on: 2026-11-02}",
    "expires": "expires: 2035-11-02",
}


@pytest.mark.slow
def test_what_a_scan_finds_becomes_a_principal(running: Terminal) -> None:
    app = running.folder.parent / "our-app"
    shutil.copytree(ROOT / "src" / "charter" / "cli" / "demo" / "app", app)
    code = app / "src" / "triage.py"
    code.write_text(code.read_text(encoding="utf-8").replace("@@KEY@@", LEAKED), encoding="utf-8")

    said = running.charter("scan", "../our-app", "--record")
    found = running.ask("scan", "../our-app")["findings"]

    assert LEAKED not in said.out + said.err + str(found)
    assert {f["suggests"] for f in found} >= {"workflow", "developer-assistant", "model-integration"}
    assert len(running.ask("findings")["findings"]) == len(found)
    (finding,) = [f for f in found if ".github/workflows" in f["where"]]
    assert running.refused("adopt", "zzz", expect=4)["error"] == "unknown_finding"
    printed = running.say("adopt", finding["id"], "--print")
    draft = running.ask("adopt", finding["id"])
    assert draft["text"].strip() in printed
    assert running.refused("adopt", finding["id"], expect=5)["error"] == "exists"
    assert running.refused("validate", expect=2)["problems"]  # it says itself what a person must still answer

    file = running.folder / draft["path"]
    answered = re.sub(r"^# MISSING: (\w+):.*$", lambda m: ANSWERS.get(m[1], m[0]), draft["text"], flags=re.MULTILINE)
    file.write_text(answered, encoding="utf-8")
    assert running.ask("validate")["ok"]
    (change,) = running.ask("plan")["changes"]
    assert (change["change"], change["name"]) == ("create", draft["principal"])
    running.charter("apply", "--yes", "--reason", "adopted")
    assert running.ask("show", draft["principal"])["owner"]["person"] == "rita@example.com"


@pytest.mark.slow
def test_a_scan_needs_no_estate_and_nothing_to_write_to(running: Terminal) -> None:
    elsewhere = Terminal.at(running.folder.parent / "elsewhere")
    (elsewhere.folder / ".mcp.json").write_text(
        '{"mcpServers": {"git": {"command": "uvx", "args": ["mcp-server-git"]}}}'
    )

    assert [f["suggests"] for f in elsewhere.ask("scan")["findings"]] == ["developer-assistant"]
    assert elsewhere.refused("scan", "nowhere", expect=2)["error"] == "bad_request"


@pytest.mark.slow
def test_an_imported_server_is_pinned_and_a_change_is_told(running: Terminal) -> None:
    """Import shows what is other than what was accepted, and writes nothing until that is accepted too."""
    file = running.folder / "systems" / "notes.yaml"
    before = file.read_text(encoding="utf-8")
    assert running.ask("systems", "import", "notes")["changes"] == []
    pin = re.search(r"pin: sha256:([0-9a-f]{64})", before)
    assert pin
    file.write_text(before.replace(pin[1], "0" * 64), encoding="utf-8")

    shown = running.ask("systems", "import", "notes")

    assert (len(shown["changes"]), shown["written"]) == (1, False)
    assert "accept the new definitions with --accept" in running.say("systems", "import", "notes")
    assert running.ask("systems", "import", "notes", "--accept")["written"]
    assert file.read_text(encoding="utf-8") == before
    assert running.refused("systems", "import", "x", "--url", "ftp://x", expect=2)["help"]
    silent = running.charter("systems", "import", "x", "--", "sh", "-c", "echo out of order >&2", expect=6)
    assert "its last words were: 'out of order'" in silent.err
