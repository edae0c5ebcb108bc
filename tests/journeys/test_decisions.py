"""A team that runs a gateway of its own lets Charter decide: from the files to an approval given at the terminal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from charter.cli.agent_keys import AgentTokens, agent_key
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from terminal import Server, Terminal

SYSTEM = """\
charter: v1
system: records
kind: http
environment: sandbox
owner: {person: rita@example.com, team: platform}
actions:
  read: {effect: read}
  delete: {effect: irreversible}
enforcement:
  points: [records-gateway]
  vouching: allowed
  subjects: {types: [user]}
  resources: {record: {object: "record/{id}"}}
"""
POINT = """\
charter: v1
principal: records-gateway
kind: workflow
environment: sandbox
owner: {person: rita@example.com, team: platform}
purpose: Let records be reached by those who may
model: {provider: none, name: none}
approved: {by: sam@example.com, role: platform-lead, on: 2026-11-02}
credential: {type: private-key-jwt}
review: 90d
expires: 2035-11-02
"""
GRANTS = """\
grants:
  - system: records
    actions: [read]
    objects: ["record/*"]
  - system: records
    actions: [delete]
    approval: {by: platform-lead}
"""


@dataclass
class Gateway:
    """What the team's gateway does: it asks with the key that this machine made, each request with its proof."""

    tokens: AgentTokens

    def ask(self, path: str, body: Any) -> dict[str, Any]:
        return asyncio.run(self._ask(path, body))

    async def _ask(self, path: str, body: Any) -> dict[str, Any]:
        url = f"{self.tokens.issuer}/access/v1/{path}"
        async with httpx.AsyncClient(timeout=60) as web:
            for _ in range(2):  # the second time with the nonce that came with the first answer
                headers = await self.tokens.headers("POST", f"{self.tokens.issuer}/access/v1", url)
                answer = await web.post(url, json=body, headers=headers)
                if not (answer.status_code == 401 and self.tokens.learn(answer.headers.get("dpop-nonce"))):
                    break
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def question(action: str, record: str = "r-1") -> dict[str, Any]:
    subject = {"type": "user", "id": "note-reader"}
    return {"subject": subject, "action": {"name": action}, "resource": {"type": "record", "id": record}}


def prepared(estate: Terminal) -> None:
    folder: Path = estate.folder
    (folder / "systems" / "records.yaml").write_text(SYSTEM, encoding="utf-8")
    (folder / "principals" / "records-gateway.yaml").write_text(POINT, encoding="utf-8")
    charter = folder / "principals" / "note-reader.yaml"
    charter.write_text(charter.read_text().replace("grants:\n", GRANTS), encoding="utf-8")


def gateway(estate: Terminal, server: Server) -> Gateway:
    told = estate.ask("token", "records-gateway", "--decisions")
    assert told["resource"] == f"{server.url}/access/v1"
    keys = Path(estate.environment["HOME"]) / ".config" / "charter" / "keys"
    key = agent_key(keys, server.url, "records-gateway")
    return Gateway(AgentTokens(key, server.url, told["client_id"], SystemClock(), SystemEntropy()))


@pytest.mark.slow
def test_a_gateway_of_the_teams_own_asks_and_a_person_lifts_a_denial(estate: Terminal) -> None:
    prepared(estate)
    estate.charter("validate")
    estate.charter("apply", "--yes", "--reason", "our gateway asks")
    with estate.up() as server:
        asking = gateway(estate, server)
        allowed = asking.ask("evaluation", question("read"))
        assert allowed["decision"] is True
        batch = {"evaluations": [question("read"), question("delete"), question("read", "../r-1")]}
        said = asking.ask("evaluations", batch)["evaluations"]
        assert [each["decision"] for each in said] == [True, False, False]
        approval = said[1]["context"]["charter"]["approval"]
        shown = estate.say("approvals", "show", approval)
        assert "records-gateway" in shown
        estate.charter("approvals", "approve", approval, "--as", "sam@example.com", "--reason", "seen")
        assert asking.ask("evaluation", question("delete"))["decision"] is True
        assert asking.ask("evaluation", question("delete"))["decision"] is False
        found = asking.ask("search/action", {k: v for k, v in question("").items() if k != "action"})
        assert found["results"] == [{"name": "read"}]
        quoted = estate.ask("evidence", "query", "--text", allowed["context"]["evaluation_id"])
        (entry,) = quoted["entries"]
        assert json.dumps(entry["body"]["asked_by"]).count("records-gateway") == 1
        estate.charter("kill", "note-reader", "--reason", "a drill")
        assert asking.ask("evaluation", question("read"))["decision"] is False


@pytest.mark.slow
def test_a_principal_that_enforces_nothing_is_told_so_at_the_terminal(estate: Terminal) -> None:
    prepared(estate)
    estate.charter("apply", "--yes", "--reason", "our gateway asks")
    with estate.up():
        refused = estate.refused("token", "note-reader", "--decisions", expect=3)
        assert "no system names `note-reader` as an enforcement point" in refused["detail"].replace("'", "`")
        assert estate.refused("token", "note-reader", expect=2)["error"] == "bad_value"
        assert estate.refused("token", "note-reader", "notes", "--decisions", expect=2)["error"] == "bad_value"


def test_a_wrong_word_in_the_systems_file_is_told_with_its_place(estate: Terminal) -> None:
    prepared(estate)
    file = estate.folder / "systems" / "records.yaml"
    file.write_text(SYSTEM.replace("points: [records-gateway]", "points: [record-gateway]"), encoding="utf-8")
    said = estate.refused("validate", expect=2)
    assert "systems/records.yaml" in json.dumps(said)
    assert "records-gateway" in json.dumps(said)
