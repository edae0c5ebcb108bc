"""Codes bound to the key of who asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("consent_code", sa.Column("proof_key", sa.String(length=43), nullable=True))
