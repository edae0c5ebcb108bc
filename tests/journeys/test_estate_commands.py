"""A new user's first hour with estate files, by the real command in a folder of their own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

KINDS = {"copilot", "developer-assistant", "saas-feature", "workflow", "agent", "model-integration", "browser-agent"}
FIELDS = {
    "name", "id", "spiffe_id", "kind", "environment", "owner", "purpose", "model", "data", "systems", "sensitive",
    "state_changing", "irreversible", "risk", "approved", "credential", "review", "expires", "standing", "version",
    "digest",
}  # fmt: skip


def charter(folder: Path, *words: str, code: int = 0) -> str:
    """Run the command in `folder` and return what it printed."""
    command = [sys.executable, "-m", "charter.cli.main", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter estate, applied."""
    root = tmp_path_factory.mktemp("estate")
    charter(root, "init", "mine")
    charter(root / "mine", "apply", "--yes", "--reason", "the first charters")
    return root / "mine"


def test_the_inventory_shows_every_field_of_all_seven_kinds(folder: Path) -> None:
    listed: list[dict[str, Any]] = json.loads(charter(folder, "ls", "--json"))["principals"]
    assert {each["kind"] for each in listed} == KINDS
    assert all(each.keys() >= FIELDS for each in listed)

    wide = " ".join(charter(folder, "ls", "--wide").split())
    for each in listed:
        told = (each["model"]["provider"], each["approved"]["role"], each["credential"], each["review"], *each["data"])
        assert all(word in wide for word in told), each["name"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--data", "payment-data"), ["invoice-workflow", "refund-agent"]),
        (("--system", "payments", "--team", "finance"), ["invoice-workflow"]),
        (("--provider", "openai"), ["ticket-summaries"]),
        (("--data", "no-such-class"), []),
    ],
    ids=["data", "system and team", "provider", "none"],
)
def test_the_inventory_can_be_asked_what_is_reached(folder: Path, words: tuple[str, ...], names: list[str]) -> None:
    listed = json.loads(charter(folder, "ls", *words, "--json"))["principals"]
    assert [each["name"] for each in listed] == names


def test_a_principal_is_shown_with_its_conditions_in_words(folder: Path) -> None:
    shown = " ".join(charter(folder, "show", "refund-agent").split())
    assert "payments (sensitive)" in shown
    assert "approval by payments-lead if amount more than 100 EUR" in shown
    assert "on mon to fri" in shown
    assert "People may lend it authority for dispute-handling" in shown


@pytest.mark.slow
def test_the_signature_of_a_charter_is_verified_by_another_implementation(folder: Path) -> None:
    shown = json.loads(charter(folder, "show", "refund-agent", "--json"))
    (jwk,) = shown["signing_keys"]
    raw = base64.urlsafe_b64decode(jwk["x"] + "=")
    key = SSlibKey(jwk["kid"], "ed25519", "ed25519", {"public": raw.hex()})
    envelope = Envelope.from_dict(shown["envelope"])
    assert set(envelope.verify([key], 1)) == {jwk["kid"]}
    assert json.loads(envelope.payload) == shown["charter"]

    vouched = json.loads(charter(folder, "evidence", "query", "--kind", "key.rotated", "--json"))["entries"]
    assert jwk["x"] in {each["body"].get("public", {}).get("x") for each in vouched}


@pytest.mark.slow
def test_problems_of_files_come_to_programs_with_their_places(folder: Path) -> None:
    bad = folder / "principals" / "bad.yaml"
    bad.write_text("charter: v1\nprincipal: bad\nkind: agnet\n")
    try:
        answer = json.loads(charter(folder, "validate", "--json", code=2))
        refused = json.loads(charter(folder, "apply", "--yes", "--json", code=2))
    finally:
        bad.unlink()
    kind = next(each for each in answer["problems"] if "agnet" in each["text"])
    assert (kind["path"], kind["line"], kind["column"]) == ("principals/bad.yaml", 3, 7)
    assert kind["help"] == "did you mean `agent`?"
    assert refused["problems"] == answer["problems"]
    assert json.loads(charter(folder, "plan", "--json"))["changes"] == []


@pytest.mark.slow
def test_a_draft_that_grants_nothing_yet_can_be_applied_once_a_person_filled_it_in(folder: Path) -> None:
    (folder / "principals" / "found.yaml").write_text(
        "charter: v1\nprincipal: found\nkind: workflow\nenvironment: sandbox\n"
        "owner: {person: rita@example.com, team: platform}\npurpose: Answer in a chat\n"
        "model: {provider: anthropic, name: claude-5}\ngrants: []\n"
        "approved: {by: sam@example.com, role: platform-lead, on: 2026-11-24}\n"
        "credential: {type: private-key-jwt}\nreview: 90d\nexpires: 2027-11-24\n"
    )
    charter(folder, "validate")
    charter(folder, "apply", "--yes")
    shown = json.loads(charter(folder, "show", "found", "--json"))
    assert (shown["systems"], shown["standing"]) == ([], "active")


@pytest.mark.slow
def test_the_rules_in_force_are_listed_with_what_they_answer(folder: Path) -> None:
    found = {each["name"]: each for each in json.loads(charter(folder, "rules", "--json"))["rules"]}
    assert found["review-critical"]["concerns"] == ["invoice-workflow", "travel-browser"]
    assert (found["models-propose"]["force"], found["models-propose"]["set_aside_by"]) == ("default", ["refund-agent"])
    assert found["refund-ceiling"]["source"].startswith("guardrails/amounts.cedar:")
    assert "security-lead" in found["sensitive-after-hours"]["lifted_by"]
    written = [each for each in found.values() if each["source"].startswith("guardrails/")]
    assert all(each["answers"] for each in written), "each rule of the starter set answers some item"
    shown = charter(folder, "rules", "--answers", "asi03")
    assert "no-shared-secrets" in shown
    assert "review-low" not in shown
