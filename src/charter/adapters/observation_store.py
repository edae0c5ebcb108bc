"""Events of others that stand in the evidence, the actors that people identified, and who may send spans."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.upsert import insertion
from charter.core.clock import parse_rfc3339, rfc3339
from charter.registry.span_source import SpanSource
from charter.registry.standing import Standing

_event, _known = t.observed_event.c, t.known_actor.c


class SqlObservations:
    """What is kept of observations, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def digests(self, identities: Sequence[str]) -> dict[str, str]:
        """Return what was told of those of these events that stand in the evidence already."""
        query = sa.select(_event.identity, _event.digest).where(_event.identity.in_(identities))
        return {str(identity): str(digest) for identity, digest in self._connection.execute(query)}

    def add(self, events: Sequence[tuple[str, str]]) -> None:
        """Remember events: the identity and digest of each."""
        if events:
            rows = [{"identity": identity, "digest": digest} for identity, digest in events]
            self._connection.execute(t.observed_event.insert(), rows)

    def forget(self, identities: Sequence[str]) -> None:
        """Forget that these events stand in the evidence: told again, they would be added again."""
        if identities:
            self._connection.execute(t.observed_event.delete().where(_event.identity.in_(identities)))

    def known(self) -> dict[tuple[str, str], str]:
        """Return the ids of the principals that people said actors are, by source and actor."""
        rows = self._connection.execute(sa.select(_known.source, _known.actor, _known.principal_id))
        return {(source, actor): principal for source, actor, principal in rows}

    def identify(self, source: str, actor: str, principal_id: str, by: str, at: str) -> None:
        """Keep a person's word that an actor is a principal, in place of an earlier one."""
        values = {"source": source, "actor": actor, "principal_id": principal_id, "said_by": by, "said_at": at}
        statement = insertion(self._connection.dialect)(t.known_actor).values(values)
        said = {"principal_id": principal_id, "said_by": by, "said_at": at}
        self._connection.execute(statement.on_conflict_do_update(index_elements=["source", "actor"], set_=said))

    def sources(self) -> list[SpanSource]:
        """Return every application that was given a key, by name."""
        rows = self._connection.execute(sa.select(t.span_source).order_by(t.span_source.c.name))
        return [
            SpanSource(
                row.id, row.name, row.key_digest, Standing(row.standing), row.made_by, parse_rfc3339(row.made_at)
            )
            for row in rows
        ]

    def keep_source(self, source: SpanSource) -> None:
        """Keep an application, new or changed."""
        values = {
            "id": source.id,
            "name": source.name,
            "key_digest": source.key_digest,
            "standing": source.standing.value,
            "made_by": source.made_by,
            "made_at": rfc3339(source.made_at),
        }
        statement = insertion(self._connection.dialect)(t.span_source).values(values)
        changed = {"standing": source.standing.value, "key_digest": source.key_digest}
        self._connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))
