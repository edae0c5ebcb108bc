"""What the review questions read, on DuckDB: sealed evidence, the tail of the log, and what charters permit.

Sums of whole days are read from the sealed files. What is not sealed yet, and the day in which a period begins or ends,
is summed from rows, by the same expressions, into temporary tables. Memory is bounded: DuckDB spills to a temporary
folder, which goes when the answers are given. Ibis is slow to import, so whoever imports this module does so where it
is first needed.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from charter.adapters.authority_table import table_of
from charter.adapters.question_sql import Asked, Read, read_of
from charter.adapters.review_rows import Row, arrow, rows_of
from charter.adapters.sealed import SealedLog, connect, fields_of, sql_of
from charter.core.clock import parse_rfc3339
from charter.reports.answer import Answer, plain, summary
from charter.reports.facts import ROWS, STEPS, SUMS, Columns, naive
from charter.reports.picture_questions import Sketch
from charter.reports.questions import Question
from charter.reports.sums import SOURCE, sum_of_rows

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 20_000


class ReviewTables:
    """What the questions read, on DuckDB. Close it: its folder goes with it."""

    def __init__(self, since: dt.datetime, until: dt.datetime, sealed: SealedLog | None = None) -> None:
        self._since, self._until, self._sealed = naive(since), naive(until), sealed
        self._folder = tempfile.TemporaryDirectory(prefix="charter-review-")
        self._place = Path(self._folder.name)
        if sealed is not None:
            (self._place / "sealed").symlink_to(sealed.folder.absolute())
        self._duck = connect(self._place / "spill")
        self._made: set[str] = set()
        self._tail: set[str] = set()  # of the rows, those that something was loaded of
        for name, columns in ROWS.items():
            self._duck.execute(f"CREATE TABLE tail_{name} ({fields_of(columns)})")
        self.permit(table_of(()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove its folder."""
        self._duck.close()
        self._folder.cleanup()

    def load(self, lines: Iterable[bytes]) -> None:
        """Take in evidence entries (their canonical JSON); entries of other kinds are passed over.

        Raises:
            IntegrityError: one is no entry.
        """
        remaining = iter(lines)
        while batch := list(islice(remaining, BATCH)):
            for name, rows in rows_of(batch).items():
                self._insert(f"tail_{name}", ROWS[name], rows)

    def permit(self, authority: pa.Table) -> None:
        """Take in what is permitted (columns `AUTHORITY`); it is not copied. What was taken in before goes."""
        until = self._until.isoformat(sep=" ")
        self._duck.register("authority", authority)
        self._duck.execute(
            f"CREATE OR REPLACE TEMP VIEW permissions AS SELECT *, TIMESTAMP '{until}' AS until "  # noqa: S608
            f"FROM authority WHERE granted < TIMESTAMP '{until}'"
        )

    def answer(self, question: Question, asked: Asked) -> Answer:
        """Return the answer to one question, its first rows; the SQL shown is the SQL that ran."""
        read = self._ask(question, asked)
        rows: list[Row] = []
        total = 0
        for batch in self._duck.sql(read.sql).to_arrow_reader(2048):
            total += batch.num_rows
            if len(rows) < asked.rows:
                few = batch.slice(0, asked.rows - len(rows)).to_pylist()
                rows += [tuple(map(plain, each.values())) for each in few]
        return told(question, read.columns, rows, total, read.sql)

    def rows(self, sketch: Sketch, asked: Asked) -> tuple[list[dict[str, Any]], str]:
        """Return the rows of a picture's query, which folds them to few, and its SQL."""
        read = self._ask(sketch, asked)
        found = self._duck.sql(read.sql).to_arrow_table().to_pylist()
        return [{name: plain(value) for name, value in row.items()} for row in found], read.sql

    def explain(self, question: Question, asked: Asked) -> str:
        """Return how DuckDB answers a question, having done so: among others, how many files it opened."""
        read = self._ask(question, asked)
        return "\n".join(str(row[-1]) for row in self._duck.execute(f"EXPLAIN ANALYZE {read.sql}").fetchall())

    def _ask(self, question: Question | Sketch, asked: Asked) -> Read:
        read = read_of(question, asked)
        self.prepare(read.tables)
        return read

    def whole(self, name: str) -> list[Path]:
        """Return the sealed files of the sums `name` of days that lie on one side of both ends of the period."""
        return [path for path, is_whole in self._days(name) if is_whole]

    def loose(self, name: str) -> pa.Table:
        """Return what the table `name` has besides: sums of what is not sealed, or of a day that is not whole."""
        if name == "permissions":
            return self._duck.sql("FROM permissions").to_arrow_table()
        self.prepare([name])
        columns = ", ".join(f'"{column}"' for column in SUMS[name])
        return self._duck.sql(f"SELECT {columns} FROM loose_{name}").to_arrow_table()  # noqa: S608

    def prepare(self, names: Iterable[str]) -> None:
        """Let the tables of sums be there that are named."""
        for name in names:
            if name in SUMS and name not in self._made:
                self._sum(name)
                self._made.add(name)
            if name == "steps" and name not in self._made:
                self._steps()
                self._made.add(name)

    # --- sums ---------------------------------------------------------------------------------------------------------

    def _sum(self, name: str) -> None:
        """Make the table `name`: sealed sums of whole days, and the rest summed from rows.

        The rest is written as sealed sums are, and all is read by one scan: where a union is grouped into many, DuckDB
        spills what would fit into a third of its memory, and takes twice as long.
        """
        source, paths = SOURCE[name], self.whole(name)
        if source in self._tail or not all(is_whole for _, is_whole in self._days(source)):
            self._rows(source)
            self._duck.execute(f"CREATE TEMP TABLE loose_{name} AS {_loose_sql(name, self._since)}")
            loose = self._written(name) if paths else []
        else:
            self._duck.execute(f"CREATE TEMP TABLE loose_{name} ({fields_of(SUMS[name])})")
            loose = []
        columns = ", ".join(f'"{column}"' for column in SUMS[name])
        read = _parquet([*map(self._near, paths), *loose]) if paths else f"loose_{name}"
        self._duck.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns} FROM {read}")  # noqa: S608 - our own names

    def _written(self, name: str) -> list[Path]:
        """Write `loose_…` by day; return the files, none where it is empty."""
        if not self._duck.execute(f"FROM loose_{name} LIMIT 1").fetchone():
            return []
        folder = self._place / "loose" / name
        folder.parent.mkdir(exist_ok=True)
        target = str(folder).replace("'", "''")
        self._duck.execute(f"COPY loose_{name} TO '{target}' (FORMAT parquet, PARTITION_BY (day))")
        return sorted(folder.glob("day=*/*.parquet"))

    def _near(self, path: Path) -> Path:
        """Return a sealed file's path by way of this folder.

        DuckDB reads `key=` in any part of a path as a column, and only files together that have the same.
        """
        return self._place / "sealed" / Path(*path.parts[-3:])

    def _rows(self, source: str) -> None:
        """Make the table `source` of rows that no sealed sum has, or that one has together with others."""
        if source in self._made:
            return
        self._made.add(source)
        until = f"time < TIMESTAMP '{self._until.isoformat(sep=' ')}'"
        columns = ", ".join(f'"{column}"' for column in ROWS[source])
        rows = f"SELECT {columns} FROM tail_{source} WHERE {until}"  # noqa: S608
        paths = [path for path, is_whole in self._days(source) if not is_whole]
        if paths:
            rows += f" UNION ALL SELECT {columns} FROM {_parquet(paths)} WHERE {until}"  # noqa: S608
        self._duck.execute(f"CREATE TEMP VIEW {source} AS {rows}")

    def _steps(self) -> None:
        """Make the table `steps`: calls of the period one by one, sealed or not."""
        since, until = (moment.isoformat(sep=" ") for moment in (self._since, self._until))
        within = f"time >= TIMESTAMP '{since}' AND time < TIMESTAMP '{until}'"
        columns = ", ".join(f'"{column}"' for column in STEPS)
        rows = f"SELECT {columns} FROM tail_verdicts WHERE {within}"  # noqa: S608
        last = self._until.date() + dt.timedelta(days=1)
        paths = self._sealed.paths("verdicts", since=self._since.date(), until=last) if self._sealed else []
        if paths:
            rows += f" UNION ALL SELECT {columns} FROM {_parquet(paths)} WHERE {within}"  # noqa: S608
        self._duck.execute(f"CREATE TEMP VIEW steps AS {rows}")

    def _days(self, table: str) -> Iterator[tuple[Path, bool]]:
        """Yield the sealed files of a table before `until`, each with whether its day is whole: on one side of both."""
        if self._sealed is None:
            return
        newest = self._sealed.manifest.newest
        is_all = bool(newest) and naive(parse_rfc3339(newest)) < self._until
        cuts = {moment.date() for moment in (self._since, self._until) if moment.time() != dt.time()}
        for path in self._sealed.paths(table, until=None if is_all else self._until.date() + dt.timedelta(days=1)):
            day = dt.date.fromisoformat(path.parent.name.removeprefix("day="))
            if is_all or dt.datetime.combine(day, dt.time()) < self._until:
                yield path, day not in cuts or (is_all and day != self._since.date())

    def _insert(self, name: str, columns: Columns, rows: Sequence[Row]) -> None:
        if rows:
            self._duck.register("arriving", arrow(columns, rows))
            self._duck.execute(f"INSERT INTO {name} SELECT * FROM arriving")  # noqa: S608
            self._duck.unregister("arriving")
            self._tail.add(name.removeprefix("tail_"))


def told(question: Question, columns: Sequence[str], rows: Sequence[Row], total: int, sql: str) -> Answer:
    """Return the answer of which `rows`, as JSON has them, are the first of `total`."""
    sentence = summary([dict(zip(columns, row, strict=True)) for row in rows], total, question.meaning)
    about = (question.name, question.question, tuple(columns), tuple(rows), question.meaning)
    return Answer(*about, total, sentence, sql)


_loose_sql = lru_cache(maxsize=64)(lambda name, cut: sql_of(sum_of_rows(name, cut)))


def _parquet(paths: Sequence[Path]) -> str:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], hive_partitioning = true, hive_types = {{'day': DATE}})"
