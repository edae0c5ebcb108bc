"""When credentials end and are due: client keys, provisioners, nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("client_key", sa.Column("ends_at", sa.String(length=27), nullable=True))
    op.add_column("client_key", sa.Column("replaced_by", sa.String(length=64), nullable=True))
    op.add_column("client_key", sa.Column("due_at", sa.String(length=27), nullable=True))
    op.add_column("provisioner", sa.Column("since", sa.String(length=27), nullable=True))
    op.add_column("provisioner", sa.Column("before_digest", sa.String(length=71), nullable=True))
    op.add_column("provisioner", sa.Column("before_until", sa.String(length=27), nullable=True))
    op.add_column("node_key", sa.Column("since", sa.String(length=27), nullable=True))
    op.add_column("node_key", sa.Column("before_jwk", sa.Text(), nullable=True))
    op.add_column("node_key", sa.Column("before_until", sa.String(length=27), nullable=True))
    op.add_column("node_key", sa.Column("due_at", sa.String(length=27), nullable=True))
