"""Review questions on DuckDB or Spark, through Ibis: sealed evidence, the tail of the log and charters in, answers out.

Ibis is slow to import, so whoever imports this module does so where it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from charter.adapters.question_sql import Asked
from charter.adapters.review_tables import ReviewTables
from charter.adapters.sealed import SealedLog
from charter.reports.answer import Answer

if TYPE_CHECKING:
    import pyarrow as pa


def answers(
    asked: Asked,
    lines: Iterable[bytes],
    authority: pa.Table | None = None,
    sealed: SealedLog | None = None,
    *,
    spark: str | None = None,
) -> list[Answer]:
    """Return what is asked, from sealed evidence and the `lines` that are not sealed yet.

    `authority`: what is permitted, columns `AUTHORITY`; needed where one of the questions says so. `spark`: the master
    of a Spark that answers, in place of DuckDB, which then only sums what is not sealed.

    Raises:
        IntegrityError: a line is no entry, or the sealed evidence cannot be read.
        UnavailableError: there is no Spark.
    """
    with ReviewTables(asked.since, asked.until, sealed) as tables:
        tables.load(lines)
        if authority is not None:
            tables.permit(authority)
        if spark is None:
            return [tables.answer(question, asked) for question in asked.questions]
        from charter.adapters import spark_answers

        with spark_answers.SparkTables(tables, spark) as on_spark:
            return [on_spark.answer(question, asked) for question in asked.questions]
