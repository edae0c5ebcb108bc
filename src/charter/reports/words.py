"""Sentences as Ibis expressions: texts and columns, one after the other."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from ibis import _


def calls_where(condition: Any) -> Any:  # noqa: ANN401 - Ibis has no public types for values
    """Return how many calls there are of which `condition` holds, none counted as zero."""
    return _.calls.sum(where=condition).fill_null(0).cast("int64")


def said(*parts: Any) -> Any:  # noqa: ANN401 - Ibis has no public types for values
    """Return one text of texts and columns; the first part is a column."""
    return reduce(add, (part if isinstance(part, str) else part.cast("string") for part in parts))


def counted(number: Any, word: str) -> Any:  # noqa: ANN401
    """Return a number column with its word, as in `1 day` and `2 days`."""
    return said(number, (number == 1).ifelse(f" {word}", f" {word}s"))


def tenths(value: Any) -> Any:  # noqa: ANN401
    """Return a number as text with one decimal, the same on every engine: tenths are divided as integers."""
    whole = (value * 10 + 0.5).floor().cast("int64")
    return said(whole // 10, ".", whole % 10)
