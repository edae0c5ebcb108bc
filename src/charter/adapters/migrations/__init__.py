"""Migrations: bring a database's tables to the version this Charter knows, all or nothing."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import sqlalchemy as sa

from charter.core.errors import ErrorCode, UnavailableError

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION = sa.table("alembic_version", sa.column("version_num"))
_LOCK = 0x636861727465  # one node migrates at a time


def migrate(engine: sa.Engine) -> None:
    """Upgrade the database to the newest version.

    Raises:
        UnavailableError: a newer Charter made the database.
    """
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        upgrade(connection)


def upgrade(connection: sa.Connection) -> None:
    """Upgrade the database inside the transaction of `connection`."""
    found, known = _found(connection), revisions()
    newest = known[-1]
    if found == newest:
        return
    if found is not None and found not in known:
        raise UnavailableError(
            ErrorCode.UNSUPPORTED,
            f"a newer Charter made the database: it has version `{found[:32]}`, this one knows up to `{newest}`",
            help="install that Charter, or restore a backup from before its upgrade",
        )
    config = _config()
    config.attributes["connection"] = connection
    from alembic import command

    command.upgrade(config, "head")


def _found(connection: sa.Connection) -> str | None:
    """Return the version of the database; None: it is empty."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(sa.select(_VERSION.c.version_num))


@cache
def revisions() -> tuple[str, ...]:
    """Return the versions this Charter knows, in order: each script's name begins with its own.

    Alembic is asked for nothing but the steps between them: to load it costs more than to open an up-to-date database.
    """
    scripts = files(__name__) / "versions"
    names = (each.name.partition("_")[0] for each in scripts.iterdir() if each.name.endswith(".py"))
    return tuple(sorted(name for name in names if name))


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "charter.adapters:migrations")
    return config
