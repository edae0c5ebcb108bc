"""Remote nodes and join tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "node_key",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("thumbprint", sa.String(length=64), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("joined_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_node_key"),
    )
    op.create_table(
        "join_token",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("node", sa.String(length=63), nullable=False),
        sa.Column("made_at", sa.String(length=27), nullable=False),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("used_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_join_token"),
    )
    op.create_index("ix_join_token_expires_at", "join_token", ["expires_at"], unique=False)
