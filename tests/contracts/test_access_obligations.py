"""Obligations over HTTP (AuthZEN Profile for Obligations, Draft 1): told to those who can, and denied otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access_stage import RECORDS, Access, access_files, an_access, question

RULES: list[dict[str, Any]] = [
    {
        "id": "tell",
        "type": "notification",
        "actions": ["write"],
        "to": "pia@example.com",
        "body": "Written",
    },
    {"id": "strong", "type": "step-up", "actions": ["delete"], "acr_value": "urn:example:loa:3"},
    {"id": "watch", "type": "custom", "on": "deny", "properties": {"log": "audit"}},
]
ON = {"authzen_profiles": ("obligations:1",)}


def files() -> dict[str, str]:
    return access_files(records=RECORDS | {"enforcement": RECORDS["enforcement"] | {"obligations": RULES}})


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with an_access(tmp_path, files(), **ON) as found:
        yield found


def asked(access: Access, action: str, *can: str, who: str = "alice") -> dict[str, Any]:
    body = question(who, action, "record-1", **({"supported_obligations": list(can)} if can else {}))
    if action == "delete":
        body["action"]["properties"] = {"soft": True}
    return access.decide(body)


def test_what_is_offered_stands_in_the_metadata(access: Access) -> None:
    told = access.send("GET", "/.well-known/authzen-configuration").json()
    assert set(told["supported_obligations"]) >= {"step-up", "notification", "custom"}


def test_an_allow_names_what_must_be_done_to_a_point_that_can(access: Access) -> None:
    answer = asked(access, "write", "notification")
    assert answer["decision"] is True
    (obligation,) = answer["context"]["obligations"]
    assert (obligation["id"], obligation["type"]) == ("tell", "notification")
    assert obligation["properties"] == {"to": "pia@example.com", "body": "Written"}
    assert access.stage.entries("verdict")[-1]["body"]["obligations"] == ["tell"]


@pytest.mark.parametrize("can", [(), ("step-up",), ("custom", "session_termination")])
def test_a_point_that_does_not_say_it_can_is_denied(access: Access, can: tuple[str, ...]) -> None:
    answer = asked(access, "write", *can)
    assert (answer["decision"], answer["context"]["reason"]) == (False, "obligation")


def test_what_owes_nothing_is_answered_as_ever(access: Access) -> None:
    answer = asked(access, "read")
    assert (answer["decision"], "obligations" in answer["context"]) == (True, False)


def test_a_denial_names_its_own_to_those_who_can(access: Access) -> None:
    denied = asked(access, "write", "custom", who="stranger")
    assert (denied["decision"], denied["context"]["obligations"][0]["id"]) == (False, "watch")
    assert "obligations" not in asked(access, "write", who="stranger")["context"]


@pytest.mark.parametrize("said", ["notification", 1, [1], {"a": 1}])
def test_what_a_point_says_of_itself_must_be_of_its_form(access: Access, said: object) -> None:
    body = question("alice", "write", "record-1", supported_obligations=said)
    answer = access.ask("evaluation", body)
    assert answer.status_code == 400, answer.text


def test_with_the_profile_off_what_owes_is_denied_to_everyone(tmp_path: Path) -> None:
    with an_access(tmp_path, files()) as access:
        denied = asked(access, "write", "notification")
        assert denied["decision"] is False
        assert "where CHARTER_AUTHZEN_PROFILES has obligations:1" in denied["context"]["reason_user"]["403"]
        assert asked(access, "read")["decision"] is True
        told = access.send("GET", "/.well-known/authzen-configuration").json()
        assert "supported_obligations" not in told
