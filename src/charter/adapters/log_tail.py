"""Where the sealed evidence ends, and what the logs have beyond: the tail that review questions sum from rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import APART, octets, whole_data
from charter.adapters.payloads import Payloads
from charter.adapters.review_rows import KINDS
from charter.adapters.sealed import FORMAT, Entry, Manifest, digest
from charter.core.clock import rfc3339
from charter.evidence.entry import EntryKind

_ENTRIES = sa.select(t.evidence_entry.c.index, t.evidence_entry.c.data, *APART)
_TELLS_OF_AN_ERASURE = (t.evidence_entry.c.kind == EntryKind.EVIDENCE_ERASED.value, t.RARE_KIND)


def unsealed(connection: sa.Connection, manifest: Manifest, payloads: Payloads | None) -> Iterator[Entry]:
    """Yield the entries of all nodes' logs that are not sealed, each node's in its order."""
    entry = t.evidence_entry.c
    for (node,) in connection.execute(sa.select(t.evidence_head.c.node).order_by(t.evidence_head.c.node)).all():
        reached = manifest.nodes.get(node)
        query = _ENTRIES.where(entry.node == node, entry.index >= (reached.next if reached else 0))
        yield from _read(connection, node, query.order_by(entry.index), payloads)


def waiting(connection: sa.Connection, manifest: Manifest) -> int:
    """Return how many entries of all nodes' logs are not sealed."""
    heads = connection.execute(sa.select(t.evidence_head.c.node, t.evidence_head.c.size)).all()
    return sum(size - (manifest.nodes[node].next if node in manifest.nodes else 0) for node, size in heads)


def erased(connection: sa.Connection) -> dict[str, int]:
    """Return the last entry of each node's log that tells of an erasure."""
    entry = t.evidence_entry.c
    query = sa.select(entry.node, sa.func.max(entry.index)).where(*_TELLS_OF_AN_ERASURE).group_by(entry.node)
    return {row[0]: row[1] for row in connection.execute(query)}


def days_erased(connection: sa.Connection, manifest: Manifest) -> list[dt.date]:
    """Return the days of which something is sealed that was erased after what the manifest follows."""
    entry, days = t.evidence_entry.c, set[str]()
    for node, reached in manifest.nodes.items():
        told = sa.select(entry.data).where(
            *_TELLS_OF_AN_ERASURE, entry.node == node, entry.index > manifest.erased.get(node, -1)
        )
        for first, last in _joined(
            each for (data,) in connection.execute(told) for each in _erasure(data).body.entries
        ):
            meant = (entry.node == node, entry.index >= first, entry.index <= min(last, reached.next - 1))
            query = sa.select(sa.func.substr(entry.time, 1, 10)).where(*meant, entry.kind.in_(KINDS)).distinct()
            days.update(connection.execute(query).scalars())
    return sorted(map(dt.date.fromisoformat, days))


def sealed_on(
    connection: sa.Connection, manifest: Manifest, day: dt.date, payloads: Payloads | None
) -> Iterator[Entry]:
    """Yield the entries of a day that are sealed, as the logs have them now."""
    entry = t.evidence_entry.c
    since, until = (rfc3339(dt.datetime.combine(day + dt.timedelta(days=n), dt.time(), dt.UTC)) for n in (0, 1))
    for node, reached in manifest.nodes.items():
        within = (entry.node.concat("") == node, entry.time >= since, entry.time < until)  # by the index of times
        yield from _read(connection, node, _ENTRIES.where(*within, entry.index < reached.next), payloads)


def _read(connection: sa.Connection, node: str, query: sa.Select[Any], payloads: Payloads | None) -> Iterator[Entry]:
    for index, data, *apart in connection.execute(query, execution_options={"yield_per": 5_000}):
        yield Entry(node, index, octets(data), whole_data(payloads, (node, index), data, tuple(apart)))


def agrees(connection: sa.Connection, manifest: Manifest) -> bool:
    """Whether what is sealed is what the logs hold, as far as it goes, and nothing of it was erased since."""
    return descends(connection, manifest) and (not manifest.nodes or manifest.erased == erased(connection))


def descends(connection: sa.Connection, manifest: Manifest) -> bool:
    """Whether the logs still hold what was sealed, in the form of now: not so after an older backup was restored."""
    entry, now = t.evidence_entry.c, erased(connection) if manifest.erased else {}
    if manifest.version != FORMAT or any(now.get(node, -1) < index for node, index in manifest.erased.items()):
        return False
    for node, reached in manifest.nodes.items():
        query = sa.select(entry.data).where(entry.node == node, entry.index == reached.next - 1)
        found = connection.execute(query).scalar()
        if found is None or digest(octets(found)) != reached.last:
            return False
    return True


class _Erased(msgspec.Struct):
    entries: list[tuple[int, int]]


class _Erasure(msgspec.Struct):
    body: _Erased


def _erasure(data: bytes | str) -> _Erasure:
    return msgspec.json.decode(octets(data), type=_Erasure)


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ranges (both ends included) in order, those that touch each other as one."""
    begun: tuple[int, int] | None = None
    for first, last in sorted(ranges):
        if begun and first <= begun[1] + 1:
            begun = (begun[0], max(begun[1], last))
            continue
        if begun:
            yield begun
        begun = (first, last)
    if begun:
        yield begun
