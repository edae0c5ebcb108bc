"""The five questions on Spark: the same expressions over the same sealed Parquet, when one machine is not enough.

Sums of whole sealed days are read by Spark where they lie, so its workers must reach the data folder under the same
path, or it must be run locally (`local[4]`). What is not sealed, and the days in which the period begins or ends, are
summed by DuckDB as ever and handed over: they are small.

What would make the engines differ is set here or written otherwise in the expressions: the session's time zone is UTC
and timestamps have none (`inferTimestampNTZ`), or days would shift; numbers are cast where engines count in others;
every answer has a whole order, in which nothing that is null is compared.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ibis
import pyarrow.parquet as pq

from charter.adapters.question_sql import Asked, asking, tables_of
from charter.adapters.review_tables import ReviewTables, told
from charter.core.errors import ErrorCode, UnavailableError
from charter.reports.answer import Answer, plain
from charter.reports.facts import SUMS
from charter.reports.questions import Question

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CONFIG = {
    "spark.app.name": "charter review",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "true",  # folders `day=…` are dates
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.enabled": "false",  # nothing listens that nobody asked for
    "spark.log.level": "ERROR",
}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "2g",
}


class SparkTables:
    """The tables that the questions read, on Spark. Close it: its session ends, and its files go."""

    def __init__(self, tables: ReviewTables, master: str) -> None:
        self._tables, self._made = tables, set[str]()
        self._folder = tempfile.TemporaryDirectory(prefix="charter-spark-")
        try:
            self._session = _session(master, Path(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise
        self._ibis = ibis.pyspark.connect(self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop()
        self._folder.cleanup()

    def answer(self, question: Question, asked: Asked) -> Answer:
        """Return the answer to one question, its first rows; the SQL shown is the SQL that ran."""
        expression = asking(question, asked.since, asked.narrowed)
        for name in sorted(tables_of(expression) - self._made):
            self._share(name)
            self._made.add(name)
        found = self._ibis.to_pyarrow(expression)
        rows = [tuple(map(plain, row.values())) for row in found.slice(0, asked.rows).to_pylist()]
        sql = str(ibis.to_sql(expression, dialect="pyspark"))
        return told(question, found.column_names, rows, found.num_rows, sql)

    def _share(self, name: str) -> None:
        """Let Spark know the table `name`: the sealed files of whole days, and what DuckDB summed besides."""
        file = Path(self._folder.name, f"{name}.parquet")
        pq.write_table(self._tables.loose(name), file)
        frame = self._session.read.parquet(str(file))
        paths = self._tables.whole(name) if name in SUMS else []
        if paths:
            base = str(paths[0].parent.parent)
            sealed = self._session.read.option("basePath", base).parquet(*map(str, paths))
            frame = frame.select(*SUMS[name]).unionByName(sealed.select(*SUMS[name]))
        frame.createOrReplaceTempView(name)


def _session(master: str, folder: Path) -> SparkSession:
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession as Session
    except ImportError as err:
        raise UnavailableError(
            ErrorCode.STORE_FAILED, "Spark is not installed", help="pip install 'charter[spark]', and Java 17 or newer"
        ) from err
    builder: Any = Session.builder.master(master)
    local = _LOCAL if re.fullmatch(r"local(\[.*\])?", master) else {}
    for name, value in (_CONFIG | local | {"spark.sql.warehouse.dir": str(folder)}).items():
        builder = builder.config(name, value)
    try:
        session: SparkSession = builder.getOrCreate()
    except (PySparkException, OSError) as err:
        raise UnavailableError(
            ErrorCode.STORE_FAILED,
            f"Spark does not start on {master[:80]!a}",
            help="look at CHARTER_SPARK, and for Java",
        ) from err
    return session
