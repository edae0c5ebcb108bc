"""Review questions as DuckDB's SQL, made from their expressions once and filled in with what is asked.

Making it takes longer than asking it of a small log. Ibis is slow to import, so whoever imports this module does so
where it is first needed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import ibis
from ibis.expr.operations import UnboundTable

from charter.adapters.sealed import sql_of
from charter.reports.answer import ROWS as SHOWN
from charter.reports.facts import HISTORY, facts_since, naive
from charter.reports.picture_questions import Sketch
from charter.reports.questions import QUESTIONS, Question

if TYPE_CHECKING:
    from ibis.expr.types import Table


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the questions, the period `since <= time < until`, how many rows, and what it is narrowed to.

    `narrowed` may name a team, kind, system or principal.
    """

    since: dt.datetime
    until: dt.datetime
    narrowed: Mapping[str, str | None]
    questions: Sequence[Question] = QUESTIONS
    rows: int = SHOWN


@dataclass(frozen=True, slots=True)
class Read:
    """A question as DuckDB is asked it: its SQL, the columns of the answer, and the tables that it reads."""

    sql: str
    columns: tuple[str, ...]
    tables: frozenset[str]


def read_of(question: Question | Sketch, asked: Asked) -> Read:
    """Return a question as SQL: made once for each set of columns that it is narrowed by, then filled in.

    Pictures count in Python from the beginning of the period, so theirs is made for each.
    """
    narrowed = {name: value for name, value in asked.narrowed.items() if value}
    if isinstance(question, Sketch):
        return _made(question, asked.since, tuple(sorted(narrowed.items())))
    blank = tuple((name, _BLANK + name) for name in sorted(narrowed))
    never = _NEVER if naive(asked.since).time() != dt.time() else _MIDNIGHT
    made = _made(question, never, blank)
    values = {_literal(_BLANK + name): _literal(value) for name, value in narrowed.items()}
    for moment in (naive, _day, _history):
        values[_literal(moment(never))] = _literal(moment(asked.since))
    return replace(made, sql=re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], made.sql))


def sql_for(question: Question, asked: Asked) -> str:
    """Return the SQL that DuckDB is asked for a question."""
    return read_of(question, asked).sql


@lru_cache(maxsize=256)
def _made(question: Question | Sketch, since: dt.datetime, narrowed: tuple[tuple[str, str], ...]) -> Read:
    expression = asking(question, since, dict(narrowed))
    return Read(sql_of(expression), tuple(expression.columns), tables_of(expression))


def asking(question: Question | Sketch, since: dt.datetime, narrowed: Mapping[str, str | None]) -> Table:
    """Return a question as an expression, bound to no engine."""
    return question.answer(facts_since(since).narrowed(**narrowed))


def tables_of(expression: Table) -> frozenset[str]:
    """Return the names of the tables that an expression reads."""
    return frozenset(table.name for table in expression.op().find(UnboundTable))


_NEVER = dt.datetime(1801, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC)  # stands for the beginning, where SQL is made without it
_MIDNIGHT = _NEVER.replace(hour=0, minute=0, second=0, microsecond=0)  # for periods of whole days: see `of_period`
_BLANK = "\u2063blank-"  # begins what stands for a value


def _day(since: dt.datetime) -> dt.date:
    return naive(since).date()


def _history(since: dt.datetime) -> dt.date:
    return (naive(since) - HISTORY).date()


@lru_cache(maxsize=256)
def _literal(value: str | dt.date) -> str:
    """Return a value as it stands in the SQL of an expression."""
    return sql_of(ibis.literal(value).name("value")).removeprefix("SELECT").removesuffix('AS "value"').strip()
