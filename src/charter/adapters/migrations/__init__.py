"""Migrations: bring a database's tables to the version this Charter knows, all or nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from charter.core.errors import ErrorCode, UnavailableError

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
    found = MigrationContext.configure(connection).get_current_revision()
    scripts = _scripts()
    newest = scripts.get_current_head()
    if found == newest:
        return
    known = {script.revision for script in scripts.walk_revisions()}
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


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "charter.adapters:migrations")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
