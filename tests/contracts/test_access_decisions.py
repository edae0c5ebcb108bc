"""The decision API in a whole house: what is asked, what is answered, and what evidence keeps of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access_stage import OTHER_POINT, POINT, Access, a_principal, access_files, an_access, question, subject
from charter.bootstrap import authority
from charter.registry.standing import Move

EURO = {"currency": "EUR"}


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with an_access(tmp_path) as found:
        yield found


def posting(access: Access, amount: int, account: str = "a-1", **changed: Any) -> dict[str, Any]:
    """Return the question whether alice, by her own token, may post to an account."""
    token = access.token("alice", "/mcp/ledger")
    asked: dict[str, Any] = {
        "subject": {"type": "principal", "id": "alice"},
        "action": {"name": "entry.post", "properties": {"amount": amount} | EURO},
        "resource": {"type": "account", "id": account},
        "context": {"access_token": token},
    }
    return asked | changed


# --- what is answered ---


def test_a_decision_says_why_and_has_an_id_that_evidence_knows(access: Access) -> None:
    said = access.decide(question("bob", "write", "record-1"))
    assert said["decision"] is False
    context = said["context"]
    assert context["reason"] == "charter"
    assert "asked.resource.status" in context["reason_admin"]["403"] or "bob" in context["reason_admin"]["403"]
    assert context["reason_user"]["403"]
    (entry,) = [e for e in access.stage.entries("verdict") if e["body"]["verdict_id"] == context["evaluation_id"]]
    assert entry["index"] == context["charter"]["entry"]
    body = entry["body"]
    assert (body["principal"], body["system"], body["verdict"], body["door"]) == ("bob", "records", "deny", "access")
    assert body["object"] == "record-1"
    assert body["asked_by"]["point"] == POINT
    assert body["asked_by"]["proof"] == "word"


@pytest.mark.parametrize("named", ["name", "id", "spiffe"])
def test_a_principal_is_known_by_its_name_its_id_and_its_spiffe_id(access: Access, named: str) -> None:
    principal = access.house.principal("alice")
    word = {"name": "alice", "id": principal.id, "spiffe": principal.spiffe_id}[named]
    asked = question("alice", "read", "record-1") | {"subject": {"type": "principal", "id": word}}
    assert access.decide(asked)["decision"] is True


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"subject": {"type": "robot", "id": "alice"}}, "no type of subject"),
        ({"subject": subject("alicia")}, "no principal"),
        ({"resource": {"type": "recrod", "id": "record-1"}}, "did you mean `record`"),
        ({"action": {"name": "raed"}}, "no action `raed`"),
        ({"resource": {"type": "record", "id": "../record-1"}}, "segment"),
        ({"action": {"name": "read", "properties": {"asked": "x"}}}, "give it another name"),
    ],
)
def test_what_means_nothing_here_is_denied_and_recorded(access: Access, changed: dict[str, Any], says: str) -> None:
    said = access.decide(question("alice", "read", "record-1") | changed)
    assert said["decision"] is False
    told = said["context"]["reason_admin"]["403"] + said["context"]["reason_user"]["403"]
    assert says in told
    entries = access.stage.entries("verdict") + access.stage.entries("question.refused")
    assert said["context"]["evaluation_id"] in [each["body"]["verdict_id"] for each in entries]


def test_a_question_in_the_systems_own_words_is_understood(access: Access) -> None:
    asked = question("alice", "read", "x") | {"resource": {"type": "records", "id": "any/where"}}
    assert access.decide(asked)["decision"] is True


def test_the_time_a_point_tells_is_not_the_time_of_the_decision(tmp_path: Path) -> None:
    hours = {"system": "records", "actions": ["read"], "when": {"hours": "08:00-18:00 UTC"}}
    files = access_files() | {"principals/bob.yaml": a_principal("bob", [hours])}
    with an_access(tmp_path, files) as access:
        assert access.decide(question("bob", "read", "record-1", time="2026-11-24T03:00:00Z"))["decision"] is True
        access.stage.clock.advance(hours=12)
        access.tokens.clear()
        assert access.decide(question("bob", "read", "record-1", time="2026-11-24T10:00:00Z"))["decision"] is False


# --- whose word proves a subject ---


def test_where_nobody_vouches_a_principals_own_token_proves_it(access: Access) -> None:
    asked = posting(access, 50)
    said = access.decide(asked, by=OTHER_POINT)
    assert said["decision"] is True
    (entry,) = [
        e for e in access.stage.entries("verdict") if e["body"]["verdict_id"] == said["context"]["evaluation_id"]
    ]
    assert entry["body"]["asked_by"]["proof"] == "token"
    assert entry["body"]["token"].startswith("tok_")
    assert access.token("alice", "/mcp/ledger") not in str(access.stage.entries("verdict"))
    without = access.decide(asked | {"context": {}}, by=OTHER_POINT)
    assert without["decision"] is False
    assert "does not prove" in without["context"]["reason_admin"]["403"]


def test_what_a_policy_reads_of_the_context_is_what_the_systems_file_names(tmp_path: Path) -> None:
    here = {"system": "ledger", "actions": ["entry.read"], "when": {"asked.context.region": {"equals": "eu"}}}
    there = {"system": "ledger", "actions": ["entry.post"], "when": {"asked.context.zone": {"equals": "eu"}}}
    files = access_files() | {"principals/alice.yaml": a_principal("alice", [here, there])}
    with an_access(tmp_path, files) as access:
        for action, expected in (("entry.read", True), ("entry.post", False)):
            token = access.token("alice", "/mcp/ledger")
            context = {"access_token": token, "region": "eu", "zone": "eu"}
            asked = posting(access, 1, context=context) | {"action": {"name": action}}
            assert access.decide(asked, by=OTHER_POINT)["decision"] is expected


# --- limits and approvals ---


def test_an_allow_is_counted_and_a_search_is_not(access: Access) -> None:
    actions = {"subject": {"type": "principal", "id": "alice"}, "resource": {"type": "account", "id": "a-1"}}
    for _ in range(3):
        assert "entry.read" in access.found("action", actions, by=OTHER_POINT)
    assert [access.decide(posting(access, 10), by=OTHER_POINT)["decision"] for _ in range(4)] == [True] * 3 + [False]


def test_a_search_finds_nothing_that_a_used_up_limit_would_deny(tmp_path: Path) -> None:
    twice = {"system": "records", "actions": ["read"], "limit": [{"count": 2, "per": "day"}]}
    files = access_files() | {"principals/bob.yaml": a_principal("bob", [twice])}
    with an_access(tmp_path, files) as access:
        asked = {
            "subject": {"type": "user"},
            "action": {"name": "read"},
            "resource": {"type": "record", "id": "record-1"},
        }
        assert access.found("subject", asked) == ["alice", "bob"]
        assert [access.decide(question("bob", "read", "record-1"))["decision"] for _ in range(3)] == [True, True, False]
        assert access.found("subject", asked) == ["alice"]


def test_a_denial_that_people_can_lift_says_so_and_is_lifted_once_they_did(access: Access) -> None:
    held = access.decide(posting(access, 200), by=OTHER_POINT)
    assert held["decision"] is False
    assert held["context"]["reason"] == "approval_required"
    assert held["context"]["charter"]["approvers"] == ["payments-lead"]
    approve(access, held["context"]["charter"]["approval"])
    assert access.decide(posting(access, 201), by=OTHER_POINT)["decision"] is False
    assert access.decide(posting(access, 200), by=OTHER_POINT)["decision"] is True
    assert access.decide(posting(access, 200), by=OTHER_POINT)["decision"] is False


def approve(access: Access, approval: str) -> None:
    asyncio.run(authority.answer(access.house, approval, yes=True, person="lena@example.com", reason="seen"))


# --- several questions ---


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        (None, [True, False, True]),
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_each_semantic_ends_where_it_must_and_decides_nothing_after(
    access: Access, semantic: str | None, expected: list[bool]
) -> None:
    items = [{"action": {"name": name}} for name in ("read", "delete", "write")]
    asked: dict[str, Any] = {"subject": subject("alice"), "resource": question("alice", "read", "record-1")["resource"]}
    asked |= {"evaluations": items} | ({"options": {"evaluations_semantic": semantic}} if semantic else {})
    before = len(access.stage.entries("verdict"))
    answer = access.ask("evaluations", asked)
    assert [each["decision"] for each in answer.json()["evaluations"]] == expected
    assert len(access.stage.entries("verdict")) - before == len(expected)


def test_a_failure_ends_deny_on_first_deny_too(access: Access) -> None:
    asked = question("alice", "read", "record-1") | {
        "options": {"evaluations_semantic": "deny_on_first_deny", "another_option": "value"},
        "evaluations": [{}, {"subject": {"type": "user"}}, {}],
    }
    said = access.ask("evaluations", asked).json()["evaluations"]
    assert [each["decision"] for each in said] == [True, False]
    assert said[1]["context"]["error"]["status"] == 400


@pytest.mark.parametrize(
    "asked",
    [
        {"evaluations": {}},
        {"evaluations": [{}], "options": []},
        {"evaluations": [{}], "options": {"evaluations_semantic": "sometimes"}},
        {"evaluations": [{}], "subject": "alice"},
        {"evaluations": [{}] * 257},
        {"evaluations": []},
        [],
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_a_400(access: Access, asked: Any) -> None:
    assert access.ask("evaluations", asked).status_code == 400


def test_a_full_batch_is_answered(access: Access) -> None:
    asked = question("alice", "read", "record-1") | {"evaluations": [{}] * 256}
    said = access.ask("evaluations", asked).json()["evaluations"]
    assert len(said) == 256
    assert all(each["decision"] for each in said)
    assert len({each["context"]["evaluation_id"] for each in said}) == 256


# --- searches ---


def test_objects_that_grants_name_are_found_and_patterns_are_told(access: Access) -> None:
    asked = {
        "subject": {"type": "principal", "id": "alice"},
        "action": {"name": "entry.read"},
        "resource": {"type": "account"},
    }
    answer = access.ask("search/resource", asked, by=OTHER_POINT).json()
    assert answer["results"] == [{"type": "account", "id": "a-1"}]
    assert answer["context"]["charter"]["unlisted"] == ["account/team-*"]


def test_a_page_is_recorded_and_its_token_is_good_for_its_search_alone(access: Access) -> None:
    asked: dict[str, Any] = {
        "subject": {"type": "user"},
        "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"},
        "page": {"limit": 1},
    }
    first = access.ask("search/subject", asked).json()
    (entry,) = access.stage.entries("question.searched")
    assert entry["body"]["search"] == first["context"]["charter"]["search"]
    assert (entry["body"]["found"], entry["body"]["point"]) == (1, POINT)
    token = first["page"]["next_token"]
    for changed in (
        {"action": {"name": "write"}},
        {"page": {"token": token, "limit": 2}},
        {"page": {"token": token[:-2]}},
        {"page": {"token": "x"}},
        {"context": {"a": 1}},
    ):
        again = asked | {"page": {"token": token}} | changed
        assert access.ask("search/subject", again).status_code == 400, changed


def test_a_killed_principal_is_not_found(access: Access) -> None:
    asyncio.run(authority.move(access.house, "bob", Move.KILL, actor="pia@example.com", reason="a test"))
    asked = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}}
    assert access.found("subject", asked) == ["alice"]
