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


def test_what_goes_to_an_address_sends_out() -> None:
    system = draft("get_page", input_schema={"properties": {"pageUrl": {"type": "string"}}})
    assert system.sends_out("get_page")
    assert not draft("get_order").sends_out("get_order")


def test_choices_that_a_definition_lists_are_no_values_that_lead() -> None:
    properties = {
        "folder": {"type": "string"},
        "permission": {"$ref": "#/$defs/Permission"},
        "level": {"anyOf": [{"enum": [1, 2]}, {"type": "null"}]},
        "round": {"$ref": "#/$defs/Round"},
        "none": {"$ref": "#/$defs/Other"},
    }
    named = {"Permission": {"enum": ["r", "rw"], "type": "string"}, "Round": {"$ref": "#/$defs/Round"}}
    action = draft("share_file", input_schema={"properties": properties, "$defs": named}).actions["share_file"]
    assert action.carries == ("permission", "level")


def test_what_a_tool_is_about_says_how_people_ask_for_it() -> None:
    asked = {name: set(draft(name).actions[name].asked_as or ()) for name in ("send_money", "create_calendar_event")}
    assert {"pay", "transfer"} <= asked["send_money"]
    assert "mail" not in asked["send_money"]
    assert {"schedule", "meeting", "make"} <= asked["create_calendar_event"]
    where = {"properties": {"location": {"type": "string"}}}
    assert draft("create_event", input_schema=where).actions["create_event"].carries == ("location",)
    assert draft("move_file", input_schema=where).actions["move_file"].carries is None


def test_a_listing_of_places_may_name_them_and_one_of_people_may_not() -> None:
    tools = [
        {"name": "get_channels", "input_schema": {}},
        {"name": "list_users", "input_schema": {}},
        {"name": "post", "input_schema": {"properties": {"channel": {}, "channel_id": {}, "user": {}}}},
    ]
    text = drafted(HEAD, parse_listed(json.dumps(tools).encode()))
    actions = System.model_validate(YAML(typ="safe").load(text)).actions
    results = {name: each.results for name, each in actions.items()}
    assert results["get_channels"] is not None
    assert results["get_channels"].names == ("channel", "channel_id")
    assert results["list_users"] is not None
    assert not results["list_users"].names


def test_a_description_cannot_write_into_the_file() -> None:
    system = draft("get_order", description="x\n  evil: {tool: evil, effect: read}\n# \u202e")
    assert list(system.actions) == ["get_order"]
