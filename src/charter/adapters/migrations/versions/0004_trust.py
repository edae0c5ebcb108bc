"""Authorities of the trust domain, and trust bundles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "x509_authority",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("trust_domain", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("signs_from", sa.String(length=27), nullable=True),
        sa.Column("retire_after", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_x509_authority"),
    )
    op.create_table(
        "trust_bundle",
        sa.Column("trust_domain", sa.String(length=255), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("taken_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("trust_domain", name="pk_trust_bundle"),
    )
