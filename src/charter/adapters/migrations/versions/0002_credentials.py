"""Terms of credentials, and certificates beside client keys.

A principal that has a key has obtained plain bearer tokens, perhaps: until its charter's next version it may go on to
(docs/adr/0010-bearer-tokens-by-charter.md). Every other one is bound from now on.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
_BATCH = 2_000
_READ = sa.text(
    "SELECT p.id, v.charter, (SELECT COUNT(*) FROM client_key k WHERE k.principal_id = p.id) AS keys FROM principal p"
    " JOIN charter_version v ON v.principal_id = p.id AND v.version = p.version WHERE p.id > :after"
    " ORDER BY p.id LIMIT :batch"
)
_WRITE = sa.text("UPDATE principal SET terms = :terms WHERE id = :id")


def upgrade() -> None:
    """Add the columns, and the terms of those who are registered."""
    op.add_column("principal", sa.Column("terms", sa.Text(), nullable=True))
    op.add_column("client_key", sa.Column("certificate", sa.Text(), nullable=True))
    _fill_terms()


def _fill_terms() -> None:
    connection, after = op.get_bind(), ""
    while True:
        found = connection.execute(_READ, {"after": after, "batch": _BATCH}).all()
        if not found:
            return
        connection.execute(_WRITE, [{"id": row.id, "terms": _terms(row.charter, row.keys)} for row in found])
        after = found[-1].id


def _terms(charter: str, keys: int) -> str:
    bearing = "grandfathered" if keys else "bound"
    return json.dumps({"bearing": bearing, "type": json.loads(charter)["credential"]["type"]}, separators=(",", ":"))
