"""What right-sizing leaves alone: seasons, room around what was used, and files as people wrote them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.proof.caution import not_covered, season_of
from charter.proof.right_size import closer, roomy
from charter.registry.field import Hours
from charter.registry.redraft import redraft


@pytest.mark.parametrize(
    ("days", "season"),
    [
        (["2026-12-28"], "year end"),
        (["2026-06-30", "2026-10-02"], "quarter end"),
        (["2026-05-31", "2026-07-01"], "month end"),
        (["2026-05-04", "2026-05-11", "2026-05-18"], "Mondays"),
        (["2026-05-04", "2026-05-11"], None),
        (["2026-05-13", "2026-05-19"], None),
        ([], None),
    ],
)
def test_days_that_come_round_are_a_season(days: list[str], season: str | None) -> None:
    assert season_of([dt.date.fromisoformat(each) for each in days]) == season


def test_a_summer_has_no_year_end_in_it() -> None:
    assert not_covered(dt.date(2026, 7, 10), dt.date(2026, 9, 20)) == ("year end", "quarter end")
    assert not_covered(dt.date(2025, 11, 1), dt.date(2026, 11, 1)) == ()


@given(st.lists(st.integers(0, 95), min_size=1, max_size=40), st.booleans())
def test_a_closer_window_holds_all_that_was_seen(quarters: list[int], is_night: bool) -> None:
    window = Hours.model_validate("20:00-08:00 Europe/Berlin") if is_night else None
    minutes = [each * 15 for each in quarters]
    found = closer(window, minutes)
    if found is None:
        return
    now = Hours.model_validate(found)
    for minute in minutes:
        inside = now.start <= minute < now.end if now.start < now.end else minute >= now.start or minute < now.end
        assert inside
    length = (now.end - now.start) % 1440 or 1440
    assert length <= (720 if is_night else 1440) - 120


@given(st.decimals("0.01", "1000000", places=2))
def test_a_limit_leaves_room_for_twice_the_most(peak: Decimal) -> None:
    assert roomy(peak) >= peak * 2


def test_a_file_keeps_its_comments_and_what_is_not_touched_as_it_was() -> None:
    text = "a: 'one'  # first\ngrants:\n  # the reading\n  - {x: 1}\n  - y: [1, 2, 3]  # why\n    z: 2\n"
    before = {"a": "one", "grants": [{"x": 1}, {"y": [1, 2, 3], "z": 2}]}
    found = redraft(text, before, {"a": "one", "grants": []}, [{"x": 1}, {"y": [1, 3], "z": 2}])
    assert found.replace("]     #", "]  #") == text.replace("[1, 2, 3]", "[1, 3]")  # comments keep their column
