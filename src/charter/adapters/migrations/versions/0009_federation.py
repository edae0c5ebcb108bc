"""The trust domains we federate with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "federation",
        sa.Column("trust_domain", sa.String(length=255), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("profile", sa.String(length=16), nullable=False),
        sa.Column("endpoint_id", sa.String(length=2048), nullable=True),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("added_at", sa.String(length=27), nullable=False),
        sa.Column("added_by", sa.String(length=254), nullable=False),
        sa.Column("asked_at", sa.String(length=27), nullable=True),
        sa.Column("refreshed_at", sa.String(length=27), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("trust_domain", name="pk_federation"),
    )
