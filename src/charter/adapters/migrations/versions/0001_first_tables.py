"""The first tables, as the first release had them. Written out: later changes of tables.py must not change it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _registry()
    _changes()
    _identity()
    _gateway()
    _evidence()


def _registry() -> None:
    """What is governed."""
    op.create_table(
        "principal",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("spiffe_id", sa.String(length=2048), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("environment", sa.String(length=16), nullable=False),
        sa.Column("owner_person", sa.String(length=254), nullable=False),
        sa.Column("owner_team", sa.String(length=63), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("expires", sa.String(length=10), nullable=False),
        sa.Column("managed_by", sa.String(length=16), nullable=False),
        sa.Column("applied_digest", sa.String(length=71), nullable=True),
        sa.Column("registered_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_principal"),
        sa.UniqueConstraint("name", name="uq_principal_name"),
        sa.UniqueConstraint("spiffe_id", name="uq_principal_spiffe_id"),
    )
    op.create_table(
        "charter_version",
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("charter", sa.Text(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.String(length=27), nullable=False),
        sa.Column("applied_by", sa.String(length=254), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name="fk_charter_version_principal_id"),
        sa.PrimaryKeyConstraint("principal_id", "version", name="pk_charter_version"),
    )
    op.create_index("ix_charter_version_digest", "charter_version", ["digest"], unique=False)
    op.create_table(
        "system",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("managed_by", sa.String(length=16), nullable=False),
        sa.Column("applied_digest", sa.String(length=71), nullable=True),
        sa.Column("applied_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_system"),
    )
    op.create_table(
        "estate_part",
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("applied_digest", sa.String(length=71), nullable=True),
        sa.Column("applied_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_estate_part"),
    )


def _changes() -> None:
    """What was found, and what changed."""
    op.create_table(
        "finding",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("fingerprint", sa.String(length=71), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=True),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_finding"),
        sa.UniqueConstraint("fingerprint", name="uq_finding_fingerprint"),
    )
    op.create_index("ix_finding_state", "finding", ["state"], unique=False)
    op.create_table(
        "feed",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_feed"),
    )


def _identity() -> None:
    """How it is proved who somebody is."""
    op.create_table(
        "client_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("thumbprint", sa.String(length=64), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("registered_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name="fk_client_key_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_client_key"),
        sa.UniqueConstraint("thumbprint", name="uq_client_key_thumbprint"),
    )
    op.create_index("ix_client_key_principal_id", "client_key", ["principal_id"], unique=False)
    op.create_table(
        "used_assertion",
        sa.Column("thumbprint", sa.String(length=64), nullable=False),
        sa.Column("jti_digest", sa.String(length=71), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("thumbprint", "jti_digest", name="pk_used_assertion"),
    )
    op.create_index("ix_used_assertion_expires_at", "used_assertion", ["expires_at"], unique=False)
    op.create_table(
        "revoked_token",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revoked_token"),
    )
    op.create_index("ix_revoked_token_expires_at", "revoked_token", ["expires_at"], unique=False)
    op.create_table(
        "signing_key",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("use", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=True),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("retire_after", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signing_key"),
    )


def _gateway() -> None:
    """What calls need and use up."""
    op.create_table(
        "approval",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("call_digest", sa.String(length=71), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("verdict_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name="fk_approval_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_approval"),
    )
    op.create_index("ix_approval_call_digest", "approval", ["call_digest"], unique=False)
    op.create_index("ix_approval_principal_id", "approval", ["principal_id"], unique=False)
    op.create_index("ix_approval_state", "approval", ["state"], unique=False)
    op.create_table(
        "limit_usage",
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("window_start", sa.Integer(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", "key", "window_start", name="pk_limit_usage"),
    )


def _evidence() -> None:
    """The log."""
    op.create_table(
        "node",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node"),
        sa.UniqueConstraint("origin", name="uq_node_origin"),
    )
    op.create_table(
        "evidence_entry",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.String(length=27), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node", "index", name="pk_evidence_entry"),
    )
    op.create_index(
        "ix_evidence_entry_kind",
        "evidence_entry",
        ["kind", "time"],
        unique=False,
        sqlite_where=sa.text("(kind NOT IN ('verdict', 'outcome'))"),
        postgresql_where=sa.text("(kind NOT IN ('verdict', 'outcome'))"),
    )
    op.create_index("ix_evidence_entry_principal_id", "evidence_entry", ["principal_id", "time"], unique=False)
    op.create_index("ix_evidence_entry_time", "evidence_entry", ["time"], unique=False)
    op.create_table(
        "evidence_tile",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node", "level", "index", name="pk_evidence_tile"),
    )
    op.create_table(
        "evidence_checkpoint",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "size", name="pk_evidence_checkpoint"),
    )
    op.create_table(
        "evidence_head",
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_evidence_head"),
    )
