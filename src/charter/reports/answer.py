"""An answer as people and programs get it: columns, rows, one sentence for the whole, and the SQL that gave it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

ROWS = 50  # of one answer, where nothing else is asked
MAX_ROWS = 10_000
NAMES = ("most-active", "sensitive", "refused", "unused", "unusual")  # of the questions; a test holds them equal

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, answered. `total` counts all rows, of which the first are in `rows`."""

    name: str
    question: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    meaning: str  # what a row is
    total: int
    sentence: str
    sql: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.name,
            "question": self.question,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "meaning": self.meaning,
            "total": self.total,
            "sentence": self.sentence,
            "sql": self.sql,
        }


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a table
    """Return a table's value as JSON; times are UTC to the second."""
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):  # how DuckDB gives a sum of whole numbers
        return int(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def summary(rows: Sequence[Mapping[str, Any]], total: int, meaning: str) -> str:
    """Return the sentence for a whole answer: what its rows are, how many, and the first of them."""
    if not rows:
        return f"None in this period ({meaning})."
    shown = "" if len(rows) == total else f", of which the first {len(rows)} are shown"
    many = "1 row" if total == 1 else f"{total} rows"
    return f"{many}{shown} ({meaning}). First: {rows[0]['sentence']}."
