"""What charters permit now, and since when without a break, from the versions of charters that were applied.

A permission is one principal's right to one action of one system; or one piece of how far its rights reach: a range of
objects, a class of data, an hour of the day, a party or purpose of delegation. A version that still has it continues
it; a version that does not ends it, and a later one begins it anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from charter.registry.charter import EVERY_ACTION

Effects = Mapping[str, Mapping[str, str]]  # system -> action -> effect


class Aspect(StrEnum):
    """What of an authority a permission is."""

    ACTION = "action"
    OBJECTS = "objects"
    DATA = "data"
    HOURS = "hours"
    DELEGATION = "delegation"


@dataclass(frozen=True, slots=True)
class Reach:
    """One piece of how far a principal's rights reach.

    `what`: the range, data class, party or purpose. Of a range of objects, several pieces may have the same `what`. Its
    objects begin with `prefix`, end with `suffix` and have `middle` in between; if it is not `is_open`, `prefix` is the
    one there is. `pattern`: a regular expression that they match too, where one is needed. `hour`: of the day, UTC.
    """

    aspect: Aspect
    system: str = ""
    what: str = ""
    prefix: str = ""
    pattern: str = ""
    hour: int = -1
    middle: str = ""
    suffix: str = ""
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class AppliedVersion:
    """One applied version of a charter, as far as permissions go. `grants`: (system, its actions as written)."""

    principal: str
    team: str
    kind: str
    applied_at: dt.datetime
    grants: tuple[tuple[str, tuple[str, ...]], ...]
    reach: tuple[Reach, ...] = ()


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission in force."""

    principal: str
    team: str
    kind: str
    system: str
    action: str
    effect: str
    granted: dt.datetime
    reach: Reach = Reach(Aspect.ACTION)


def in_force(versions: Iterable[AppliedVersion], systems: Effects) -> Iterator[Permission]:
    """Yield the permissions of each principal's last version.

    `versions` come sorted by principal, then as they were applied. `*` means the actions the system has now;
    actions that a system no longer has permit nothing.
    """
    held: dict[tuple[str, str] | Reach, dt.datetime] = {}
    last: AppliedVersion | None = None
    for version in versions:
        if last is not None and version.principal != last.principal:
            yield from _permissions(last, held, systems)
            held = {}
        now: list[tuple[str, str] | Reach] = [*_granted(version, systems), *version.reach]
        held = {each: held.get(each, version.applied_at) for each in now}
        last = version
    if last is not None:
        yield from _permissions(last, held, systems)


def _granted(version: AppliedVersion, systems: Effects) -> Iterator[tuple[str, str]]:
    for system, actions in version.grants:
        known = systems.get(system, {})
        for action in known if actions == (EVERY_ACTION,) else actions:
            if action in known:
                yield system, action


def _permissions(
    version: AppliedVersion, held: Mapping[tuple[str, str] | Reach, dt.datetime], systems: Effects
) -> Iterator[Permission]:
    who = (version.principal, version.team, version.kind)
    for each, granted in held.items():
        if isinstance(each, Reach):
            yield Permission(*who, each.system, "", "", granted, each)
        else:
            system, action = each
            yield Permission(*who, system, action, systems[system][action], granted)
