"""Behaviour: baselines, signals, what owners accept, and what rules did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "behaviour_cursor",
        sa.Column("node", sa.String(40), primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("silent", sa.BigInteger, nullable=False),
        sa.Column("moved_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "behaviour_baseline",
        sa.Column("node", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(80), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("kept_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "behaviour_signal",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("principal_id", sa.String(40), nullable=False, index=True),
        sa.Column("finding_id", sa.String(40), nullable=False, index=True),
        sa.Column("at", sa.String(27), nullable=False, index=True),
        sa.Column("noticed_at", sa.String(27), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "behaviour_accepted",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("principal_id", sa.String(40), nullable=False, index=True),
        sa.Column("feature", sa.String(16), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("accepted_by", sa.String(254), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("accepted_at", sa.String(27), nullable=False),
    )
    op.create_table(
        "response",
        sa.Column("finding_id", sa.String(40), primary_key=True),
        sa.Column("principal_id", sa.String(40), nullable=False, index=True),
        sa.Column("rule", sa.String(63), nullable=False),
        sa.Column("does", sa.String(16), nullable=False),
        sa.Column("began_at", sa.String(27), nullable=False),
        sa.Column("until", sa.String(27), nullable=True),
    )
