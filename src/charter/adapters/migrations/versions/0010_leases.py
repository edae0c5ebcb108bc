"""Leases: credentials made at systems for one principal each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
_TIME = sa.String(length=27)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "lease",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("system", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("system_body", sa.Text(), nullable=False),
        sa.Column("system_digest", sa.String(length=71), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ttl_seconds", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("issued_at", _TIME, nullable=True),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("seen_missing", sa.Integer(), nullable=False),
        sa.Column("tidy_at", _TIME, nullable=True),
        sa.Column("changed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name=op.f("fk_lease_principal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
    )
    for column in ("principal_id", "system", "state", "tidy_at"):
        op.create_index(op.f(f"ix_lease_{column}"), "lease", [column])
