"""Statements compiled once: the hot path of the writer hands ready SQL to the driver.

SQLAlchemy builds, hashes, looks up and wraps each statement anew, which costs more than a small commit itself. The
statements are still written in its Core, so that one text serves SQLite and PostgreSQL, and what the driver raises
still becomes SQLAlchemy's error, which `store_failure` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

Cursor = Any  # the driver's own


class Compiled:
    """One statement in the SQL and the parameter style of one database."""

    def __init__(self, statement: sa.ClauseElement, dialect: sa.Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._names: Sequence[str] | None = compiled.positiontup

    def one(self, cursor: Cursor, values: Mapping[str, Any]) -> None:
        """Execute with `values`."""
        cursor.execute(self._sql, self._parameters(values))

    def many(self, cursor: Cursor, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once for each of `rows`."""
        cursor.executemany(self._sql, [self._parameters(row) for row in rows])

    def _parameters(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a tuple or a dict, as the driver wants
        return values if self._names is None else tuple([values[name] for name in self._names])


@contextmanager
def batch(connection: sa.Connection) -> Iterator[Callable[[], Cursor]]:
    """Give a maker of cursors in the transaction of `connection`; what they executed is certain at the end.

    PostgreSQL is sent all statements of the batch at once, so a batch costs one round trip and not one a statement.

    Raises:
        IntegrityError: SQLAlchemy's, when a row is there already.
        DBAPIError: the database failed.
    """
    raw: Any = connection.connection.driver_connection
    driver: Any = connection.dialect.loaded_dbapi
    try:
        if connection.dialect.name == "postgresql":
            with raw.pipeline():
                yield raw.cursor
        else:
            yield raw.cursor
    except driver.IntegrityError as err:
        raise exc.IntegrityError(None, None, err) from err
    except driver.Error as err:
        raise exc.DBAPIError(None, None, err) from err
