"""Versions of charters, read as far as review questions need them: what they permit, and since when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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

MAY_ACT = (Standing.ACTIVE.value, Standing.RESTRAINED.value)
Version = tuple[str, str, str, str, "_Charter"]  # name, team, kind, applied at, charter
Moments = tuple[dt.datetime, dt.datetime]  # the ends of a period


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


@dataclass(frozen=True, slots=True)
class Charters:
    """All versions of some principals' charters, read together with the systems they name.

    `systems`: those of them that there are. A retired one permits nothing.
    """

    versions: Sequence[Version]  # of one principal after those of another, as they were applied
    named: frozenset[str]
    systems: Mapping[str, _System]

    @property
    def newest(self) -> str:
        """When the last of them was applied."""
        return max((applied_at for _, _, _, applied_at, _ in self.versions), default="")

    @property
    def zones(self) -> set[str]:
        """The zones of the clocks that they go by."""
        grants = (grant for *_, charter in self.versions for grant in charter.grants)
        return {_window(grant.when.hours).zone for grant in grants if grant.when and grant.when.hours}

    def permissions(self, moments: Moments) -> Iterator[Permission]:
        """Yield what those applied before the last moment permit, with hours that are open by the clocks of both."""
        effects = {
            name: {action: each.effect for action, each in found.actions.items()}
            for name, found in self.systems.items()
        }
        end = rfc3339(moments[1])
        applied = (self._applied(each, moments) for each in self.versions if each[3] < end)
        return in_force(applied, effects)

    def _applied(self, version: Version, moments: Moments) -> AppliedVersion:
        name, team, kind, applied_at, charter = version
        own = ((system, (action,)) for system, action in permitted(charter.policy or ""))
        grants = (*((grant.system, grant.actions) for grant in charter.grants), *own)
        reach = tuple(dict.fromkeys(self._reach(charter, moments)))
        return AppliedVersion(name, team, kind, parse_rfc3339(applied_at), grants, reach)

    def _reach(self, charter: _Charter, moments: Moments) -> Iterator[Reach]:
        windows: dict[str, list[Hours | None]] = {}
        for grant in charter.grants:
            groups = {name: tuple(_members(self.systems.get(grant.system), name)) for name in grant.groups or ()}
            yield from ranges(grant.system, grant.objects, grant.under or (), groups)
            window = _window(grant.when.hours) if grant.when and grant.when.hours else None
            windows.setdefault(grant.system, []).append(window)
        for system, each in windows.items():
            for hour in sorted(hours_utc(each, moments)):
                yield Reach(Aspect.HOURS, system, hour=hour)
        for name in charter.data:
            yield Reach(Aspect.DATA, what=name)
        if charter.delegation:
            terms = charter.delegation
            yield from delegations(terms.source, terms.to, terms.purposes)


def charters_of(connection: sa.Connection, principals: Sequence[str]) -> Charters:
    """Return the charters of principals (by id), those of one that may not act left out."""
    version, principal, system = t.charter_version.c, t.principal.c, t.system.c
    query = (
        sa.select(principal.name, principal.owner_team, principal.kind, version.applied_at, version.charter)
        .join_from(t.charter_version, t.principal, version.principal_id == principal.id)
        .where(principal.id.in_(principals), principal.standing.in_(MAY_ACT))
        .order_by(principal.id, version.version)
    )
    versions = [(*row[:4], _charter(row[4])) for row in connection.execute(query)]
    named = frozenset(name for *_, charter in versions for name in _named(charter))
    there = sa.select(system.name, system.body).where(system.name.in_(named), system.standing != Standing.RETIRED.value)
    return Charters(versions, named, {name: _system(body) for name, body in connection.execute(there)})


def _named(charter: _Charter) -> Iterator[str]:
    yield from (grant.system for grant in charter.grants)
    yield from (system for system, _ in permitted(charter.policy or ""))


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
