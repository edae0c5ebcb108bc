"""Evidence sealed to Parquet, for analytics: rows by day, and their sums, in files that a manifest names.

    sealed/manifest.json                      which files count, and how far into which node's log they reach
    sealed/verdicts/day=2026-11-24/7.parquet  rows, sorted by principal and time
    sealed/calls/day=2026-11-24/7.parquet     sums of them

What is here is derived from the log and can be made again from it at any time; it proves nothing, the log does.

INVARIANT: an entry counts once. A node's log is sealed from where the manifest says it ended, without a gap; what comes
again is passed over. An entry that comes late goes to the day of its time like any other.
INVARIANT: a crash at any instant leaves what the last manifest names, whole: files are made durable before the manifest
that names them, and removed after one that does not.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Self

import duckdb
import ibis
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from charter.adapters import whole_file
from charter.adapters.review_rows import arrow, rows_of
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.reports.facts import ROWS, SUMS, Columns
from charter.reports.sums import sum_of_rows, sum_of_sums

BATCH = 100_000  # entries that are in memory at a time
ROW_GROUP = 100_000
LOOSE_FILES = 8  # of one day and table, before they are made one
MEMORY = "512MB"
MANIFEST = "manifest.json"
FORMAT = 2  # of the rows: what an older version sealed is sealed again
TYPES = {
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "int64": "BIGINT",
    "timestamp(6)": "TIMESTAMP",
    "date": "DATE",
}
_ORDER = {"verdicts": "principal, time", "outcomes": "principal, time"}


class Entry(msgspec.Struct, frozen=True):
    """One entry as the log has it: its place, and its exact bytes."""

    node: str
    index: int
    data: bytes
    told: bytes = b""  # what it says, with what stands apart of it; empty: just that


class Reached(msgspec.Struct, frozen=True):
    """How far a node's log is sealed: the index of the first entry that is not, and the digest of the last that is."""

    next: int
    last: str


class Manifest(msgspec.Struct, frozen=True):
    """What counts. `files`: table -> day -> the numbers of its files. `newest`: the latest moment in them."""

    version: int = FORMAT
    sequence: int = 0
    newest: str = ""
    nodes: dict[str, Reached] = {}
    files: dict[str, dict[str, list[int]]] = {}
    erased: dict[str, int] = {}  # node -> its last entry that tells of an erasure, and which the files follow


@dataclass(slots=True)
class SealedLog:
    """The sealed part of the logs, in one folder that is this process's alone."""

    folder: Path
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def manifest(self) -> Manifest:
        """What counts now.

        Raises:
            IntegrityError: the manifest cannot be read.
        """
        try:
            return msgspec.json.decode((self.folder / MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except (msgspec.DecodeError, OSError) as err:
            raise _broken(f"its manifest cannot be read: {err}") from err

    def paths(self, table: str, *, since: dt.date | None = None, until: dt.date | None = None) -> list[Path]:
        """Return the files of a table for the days `since <= day < until`, oldest first."""
        days = self.manifest.files.get(table, {})
        wanted = sorted(day for day in days if _within(dt.date.fromisoformat(day), since, until))
        return [self._path(table, day, number) for day in wanted for number in days[day]]

    def seal(self, entries: Iterable[Entry]) -> int:
        """Seal entries of any nodes, each node's in the log's order; return how many had not been sealed yet.

        Raises:
            IntegrityError: an entry is missing before one of these, or one is no entry.
            UnavailableError: they cannot be written; what was sealed before still is.
        """
        remaining, sealed = iter(entries), 0
        while batch := list(islice(remaining, BATCH)):
            with self._lock:
                sealed += self._seal(batch)
        return sealed

    def add(self, rows: Mapping[str, pa.Table], node: str, reached: Reached) -> None:
        """Seal rows that are made already, tables by the names of `ROWS`; with them `node`'s log is sealed so far.

        Raises:
            UnavailableError: they cannot be written; what was sealed before still is.
        """
        with self._lock:
            before = self.manifest
            self._add(before, rows, {**before.nodes, node: reached})

    def compact(self, today: dt.date) -> int:
        """Make one file of a day's where the day is over or has many; return how many days that was.

        Raises:
            UnavailableError: they cannot be written; nothing changed.
        """
        with self._lock:
            manifest = self.manifest
            loose = {
                day
                for days in manifest.files.values()
                for day, numbers in days.items()
                if len(numbers) > (1 if dt.date.fromisoformat(day) < today else LOOSE_FILES)
            }
            for day in sorted(loose):
                self._compact(day)
            return len(loose)

    def remake(self, day: dt.date, entries: Iterable[Entry]) -> None:
        """Seal `entries` in place of all that is sealed of a day: the same ones, as the logs have them now.

        Raises:
            IntegrityError: one is no entry.
            UnavailableError: they cannot be written; nothing changed.
        """
        remaining = iter(entries)
        with self._lock:
            before = self.manifest
            with self._writing(before) as writer:
                written = writer.write(_rows(batch) for batch in iter(lambda: list(islice(remaining, BATCH)), []))
            others = {
                table: {each: numbers for each, numbers in days.items() if each != day.isoformat()}
                for table, days in before.files.items()
            }
            number = before.sequence + 1
            self._commit(replace(before, sequence=number, files=_added(others, written, number)))

    def follow(self, erased: Mapping[str, int]) -> None:
        """Note that no file has what these entries, by node, and those before them tell was erased; remove what had.

        Raises:
            UnavailableError: that cannot be written.
        """
        with self._lock:
            before = self.manifest
            if before.erased != erased:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._commit(replace(before, erased=dict(erased)))
            self._sweep(self.manifest)

    def forget(self) -> None:
        """Remove all that is sealed, at once; it is made again from the log."""
        with self._lock:
            shutil.rmtree(self.folder, ignore_errors=True)

    def size(self) -> int:
        """Return the bytes of the files that count."""
        return sum(path.stat().st_size for table in (*ROWS, *SUMS) for path in self.paths(table))

    # --- sealing ------------------------------------------------------------------------------------------------------

    def _seal(self, batch: Sequence[Entry]) -> int:
        before = self.manifest
        fresh, nodes = _fresh(batch, before.nodes)
        if not fresh:
            return 0
        self._add(before, _rows(fresh), nodes)
        return len(fresh)

    def _add(self, before: Manifest, rows: Mapping[str, pa.Table], nodes: dict[str, Reached]) -> None:
        number = before.sequence + 1
        with self._writing(before) as writer:
            written = writer.write([rows])
        newest = max([before.newest, *(_newest(found) for found in rows.values())])
        files = _added(before.files, written, number)
        self._commit(replace(before, version=FORMAT, sequence=number, newest=newest, nodes=nodes, files=files))

    def _compact(self, day: str) -> None:
        before = self.manifest
        tables = [table for table, days in before.files.items() if len(days.get(day, ())) > 1]
        with self._writing(before) as writer:
            for table in tables:
                writer.merge(table, day, [self._path(table, day, number) for number in before.files[table][day]])
        number = before.sequence + 1
        files = {table: dict(days) for table, days in before.files.items()}
        for table in tables:
            files[table][day] = [number]
        self._commit(replace(before, sequence=number, files=files))

    def _writing(self, before: Manifest) -> _Writer:
        self._sweep(before)
        return _Writer(self.folder, before.sequence + 1)

    def _commit(self, manifest: Manifest) -> None:
        try:
            whole_file.replace(self.folder / MANIFEST, msgspec.json.encode(manifest))
        except OSError as err:
            raise _unwritten(err) from err

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what no manifest names any more: leftovers of a crash, and what the last compaction replaced.

        That is done before the next change and not after the last one, so that who read the manifest a moment ago
        still finds its files.
        """
        for table in (*ROWS, *SUMS):
            named = {
                self._path(table, day, n) for day, numbers in manifest.files.get(table, {}).items() for n in numbers
            }
            for path in (self.folder / table).glob("day=*/*"):
                if path not in named:
                    path.unlink(missing_ok=True)

    def _path(self, table: str, day: str, number: int) -> Path:
        return self.folder / table / f"day={day}" / f"{number}.parquet"


class _Writer:
    """Writes the files of one change. They count once a manifest names them."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._changed: set[Path] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spill = folder / "spill"
        self._duck = connect(self._spill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._duck.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def write(self, batches: Iterable[Mapping[str, pa.Table]]) -> dict[str, list[str]]:
        """Write rows and their sums; return the days of each table."""
        for name, columns in ROWS.items():
            self._duck.execute(f"CREATE TEMP TABLE {name} ({fields_of(columns)})")
        for rows in batches:
            for name in ROWS:
                self._duck.register("arriving", rows[name])
                self._duck.execute(f"INSERT INTO {name} SELECT * FROM arriving")  # noqa: S608
                self._duck.unregister("arriving")
        written: dict[str, list[str]] = {}
        for name in (*ROWS, *SUMS):
            order = _ORDER.get(name, "principal")
            query = _of_rows(name)
            self._duck.execute(f"CREATE TEMP TABLE out_{name} AS {query}")
            days = [str(day) for (day,) in self._duck.execute(f"SELECT DISTINCT day FROM out_{name}").fetchall()]  # noqa: S608
            for day in days:
                of_day = f"SELECT * EXCLUDE (day) FROM out_{name} WHERE day = DATE '{day}'"  # noqa: S608
                self._copy(f"{of_day} ORDER BY {order}", name, day)
            written[name] = days
        self._sync()
        return written

    def merge(self, table: str, day: str, paths: Sequence[Path]) -> None:
        """Write the files of one day as one; rows that are the same entry once, and sums of the same keys as one."""
        source = f"read_parquet({[str(path) for path in paths]})"
        if table in ROWS:
            query = f"SELECT DISTINCT ON (node, index) * FROM {source}"  # noqa: S608
        else:
            self._duck.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT DATE '{day}' AS day, * FROM {source}")  # noqa: S608
            query = f"SELECT {_typed(table)} FROM ({sql_of(sum_of_sums(table))})"  # noqa: S608
        self._copy(f"SELECT * FROM ({query}) ORDER BY {_ORDER.get(table, 'principal')}", table, day)  # noqa: S608
        self._sync()

    def _copy(self, query: str, table: str, day: str) -> None:
        folder = self._folder / table / f"day={day}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target, fresh = folder / f"{self._number}.parquet", folder / f".{self._number}.new"
        try:
            self._duck.execute(
                f"COPY ({query}) TO '{_quoted(fresh)}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
            )
            with fresh.open("rb") as written:
                os.fsync(written.fileno())
            fresh.replace(target)
        except (duckdb.Error, OSError) as err:
            raise _unwritten(err) from err
        self._changed |= {folder, folder.parent}

    def _sync(self) -> None:
        for folder in (*self._changed, self._folder):
            whole_file.sync_folder(folder)
        self._changed.clear()


def connect(spill: Path, *, database: str = ":memory:", memory: str = MEMORY) -> duckdb.DuckDBPyConnection:
    """Return DuckDB with bounded memory, which spills to the folder `spill` and loads nothing from anywhere."""
    return duckdb.connect(
        database,
        config={
            "memory_limit": memory,
            "temp_directory": str(spill),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )


def fields_of(columns: Columns) -> str:
    """Return columns with their types, as a table is created with."""
    return ", ".join(f'"{column}" {TYPES[kind]}' for column, kind in columns.items())


def sql_of(expression: ibis.expr.types.Table) -> str:
    """Return an expression as DuckDB's SQL."""
    return str(ibis.to_sql(expression, dialect="duckdb"))


def _fresh(batch: Sequence[Entry], nodes: dict[str, Reached]) -> tuple[list[Entry], dict[str, Reached]]:
    """Return the entries that are not sealed yet, and how far each node's log is sealed with them."""
    reached, fresh = dict(nodes), []
    for each in batch:
        expected = reached[each.node].next if each.node in reached else 0
        if each.index < expected:
            continue
        if each.index > expected:
            raise _broken(f"after entry {expected - 1} of {each.node} came {each.index}")
        fresh.append(each)
        reached[each.node] = Reached(each.index + 1, digest(each.data))
    return fresh, reached


def _rows(entries: Iterable[Entry]) -> dict[str, pa.Table]:
    rows = rows_of(each.told or each.data for each in entries)
    return {name: arrow(columns, rows[name]) for name, columns in ROWS.items()}


def _newest(rows: pa.Table) -> str:
    """Return the latest moment of rows, RFC 3339; nothing where there are none."""
    latest = pc.max(rows["time"]).as_py()
    return rfc3339(latest.replace(tzinfo=dt.UTC)) if latest else ""


def digest(data: bytes) -> str:
    """Return what tells one entry's bytes from another's."""
    return sha256(data).hexdigest()


def _added(
    files: dict[str, dict[str, list[int]]], written: dict[str, list[str]], number: int
) -> dict[str, dict[str, list[int]]]:
    merged = {table: dict(days) for table, days in files.items()}
    for table, days in written.items():
        for day in days:
            merged.setdefault(table, {})[day] = [*merged.get(table, {}).get(day, ()), number]
    return merged


def _within(day: dt.date, since: dt.date | None, until: dt.date | None) -> bool:
    return (since is None or day >= since) and (until is None or day < until)


def _of_rows(table: str) -> str:
    """Return what is written of rows: the rows with their day, or their sums."""
    if table in ROWS:
        return f"SELECT *, CAST(time AS DATE) AS day FROM {table}"  # noqa: S608 - our own names
    return f"SELECT day, {_typed(table)} FROM ({sql_of(sum_of_rows(table))})"  # noqa: S608


def _typed(table: str) -> str:
    """Return the columns of sums but the day, each of its type: DuckDB's sum of integers is none of 64 bits."""
    columns = [(name, TYPES[kind]) for name, kind in SUMS[table].items() if name != "day"]
    return ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in columns)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _broken(detail: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.EVIDENCE_BROKEN, f"the sealed evidence: {detail}", help="make it again: charter evidence seal --again"
    )


def _unwritten(err: Exception) -> UnavailableError:
    return UnavailableError(
        ErrorCode.STORE_FAILED,
        f"sealed evidence cannot be written: {str(err).splitlines()[0][:200]}",
        help="make room on the disk of the data folder",
    )
