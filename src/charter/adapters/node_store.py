"""Remote nodes and join tokens: rows <-> values."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.canonical import canonical
from charter.core.clock import parse_rfc3339, rfc3339
from charter.identity.node import JoinToken, Node
from charter.registry.standing import Standing


class SqlNodes:
    """Nodes and their tokens, on one connection. Satisfies identity.node.NodeStore."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def nodes(self) -> list[Node]:
        """Return every node, by name."""
        query = sa.select(t.node_key).order_by(t.node_key.c.name)
        return [_node(row) for row in self._connection.execute(query)]

    def node(self, name: str) -> Node | None:
        """Return the node of that name."""
        row = self._connection.execute(sa.select(t.node_key).where(t.node_key.c.name == name)).first()
        return _node(row) if row else None

    def put_node(self, node: Node) -> None:
        """Keep a node in place of the one before."""
        self._connection.execute(t.node_key.delete().where(t.node_key.c.name == node.name))
        row = {
            "name": node.name,
            "thumbprint": node.thumbprint,
            "jwk": canonical(dict(node.jwk)).decode(),
            "standing": node.standing.value,
            "joined_at": rfc3339(node.joined_at),
            "since": rfc3339(node.since) if node.since else None,
            "before_jwk": canonical(dict(node.before_jwk)).decode() if node.before_jwk else None,
            "before_until": rfc3339(node.before_until) if node.before_until else None,
            "due_at": rfc3339(node.due_at) if node.due_at else None,
        }
        self._connection.execute(t.node_key.insert(), row)

    def join_token(self, digest: str) -> JoinToken | None:
        """Return the token of that digest."""
        row = self._connection.execute(sa.select(t.join_token).where(t.join_token.c.digest == digest)).first()
        return _token(row) if row else None

    def put_join_token(self, token: JoinToken) -> None:
        """Keep a token in place of the one before."""
        self._connection.execute(t.join_token.delete().where(t.join_token.c.digest == token.digest))
        row = {
            "digest": token.digest,
            "node": token.node,
            "made_at": rfc3339(token.made_at),
            "made_by": token.made_by,
            "expires_at": rfc3339(token.expires_at),
            "used_at": rfc3339(token.used_at) if token.used_at else None,
        }
        self._connection.execute(t.join_token.insert(), row)

    def forget_join_tokens(self, before: dt.datetime) -> None:
        """Forget tokens that ended before."""
        self._connection.execute(t.join_token.delete().where(t.join_token.c.expires_at < rfc3339(before)))


def _node(row: sa.Row[Any]) -> Node:
    return Node(
        name=row.name,
        thumbprint=row.thumbprint,
        jwk=json.loads(row.jwk),
        standing=Standing(row.standing),
        joined_at=parse_rfc3339(row.joined_at),
        since=parse_rfc3339(row.since) if row.since else None,
        before_jwk=json.loads(row.before_jwk) if row.before_jwk else None,
        before_until=parse_rfc3339(row.before_until) if row.before_until else None,
        due_at=parse_rfc3339(row.due_at) if row.due_at else None,
    )


def _token(row: sa.Row[Any]) -> JoinToken:
    return JoinToken(
        digest=row.digest,
        node=row.node,
        made_at=parse_rfc3339(row.made_at),
        made_by=row.made_by,
        expires_at=parse_rfc3339(row.expires_at),
        used_at=parse_rfc3339(row.used_at) if row.used_at else None,
    )
