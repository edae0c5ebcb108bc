"""Systems and files as they held: what verdicts rested on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and begin it with what holds now."""
    op.create_table(
        "estate_history",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("since_node", sa.String(length=40), nullable=False),
        sa.Column("since_index", sa.BigInteger(), nullable=False),
        sa.Column("since_at", sa.String(length=27), nullable=False),
        sa.Column("until_node", sa.String(length=40), nullable=True),
        sa.Column("until_index", sa.BigInteger(), nullable=True),
        sa.Column("until_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_estate_history"),
    )
    op.create_index("ix_estate_history_name", "estate_history", ["kind", "name"], unique=False)
    columns = "kind, name, digest, body, since_node, since_index, since_at"
    op.execute(
        f"INSERT INTO estate_history ({columns}) "  # noqa: S608 - two constants
        "SELECT 'system', name, digest, body, '', -1, applied_at FROM system WHERE standing <> 'retired'"
    )
    op.execute(
        f"INSERT INTO estate_history ({columns}) "  # noqa: S608
        "SELECT kind, path, digest, body, '', -1, applied_at FROM estate_part "
        "WHERE kind IN ('guardrail', 'rules', 'teams')"
    )
