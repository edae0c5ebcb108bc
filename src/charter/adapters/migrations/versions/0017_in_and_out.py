"""Sinks of evidence with their cursors, events that others told of, and who they told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "evidence_sink",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=2048), nullable=False),
        sa.Column("form", sa.String(length=16), nullable=False),
        sa.Column("secret_env", sa.String(length=128), nullable=True),
        sa.Column("added_by", sa.String(length=254), nullable=False),
        sa.Column("added_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_evidence_sink")),
    )
    op.create_table(
        "evidence_cursor",
        sa.Column("sink", sa.String(length=63), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["sink"], ["evidence_sink.name"], name=op.f("fk_evidence_cursor_sink")),
        sa.PrimaryKeyConstraint("sink", "node", name=op.f("pk_evidence_cursor")),
    )
    op.create_table(
        "observed_event",
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_observed_event")),
    )
    op.create_table(
        "known_actor",
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=512), nullable=False),
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("said_by", sa.String(length=254), nullable=False),
        sa.Column("said_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name=op.f("fk_known_actor_principal_id")),
        sa.PrimaryKeyConstraint("source", "actor", name=op.f("pk_known_actor")),
    )
    op.create_table(
        "span_source",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("key_digest", sa.String(length=71), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("made_by", sa.String(length=254), nullable=False),
        sa.Column("made_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_span_source")),
        sa.UniqueConstraint("key_digest", name=op.f("uq_span_source_key_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_span_source_name")),
    )
