"""Migrations give exactly the tables the code works with, all or nothing, and know a database that is newer."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from charter.adapters import migrations
from charter.adapters.engine import open_engines
from charter.adapters.migrations import migrate, revisions
from charter.adapters.tables import metadata
from charter.core.errors import ErrorCode, UnavailableError
from databases import a_database, a_draft

VERSIONS = sorted(path.name[:4] for path in (Path(migrations.__file__).parent / "versions").glob("0*.py"))


@pytest.fixture
def engine(empty_url: str) -> sa.Engine:
    writer, _ = open_engines(empty_url)
    return writer


def test_the_migrated_tables_are_those_of_the_code(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_indexes_keep_their_conditions(engine: sa.Engine) -> None:
    """What `compare_metadata` does not look at: the index of rare kinds must not hold the common ones."""
    migrate(engine)
    found = {index["name"]: index for index in sa.inspect(engine).get_indexes("evidence_entry")}
    condition = str(found["ix_evidence_entry_kind"]["dialect_options"][f"{engine.dialect.name}_where"])
    assert "verdict" in condition
    assert "outcome" in condition
    engine.dispose()


def test_migrating_again_changes_nothing(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(
            metadata.tables["feed"].insert(), dict.fromkeys(("kind", "subject", "at", "actor", "reason"), "x")
        )
    migrate(engine)
    with engine.begin() as connection:
        assert len(connection.execute(sa.select(metadata.tables["feed"])).all()) == 1
    engine.dispose()


def test_a_database_of_a_newer_charter_is_refused(tmp_path: Path, database_url: str) -> None:
    with a_database(tmp_path, url=database_url) as database:
        database.write(lambda tx: tx.record(a_draft()))
        database.write(
            lambda tx: tx.connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")) and None
        )
    said = f"a newer Charter made the database: it has version `9999`, this one knows up to `{VERSIONS[-1]}`"
    with pytest.raises(UnavailableError, match=said) as caught, a_database(tmp_path, url=database_url):
        pass
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_a_migration_that_breaks_off_leaves_nothing(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = command.upgrade

    def break_off(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type] # whatever was given
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "upgrade", break_off)
    with pytest.raises(KeyboardInterrupt):
        migrate(engine)
    assert sa.inspect(engine).get_table_names() == []
    monkeypatch.undo()
    migrate(engine)
    assert "evidence_entry" in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_the_scripts_are_part_of_the_package() -> None:
    folder = Path(migrations.__file__).parent
    assert (folder / "env.py").is_file()
    assert (folder / "script.py.mako").is_file()
    assert (folder / "versions" / "0001_first_tables.py").is_file()


def test_the_scripts_are_one_chain_in_the_order_of_their_numbers() -> None:
    scripts = ScriptDirectory.from_config(migrations._config())
    found = [(script.revision, script.down_revision) for script in scripts.walk_revisions()]
    assert found == list(zip(reversed(VERSIONS), [*reversed(VERSIONS[:-1]), None], strict=True))
    assert list(revisions()) == VERSIONS
