"""Notices: what people are told of calls that wait for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "notice",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("approval_id", sa.String(40), sa.ForeignKey("approval.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.String(27), nullable=False),
        sa.Column("error", sa.String(200), nullable=False),
        sa.Column("sent_at", sa.String(27), nullable=True),
        sa.Column("link_digest", sa.String(64), nullable=True, unique=True),
        sa.Column("is_link_spent", sa.Boolean, nullable=False),
        sa.UniqueConstraint("approval_id", "kind", "recipient", name="uq_notice_place"),
    )
