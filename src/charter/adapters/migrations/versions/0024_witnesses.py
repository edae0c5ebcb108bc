"""Logs whose heads this node cosigns, and the head of its own that witnesses cosigned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "witnessed_log",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=True),
        sa.Column("seen_at", sa.String(27), nullable=True),
    )
    op.create_table(
        "cosigned_head",
        sa.Column("node", sa.String(40), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("cosigned_at", sa.String(27), nullable=False),
    )
