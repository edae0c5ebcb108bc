"""Calls made on somebody's behalf, explained and decided again along their whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charter.bootstrap import what_if, why
from lending_stage import CHAIN, a_lending, lending_files

READING = {"system": "payments", "actions": ["charge.read"]}


def compared(house: Any, files: dict[str, str]) -> dict[str, Any]:
    return list(what_if.compare(house, files, {"since": "1d"}))[-1]


def test_a_delegated_call_is_decided_again_by_every_link(tmp_path: Path) -> None:
    with a_lending(tmp_path) as stage:
        house = stage.stage.house
        tokens = stage.chain(*CHAIN)
        stage.call(tokens[-1])
        stage.refund(tokens[-1], 10)
        stage.refund(tokens[-1], 100_000)
        told = [why.recorded(house, str(each["index"])) for each in stage.stage.entries("verdict")]
        same = compared(house, lending_files())
        narrower = compared(house, lending_files({CHAIN[0]: {"grants": [READING]}}))
        alone = compared(house, lending_files({CHAIN[-1]: {"delegation": None}}))

    assert {each["agrees"] for each in told} == {True}
    assert all(each["call"]["chain"]["initiator"] == "maria@example.com" for each in told)
    assert (same["replayed"], same["same"], same["changes"], same["untold"]) == (3, 3, [], [])
    assert {(c["principal"], c["action"], c["was"], c["would_be"]) for c in narrower["changes"]} == {
        (CHAIN[-1], "refund.create", each["recorded"]["verdict"], "deny")
        for each in told
        if each["call"]["action"] == "refund.create" and each["recorded"]["verdict"] != "deny"
    }
    assert all(f"`{CHAIN[0]}" in c["text"] or CHAIN[0] in c["text"] for c in narrower["changes"])
    assert {c["rule"] for c in alone["changes"]} == {"built-in/delegation"}


def test_why_names_the_link_that_lacked_the_right(tmp_path: Path) -> None:
    with a_lending(tmp_path, files=lending_files({CHAIN[0]: {"grants": [READING]}})) as stage:
        tokens = stage.chain(*CHAIN)
        stage.refund(tokens[-1], 10)
        told = why.recorded(stage.stage.house, str(stage.stage.entries("verdict")[-1]["index"]))

    assert told["recorded"]["verdict"] == "deny"
    assert told["lacking"] == told["replayed"]["lacking"] == CHAIN[0]
    assert {rule["link"] for rule in told["replayed"]["rules"]} >= set(CHAIN)


def test_a_withdrawn_delegation_leaves_what_was_decided_under_it_explained(tmp_path: Path) -> None:
    with a_lending(tmp_path) as stage:
        tokens = stage.chain(*CHAIN)
        stage.call(tokens[-1])
        stage.withdraw(person="maria@example.com")
        told = why.recorded(stage.stage.house, str(stage.stage.entries("verdict")[-1]["index"]))
        found = compared(stage.stage.house, lending_files())

    assert told["agrees"] is True
    assert (found["same"], found["changes"]) == (1, [])
