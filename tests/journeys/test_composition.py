"""What agents are made of, from the terminal: pinned, changed, reviewed; agents adopted by their cards."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from a2a.types import AgentCard
from a2a.utils.signing import create_agent_card_signer
from google.protobuf.json_format import MessageToDict, ParseDict
from jwt.api_jwk import PyJWK

from agent_cards import a_card, a_key
from terminal import Terminal

READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
WRITE = {"system": "notes", "tool": "write_note", "arguments": {"id": "a", "text": "b"}}
REVIEWER = "sam@example.com"


def pin(estate: Terminal, text: str) -> None:
    """Write `composition` into the charter of note-keeper, in place of what it said of it."""
    file = estate.folder / "principals" / "note-keeper.yaml"
    kept = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("composition:")]
    file.write_text("\n".join([*kept, f"composition: {text}", ""]), encoding="utf-8")


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.mark.slow
def test_a_change_is_held_until_someone_reviews_exactly_that(running: Terminal) -> None:
    assert running.refused("composition", "show", "note-keeper", expect=4)["error"] == "not_pinned"
    pin(running, "{model: claude-haiku-4-5, tools: granted, accepted_by: platform-lead}")
    running.charter("apply", "--yes", "--reason", "pin it")
    shown = running.ask("composition", "show", "note-keeper")
    who = {part["part"]: part["attested_by"] for part in shown["parts"]}
    assert who["model"] == "declared"
    assert who["tools.notes.read_note"] == "the gateway"
    assert "declared, by its charter alone" in running.say("composition", "show", "note-keeper")
    assert running.ask("show", "note-keeper")["composition"] == {"digest": shown["digest"], "change": None}
    said = claims(running.ask("token", "note-keeper", "notes")["access_token"])["composition"]
    assert said == {"digest": shown["digest"], "accepted": True, "attested": []}
    assert all(each["ok"] for each in running.agent("note-keeper", READ, WRITE))

    pin(running, "{model: claude-opus-4-5, tools: granted, accepted_by: platform-lead}")
    assert "claude-opus-4-5" in running.say("plan")
    running.charter("apply", "--yes", "--reason", "a larger model")
    read, write = running.agent("note-keeper", READ, WRITE)
    assert (read["ok"], write["ok"]) == (True, False)
    (listed,) = running.ask("composition", "ls")["compositions"]
    assert (listed["standing"], listed["changed"]) == ("restrained", ["model"])
    assert any(each["kind"] == "changed-composition" for each in running.ask("findings")["findings"])
    refused = running.refused("resume", "note-keeper", "--reason", "it is fine", expect=5)
    assert refused["error"] == "held"

    change, why = listed["change"], ("--reason", "measured it")
    card = running.say("composition", "show", "note-keeper")
    assert f"charter composition accept note-keeper {change[:19]}" in card
    for person, code in (("rita@example.com", 3), ("operator@example.com", 3)):
        running.refused("composition", "accept", "note-keeper", change, "--as", person, *why, expect=code)
    old = "sha256:" + "0" * 64
    stale = running.refused("composition", "accept", "note-keeper", old, "--as", REVIEWER, *why, expect=5)
    assert stale["error"] == "stale"
    running.refused("composition", "accept", "note-keeper", "sha256:12", "--as", REVIEWER, *why, expect=2)
    done = running.say("composition", "accept", "note-keeper", change[:19], "--as", REVIEWER, *why)
    assert done.startswith("note-keeper: restrained → active")
    assert running.agent("note-keeper", WRITE)[0]["ok"]
    kinds = ("composition.pinned", "composition.changed", "composition.reviewed")
    for kind in kinds:
        assert running.ask("evidence", "query", "--kind", kind)["entries"], kind
    told = running.say("evidence", "query", "--kind", "composition.reviewed")
    assert "accepted by sam@example.com: measured it" in " ".join(told.split())


@pytest.mark.slow
def test_a_charter_that_asks_for_what_nobody_attests_is_told_where(estate: Terminal) -> None:
    digest = "sha256:" + "a" * 64
    pin(estate, f"{{program: {digest}, attested: [program]}}")
    (problem,) = estate.refused("validate", expect=2)["problems"]
    assert problem["path"] == "principals/note-keeper.yaml"
    assert "nothing attests `program`" in problem["text"]
    pin(estate, "{program: v1.2}")
    (problem,) = estate.refused("validate", expect=2)["problems"]
    assert "is no digest" in problem["text"]


@pytest.mark.slow
def test_an_agent_is_adopted_by_its_signed_card_and_held_to_it(estate: Terminal, tmp_path: Path) -> None:
    key = a_key("partner-1")
    signer = create_agent_card_signer(
        PyJWK.from_dict({**key.private.as_dict(private=True), "alg": "ES256"}),
        {"alg": "ES256", "kid": "partner-1", "typ": "JOSE"},  # type: ignore[typeddict-item]
    )

    def signed(**changed: Any) -> str:
        file = tmp_path / "card.json"
        card = MessageToDict(signer(ParseDict(a_card(**changed), AgentCard())))
        file.write_text(json.dumps(card), encoding="utf-8")
        return str(file)

    keys, others = tmp_path / "keys.json", tmp_path / "others.json"
    keys.write_text(json.dumps({"keys": [key.jwk]}), encoding="utf-8")
    others.write_text(json.dumps({"keys": [a_key("partner-1").jwk]}), encoding="utf-8")
    refused = estate.refused("adopt", "--card", signed(), "--keys", str(others), expect=7)
    assert refused["error"] == "bad_signature"
    assert not (estate.folder / "principals" / "route-planner.yaml").exists()

    drafted = estate.ask("adopt", "--card", signed(), "--keys", str(keys))
    assert (drafted["principal"], drafted["card"]["outcome"]) == ("route-planner", "trusted")
    file = estate.folder / "principals" / "route-planner.yaml"
    missing = {
        "environment": "sandbox",
        "owner": "{person: rita@example.com, team: platform}",
        "purpose": "Plan routes for our drivers",
        "model": "{provider: anthropic, name: claude-*}",
        "approved": "{by: sam@example.com, role: platform-lead, on: 2026-11-02}",
        "expires": "2035-11-02",
    }
    told = "".join(f"{name}: {value}\n" for name, value in missing.items())
    file.write_text(file.read_text(encoding="utf-8") + told, encoding="utf-8")
    estate.charter("apply", "--yes", "--reason", "a partner's agent")

    same = estate.ask("composition", "card", "route-planner", signed(), "--keys", str(keys))
    assert same["composition"]["parts"][0]["attested_by"] == "the signature of partner-1"
    other = estate.ask("composition", "card", "route-planner", signed(version="9.9"), "--keys", str(keys), expect=1)
    assert other["composition"]["standing"] == "restrained"
    assert "it is not the card that was accepted" in estate.say(
        "composition", "card", "route-planner", signed(version="9.9"), expect=1
    )
    change = estate.ask("composition", "show", "route-planner")["change"]
    estate.charter("composition", "accept", "route-planner", change, "--as", REVIEWER, "--reason", "their new version")
    assert estate.ask("show", "route-planner")["standing"] == "active"
    estate.refused("adopt", expect=2)
    estate.refused("adopt", "--card", str(tmp_path / "nowhere.json"), expect=6)
