"""Answers as tables for other programs: CSV in which nothing is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from charter.evidence.neutral import cell


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV (RFC 4180), every field quoted.

    A text that a spreadsheet would take for a formula begins with `'`; control and direction-changing characters are
    written visibly. Numbers stay numbers; what is unknown is empty.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([cell(column) for column in columns])
    for row in rows:
        writer.writerow([_field(value) for value in row])
    return out.getvalue()


def _field(value: Any) -> str:  # noqa: ANN401 - any value of a table
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) else cell(str(value))
