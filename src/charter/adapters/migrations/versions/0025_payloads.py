"""Payloads of evidence that can be erased, and holds on them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables. Entries that are there already keep what they say in their hashed bytes."""
    op.add_column("evidence_entry", sa.Column("salt", sa.LargeBinary, nullable=True))
    op.add_column("evidence_entry", sa.Column("payload", sa.LargeBinary, nullable=True))
    op.add_column("evidence_entry", sa.Column("payload_key", sa.Integer, nullable=True))
    op.add_column("evidence_entry", sa.Column("erased_by", sa.BigInteger, nullable=True))
    op.create_table(
        "evidence_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "evidence_hold",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("principal_id", sa.String(40), nullable=True),
        sa.Column("system", sa.String(63), nullable=True),
        sa.Column("person", sa.String(254), nullable=True),
        sa.Column("since", sa.String(27), nullable=True),
        sa.Column("until", sa.String(27), nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed_by", sa.String(254), nullable=False),
        sa.Column("placed_at", sa.String(27), nullable=False),
        sa.Column("released_by", sa.String(254), nullable=True),
        sa.Column("released_at", sa.String(27), nullable=True),
        sa.Column("release_reason", sa.Text, nullable=True),
    )
