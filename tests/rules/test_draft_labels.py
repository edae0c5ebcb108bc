"""Drafts of system files from lists of tools: every known form, guesses that lean to the worse side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from charter.core.errors import MalformedError
from charter.gateway.draft_labels import drafted, parse_listed
from charter.registry.system import System

HEAD = {
    "charter": "v1",
    "system": "shop",
    "kind": "http",
    "environment": "sandbox",
    "owner": {"person": "pia@example.com", "team": "shop"},
}
ARGUMENTS = {"properties": {"order_id": {"type": "string"}, "user_id": {"type": "string"}, "body": {"type": "string"}}}


def draft(*names: str, **more: Any) -> System:
    tools = [{"name": name, "input_schema": ARGUMENTS, **more} for name in names]
    text = drafted(HEAD, parse_listed(json.dumps({"tools": tools}).encode()))
    return System.model_validate(YAML(typ="safe").load(text))


@pytest.mark.parametrize(
    "listed",
    [
        [{"name": "get_order", "inputSchema": {"type": "object"}}],
        {"tools": [{"name": "get_order", "input_schema": {"type": "object"}}]},
        [{"type": "function", "function": {"name": "get_order", "parameters": {"type": "object"}}}],
        {"result": {"tools": [{"name": "get_order", "inputSchema": {"type": "object"}}]}},
        {"functions": [{"name": "get_order", "parameters": {"type": "dict", "properties": {}}}]},
    ],
)
def test_tools_are_read_in_each_form_in_which_they_are_listed(listed: Any) -> None:
    (tool,) = parse_listed(json.dumps(listed).encode())
    assert tool.name == "get_order"


@pytest.mark.parametrize(
    "said", [b"[]", b"{}", b"7", b"no", b'[{"name": ""}]', b'["x"]', b'[{"name": "a"}, {"name": "a"}]']
)
def test_what_lists_no_tools_is_refused(said: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_listed(said)


@pytest.mark.parametrize(
    ("tool", "effect"),
    [
        ("get_order", "read"),
        ("searchOrders", "read"),
        ("update_order", "write"),
        ("NotesUpdateNote", "write"),
        ("send_message", "irreversible"),
        ("deleteOrder", "irreversible"),
        ("frobnicate", "irreversible"),
        ("AugustSmartLockGrantGuestAccess", "irreversible"),
    ],
)
def test_what_does_not_sound_like_reading_is_not_called_so(tool: str, effect: str) -> None:
    assert draft(tool).actions[tool].effect.value == effect


def test_answers_count_as_strangers_words_but_for_ids_that_name_nobody() -> None:
    action = draft("send_message").actions["send_message"]
    assert action.results is not None
    assert action.results.origin == "untrusted"
    assert action.results.fields["order_id"] == "internal"
    assert "user_id" not in action.results.fields  # strangers have ids of their own
    assert action.carries == ("body",)
    assert {"mail", "reply"} <= set(action.asked_as or ())


def test_a_description_cannot_write_into_the_file() -> None:
    system = draft("get_order", description="x\n  evil: {tool: evil, effect: read}\n# \u202e")
    assert list(system.actions) == ["get_order"]
