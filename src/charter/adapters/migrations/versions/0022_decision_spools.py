"""Spools of programs that decide by the policies they carry: how far each is recorded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "decision_spool",
        sa.Column("principal_id", sa.String(40), primary_key=True),
        sa.Column("spool", sa.String(40), primary_key=True),
        sa.Column("through", sa.BigInteger, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
    )
    op.create_index("ix_decision_spool_at", "decision_spool", ["at"])
