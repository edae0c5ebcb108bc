"""Alembic's environment: runs the scripts on the connection, and in the transaction, that `migrate` hands over."""

from __future__ import annotations

from alembic import context

from charter.adapters.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
