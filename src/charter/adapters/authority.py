"""What principals may do now and since when, from the versions of their charters, for the review questions."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.core.clock import parse_rfc3339, rfc3339
from charter.registry.field import Hours
from charter.registry.own_policy import permitted
from charter.registry.standing import Standing
from charter.registry.system import below
from charter.reports.permissions import AppliedVersion, Aspect, Permission, Reach, in_force
from charter.reports.reach import delegations, hours_utc, ranges

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_BYTES = 128 * 1024 * 1024  # of a table that is kept: some three million pieces
_MAY_ACT = (Standing.ACTIVE.value, Standing.RESTRAINED.value)


class _When(msgspec.Struct):
    hours: str | None = None


class _Grant(msgspec.Struct):
    system: str
    actions: tuple[str, ...]
    objects: tuple[str, ...] = ("*",)
    under: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    when: _When | None = None


class _Terms(msgspec.Struct):
    source: tuple[str, ...] = msgspec.field(default=(), name="from")
    to: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


class _Charter(msgspec.Struct):
    data: tuple[str, ...] = ()
    grants: tuple[_Grant, ...] = ()
    delegation: _Terms | None = None
    policy: str | None = None


class _Action(msgspec.Struct):
    effect: str


class _Group(msgspec.Struct):
    objects: tuple[str, ...] = ()
    under: tuple[str, ...] | None = None
    groups: tuple[str, ...] = ()


class _System(msgspec.Struct):
    actions: dict[str, _Action] = {}
    groups: dict[str, _Group] | None = None


_charter = msgspec.json.Decoder(_Charter).decode
_system = msgspec.json.Decoder(_System).decode


class Charters:
    """The charters of those who may act now, as applied before `until`, and the systems they are for.

    Hours are those that are open by the clocks of both ends of the period; `zones` has the zones of the clocks that
    `permissions` looked at.
    """

    def __init__(self, connection: sa.Connection, since: dt.datetime, until: dt.datetime) -> None:
        self._connection, self._moments = connection, (since, until)
        systems = sa.select(t.system.c.name, t.system.c.body).where(t.system.c.standing != Standing.RETIRED.value)
        self._systems = {name: _system(body) for name, body in connection.execute(systems)}
        self.zones: set[str] = set()

    def permissions(self) -> Iterator[Permission]:
        """Yield what they permit."""
        version, principal = t.charter_version.c, t.principal.c
        query = (
            sa.select(principal.name, principal.owner_team, principal.kind, version.applied_at, version.charter)
            .join_from(t.charter_version, t.principal, version.principal_id == principal.id)
            .where(principal.standing.in_(_MAY_ACT), version.applied_at < rfc3339(self._moments[1]))
            .order_by(principal.name, version.version)
        )
        rows = self._connection.execute(query, execution_options={"yield_per": 1_000})
        effects = {
            name: {action: each.effect for action, each in found.actions.items()}
            for name, found in self._systems.items()
        }
        return in_force(map(self._applied, rows), effects)

    def _applied(self, row: Sequence[Any]) -> AppliedVersion:
        name, team, kind, applied_at, charter = row
        whole = _charter(charter)
        own = ((system, (action,)) for system, action in permitted(whole.policy or ""))
        grants = (*((grant.system, grant.actions) for grant in whole.grants), *own)
        reach = tuple(dict.fromkeys(self._reach(whole)))
        return AppliedVersion(name, team, kind, parse_rfc3339(applied_at), grants, reach)

    def _reach(self, charter: _Charter) -> Iterator[Reach]:
        windows: dict[str, list[Hours | None]] = {}
        for grant in charter.grants:
            groups = {name: tuple(_members(self._systems.get(grant.system), name)) for name in grant.groups or ()}
            yield from ranges(grant.system, grant.objects, grant.under or (), groups)
            window = _window(grant.when.hours) if grant.when and grant.when.hours else None
            windows.setdefault(grant.system, []).append(window)
        for system, each in windows.items():
            self.zones.update(window.zone for window in each if window)
            for hour in sorted(hours_utc(each, self._moments)):
                yield Reach(Aspect.HOURS, system, hour=hour)
        for name in charter.data:
            yield Reach(Aspect.DATA, what=name)
        if charter.delegation:
            terms = charter.delegation
            yield from delegations(terms.source, terms.to, terms.purposes)


_window = lru_cache(maxsize=4_096)(Hours.model_validate)  # many charters are open at the same hours


def _members(system: _System | None, name: str) -> list[str]:
    """Return the patterns of a group of objects and of the groups inside it."""
    known = (system.groups if system else None) or {}
    found: list[str] = []
    inside, seen = [name], set[str]()
    while inside:
        each = inside.pop()
        if each in known and each not in seen:
            seen.add(each)
            found += [*known[each].objects, *(pattern for place in known[each].under or () for pattern in below(place))]
            inside += known[each].groups
    return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table, and what it was made of. It holds for every `until` after `newest`, by clocks that stand alike."""

    state: bytes
    newest: str
    clocks: Mapping[str, tuple[dt.timedelta | None, ...]]
    table: pa.Table

    def holds(self, since: dt.datetime, until: dt.datetime) -> bool:
        """Whether it is what would be made for this period, as long as the state is the same."""
        return rfc3339(until) > self.newest and self.clocks == _clocks(self.clocks, since, until)


class Authority:
    """What is permitted as a table, made again when something it is made of has changed, and not each time it is asked.

    INVARIANT: a change of a charter, a standing or a system that is committed is in the next table.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    def table(self, connection: sa.Connection, since: dt.datetime, until: dt.datetime) -> pa.Table:
        """Return what principals who may act now were permitted before `until`, columns `AUTHORITY`."""
        with self._lock:
            kept, state = self._kept, _state(connection)
            if kept and kept.state == state and kept.holds(since, until):
                return kept.table
            return self._made(connection, state, since, until)

    def _made(self, connection: sa.Connection, state: bytes, since: dt.datetime, until: dt.datetime) -> pa.Table:
        from charter.adapters.authority_table import table_of  # loads what is loaded for review questions alone

        charters = Charters(connection, since, until)
        table = table_of(charters.permissions())
        newest = connection.execute(sa.select(sa.func.max(t.charter_version.c.applied_at))).scalar() or ""
        if rfc3339(until) > newest and table.nbytes <= KEPT_BYTES:
            self._kept = _Kept(state, newest, _clocks(charters.zones, since, until), table)
        return table


def _state(connection: sa.Connection) -> bytes:
    """Return a digest of what tells each charter in force and each system from others, and of who may act."""
    principal, system = t.principal.c, t.system.c
    who = sa.select(principal.name, principal.owner_team, principal.kind, principal.standing, principal.version)
    what = sa.select(system.name, system.digest, system.standing)
    rows = [
        tuple(row)
        for query, by in ((who, principal.name), (what, system.name))
        for row in connection.execute(query.order_by(by))
    ]
    return sha256(msgspec.json.encode(rows)).digest()


def _clocks(zones: Iterable[str], since: dt.datetime, until: dt.datetime) -> dict[str, tuple[dt.timedelta | None, ...]]:
    return {name: tuple(at.astimezone(ZoneInfo(name)).utcoffset() for at in (since, until)) for name in zones}
