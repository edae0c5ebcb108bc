"""The decision API under attack: an oracle for strangers, invented subjects and chains, and what outlives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from access_stage import (
    LEDGER,
    OTHER_POINT,
    POINT,
    RECORDS,
    Access,
    access_files,
    an_access,
    question,
    subject,
)
from charter.bootstrap import authority, delegation
from charter.registry.problem import EstateError
from charter.registry.standing import Move

READ = question("alice", "read", "record-1")
PERSON = "maria@example.com"
ACCOUNT = {"type": "account", "id": "a-1"}


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with an_access(tmp_path) as found:
        yield found


def move(access: Access, name: str, to: Move) -> None:
    asyncio.run(authority.move(access.house, name, to, actor="pia@example.com", reason="a test"))


def ledger(token: str, named: str = "alice", kind: str = "principal", **changed: Any) -> dict[str, Any]:
    """Return the question whether somebody may read an account, as a token is to prove."""
    asked: dict[str, Any] = {"subject": {"type": kind, "id": named}, "action": {"name": "entry.read"}}
    return asked | {"resource": ACCOUNT, "context": {"access_token": token}} | changed


def lend(access: Access, to: str = "alice") -> str:
    asked = delegation.Lending(PERSON, to, purpose="bookkeeping")
    made = asyncio.run(delegation.make(access.house, asked, actor=PERSON, door="cli", reason="a test"))
    return str(made["id"])


# --- nobody asks who may not ---


def test_a_stranger_learns_nothing_but_where_tokens_are_given_out(access: Access) -> None:
    for path in ("evaluation", "evaluations", "search/subject", "search/resource", "search/action"):
        answer = access.send("POST", f"/access/v1/{path}", content=json.dumps(READ).encode())
        assert answer.status_code == 401
        metadata = answer.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
        told = access.send("GET", metadata.removeprefix(access.issuer)).json()
        assert told["resource"] == f"{access.issuer}/access/v1"
        assert "alice" not in answer.text


def test_a_principal_that_enforces_nothing_gets_no_token_and_no_answer(access: Access) -> None:
    for name in ("stranger", "alice"):
        answer = access.fetch(name)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    headers = {"authorization": f"Bearer {access.token('alice', '/mcp/ledger')}", "content-type": "application/json"}
    answer = access.send("POST", "/access/v1/evaluation", content=json.dumps(READ).encode(), headers=headers)
    assert answer.status_code == 401


def test_a_point_that_no_system_names_any_more_is_not_answered(access: Access) -> None:
    assert access.decide(READ)["decision"] is True
    bare = RECORDS | {"enforcement": RECORDS["enforcement"] | {"points": [OTHER_POINT]}}
    access.stage.apply(access_files(records=bare))
    assert access.ask("evaluation", READ).status_code == 403
    assert access.ask("search/subject", READ).status_code == 403
    assert access.fetch(POINT).json()["error"] == "invalid_target"


@pytest.mark.parametrize("to", [Move.SUSPEND, Move.KILL, Move.RETIRE])
def test_a_point_whose_authority_was_withdrawn_is_not_answered(access: Access, to: Move) -> None:
    assert access.decide(READ)["decision"] is True
    move(access, POINT, to)
    assert access.ask("evaluation", READ).status_code == 401


def test_a_point_asks_about_its_own_systems_alone(access: Access) -> None:
    said = access.decide(ledger(access.token("alice", "/mcp/ledger")), by=POINT)
    assert said["decision"] is False
    assert "no type of resource" in said["context"]["reason_admin"]["403"]
    said = access.decide(READ, by=OTHER_POINT)
    assert said["decision"] is False
    asked = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}}
    assert access.found("subject", asked, by=OTHER_POINT) == []


def test_a_word_that_two_systems_give_to_one_point_means_neither(tmp_path: Path) -> None:
    shared = LEDGER | {"enforcement": LEDGER["enforcement"] | {"points": [OTHER_POINT, POINT]}}
    shared["enforcement"] = shared["enforcement"] | {"resources": {"record": {}}}
    with an_access(tmp_path) as access:
        with pytest.raises(EstateError) as refused:
            access.stage.apply(access_files(ledger=shared))
        assert "means something on `ledger` already" in refused.value.problems[0].text


# --- who a subject is, is not the point's to invent ---


def test_another_principals_token_proves_nobody_else(access: Access) -> None:
    token = access.token("alice", "/mcp/ledger")
    for named in ("bob", OTHER_POINT, access.house.principal("bob").id, PERSON, "alice\u200b", "аlice"):  # noqa: RUF001 - Cyrillic, and meant to be
        said = access.decide(ledger(token, named), by=OTHER_POINT)
        assert said["decision"] is False, named
        assert token not in json.dumps(said)


@pytest.mark.parametrize("token", ["x", "", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 9000])
def test_what_is_no_token_of_ours_proves_nobody(access: Access, token: str) -> None:
    said = access.decide(ledger(token), by=OTHER_POINT)
    assert said["decision"] is False
    assert not token or len(token) < 3 or token not in json.dumps(said)


def test_a_token_for_another_system_or_for_decisions_proves_nobody(access: Access) -> None:
    for token in (access.token("alice", "/mcp/records"), access.token(OTHER_POINT)):
        assert access.decide(ledger(token), by=OTHER_POINT)["decision"] is False


def test_an_old_token_proves_nobody(access: Access) -> None:
    token = access.token("alice", "/mcp/ledger")
    access.stage.clock.advance(minutes=6)
    access.tokens.clear()
    said = access.decide(ledger(token), by=OTHER_POINT)
    assert said["decision"] is False
    assert "expired" in said["context"]["reason_admin"]["403"]


def test_where_proof_is_needed_a_word_is_none(access: Access) -> None:
    asked = ledger("") | {"context": {"delegation": lend(access)}}
    said = access.decide(asked, by=OTHER_POINT)
    assert said["decision"] is False
    assert "does not prove" in said["context"]["reason_admin"]["403"]


def test_what_a_point_says_about_a_subject_makes_it_nobody_else(access: Access) -> None:
    for properties in ({"id": "alice"}, {"principal": "alice"}, {"name": "alice"}, {"role": "owner"}):
        asked = question("bob", "delete", "record-1") | {"subject": subject("bob") | {"properties": properties}}
        asked["action"] = {"name": "delete", "properties": {"soft": True}}
        assert access.decide(asked)["decision"] is False


# --- chains ---


def test_a_chain_is_made_up_of_nothing_that_is_not_there(access: Access) -> None:
    loan = lend(access)
    for named, context in (
        ("bob", {"delegation": loan}),
        ("alice", {"delegation": "del_" + "0" * 26}),
        ("alice", {"delegation": "del_x"}),
        ("alice", {"delegation": ["del_x"]}),
    ):
        answer = access.ask("evaluation", question(named, "read", "record-1", **context))
        assert answer.status_code == 400 or answer.json()["decision"] is False, context
    assert access.decide(question("alice", "read", "record-1", delegation=loan))["decision"] is True


def test_nothing_is_allowed_under_a_delegation_that_was_withdrawn(access: Access) -> None:
    loan = lend(access)
    asked = question("alice", "read", "record-1", delegation=loan)
    assert access.decide(asked)["decision"] is True
    told = access.stage.entries("verdict")[-1]["body"]["chain"]
    assert (told["delegation"], told["initiator"]) == (loan, PERSON)
    asyncio.run(delegation.withdraw(access.house, {"link": loan}, actor="pia@example.com", reason="a test"))
    said = access.decide(asked)
    assert said["decision"] is False
    assert "withdrawn" in said["context"]["reason_admin"]["403"]
    assert access.decide(READ)["decision"] is True


# --- whatever ends authority ends it here too ---


def kill_subject(access: Access) -> None:
    move(access, "alice", Move.KILL)


def suspend_subject(access: Access) -> None:
    move(access, "alice", Move.SUSPEND)


def revoke_key(access: Access) -> None:
    (key,) = access.house.live.keys_of(access.house.principal("alice").id)
    asyncio.run(authority.revoke_key(access.house, "alice", key.id, actor="pia@example.com", reason="a test"))


def revoke_token(access: Access) -> None:
    form = {"token": access.token("alice", "/mcp/ledger")}
    pair = access.pair("alice")
    assertion = pair.assertion(access.stage.clock.now(), aud=f"{access.issuer}/oauth/token")
    form |= {
        "client_assertion": assertion,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert access.send("POST", "/oauth/revoke", form=form).status_code == 200


def retire_system(access: Access) -> None:
    files = access_files()
    del files["systems/ledger.yaml"]
    for name in ("alice", OTHER_POINT):
        del files[f"principals/{name}.yaml"]
    access.stage.apply(files)


@pytest.mark.parametrize("withdraw", [kill_subject, suspend_subject, revoke_key, revoke_token, retire_system])
def test_nothing_is_allowed_once_a_subject_lost_what_it_stands_on(
    access: Access, withdraw: Callable[[Access], None]
) -> None:
    token = access.token("alice", "/mcp/ledger")
    asked = ledger(token)
    assert access.decide(asked, by=OTHER_POINT)["decision"] is True
    actions = {"subject": asked["subject"], "resource": ACCOUNT, "context": asked["context"]}
    assert access.found("action", actions, by=OTHER_POINT) == ["entry.read"]
    withdraw(access)
    answer = access.ask("evaluation", asked, by=OTHER_POINT)
    assert answer.status_code in (401, 403) or answer.json()["decision"] is False
    found = access.ask("search/action", actions, by=OTHER_POINT)
    assert found.status_code in (401, 403) or found.json()["results"] == []


def test_a_restrained_subject_changes_nothing_without_a_person(access: Access) -> None:
    assert access.decide(question("alice", "write", "record-1"))["decision"] is True
    move(access, "alice", Move.RESTRAIN)
    assert access.decide(question("alice", "read", "record-1"))["decision"] is True
    said = access.decide(question("alice", "write", "record-1"))
    assert (said["decision"], said["context"]["reason"]) == (False, "approval_required")


# --- tokens for decisions are good for decisions, and decisions are no way to a system ---


def test_a_token_for_decisions_opens_no_system_and_cannot_be_lent_narrowed_or_exchanged(access: Access) -> None:
    token = access.token(POINT)
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    headers["content-type"] = "application/json"
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    assert access.send("POST", "/mcp/records", content=body, headers=headers).status_code == 401
    details = json.dumps([{"type": "charter", "actions": ["read"]}])
    assert access.fetch(POINT, authorization_details=details).status_code == 400
    alice = access.house.principal("alice").id
    assert access.fetch(POINT, may_act=alice, purpose="bookkeeping").status_code == 400


def test_a_system_with_points_is_not_reached_through_the_gateway(access: Access) -> None:
    token = access.token("alice", "/mcp/records")
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "write",
    }
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    arguments = {"asked": {"resource": {"status": "active"}, "subject": {"role": "admin"}}}
    params = {"name": "write", "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    answer = access.send("POST", "/mcp/records", content=body, headers=headers)
    assert answer.status_code != 200 or answer.json().get("error") or answer.json()["result"]["isError"]
    verdicts = access.stage.entries("verdict")
    assert [each["body"]["verdict"] for each in verdicts] in ([], ["deny"])


# --- what is sent ---


@pytest.mark.parametrize(
    "content",
    [
        b'{"subject":' + b'{"properties":' * 200 + b"{}" + b"}" * 200 + b"}",
        b'{"subject":{"type":"user","type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"x"}}',
        b'{"subject":{"type":"user","id":"\\ud800"},"action":{"name":"read"},"resource":{"type":"record","id":"x"}}',
        b'{"subject":{"type":"user","id":"alice"},"action":{"name":"read","properties":{"n":1e999}},"resource":{"type":"record","id":"x"}}',
        b'{"subject":{"type":"user","id":"'
        + b"x" * 2000
        + b'"},"action":{"name":"read"},"resource":{"type":"record","id":"x"}}',
        b"\xff\xfe",
        b"[]",
        b"null",
    ],
)
def test_what_two_readers_could_understand_differently_is_a_400(access: Access, content: bytes) -> None:
    assert access.ask("evaluation", content).status_code == 400


def test_a_body_beyond_a_mebibyte_is_refused_unread(access: Access) -> None:
    assert access.ask("evaluations", b" " * (1024 * 1024 + 1)).status_code == 413


def test_numbers_that_have_no_exact_form_deny(access: Access) -> None:
    asked = question("alice", "read", "record-1")
    asked["action"] = {"name": "read", "properties": {"n": 2**60}}
    said = access.decide(asked)
    assert said["decision"] is False


def test_a_web_page_and_a_rebound_name_are_turned_away(access: Access) -> None:
    assert access.ask("evaluation", READ, origin="https://evil.example").status_code == 403
    assert access.ask("evaluation", READ, host="evil.example").status_code == 421
    token = access.token(POINT)
    assert access.send("POST", f"/access/v1/evaluation?access_token={token}", content=b"{}").status_code == 400
    for method in ("GET", "PUT", "DELETE"):
        assert access.send(method, "/access/v1/evaluation").status_code == 405
