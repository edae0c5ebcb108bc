"""Pinned compositions, and what holds a principal's standing down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and create the table."""
    op.add_column("principal", sa.Column("held", sa.Text(), nullable=True))
    op.create_table(
        "composition",
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name=op.f("fk_composition_principal_id")),
        sa.PrimaryKeyConstraint("principal_id", name=op.f("pk_composition")),
    )
