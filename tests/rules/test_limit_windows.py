"""Limits hold in every window they speak of, and what did not happen is given back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.gateway.reserve import Reserved, give_back, reserve
from charter.policy.verdict import Deny, LimitDue, LinkLimits
from charter.registry.grant import Limit
from charter.registry.window import SLICES, Window

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@dataclass
class Counters:
    """Keeps the port's promise in a mapping."""

    counts: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def used(self, principal_id: str, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        found = {each: self.counts.get((principal_id, *each), 0) for each in windows}
        return {each: count for each, count in found.items() if count}

    def add(self, principal_id: str, amounts: Sequence[tuple[str, int, int]]) -> None:
        for key, start, amount in amounts:
            self.counts[principal_id, key, start] = self.counts.get((principal_id, key, start), 0) + amount


def limit(**said: Any) -> Limit:
    return Limit.model_validate(said)


def due(of: Limit, amount: int = 1, key: str = "a/grant-1/limit-1") -> LimitDue:
    return LimitDue(key, of.window, amount, of.count or 0, f"{of.count} calls {of.time}")


def ask(counters: Counters, of: Limit, at: dt.datetime, amount: int = 1) -> tuple[Reserved, ...] | Deny:
    return reserve(counters, [LinkLimits("prn_1", "a", ((due(of, amount),),))], "payments", at)


def starts(of: Limit, at: str) -> list[str]:
    found = of.window.starts(dt.datetime.fromisoformat(at))
    return [dt.datetime.fromtimestamp(each, dt.UTC).isoformat() for each in found]


@pytest.mark.parametrize(
    ("said", "at", "begins", "ends"),
    [
        ({"per": "minute"}, "2026-11-24T12:34:56+00:00", "2026-11-24T12:34:00", "2026-11-24T12:35:00"),
        ({"per": "hour"}, "2026-11-24T12:34:56+00:00", "2026-11-24T12:00:00", "2026-11-24T13:00:00"),
        ({"per": "day"}, "2026-11-24T12:34:56+00:00", "2026-11-24T00:00:00", "2026-11-25T00:00:00"),
        ({"per": "week"}, "2026-11-24T12:34:56+00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        ({"per": "month"}, "2026-11-24T12:34:56+00:00", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ({"per": "month"}, "2028-02-29T23:59:59+00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        (
            {"per": "day", "zone": "Europe/Berlin"},
            "2026-11-24T23:30:00+00:00",
            "2026-11-24T23:00:00",
            "2026-11-25T23:00:00",
        ),
        # the day on which clocks go back has 25 hours
        (
            {"per": "day", "zone": "Europe/Berlin"},
            "2026-10-25T12:00:00+00:00",
            "2026-10-24T22:00:00",
            "2026-10-25T23:00:00",
        ),
        (
            {"per": "week", "zone": "America/New_York"},
            "2026-11-23T04:00:00+00:00",
            "2026-11-16T05:00:00",
            "2026-11-23T05:00:00",
        ),
        (
            {"per": "month", "zone": "Asia/Tokyo"},
            "2026-11-30T15:00:00+00:00",
            "2026-11-30T15:00:00",
            "2026-12-31T15:00:00",
        ),
    ],
)
def test_an_aligned_window_begins_and_ends_with_its_zones_clock(said: Any, at: str, begins: str, ends: str) -> None:
    of = limit(count=1, **said)
    assert starts(of, at) == [begins + "+00:00"]
    moment = dt.datetime.fromisoformat(at)
    assert of.window.ends(moment, of.window.starts(moment)[0]).isoformat() == ends + "+00:00"


@given(st.integers(1, 2_678_400), st.integers(0, 4 * 10**9))
def test_a_sliding_window_is_covered_by_few_slices_and_by_all_that_touch_it(seconds: int, now: int) -> None:
    found = Window(seconds=seconds).starts(dt.datetime.fromtimestamp(now, dt.UTC))
    step = -(-seconds // SLICES)
    assert len(found) <= SLICES + 2
    assert found[0] <= now - seconds
    assert found[-1] <= now < found[-1] + step
    assert all(later - earlier == step for earlier, later in pairwise(found))


@settings(max_examples=200)
@given(st.sampled_from(["1s", "10s", "59s", "2m", "90m", "24h"]), st.integers(1, 5), st.data())
def test_in_no_stretch_of_its_length_is_a_sliding_limit_exceeded(within: str, count: int, data: Any) -> None:
    of, counters = limit(count=count, within=within), Counters()
    seconds = of.window.seconds or 0
    gaps = data.draw(st.lists(st.integers(0, seconds * 2 // 3 + 1), max_size=40))
    allowed: list[int] = []
    now = int(NOON.timestamp())
    for gap in gaps:
        now += gap
        if not isinstance(ask(counters, of, dt.datetime.fromtimestamp(now, dt.UTC)), Deny):
            allowed.append(now)
    for last in allowed:
        assert sum(last - seconds < each <= last for each in allowed) <= count


@settings(max_examples=100)
@given(st.sampled_from(["10s", "90m", "24h"]), st.integers(1, 5))
def test_room_comes_back_when_the_denial_says(within: str, count: int) -> None:
    of, counters = limit(count=count, within=within), Counters()
    for _ in range(count):
        assert not isinstance(ask(counters, of, NOON), Deny)
    denied = ask(counters, of, NOON)
    assert isinstance(denied, Deny)
    until = dt.datetime.fromisoformat(denied.reasons[0].mend.split(" UTC")[0].removeprefix("wait until ") + "+00:00")
    seconds = of.window.seconds or 0
    assert dt.timedelta(seconds=seconds) <= until - NOON <= dt.timedelta(seconds=seconds + 2 * (seconds // SLICES + 1))
    assert isinstance(ask(counters, of, until - dt.timedelta(seconds=1)), Deny)
    assert not isinstance(ask(counters, of, until), Deny)


def test_a_denial_names_the_limit_in_its_words() -> None:
    of, counters = limit(count=1, within="24h"), Counters()
    ask(counters, of, NOON)
    denied = ask(counters, of, NOON)
    assert isinstance(denied, Deny)
    assert denied.reasons[0].text == "the limit of 1 calls within 1d for `a` on `payments` is used up"
    assert denied.reasons[0].rule == "a/grant-1/limit-1"


@given(st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_what_is_given_back_is_as_if_it_had_never_been(amounts: list[int]) -> None:
    of, counters = limit(count=100, within="1h"), Counters()
    for amount in amounts:
        reserved = ask(counters, of, NOON, amount)
        assert not isinstance(reserved, Deny)
        give_back(counters, reserved)
    assert set(counters.counts.values()) == {0}


def test_a_limit_whose_window_changed_counts_anew() -> None:
    counters = Counters()
    assert not isinstance(ask(counters, limit(count=1, per="day"), NOON), Deny)
    assert isinstance(ask(counters, limit(count=1, per="day"), NOON), Deny)
    for other in ({"per": "day", "zone": "Europe/Berlin"}, {"per": "month"}, {"within": "24h"}):
        assert not isinstance(ask(counters, limit(count=1, **other), NOON), Deny)


def test_no_counter_moves_unless_all_have_room() -> None:
    of, counters = limit(count=1, per="day"), Counters()
    option = (due(of, key="a/grant-1/limit-1"), due(limit(count=0 + 1, per="hour"), 2, "a/grant-1/limit-2"))
    assert isinstance(reserve(counters, [LinkLimits("prn_1", "a", (option,))], "payments", NOON), Deny)
    assert counters.counts == {}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"count": 1}, "write either `per`, as in `per: day`, or `within`"),
        ({"count": 1, "per": "day", "within": "1h"}, "write either `per`, as in `per: day`, or `within`"),
        ({"count": 1, "within": "32d"}, "a limit is kept for at most 31d"),
        ({"count": 1, "per": "hour", "zone": "Europe/Berlin"}, "only days, weeks and months begin in a zone"),
        ({"count": 1, "per": "day", "zone": "Europe/Berln"}, "`Europe/Berln` is no time zone; did you mean"),
        ({"per": "day"}, "write either `count` or `sum` with `max`"),
    ],
)
def test_a_limit_without_one_window_is_refused(said: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        limit(**said)
