"""Answers as CSV: nothing in them is a formula, and nothing is lost."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from charter.reports.tables import csv_of

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\uff1d1",
    "a,b",
    'say "x"',
    "\x1b[31m",
    "\u202e",
]


def test_no_cell_begins_as_a_formula_and_numbers_stay_numbers() -> None:
    cells = next(iter(list(csv.reader(io.StringIO(csv_of(["x"] * len(HOSTILE), [HOSTILE]))))[1:]))

    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")) for cell in cells)
    assert cells[7:9] == ["a,b", 'say "x"']
    assert all(cell.isprintable() for cell in cells)
    assert csv_of(["n"], [[-3], [None]]).splitlines() == ['"n"', '"-3"', '""']


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_row_stays_one_row(values: list[str]) -> None:
    assert len(list(csv.reader(io.StringIO(csv_of(values, [values]))))) == 2
