"""Erasures that are under way, and how far each rule of retention was carried out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "evidence_erasure",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("node", sa.String(40), nullable=False),
        sa.Column("cover", sa.Text, nullable=False),
        sa.Column("actor", sa.String(254), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("reached", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("asked_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "evidence_retention",
        sa.Column("node", sa.String(40), primary_key=True),
        sa.Column("rule", sa.String(128), primary_key=True),
        sa.Column("reached", sa.BigInteger, nullable=False),
        sa.Column("swept_at", sa.String(27), nullable=True),
    )
