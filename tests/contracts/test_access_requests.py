"""A denial that people can lift, from the first no to the yes (AuthZEN Access Request and Approval, Draft 1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from access_stage import OTHER_POINT, POINT, Access, a_principal, access_files, an_access
from charter.bootstrap import authority, delegation
from charter.registry.standing import Move

PROBLEM = "urn:openid:authzen:access-request:error:"
ON = {"authzen_profiles": ("access-request:1",)}
LEAD, OWNER = "lena@example.com", "maria@example.com"


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with an_access(tmp_path, **ON) as found:
        yield found


def posting(access: Access, amount: int = 200, account: str = "a-1", **context: Any) -> dict[str, Any]:
    return {
        "subject": {"type": "principal", "id": "alice"},
        "action": {"name": "entry.post", "properties": {"amount": amount, "currency": "EUR"}},
        "resource": {"type": "account", "id": account},
        "context": {"access_token": access.token("alice", "/mcp/ledger")} | context,
    }


def denied(access: Access, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the context of a denial that can be requested."""
    said = access.decide(asked, by=OTHER_POINT)
    assert said["decision"] is False
    assert said["context"]["reason"] == "approval_required", said
    return dict(said["context"])


def request(asked: dict[str, Any], context: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the access request of a denial."""
    told = context["access_request"]
    denial = {"evaluation_id": context["evaluation_id"], "reason": context["reason"]}
    denial |= {"expires_at": told["expires_at"], "binding_token": told["binding_token"], "template": told["template"]}
    return asked | {"denial": denial} | more


def submit(access: Access, body: Any, by: str = OTHER_POINT, **headers: str) -> httpx.Response:
    return access.ask("requests", body, by=by, **headers)


def look(access: Access, task: str, by: str = OTHER_POINT, method: str = "GET", deed: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {access.token(by)}"}
    return access.send(method, f"/access/v1/requests/{task}{deed}", headers=headers)


def answer(access: Access, approval: str, *, yes: bool = True, person: str = LEAD) -> None:
    asyncio.run(authority.answer(access.house, approval, yes=yes, person=person, reason="seen"))


def test_the_whole_way_from_a_denial_to_an_allow(access: Access) -> None:
    asked = posting(access)
    context = denied(access, asked)
    assert access.stage.entries("approval.asked") == []
    assert context["charter"]["approval"] is None
    told = context["access_request"]
    assert told["endpoint"] == f"{access.issuer}/access/v1/requests"
    made = submit(access, request(asked, context, requested_access={"requested_until": "2026-11-24T12:00:00Z"}))
    assert made.status_code == 202, made.text
    task = made.json()["task"]
    assert task["status"] == "pending"
    assert made.headers["location"] == task["status_endpoint"]
    (entry,) = access.stage.entries("approval.asked")
    assert entry["body"]["verdict_id"] == context["evaluation_id"]
    still = access.decide(asked | {"context": asked["context"] | {"approval": {"id": task["id"]}}}, by=OTHER_POINT)
    assert (still["decision"], still["context"]["next_action"]) == (False, "retry")
    answer(access, task["id"])
    done = look(access, task["id"]).json()
    assert done["task"]["status"] == "approved"
    assert done["result"]["mode"] == "reevaluate"
    approval = done["result"]["approval"]
    again = asked | {"context": asked["context"] | {"approval": approval, "time": "later"}}
    said = access.decide(again, by=OTHER_POINT)
    assert said["decision"] is True
    assert said["context"]["approval"] == approval
    once_more = access.decide(again, by=OTHER_POINT)
    assert once_more["decision"] is False
    assert once_more["context"]["next_action"] == "request"
    assert once_more["context"]["reason"] == "approval_expired"
    assert "access_request" in once_more["context"]
    assert look(access, task["id"]).json()["task"]["status"] == "approved"


def test_the_metadata_say_that_access_can_be_requested(access: Access) -> None:
    told = access.send("GET", "/.well-known/authzen-configuration").json()
    assert told["access_request_endpoint"] == f"{access.issuer}/access/v1/requests"
    assert told["capabilities"] == ["urn:openid:authzen:capability:access-request"]
    keys = jwt.PyJWKSet.from_dict(access.send("GET", told["jwks_uri"].removeprefix(access.issuer)).json())
    token = denied(access, posting(access))["access_request"]["binding_token"]
    key = keys[jwt.get_unverified_header(token)["kid"]].key
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=told["access_request_endpoint"], options=options)
    assert claims["iss"] == access.issuer


def test_without_the_switch_there_is_no_endpoint(tmp_path: Path) -> None:
    with an_access(tmp_path) as access:
        assert submit(access, {}).status_code == 404
        said = access.decide(posting(access), by=OTHER_POINT)
        assert "access_request" not in said["context"]
        assert said["context"]["charter"]["approval"].startswith("apr_")


def test_what_nobody_can_lift_is_not_requestable(access: Access) -> None:
    said = access.decide(posting(access, 5000), by=OTHER_POINT)
    assert (said["decision"], "access_request" in said["context"]) == (False, False)


def test_the_approver_sees_who_asks_and_what_it_says(access: Access) -> None:
    asked = posting(access, business_justification="needed for the renewal")
    context = denied(access, asked)
    task = submit(access, request(asked, context)).json()["task"]
    (waiting,) = access.house.live.approvals.values()
    assert waiting.id == task["id"]
    assert waiting.call["point"] == OTHER_POINT
    assert waiting.call["said"] == {"business_justification": "needed for the renewal"}
    assert "eyJ" not in json.dumps(waiting.call)


# --- what binds a request to its denial ---


@pytest.mark.parametrize(
    "changed",
    [
        {"resource": {"type": "account", "id": "a-2"}},
        {"action": {"name": "entry.post", "properties": {"amount": 201, "currency": "EUR"}}},
        {"subject": {"type": "principal", "id": "bob"}},
    ],
)
def test_another_question_than_the_one_denied_is_refused(access: Access, changed: dict[str, Any]) -> None:
    asked = posting(access)
    body = request(asked, denied(access, asked)) | changed
    refused = submit(access, body)
    assert (refused.status_code, refused.json()["type"]) == (400, PROBLEM + "invalid_denial_binding")
    assert refused.headers["content-type"] == "application/problem+json"
    assert access.stage.entries("approval.asked") == []


def test_context_that_policies_read_is_bound_and_the_rest_is_not(access: Access) -> None:
    asked = posting(access, region="eu", time="12:00")
    context = denied(access, asked)
    other = asked | {"context": asked["context"] | {"region": "us"}}
    assert submit(access, request(other, context)).json()["type"] == PROBLEM + "invalid_denial_binding"
    later = asked | {"context": asked["context"] | {"time": "13:00", "why": "urgent"}}
    assert submit(access, request(later, context)).status_code == 202


def test_the_actor_may_move_from_the_subject_to_the_client_and_must_be_a_real_one(access: Access) -> None:
    alice = access.house.principal("alice").id
    asked = posting(access)
    asked["subject"] = asked["subject"] | {"properties": {"act": {"sub": alice}}}
    context = denied(access, asked)
    plain = asked | {"subject": {"type": "principal", "id": "alice"}}
    made_up = request(plain, context, client={"actor": {"id": alice, "act": {"sub": "prn_nobody"}}})
    assert submit(access, made_up).json()["type"] == PROBLEM + "invalid_denial_binding"
    assert submit(access, request(plain, context, client={"actor": {"id": alice}})).status_code == 202


@pytest.mark.parametrize("what", ["missing", "torn", "an access token", "another's", "old", "other time"])
def test_what_is_no_denial_of_ours_binds_nothing(access: Access, what: str) -> None:
    asked = posting(access)
    body = request(asked, denied(access, asked))
    expected = "invalid_denial_binding"
    match what:
        case "missing":
            del body["denial"]["binding_token"]
        case "torn":
            head, _, rest = body["denial"]["binding_token"].partition(".")
            body["denial"]["binding_token"] = f"{head}.e30.{rest.rpartition('.')[2]}"
        case "an access token":
            body["denial"]["binding_token"] = access.token(OTHER_POINT)
        case "another's":
            shared = access_files()
            ledger = json.loads(shared["systems/ledger.yaml"])
            ledger["enforcement"]["points"].append(POINT)
            access.stage.apply(shared | {"systems/ledger.yaml": json.dumps(ledger)})
            assert submit(access, body, by=POINT).json()["type"] == PROBLEM + expected
            return
        case "old":
            access.stage.clock.advance(minutes=11)
            access.tokens.clear()
            body["context"]["access_token"] = access.token("alice", "/mcp/ledger")
            expected = "expired_denial"
        case _:
            body["denial"]["expires_at"] = "2030-01-01T00:00:00Z"
    refused = submit(access, body)
    assert refused.json()["type"] == PROBLEM + expected


def test_what_is_allowed_meanwhile_is_not_asked_for(access: Access) -> None:
    asked = posting(access)
    context = denied(access, asked)
    grants = [{"system": "ledger", "actions": ["entry.post"]}]
    access.stage.apply(access_files() | {"principals/alice.yaml": a_principal("alice", grants)})
    refused = submit(access, request(asked, context))
    assert refused.json()["type"] == PROBLEM + "not_requestable"
    assert access.stage.entries("approval.asked") == []


# --- approvals are nobody's to pass on ---


def test_an_approval_of_another_call_is_worth_nothing(access: Access) -> None:
    mine, other = posting(access, 200), posting(access, 300)
    task = submit(access, request(mine, denied(access, mine))).json()["task"]
    answer(access, task["id"])
    with_it = other | {"context": other["context"] | {"approval": {"id": task["id"]}}}
    said = access.decide(with_it, by=OTHER_POINT)
    assert (said["decision"], said["context"]["reason"]) == (False, "out_of_scope")
    unknown = mine | {"context": mine["context"] | {"approval": {"id": "apr_" + "0" * 26}}}
    said = access.decide(unknown, by=OTHER_POINT)
    assert said["decision"] is False
    assert (said["context"]["next_action"], said["context"]["reason"]) == ("none", "approval_unverifiable")
    right = mine | {"context": mine["context"] | {"approval": {"id": task["id"]}}}
    assert access.decide(right, by=OTHER_POINT)["decision"] is True


def test_approval_does_not_override_what_else_must_hold(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    answer(access, task["id"])
    asyncio.run(authority.move(access.house, "alice", Move.SUSPEND, actor="pia@example.com", reason="a test"))
    again = asked | {"context": asked["context"] | {"approval": {"id": task["id"]}}}
    said = access.decide(again, by=OTHER_POINT)
    assert (said["decision"], said["context"]["next_action"]) == (False, "none")


def test_neither_the_owner_nor_who_lent_it_can_say_yes(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    with pytest.raises(Exception, match="owns"):
        answer(access, task["id"], person=OWNER)


# --- tasks ---


def test_a_no_ends_a_task(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    answer(access, task["id"], yes=False)
    told = look(access, task["id"]).json()
    assert (told["task"]["status"], "result" in told) == ("denied", False)


def test_a_task_is_cancelled_once(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    assert task["links"]["cancel"] == f"{task['status_endpoint']}/cancel"
    assert look(access, task["id"], method="POST", deed="/cancel").json()["task"]["status"] == "cancelled"
    again = look(access, task["id"], method="DELETE", deed="/cancel")
    assert (again.status_code, again.json()["type"]) == (409, PROBLEM + "invalid_task_state")
    (entry,) = access.stage.entries("approval.cancelled")
    assert entry["actor"] == access.house.principal(OTHER_POINT).id
    with pytest.raises(Exception, match="cancelled"):
        answer(access, task["id"])


def test_a_task_that_nobody_answers_ends(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    access.stage.clock.advance(hours=25)
    access.tokens.clear()
    over = look(access, task["id"])
    assert (over.status_code, over.json()["type"]) == (410, PROBLEM + "task_expired")


def test_a_task_is_known_to_the_points_of_its_system_alone(access: Access) -> None:
    asked = posting(access)
    task = submit(access, request(asked, denied(access, asked))).json()["task"]
    for name, by in ((task["id"], POINT), ("apr_" + "0" * 26, OTHER_POINT), ("x", OTHER_POINT), ("", OTHER_POINT)):
        gone = look(access, name, by=by)
        assert gone.status_code == 404
    assert access.send("GET", f"/access/v1/requests/{task['id']}").status_code == 401


def test_a_retry_finds_its_task_and_a_key_is_good_for_one_request(access: Access) -> None:
    asked = posting(access)
    body = request(asked, denied(access, asked))
    first = submit(access, body, **{"idempotency-key": "k-1"}).json()["task"]
    assert submit(access, body, **{"idempotency-key": "k-1"}).json()["task"]["id"] == first["id"]
    assert submit(access, body).json()["task"]["id"] == first["id"]
    assert len(access.stage.entries("approval.asked")) == 1
    other = posting(access, 300)
    refused = submit(access, request(other, denied(access, other)), **{"idempotency-key": "k-1"})
    assert (refused.status_code, refused.json()["type"]) == (409, PROBLEM + "duplicate_request")


def test_items_are_asked_for_together_and_answered_apart(access: Access) -> None:
    one, two = posting(access, 200, "a-1"), posting(access, 300, "a-2")
    items = []
    for asked in (one, two):
        body = request(asked, denied(access, asked))
        items.append({name: body[name] for name in ("resource", "action", "denial")})
    body = {"subject": one["subject"], "context": one["context"], "items": items}
    task = submit(access, body).json()["task"]
    assert [each["resource"]["id"] for each in task["items"]] == ["a-1", "a-2"]
    first, second = task["id"].split("~")
    answer(access, first)
    assert look(access, task["id"]).json()["task"]["status"] == "pending"
    answer(access, second, yes=False)
    told = look(access, task["id"]).json()
    assert told["task"]["status"] == "partial"
    assert "result" not in told
    approved, refused = told["task"]["items"]
    assert (approved["status"], refused["status"]) == ("approved", "denied")
    again = one | {"context": one["context"] | {"approval": approved["result"]["approval"]}}
    assert access.decide(again, by=OTHER_POINT)["decision"] is True


def test_a_request_under_a_delegation_is_good_under_that_one_alone(tmp_path: Path) -> None:
    files = access_files()
    ledger = json.loads(files["systems/ledger.yaml"])
    ledger["enforcement"]["vouching"] = "allowed"
    with an_access(tmp_path, files | {"systems/ledger.yaml": json.dumps(ledger)}, **ON) as access:
        loans = []
        for person in ("jo@example.com", "pia@example.com"):
            wish = delegation.Lending(person, "alice", purpose="bookkeeping")
            made = asyncio.run(delegation.make(access.house, wish, actor=person, door="cli", reason="a test"))
            loans.append(str(made["id"]))
        asked = posting(access)
        asked["context"] = {"delegation": loans[0]}
        context = denied(access, asked)
        other = asked | {"context": {"delegation": loans[1]}}
        assert submit(access, request(other, context)).json()["type"] == PROBLEM + "invalid_denial_binding"
        task = submit(access, request(asked, context)).json()["task"]
        answer(access, task["id"])
        assert access.decide(other, by=OTHER_POINT)["decision"] is False
        assert access.decide(asked, by=OTHER_POINT)["decision"] is True


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": [{}] * 17},
        {"callback": {"endpoint": "https://pep.example.com"}},
        {"items": [{}], "resource": {"type": "account", "id": "a-1"}},
    ],
)
def test_what_is_no_access_request_is_a_400(access: Access, body: Any) -> None:
    assert submit(access, body).status_code == 400
