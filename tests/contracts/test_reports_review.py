"""The review of a whole house: real calls through the pipeline, real charters, both in the database."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import REFUND_CHARTER
from charter.bootstrap import review
from charter.core.canonical import canonical
from houses import Stage, a_house, estate_files


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path) as found:
        yield found


def reviewed(stage: Stage, **asked: Any) -> dict[str, list[dict[str, Any]]]:
    """Return each answer's rows by the question's name, a moment after the last call."""
    stage.clock.advance(seconds=1)
    answer = asyncio.run(review.answers(stage.house, review.Review(**asked)))
    return {q["name"]: [dict(zip(q["columns"], row, strict=True)) for row in q["rows"]] for q in answer["questions"]}


def unused(stage: Stage, aspect: str = "action") -> list[dict[str, Any]]:
    """Return one aspect of what charters grant and nobody used."""
    return [row for row in reviewed(stage, question="unused")["unused"] if row["aspect"] == aspect]


def call(stage: Stage, tool: str, name: str = "refund-agent", **arguments: Any) -> None:
    stage.submit(stage.bearer(name), stage.make(tool, arguments))


def test_calls_through_the_pipeline_are_what_the_review_counts(stage: Stage) -> None:
    call(stage, "get_charge", charge_id="ch_1")
    call(stage, "get_charge", charge_id="ch_2")
    call(stage, "get_charge", "charge-reader", charge_id="ch_1")
    for _ in range(3):
        call(stage, "drop_everything")

    found = reviewed(stage)

    assert [(r["principal"], r["calls"], r["denied"], r["failed"]) for r in found["most-active"]] == [
        ("refund-agent", 5, 3, 0),
        ("charge-reader", 1, 0, 0),
    ]
    assert found["most-active"][0]["bytes"] > 0
    assert [(r["principal"], r["objects"], r["data"]) for r in found["sensitive"]] == [
        ("refund-agent", 2, "customer-pii"),
        ("charge-reader", 1, "customer-pii"),
    ]
    assert [(r["principal"], r["refused"], r["layer"]) for r in found["refused"]] == [("refund-agent", 3, "system")]
    assert found["unusual"] == []


def test_what_a_charter_grants_and_nobody_used_is_told_until_it_is_used(stage: Stage) -> None:
    before = {(r["principal"], r["action"]) for r in unused(stage)}
    call(stage, "get_charge", charge_id="ch_1")
    after = {(r["principal"], r["action"]) for r in unused(stage)}

    assert before == {
        ("refund-agent", "charge.read"), ("refund-agent", "refund.create"), ("charge-reader", "charge.read"),
    }  # fmt: skip
    assert before - after == {("refund-agent", "charge.read")}


def test_a_permission_is_as_old_as_its_unbroken_run_of_charter_versions(stage: Stage) -> None:
    stage.clock.advance(days=10)
    stage.apply(estate_files(purpose="Refund disputed charges"))
    stage.clock.advance(days=5)

    days = {(r["principal"], r["action"]): r["days"] for r in unused(stage)}

    assert days["refund-agent", "refund.create"] == 15


def test_a_narrower_charter_drops_out_of_the_unused(stage: Stage) -> None:
    reading = {"system": "payments", "actions": ["charge.read"]}
    narrowed = canonical(REFUND_CHARTER | {"grants": [reading]}).decode()
    stage.apply(estate_files() | {"principals/refund-agent.yaml": narrowed})

    assert {(r["principal"], r["action"]) for r in unused(stage)} == {
        ("refund-agent", "charge.read"),
        ("charge-reader", "charge.read"),
    }


def test_a_month_of_habit_makes_a_night_call_unusual(stage: Stage) -> None:
    for _ in range(8):
        stage.clock.advance(days=1)
        call(stage, "get_charge", charge_id="ch_1")
    stage.clock.at = stage.clock.at.replace(hour=3) + dt.timedelta(days=1)
    call(stage, "get_charge", charge_id="ch_1")

    (row,) = reviewed(stage, since="7d")["unusual"]

    assert (row["principal"], row["sign"], row["what"]) == ("refund-agent", "new hour", "03:00 UTC")
    assert "not once on its 8 earlier days" in row["sentence"]


def test_a_review_narrows_to_one_team(stage: Stage) -> None:
    call(stage, "get_charge", charge_id="ch_1")

    assert reviewed(stage, team="platform")["most-active"] == []
    assert len(reviewed(stage, team="payments-ops")["most-active"]) == 1


def test_a_name_that_there_is_none_of_is_told_and_not_answered_as_if_all_were_well(stage: Stage) -> None:
    def notes(**asked: str) -> list[str]:
        return list(asyncio.run(review.answers(stage.house, review.Review(question="refused", **asked)))["notes"])

    stage.clock.advance(seconds=1)
    assert notes(team="payments-ops", kind="agent", system="payments", principal="refund-agent") == []
    assert notes(team="payment-ops") == ["there is no team 'payment-ops' now: did you mean `payments-ops`?"]
    assert notes(principal="zzz", system="\u202e<b>") == [
        "there is no system '\\u202e<b>' now",
        "there is no principal 'zzz' now",
    ]
