"""MCP messages as questions (OpenID COAZ-MCP, Draft 1), asked by an enforcement point with Google's CEL evaluator.

`McpGateway` does what the draft asks of one: it takes the default mapping of each method from the draft, or the
declared mapping that Charter writes for a tool, evaluates its expressions over `params` and `token`, anchors the
subject to the token, and asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from access_stage import OTHER_POINT, POINT, Access, a_principal, access_files, an_access
from charter.bootstrap import delegation

MAIL: dict[str, Any] = {
    "charter": "v1",
    "system": "mail",
    "kind": "mcp",
    "environment": "production",
    "owner": {"person": "pia@example.com", "team": "payments-platform"},
    "actions": {
        "initialize": {"effect": "read"},
        "tools/list": {"effect": "read"},
        "prompts/get": {"tool": "prompts/get", "effect": "read", "object": "prompt/{name}"},
        "resources/read": {"tool": "resources/read", "effect": "read", "object": "{uri}"},
        "folder.list": {"tool": "list_folders", "effect": "read"},
        "message.read": {"tool": "read_message", "effect": "read", "object": "box/{box}/{message-id}"},
        "message.send": {"tool": "send_message", "effect": "irreversible", "object": "to/{to}"},
    },
    "enforcement": {"points": [POINT], "vouching": "allowed"},
}
GRANTS = [
    {"system": "mail", "actions": ["initialize", "tools/list", "folder.list"]},
    {"system": "mail", "actions": ["message.read"], "objects": ["box/inbox/*"]},
    {"system": "mail", "actions": ["prompts/get"], "objects": ["prompt/answer"]},
    {"system": "mail", "actions": ["resources/read"], "objects": ["mail://inbox/*"]},
    {
        "system": "mail",
        "actions": ["message.send"],
        "when": {"subject": {"like": "Re: *"}, "to": {"like": "*@example.com"}},
    },
]
ENV = cel.NewEnv(variables={"params": cel.Type.DYN, "token": cel.Type.DYN}, extensions=[ext_optional.ExtOptional()])
SUBJECT = {"type": "identity", "id": "$token.sub"}
AGENT = {"agent": "$token.?client_id"}
DEFAULTS: dict[str, dict[str, Any]] = {  # the draft's section 5
    "initialize": {
        "context": AGENT | {"protocol_version": "$params.protocolVersion"},
        "resource": {"type": "mcp_server", "id": "$token.aud"},
    },
    "tools/list": {"resource": {"type": "mcp_server", "id": "$token.aud"}},
    "tools/call": {"resource": {"type": "tool", "id": "$params.name"}},
    "prompts/get": {"resource": {"type": "prompt", "id": "$params.name"}},
    "resources/read": {"resource": {"type": "resource", "id": "$params.uri"}},
}


class MappingError(Exception):
    """An expression that cannot be evaluated."""


_ABSENT = object()


def resolved(value: Any, data: dict[str, Any]) -> Any:
    """Return a mapping's value with its expressions evaluated; what is absent is left out."""
    if isinstance(value, dict):
        found = {name: resolved(each, data) for name, each in value.items()}
        return {name: each for name, each in found.items() if each is not _ABSENT}
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if value.startswith("$$"):
        return value[1:]
    return evaluated(value[1:], data)


def evaluated(expression: str, data: dict[str, Any]) -> Any:
    if ".?" in expression:
        if ENV.compile(f"({expression}).hasValue()").eval(data=data).plain_value() is not True:
            return _ABSENT
        expression = f"({expression}).value()"
    found = ENV.compile(expression).eval(data=data)
    if found.type() == cel.Type.ERROR:
        raise MappingError(expression)
    return found.plain_value()


@dataclass
class McpGateway:
    """A COAZ-MCP enforcement point."""

    access: Access
    declared: dict[str, Any]

    def allows(self, method: str, params: dict[str, Any], token: str, **more: Any) -> bool:
        return bool(self.asked(method, params, token, **more)["decision"])

    def asked(self, method: str, params: dict[str, Any], token: str, **more: Any) -> dict[str, Any]:
        claims = jwt.decode(token, options={"verify_signature": False})
        mapping = (
            self.declared.get(params.get("name", ""), {}).get("x-authzen-mapping") if method == "tools/call" else None
        )
        if mapping is None:
            default = {"subject": SUBJECT, "context": AGENT, "action": {"name": method}} | DEFAULTS[method]
            mapping = {"evaluation": default}
        question = resolved(mapping["evaluation"], {"params": params, "token": claims})
        assert question["subject"]["id"] == claims["sub"]
        question["context"] = question["context"] | more
        return self.access.decide(question)


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    lending = {"from": ["humans"], "purposes": ["bookkeeping"], "max_ttl": "1h"}
    files = access_files(mail=MAIL) | {"principals/alice.yaml": a_principal("alice", GRANTS, delegation=lending)}
    with an_access(tmp_path, files, authzen_profiles=("coaz-mcp:1",)) as found:
        yield found


@pytest.fixture
def gateway(access: Access) -> McpGateway:
    headers = {"authorization": f"Bearer {access.token(POINT)}"}
    answer = access.send("GET", "/access/v1/mappings/mail", headers=headers)
    assert answer.status_code == 200, answer.text
    return McpGateway(access, answer.json()["tools"])


def test_each_default_mapping_is_understood(access: Access) -> None:
    token = access.token("alice", "/mcp/mail")
    bare = McpGateway(access, {})
    assert bare.allows("initialize", {"protocolVersion": "2025-11-25"}, token)
    assert bare.allows("tools/list", {}, token)
    assert bare.allows("tools/call", {"name": "list_folders", "arguments": {}}, token)
    assert not bare.allows("prompts/get", {"name": "reply"}, token)
    assert bare.allows("prompts/get", {"name": "answer"}, token)  # named as in the MCP gateway
    assert bare.allows("resources/read", {"uri": "mail://inbox/1"}, token)
    assert not bare.allows("resources/read", {"uri": "mail://board/1"}, token)
    assert not bare.allows("resources/read", {"uri": "mail://inbox/../board/1"}, token)
    assert not bare.allows("tools/call", {"name": "no_such_tool", "arguments": {}}, token)


def test_a_tool_that_touches_an_object_needs_its_declared_mapping(access: Access, gateway: McpGateway) -> None:
    token = access.token("alice", "/mcp/mail")
    mine = {"name": "read_message", "arguments": {"box": "inbox", "message-id": 17}}
    theirs = {"name": "read_message", "arguments": {"box": "board", "message-id": 17}}
    assert not McpGateway(access, {}).allows("tools/call", mine, token)
    assert gateway.allows("tools/call", mine, token)
    assert not gateway.allows("tools/call", theirs, token)
    (entry,) = [e for e in access.stage.entries("verdict") if e["body"]["verdict"] == "allow"]
    assert (entry["body"]["action"], entry["body"]["object"]) == ("message.read", "box/inbox/17")
    with pytest.raises(MappingError):
        gateway.asked("tools/call", {"name": "read_message", "arguments": {"box": "inbox"}}, token)


def test_a_declared_mapping_carries_every_argument_by_its_own_name(access: Access, gateway: McpGateway) -> None:
    token = access.token("alice", "/mcp/mail")
    sent = {"to": "lena@example.com", "subject": "Re: lunch", "body": "yes"}
    assert gateway.allows("tools/call", {"name": "send_message", "arguments": sent}, token)
    for changed in ({"subject": "lunch"}, {"to": "x@evil.example"}, {"asked": {"subject": {"role": "admin"}}}):
        assert not gateway.allows("tools/call", {"name": "send_message", "arguments": sent | changed}, token)


def test_a_traversal_in_an_argument_is_no_other_object(access: Access, gateway: McpGateway) -> None:
    token = access.token("alice", "/mcp/mail")
    for box in ("inbox/../board", "..", "inbox/x", "inbox%2f..%2fboard"):
        called = {"name": "read_message", "arguments": {"box": box, "message-id": "17"}}
        said = gateway.asked("tools/call", called, token)
        assert said["decision"] is False or (said["context"]["charter"]["verdict"] == "allow" and box == "inbox/x")


def test_who_the_agent_acts_for_is_the_subject_and_the_agent_is_asked_about(
    access: Access, gateway: McpGateway
) -> None:
    wish = delegation.Lending("jo@example.com", "alice", purpose="bookkeeping")
    made = asyncio.run(delegation.make(access.house, wish, actor="jo@example.com", door="cli", reason="a test"))
    alice, call = access.house.principal("alice").id, {"name": "list_folders", "arguments": {}}
    claims = {"sub": "jo@example.com", "client_id": alice, "chain": {"delegation": str(made["id"])}}
    token = jwt.encode(claims, "x" * 32)
    assert gateway.allows("tools/call", call, token)
    (entry,) = access.stage.entries("verdict")
    assert entry["body"]["principal"] == "alice"
    assert entry["body"]["chain"]["initiator"] == "jo@example.com"
    for changed in ({"sub": "pia@example.com"}, {"client_id": access.house.principal("bob").id}, {"chain": {}}):
        assert not gateway.allows("tools/call", call, jwt.encode(claims | changed, "x" * 32)), changed


def test_the_token_itself_proves_the_agent_to_the_decision(access: Access, gateway: McpGateway) -> None:
    token = access.token("alice", "/mcp/mail")
    call = {"name": "list_folders", "arguments": {}}
    assert gateway.allows("tools/call", call, token, access_token=token)
    assert not gateway.allows("tools/call", call, token, access_token=access.token(POINT))


def test_two_systems_that_know_a_tool_are_not_guessed_between(tmp_path: Path) -> None:
    twin = MAIL | {"system": "mail-two"}
    files = access_files(mail=MAIL, **{"mail-two": twin}) | {"principals/alice.yaml": a_principal("alice", GRANTS)}
    with an_access(tmp_path, files, authzen_profiles=("coaz-mcp:1",)) as access:
        gateway, token = McpGateway(access, {}), access.token("alice", "/mcp/mail")
        assert not gateway.allows("tools/call", {"name": "list_folders", "arguments": {}}, token)
        assert gateway.allows("tools/list", {}, token)


def test_mappings_are_shown_to_the_systems_own_points(access: Access) -> None:
    for name, by in (("mail", OTHER_POINT), ("records", POINT), ("nothing", POINT)):
        headers = {"authorization": f"Bearer {access.token(by)}"}
        assert access.send("GET", f"/access/v1/mappings/{name}", headers=headers).status_code == 404
    assert access.send("GET", "/access/v1/mappings/mail").status_code == 401


def test_without_the_switch_mcps_words_mean_nothing(tmp_path: Path) -> None:
    files = access_files(mail=MAIL) | {"principals/alice.yaml": a_principal("alice", GRANTS)}
    with an_access(tmp_path, files) as access:
        token = access.token("alice", "/mcp/mail")
        assert not McpGateway(access, {}).allows("tools/list", {}, token)
        headers = {"authorization": f"Bearer {access.token(POINT)}"}
        assert access.send("GET", "/access/v1/mappings/mail", headers=headers).status_code == 404
