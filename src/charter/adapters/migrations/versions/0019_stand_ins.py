"""Stand-ins: who answers in whose roles while they are away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "stand_in",
        sa.Column("person", sa.String(254), primary_key=True),
        sa.Column("stand_in", sa.String(254), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("made_at", sa.String(27), nullable=False),
    )
