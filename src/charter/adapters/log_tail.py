"""Where the sealed evidence ends, and what the logs have beyond: the tail that review questions sum from rows."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import APART, octets, whole_data
from charter.adapters.payloads import Payloads
from charter.adapters.sealed import FORMAT, Entry, Manifest, digest
from charter.evidence.entry import EntryKind


def unsealed(connection: sa.Connection, manifest: Manifest, payloads: Payloads | None) -> Iterator[Entry]:
    """Yield the entries of all nodes' logs that are not sealed, each node's in its order."""
    entry = t.evidence_entry.c
    for (node,) in connection.execute(sa.select(t.evidence_head.c.node).order_by(t.evidence_head.c.node)).all():
        reached = manifest.nodes.get(node)
        query = sa.select(entry.index, entry.data, *APART).where(
            entry.node == node, entry.index >= (reached.next if reached else 0)
        )
        for index, data, *apart in connection.execute(
            query.order_by(entry.index), execution_options={"yield_per": 5_000}
        ):
            yield Entry(node, index, octets(data), whole_data(payloads, (node, index), data, tuple(apart)))


def waiting(connection: sa.Connection, manifest: Manifest) -> int:
    """Return how many entries of all nodes' logs are not sealed."""
    heads = connection.execute(sa.select(t.evidence_head.c.node, t.evidence_head.c.size)).all()
    return sum(size - (manifest.nodes[node].next if node in manifest.nodes else 0) for node, size in heads)


def erasures(connection: sa.Connection) -> int:
    """Return how many erasures the logs tell of."""
    entry = t.evidence_entry.c
    query = sa.select(sa.func.count()).where(entry.kind == EntryKind.EVIDENCE_ERASED.value, t.RARE_KIND)
    return int(connection.execute(query).scalar_one())


def agrees(connection: sa.Connection, manifest: Manifest) -> bool:
    """Whether the logs still hold what was sealed, in the form of now: not so after an older backup or an erasure."""
    if manifest.nodes and manifest.erasures != erasures(connection):
        return False
    entry = t.evidence_entry.c
    if manifest.version != FORMAT:
        return False
    for node, reached in manifest.nodes.items():
        query = sa.select(entry.data).where(entry.node == node, entry.index == reached.next - 1)
        found = connection.execute(query).scalar()
        if found is None or digest(octets(found)) != reached.last:
            return False
    return True
