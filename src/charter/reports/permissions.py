"""Which permissions are in force, and since when without a break, from the versions of charters that were applied.

A permission is one principal's right to one action of one system. A version that still grants it continues it;
a version that does not ends it, and a later one begins it anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from charter.registry.charter import EVERY_ACTION

Effects = Mapping[str, Mapping[str, str]]  # system -> action -> effect


@dataclass(frozen=True, slots=True)
class AppliedVersion:
    """One applied version of a charter, as far as permissions go. `grants`: (system, its actions as written)."""

    principal: str
    team: str
    kind: str
    applied_at: dt.datetime
    grants: tuple[tuple[str, tuple[str, ...]], ...]


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


def in_force(versions: Iterable[AppliedVersion], systems: Effects) -> Iterator[Permission]:
    """Yield the permissions of each principal's last version.

    `versions` come sorted by principal, then as they were applied. `*` means the actions the system has now;
    actions that a system no longer has permit nothing.
    """
    held: dict[tuple[str, str], dt.datetime] = {}
    last: AppliedVersion | None = None
    for version in versions:
        if last is not None and version.principal != last.principal:
            yield from _permissions(last, held, systems)
            held = {}
        held = {each: held.get(each, version.applied_at) for each in _granted(version, systems)}
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
    version: AppliedVersion, held: Mapping[tuple[str, str], dt.datetime], systems: Effects
) -> Iterator[Permission]:
    for (system, action), granted in held.items():
        effect = systems[system][action]
        yield Permission(version.principal, version.team, version.kind, system, action, effect, granted)
