"""How far rights reach, in pieces: ranges of objects, windows as hours UTC."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.registry.field import Hours
from charter.reports.permissions import Reach
from charter.reports.reach import HOURS_A_DAY, hours_utc, ranges

WINTER, SUMMER = (dt.datetime(2026, month, 1, 12, tzinfo=dt.UTC) for month in (1, 7))


def matches(pattern: str, text: str) -> bool:
    (reach,) = ranges("s", [pattern], (), {})
    return is_inside(reach, text)


def is_inside(reach: Reach, text: str) -> bool:
    """Read a piece of a range as `Reach` says that it is read."""
    if not reach.is_open:
        return text == reach.prefix
    between = text[len(reach.prefix) : len(text) - len(reach.suffix)]
    return (
        text.startswith(reach.prefix)
        and text.endswith(reach.suffix)
        and len(text) >= len(reach.prefix) + len(reach.suffix)
        and reach.middle in between
        and (not reach.pattern or re.search(reach.pattern.replace("\\z", "\\Z"), text) is not None)
    )


@pytest.mark.parametrize(
    ("pattern", "text", "is_in"),
    [
        ("charge/*", "charge/ch_1", True),
        ("charge/*", "charge/", True),
        ("charge/*", "a/charge/ch_1", False),
        ("*.md", "notes/a.md", True),
        ("*.md", "notes/a_md", False),
        ("a+b|c", "a+b|c", True),
        ("a+b|c", "c", False),
        ("x*y*z", "x\ny z", True),
        ("$(x)", "$(x)", True),
        ("ü*", "über", True),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("a*b*c*d", "a-c-b-d", False),
        ("a*b*c*d", "a-b\n-c-d", True),
        ("a**b", "a/b", True),
    ],
)
def test_a_pattern_means_what_it_means_in_a_charter(pattern: str, text: str, *, is_in: bool) -> None:
    assert matches(pattern, text) is is_in


@given(st.text(max_size=8).filter(lambda text: "*" not in text), st.text(max_size=8))
def test_a_pattern_without_a_star_is_itself_alone(pattern: str, text: str) -> None:
    assert matches(pattern, pattern)
    assert matches(pattern, text) is (text == pattern)


@given(st.text("ab*", min_size=1, max_size=7).filter(lambda text: set(text) != {"*"}), st.text("ab", max_size=9))
def test_however_many_stars_a_pattern_has_any_text_stands_for_each(pattern: str, text: str) -> None:
    assert matches(pattern, text) is (re.fullmatch(pattern.replace("*", ".*"), text) is not None)


def test_any_object_is_no_range_and_a_place_is_all_below_it() -> None:
    assert list(ranges("s", ["*"], (), {})) == []
    place = list(ranges("s", [], ["team/a"], {}))
    assert [(each.what, each.prefix, each.is_open) for each in place] == [
        ("under team/a", "team/a", False),
        ("under team/a", "team/a/", True),
    ]
    group = list(ranges("s", [], [], {"reports": ("report/*", "*.pdf")}))
    assert [(each.what, each.prefix, each.suffix) for each in group] == [
        ("group reports", "report/", ""),
        ("group reports", "", ".pdf"),
    ]


@pytest.mark.parametrize(
    ("window", "moments", "hours"),
    [
        ("08:00-10:00 UTC", [WINTER], {8, 9}),
        ("08:30-10:15 UTC", [WINTER], {8, 9, 10}),
        ("22:00-02:00 UTC", [WINTER], {22, 23, 0, 1}),
        ("08:00-10:00 Europe/Berlin", [WINTER], {7, 8}),
        ("08:00-10:00 Europe/Berlin", [SUMMER], {6, 7}),
        ("08:00-10:00 Europe/Berlin", [WINTER, SUMMER], {7}),
        ("00:00-24:00 UTC", [WINTER], set(range(HOURS_A_DAY))),
    ],
)
def test_a_window_is_told_in_hours_utc(window: str, moments: list[dt.datetime], hours: set[int]) -> None:
    assert hours_utc([Hours.model_validate(window)], moments) == hours


def test_hours_are_those_of_any_window_and_no_window_is_always_open() -> None:
    two = [Hours.model_validate("08:00-09:00 UTC"), Hours.model_validate("20:00-21:00 UTC")]
    assert hours_utc(two, [WINTER]) == {8, 20}
    assert len(hours_utc([*two, None], [WINTER])) == HOURS_A_DAY
