"""Texts of strangers made harmless for terminals and programs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.evidence.neutral import lines, one_line, readable_json

STEERING = (
    "\x1b[2J",
    "\x9b31m",
    "\x7f",
    "\u202e",
    "\u200b",
    "\u2028",
    "\u061c",
    "\U000e0041",
    "\ud800",
    "\ufeff",
    "\r",
)


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_a_terminal_is_written_out(text: str) -> None:
    for shown in (lines(text), one_line(text), readable_json({text: [text]}, indent=2)):
        assert shown.replace("\n", "").isprintable()
        assert shown.isascii()


def test_what_people_write_stays_as_it_is() -> None:
    words = "Zoë → 日本語\u3000ok é"
    assert lines(f"{words}\n\tb") == f"{words}\n\tb"
    assert one_line("a\nb") == "a\\u000ab"
    assert readable_json(words) == f'"{words}"'


@given(
    st.recursive(
        st.text(st.characters()) | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    )
)
def test_json_is_read_back_as_it_was(value: object) -> None:
    assert json.loads(readable_json(value, indent=2)) == value
