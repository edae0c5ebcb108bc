"""Retention in a whole house: what is over its time goes, what is held stays, the log verifies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import erasing, evidence
from charter.core.errors import MalformedError
from charter.registry.access import Access
from charter.server.control_gate import needed_for
from erasing_stage import ANN, erase, left_of, put, slow_steps, verified
from houses import Stage, a_house

BOB = "bob@example.com"
DAY = 86_400
RULES = "default=400d,customer-pii=90d"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, apply=False, retention=RULES) as found:
        yield found


@pytest.fixture
def either(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    """Give a house on each of the databases."""
    elsewhere = {"database": database_url} if database_url.startswith("postgresql") else {}
    with a_house(tmp_path, apply=False, retention=RULES, **elsewhere) as found:
        yield found


def swept(stage: Stage) -> dict[str, int]:
    told = asyncio.run(stage.house.retaining.run(actor="dpo@example.com", reason="a test"))
    return {each["rule"]: each["erased"] for each in told["rules"]}


def previewed(stage: Stage, rules: str | None = None) -> dict[str, tuple[int, int]]:
    told = asyncio.run(stage.house.retaining.preview(rules))
    return {each["rule"]: (each["found"], each["held"]) for each in told["rules"]}


def is_there(stage: Stage, indexes: list[int]) -> list[bool]:
    rows = stage.house.database.read_log(lambda log: log.chosen(indexes))
    return [each.payload is not None for each in rows]


def hold(stage: Stage, **wanted: Any) -> str:
    made = erasing.hold(stage.house, wanted, actor="legal@example.com", reason="case 12")
    return str(asyncio.run(made)["id"])


def test_each_class_goes_after_its_own_time_and_the_log_verifies(stage: Stage) -> None:
    sensitive, other = put(stage, [ANN, BOB]), put(stage, [BOB], data=["internal"])
    stage.clock.advance(seconds=30 * DAY)
    young = put(stage, [ANN])
    stage.clock.advance(seconds=61 * DAY)
    assert previewed(stage) == {"customer-pii": (2, 0), "default": (0, 0)}
    stage.house.retaining.tend()
    assert is_there(stage, [*sensitive, *other, *young]) == [False, False, True, True]
    told = stage.entries("evidence.erased")
    assert [(each["actor"], each["body"]["reason"], each["body"]["rule"], each["body"]["count"]) for each in told] == [
        ("charter", "retention", "retention customer-pii=90d", 2)
    ]
    report = verified(stage)
    assert report.is_verified
    assert sorted(report.payloads.erased) == sensitive
    assert asyncio.run(evidence.verify(stage.house))["ok"]
    stage.house.retaining.tend()  # a day has not passed
    assert len(stage.entries("evidence.erased")) == 1
    assert [each["swept_at"] is not None for each in stage.house.retaining.listing()["rules"]] == [True, True]


def test_what_is_held_stays_until_the_hold_is_released(either: Stage) -> None:
    some = put(either, [ANN, BOB, ANN])
    held = hold(either, person=ANN)
    either.clock.advance(seconds=100 * DAY)
    assert previewed(either)["customer-pii"] == (1, 2)
    assert swept(either) == {"customer-pii": 1, "default": 0}
    assert is_there(either, some) == [True, False, True]
    asyncio.run(erasing.release(either.house, held, actor="legal@example.com", reason="case 12 is closed"))
    either.house.retaining.tend()  # due at once: what was passed over is looked at again
    assert is_there(either, some) == [False, False, False]
    assert verified(either).is_verified


def test_a_sweep_that_is_cut_short_goes_on_where_it_was(stage: Stage) -> None:
    some = put(stage, [ANN] * 20)
    stage.clock.advance(seconds=100 * DAY)
    answers = iter([False, False, False, False, True, True, True])
    with slow_steps():
        stage.house.retaining.tend(lambda: next(answers))
        assert 0 < sum(is_there(stage, some)) < 20
        reached = stage.house.retaining.listing()["rules"][0]["reached"]
        assert is_there(stage, [reached, reached + 1]) == [False, True]
        stage.house.retaining.tend()
    assert not any(is_there(stage, some))
    counts = [each["body"]["count"] for each in stage.entries("evidence.erased")]
    assert sum(counts) == 20
    assert verified(stage).is_verified


def test_what_a_clock_of_the_future_wrote_is_swept_in_its_time(stage: Stage) -> None:
    first = put(stage, [BOB])
    stage.clock.advance(seconds=50 * DAY)
    ahead = put(stage, [ANN])
    stage.clock.advance(seconds=-50 * DAY)
    after = put(stage, [BOB])
    stage.clock.advance(seconds=100 * DAY)
    swept(stage)
    assert is_there(stage, [*first, *ahead, *after]) == [False, True, False]
    stage.clock.advance(seconds=50 * DAY)
    swept(stage)
    assert is_there(stage, ahead) == [False]


def test_other_rules_can_be_tried_and_change_nothing(stage: Stage) -> None:
    some = put(stage, [ANN, BOB])
    stage.clock.advance(seconds=3 * DAY)
    assert previewed(stage, "kind:verdict=2d") == {"kind:verdict": (2, 0)}
    assert previewed(stage, "customer-pii=4d") == {"customer-pii": (0, 0)}
    assert all(is_there(stage, some))
    with pytest.raises(MalformedError, match="a rule of retention `default` is kept for"):
        previewed(stage, "default=1h")


def test_an_erased_person_stands_in_no_file(stage: Stage, tmp_path: Path) -> None:
    put(stage, [ANN, BOB, ANN])
    stage.house.sealing.seal()
    assert left_of(tmp_path, [f"charge/{ANN}"]) == [f"charge/{ANN}"]
    assert erase(stage, really=False, person=ANN)["found"] == 2
    assert erase(stage, person=ANN)["erased"] == 2
    assert left_of(tmp_path, [ANN, f"charge/{ANN}", f"charge/{BOB}"]) == [f"charge/{BOB}"]
    assert verified(stage).is_verified
    assert stage.house.database.read(lambda tx: tx.erasures.orders(stage.house.database.node)) == []


def test_viewers_may_not_list_holds_and_may_see_the_rules() -> None:
    assert needed_for("GET", "/v1/evidence/holds") is Access.ADMIN
    assert needed_for("GET", "/v1/evidence/retention") is Access.VIEWER
    assert needed_for("POST", "/v1/evidence/retention/run") is Access.ADMIN
