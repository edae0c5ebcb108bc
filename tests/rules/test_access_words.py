"""The words around decisions: obligations in files, mappings of MCP tools, states of tasks."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.gateway.access_request import approvals_of, binding_hash, status_of, status_of_all, task_id
from charter.gateway.coaz import mapping_of
from charter.gateway.evaluation import read_evaluation
from charter.registry.approval import Approval, ApprovalState
from charter.registry.enforcement import Enforcement, ObligationRule
from charter.registry.system import System

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
QUESTION: dict[str, Any] = {
    "subject": {"type": "user", "id": "alice", "properties": {"act": {"sub": "x"}}},
    "action": {"name": "read"},
    "resource": {"type": "record", "id": "r-1"},
    "context": {"region": "eu", "time": "now"},
}


def a_system(**changed: Any) -> System:
    told: dict[str, Any] = {
        "charter": "v1",
        "system": "records",
        "kind": "http",
        "environment": "sandbox",
        "owner": {"person": "pia@example.com", "team": "platform"},
        "actions": {"read": {"effect": "read"}},
        "enforcement": {"points": ["gateway"]},
    }
    return System.model_validate(told | changed)


def an_approval(**changed: Any) -> Approval:
    given: dict[str, Any] = {
        "id": "apr_" + "0" * 26,
        "principal_id": "prn_1",
        "call_digest": "sha256:x",
        "call": {},
        "roles": ("lead",),
        "given": {},
        "state": ApprovalState.WAITING,
        "asked_at": AT,
        "expires_at": AT + dt.timedelta(hours=1),
        "verdict_id": "vrd_1",
    }
    return Approval(**given | changed)


# --- files ---


def test_an_action_needs_no_tool_where_points_enforce() -> None:
    assert a_system().actions["read"].tool == "read"
    assert System.model_validate(a_system().to_json()) == a_system()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"upstream": {"transport": "http", "url": "http://127.0.0.1:9/mcp"}}, "enforces"),
        ({"enforcement": {"points": []}}, "nobody enforces"),
        ({"enforcement": {"points": ["gateway", "gateway"]}}, "twice"),
        ({"enforcement": {"points": ["gateway"], "resources": {"record": {"object": "record/x"}}}}, "{id}"),
        ({"enforcement": {"points": ["gateway"], "resources": {"record": {"object": "{id}/{id}"}}}}, "{id}"),
        ({"enforcement": {"points": ["gateway"], "vouching": "yes"}}, "allowed"),
        (
            {
                "enforcement": {
                    "points": ["gateway"],
                    "obligations": [{"id": "x", "type": "custom", "properties": {"a": 1}, "actions": ["raed"]}],
                }
            },
            "did you mean `read`",
        ),
    ],
)
def test_what_a_system_cannot_say_of_its_points(changed: dict[str, Any], says: str) -> None:
    with pytest.raises((ValidationError, ValueError)) as refused:
        a_system(**changed)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ({"type": "step-up", "acr_value": "loa3"}, True),
        ({"type": "step-up", "acr_value": "loa3", "amr_values": ["mfa"]}, True),
        ({"type": "step-up"}, False),
        ({"type": "step-up", "acr_value": "loa3", "to": "x"}, False),
        ({"type": "notification", "to": "a", "body": "b"}, True),
        ({"type": "notification", "to": "a"}, False),
        ({"type": "session_termination"}, True),
        ({"type": "custom", "properties": {"mark": "x"}}, True),
        ({"type": "custom"}, False),
        ({"type": "log"}, False),
    ],
)
def test_an_obligation_has_the_members_of_its_type_and_no_other(told: dict[str, Any], fits: bool) -> None:
    if not fits:
        with pytest.raises((ValidationError, ValueError)):
            ObligationRule.model_validate({"id": "x"} | told)
        return
    rule = ObligationRule.model_validate({"id": "x"} | told)
    said = rule.told("alice")
    assert (said["id"], said["type"]) == ("x", told["type"])
    given = told.get("properties") or {k: v for k, v in told.items() if k != "type"}
    assert said["properties"] == ({"subject": "alice"} if told["type"] == "session_termination" else given)


def test_obligations_are_due_for_their_actions_and_their_word() -> None:
    rules = [
        {"id": "all", "type": "session_termination"},
        {"id": "writes", "type": "session_termination", "actions": ["write"]},
        {"id": "denied", "type": "session_termination", "on": "deny"},
    ]
    found = Enforcement.model_validate({"points": ["gateway"], "obligations": rules})
    assert [rule.id for rule in found.due("write", "allow")] == ["all", "writes"]
    assert [rule.id for rule in found.due("read", "allow")] == ["all"]
    assert [rule.id for rule in found.due("read", "deny")] == ["denied"]


# --- mappings ---


@pytest.mark.parametrize(
    ("template", "expression"),
    [
        ("*", "*"),
        ("inbox", "inbox"),
        ("$x", "$$x"),
        ("charge/{charge_id}", "$'charge/' + string(params.arguments.charge_id)"),
        ("{a}/{b-c}", "$string(params.arguments.a) + '/' + string(params.arguments['b-c'])"),
        ("it's/{id}", "$'it\\'s/' + string(params.arguments.id)"),
    ],
)
def test_an_object_is_mapped_as_its_template_says(template: str, expression: str) -> None:
    system = a_system(kind="mcp", actions={"read": {"effect": "read", "object": template}})
    mapping = mapping_of(system, "read")["evaluation"]
    assert mapping["resource"] == {"type": "records", "id": expression}
    assert mapping["subject"] == {"type": "identity", "id": "$token.sub"}
    assert mapping["action"] == {"name": "read", "properties": "$params.arguments"}


# --- tasks ---


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "pending"),
        ({"expires_at": AT}, "expired"),
        ({"state": ApprovalState.EXPIRED}, "expired"),
        ({"state": ApprovalState.REFUSED}, "denied"),
        ({"state": ApprovalState.CANCELLED}, "cancelled"),
        ({"state": ApprovalState.APPROVED, "given": {"lead": "lena@example.com"}}, "approved"),
        ({"state": ApprovalState.SPENT, "given": {"lead": "lena@example.com"}}, "approved"),
        ({"state": ApprovalState.EXPIRED, "given": {"lead": "lena@example.com"}}, "approved"),
        ({"roles": ("lead", "risk"), "given": {"lead": "lena@example.com"}}, "pending"),
    ],
)
def test_an_approval_has_one_of_the_drafts_states(changed: dict[str, Any], status: str) -> None:
    assert status_of(an_approval(**changed), AT) == status


@given(st.lists(st.sampled_from(["pending", "approved", "denied", "expired", "cancelled"]), min_size=1, max_size=5))
def test_a_task_of_several_is_pending_until_all_are_over_and_partial_if_they_differ(statuses: list[str]) -> None:
    found = status_of_all(statuses)
    if "pending" in statuses:
        assert found == "pending"
    else:
        assert found == (statuses[0] if len(set(statuses)) == 1 else "partial")


@given(st.lists(st.text("0123456789abcdef", min_size=26, max_size=26), min_size=1, max_size=16))
def test_a_tasks_name_gives_its_approvals(ids: list[str]) -> None:
    named = [f"apr_{each}" for each in ids]
    assert approvals_of(task_id([an_approval(id=each) for each in named])) == named


@given(st.text(max_size=60))
def test_what_is_no_tasks_name_gives_nothing_else(text: str) -> None:
    assert all(each.startswith("apr_") for each in approvals_of(text))


def test_the_hash_of_a_denial_binds_all_but_the_actor_and_what_policies_do_not_read() -> None:
    """The digests are those of the draft's construction, worked out by hand: SHA-256 over JCS."""
    import base64
    import hashlib

    canonical = (
        b'{"action":{"name":"read"},"context":{"region":"eu"},"resource":{"id":"r-1","type":"record"},'
        b'"subject":{"id":"alice","type":"user"}}'
    )
    expected = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    assert binding_hash(read_evaluation(QUESTION), ["region"]) == expected
    later = QUESTION | {"context": {"region": "eu", "time": "later"}}
    assert binding_hash(read_evaluation(later), ["region"]) == expected
    for changed in (
        {"context": {"region": "us"}},
        {"action": {"name": "write"}},
        {"subject": {"type": "user", "id": "bob"}},
    ):
        assert binding_hash(read_evaluation(QUESTION | changed), ["region"]) != expected
