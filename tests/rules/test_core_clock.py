"""Moments as text: UTC, one width, so that text order is time order."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from charter.core.clock import parse_rfc3339, rfc3339

moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.timezones())  # noqa: DTZ001


@given(moments, moments)
def test_text_order_is_time_order_and_reads_back(one: dt.datetime, other: dt.datetime) -> None:
    first, second = rfc3339(one), rfc3339(other)

    assert parse_rfc3339(first) == one.astimezone(dt.UTC)
    assert (first < second) == (one.astimezone(dt.UTC) < other.astimezone(dt.UTC))
    assert len(first) == len("2026-11-24T09:30:00.000000Z")


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    """Both moments are equal to Python, as long as their zone is the same."""
    first = dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert rfc3339(first) == "2026-10-25T00:30:00.000000Z"
    assert rfc3339(first.replace(fold=1)) == "2026-10-25T01:30:00.000000Z"
