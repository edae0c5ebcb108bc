"""Clients of people: registrations, consent codes, refresh tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "registered_client",
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("redirects", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name="fk_registered_client_principal_id"),
        sa.PrimaryKeyConstraint("client_id", name="pk_registered_client"),
    )
    op.create_index("ix_registered_client_principal_id", "registered_client", ["principal_id"])
    op.create_table(
        "consent_code",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("delegation_id", sa.String(length=40), nullable=False),
        sa.Column("resource", sa.String(length=2048), nullable=False),
        sa.Column("redirect_uri", sa.String(length=2048), nullable=True),
        sa.Column("challenge", sa.String(length=43), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("is_used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_consent_code"),
    )
    op.create_index("ix_consent_code_expires_at", "consent_code", ["expires_at"])
    op.create_table(
        "refresh_token",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("family", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=2048), nullable=False),
        sa.Column("bound_to", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_token"),
    )
    op.create_index("ix_refresh_token_family", "refresh_token", ["family"])
    op.create_index("ix_refresh_token_expires_at", "refresh_token", ["expires_at"])
