"""Delegations, and which of them are switched off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "delegation",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("parent", sa.String(length=40), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("initiator", sa.String(length=254), nullable=False),
        sa.Column("lender", sa.String(length=254), nullable=False),
        sa.Column("borrower", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("control_plane", sa.String(length=2048), nullable=False),
        sa.Column("purpose", sa.String(length=63), nullable=False),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("lender_epoch", sa.Integer(), nullable=True),
        sa.Column("lender_credential", sa.String(length=64), nullable=True),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("proof_digest", sa.String(length=43), nullable=True),
        sa.Column("withdrawn_at", sa.String(length=27), nullable=True),
        sa.Column("withdrawn_by", sa.String(length=254), nullable=True),
        sa.ForeignKeyConstraint(["parent"], ["delegation.id"], name="fk_delegation_parent"),
        sa.PrimaryKeyConstraint("id", name="pk_delegation"),
    )
    for column in ("parent", "lender", "borrower", "purpose", "expires_at"):
        op.create_index(f"ix_delegation_{column}", "delegation", [column], unique=False)
    op.create_table(
        "delegation_switch",
        sa.Column("lender", sa.String(length=254), nullable=False),
        sa.Column("borrower", sa.String(length=40), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("lender", "borrower", name="pk_delegation_switch"),
    )
