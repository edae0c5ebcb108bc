"""Database engines: SQLite (the default) and PostgreSQL, set up so that a commit that returned survives a power cut.

SQLite runs in WAL mode with `synchronous=FULL`; the writer begins with the write lock in hand (`BEGIN IMMEDIATE`), and
readers may not write. On PostgreSQL a read is one repeatable-read snapshot, and the writer waits for each commit,
however the database or the role is set up (`synchronous_commit`). Whatever the driver raises becomes an error of
Charter's family in `store_failure`; nothing above the adapters sees SQLAlchemy's.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from charter.core.errors import CharterError, ConflictError, ErrorCode, MalformedError, UnavailableError

BUSY_MILLISECONDS = 5_000
WAL_PAGES = 16_384  # 64 MiB of log before it is copied into the database: rarer pauses for a larger file
# With less room than this the log is kept small, lest it fill the disk itself, and what it took is given back.
LITTLE_ROOM_BYTES = 512 * 1024 * 1024
_LITTLE_ROOM = ("PRAGMA wal_autocheckpoint=256", "PRAGMA journal_size_limit=1048576")
_ENOUGH_ROOM = (f"PRAGMA wal_autocheckpoint={WAL_PAGES}", "PRAGMA journal_size_limit=-1")
_SQLITE = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
    *_ENOUGH_ROOM,
    "PRAGMA temp_store=MEMORY",
    "PRAGMA secure_delete=ON",  # what is erased is overwritten, not only unlinked
)
# Of pages, for each connection. There is one writer; readers may be many, and what they read the system caches too.
_WRITER_CACHE_KIB = 65_536
_READER_CACHE_KIB = 8_192
# A server that is gone is noticed in seconds: nothing is allowed meanwhile, and waiting helps nobody.
_POSTGRES = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}

# Whatever waits for longer than this machine's disk (`remote_apply`) is left as it is.
_WAIT_FOR_COMMITS = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


def sqlite_url(path: Path) -> str:
    """Return the URL of the SQLite database in the file `path`."""
    return f"sqlite:///{path}"


def open_engines(url: str) -> tuple[sa.Engine, sa.Engine]:
    """Return an engine to write and one to read; nothing is connected yet.

    Raises:
        MalformedError: `url` is none, or names another kind of database.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as err:
        raise _bad_url("is no database URL") from err
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise _bad_url("names no file")
        return _sqlite_engine(parsed, "BEGIN IMMEDIATE"), _sqlite_engine(parsed, "BEGIN")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        parsed = parsed.set(drivername="postgresql+psycopg")
        reader = sa.create_engine(
            parsed,
            connect_args=_POSTGRES,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )
        return _postgres_writer(parsed), reader
    raise _bad_url(f"is of the unknown kind `{parsed.drivername[:40]}`")


def _postgres_writer(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args=_POSTGRES, pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - psycopg's, or what stands for it
        connection.execute(_WAIT_FOR_COMMITS)
        connection.commit()

    return engine


def _sqlite_engine(url: sa.URL, begin: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"cached_statements": 512})

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
        for pragma in _SQLITE:
            connection.execute(pragma)
        is_reader = begin == "BEGIN"
        connection.execute(f"PRAGMA cache_size=-{_READER_CACHE_KIB if is_reader else _WRITER_CACHE_KIB}")
        if is_reader:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection  # past SQLAlchemy: this is run for each group of works
        try:
            if begin != "BEGIN":
                _fit_to_disk(connection, raw, Path(str(url.database)).parent)
            raw.execute(begin)
        except sqlite3.Error as err:
            raise exc.DBAPIError(begin, None, err) from err

    return engine


def _fit_to_disk(connection: sa.Connection, raw: sqlite3.Connection, folder: Path) -> None:
    """Let SQLite's write-ahead log grow as far as there is room for."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return  # what is wrong there, the transaction will tell
    has_little = disk.f_bavail * disk.f_frsize < LITTLE_ROOM_BYTES
    if connection.info.get("has_little_room", False) != has_little:
        for pragma in _LITTLE_ROOM if has_little else _ENOUGH_ROOM:
            raw.execute(pragma)
        connection.info["has_little_room"] = has_little


def store_failure(err: exc.SQLAlchemyError | OSError) -> UnavailableError:
    """Return `err`, which befell the whole database, as an error of Charter's family."""
    reason = _reason(err)
    known = (
        ("disk is full", "its disk is full", "free some space; Charter goes on by itself"),
        ("readonly database", "it is read-only", "let Charter's user write to the data folder, then restart"),
        ("unable to open", "its file cannot be opened", "check the data folder's path and permissions"),
        ("locked", "another process holds it", "stop the other process"),
        ("malformed", "its file is damaged", "restore the newest backup"),
        ("not a database", "its file is no database", "restore the newest backup"),
        ("disk i/o error", "its disk fails to read or write", "check the disk and its free space"),
    )
    for sign, what, mend in known:
        if sign in reason:
            return UnavailableError(ErrorCode.STORE_FAILED, f"the database cannot be used: {what}", help=mend)
    return UnavailableError(
        ErrorCode.STORE_FAILED, f"the database cannot be used: {reason}", help="check that the database is running"
    )


def work_failure(err: exc.SQLAlchemyError) -> CharterError:
    """Return `err`, which one work's or reading's own statement caused, as an error of Charter's family."""
    if isinstance(err, exc.IntegrityError):
        return ConflictError(ErrorCode.EXISTS, f"the database refuses the change: {_reason(err)}", help="read again")
    if isinstance(err, exc.DataError):  # too long for its column, out of range, or with a character no text may have
        return MalformedError(
            ErrorCode.BAD_VALUE, "a value does not fit where it is kept", help="send shorter, plainer text"
        )
    return store_failure(err)


def _reason(err: Exception) -> str:
    """Return the first line of what the driver says: the rest may quote values."""
    cause: Any = getattr(err, "orig", None) or err
    lines = str(cause).strip().splitlines()
    return lines[0].lower()[:200] if lines else type(cause).__name__.lower()


def _bad_url(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE, f"the database setting {why}", help="use postgresql://user@host/name, or leave it out"
    )
