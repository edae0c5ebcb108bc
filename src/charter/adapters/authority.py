"""What principals may do now and since when as a table, kept in blocks of principals.

INVARIANT: a change of a charter, a standing or a system that is committed is in the next table. What it costs is the
blocks that it touches: that of the principal, or those of principals whose charters name the system.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.applied_charters import MAY_ACT, Moments, charters_of
from charter.core.clock import rfc3339

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 32  # principals: few enough to be made again in some milliseconds, enough for tables of thousands of rows
KEPT_BYTES = 256 * 1024 * 1024  # of all blocks: some four million pieces; what is beyond is made each time
CLOCKS = 2  # of a block: that many periods by turns, whose ends have other hours of summer time
Systems = Mapping[str, tuple[str, str]]  # name -> digest and standing
Narrowed = Mapping[str, str | None]
_TO_NOTHING: Narrowed = MappingProxyType({})


class _Person(NamedTuple):
    """What tells a principal with its charter in force from another."""

    id: str
    principal: str
    team: str
    kind: str
    standing: str
    version: int


@dataclass(frozen=True, slots=True)
class _Block:
    """What some principals are permitted, and what it was made of.

    It holds for every period that ends after `newest`, by clocks that stand alike.
    """

    who: bytes
    systems: Mapping[str, tuple[str, str] | None]
    newest: str
    clocks: Mapping[str, tuple[dt.timedelta | None, ...]]
    table: pa.Table
    nbytes: int

    def is_of(self, who: bytes, systems: Systems) -> bool:
        """Whether it was made of what there is now."""
        return self.who == who and all(systems.get(name) == found for name, found in self.systems.items())

    def holds(self, moments: Moments) -> bool:
        """Whether it is what would be made for this period, as long as it is of what there is now."""
        return rfc3339(moments[1]) > self.newest and self.clocks == _clocks(self.clocks, moments)


class Authority:
    """What is permitted, kept as long as what it was made of stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[_Block, ...]] = {}  # of each block, the last one made first
        self._bytes = 0

    def table(
        self, connection: sa.Connection, since: dt.datetime, until: dt.datetime, narrowed: Narrowed = _TO_NOTHING
    ) -> pa.Table:
        """Return what principals who may act now were permitted before `until`, columns `AUTHORITY`.

        Where `narrowed` names a team, kind or principal, some of whom it leaves out may be in it all the same.
        """
        from charter.adapters.authority_table import whole  # loads what is loaded for review questions alone

        moments = (since, until)
        with self._lock:
            systems = _systems(connection)
            return whole(
                self._block(connection, number, people, systems, moments)
                for number, people in enumerate(_blocks(connection))
                if _has_any(people, narrowed)
            )

    def _block(
        self, connection: sa.Connection, number: int, people: Sequence[_Person], systems: Systems, moments: Moments
    ) -> pa.Table:
        who = sha256(msgspec.json.encode(people)).digest()
        fresh = [each for each in self._kept.get(number, ()) if each.is_of(who, systems)]
        found = next((each for each in fresh if each.holds(moments)), None)
        if found is None:
            able = [each.id for each in people if each.standing in MAY_ACT]
            found = _made(connection, able, who, systems, moments)
            self._keep(number, fresh, found if rfc3339(moments[1]) > found.newest else None)
        return found.table

    def _keep(self, number: int, fresh: Sequence[_Block], made: _Block | None) -> None:
        """Keep of a block what still holds and, if there is room, what was made."""
        before = self._kept.get(number, ())
        kept = (made, *fresh)[:CLOCKS] if made else tuple(fresh)
        total = self._bytes + sum(each.nbytes for each in kept) - sum(each.nbytes for each in before)
        if total > KEPT_BYTES:
            kept = tuple(fresh)
            total = self._bytes + sum(each.nbytes for each in kept) - sum(each.nbytes for each in before)
        self._kept[number], self._bytes = kept, total


def _made(
    connection: sa.Connection, principals: Sequence[str], who: bytes, systems: Systems, moments: Moments
) -> _Block:
    from charter.adapters.authority_table import table_of

    charters = charters_of(connection, principals)
    table = table_of(charters.permissions(moments))
    named = {name: systems.get(name) for name in charters.named}
    return _Block(who, named, charters.newest, _clocks(charters.zones, moments), table, table.nbytes)


def _blocks(connection: sa.Connection) -> list[list[_Person]]:
    """Return all principals in blocks. They are never removed, and who comes is last by id: the others stay put."""
    of = t.principal.c
    query = sa.select(of.id, of.name, of.owner_team, of.kind, of.standing, of.version).order_by(of.id)
    people = [_Person(*row) for row in connection.execute(query)]
    return [people[at : at + BLOCK] for at in range(0, len(people), BLOCK)]


def _has_any(people: Sequence[_Person], narrowed: Narrowed) -> bool:
    asked = [(name, narrowed.get(name)) for name in ("principal", "team", "kind") if narrowed.get(name)]
    return any(all(getattr(each, name) == value for name, value in asked) for each in people)


def _systems(connection: sa.Connection) -> Systems:
    query = sa.select(t.system.c.name, t.system.c.digest, t.system.c.standing)
    return {name: (digest, standing) for name, digest, standing in connection.execute(query)}


def _clocks(zones: Iterable[str], moments: Moments) -> dict[str, tuple[dt.timedelta | None, ...]]:
    return {name: tuple(at.astimezone(ZoneInfo(name)).utcoffset() for at in moments) for name in zones}
