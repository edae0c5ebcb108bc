"""A principal leaves its pattern before a real server: it is noticed, restrained, drawn, and released by a person."""

from __future__ import annotations

import time
from typing import Any

import pytest

from terminal import Terminal

RULES = """\
charter: v1
rules:
  - id: leaves-its-mission
    when: {score: 8, effects: [write, irreversible]}
    then: restrain
    expires: 4h
    reason: a person looks before it changes anything else
"""
READ = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
WRITE = {"system": "notes", "tool": "write_note", "arguments": {"id": "elsewhere", "text": "x"}}


def restrained(estate: Terminal) -> dict[str, Any]:
    """Return how the principal stands, once the watch came to it."""
    ends = time.monotonic() + 30
    while True:
        told = estate.ask("behaviour", "show", "note-keeper")
        if told["responses"] or time.monotonic() > ends:
            return dict(told)
        time.sleep(0.2)


@pytest.mark.slow
def test_a_principal_that_leaves_its_pattern_is_restrained_until_a_person_says_it_is_normal(estate: Terminal) -> None:
    (estate.folder / "responses.yaml").write_text(RULES, encoding="utf-8")
    estate.charter("apply", "--yes", "--reason", "who leaves its mission is looked at")
    with estate.up():
        made = estate.agent("note-keeper", *[READ] * 80, WRITE)
        assert all(each["ok"] for each in made)  # it is granted, so it goes through once

        told = restrained(estate)
        assert (told["standing"], {each["rule"] for each in told["responses"]}) == (
            "restrained",
            {"leaves-its-mission"},
        )
        assert told["signals"][0]["principal"] == "note-keeper"
        read, write = estate.agent("note-keeper", READ, WRITE)
        assert (read["ok"], write["ok"]) == (True, False)

        for each in estate.ask("behaviour", "show", "note-keeper")["responses"]:
            estate.charter("findings", each["finding"], "--say", "accepted", "--reason", "notes elsewhere since today")
        assert estate.agent("note-keeper", WRITE)[0]["ok"]
        assert "read_note" in estate.say("sessions", "--plot")
