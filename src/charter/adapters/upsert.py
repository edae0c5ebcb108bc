"""Insertions that say what happens to a row that is there already, in the words of the database at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def insertion(dialect: sa.Dialect) -> Callable[[sa.Table], sqlite.Insert | postgresql.Insert]:
    """Return what begins an insertion into a table: with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if dialect.name != "postgresql":
        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert
