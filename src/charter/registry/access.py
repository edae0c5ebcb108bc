"""What people may do at the console and the control API: three steps, by the directory's groups.

    viewer     look at everything
    operator   besides, change standing, withdraw, answer findings
    admin      besides, apply estates, rotate keys, let directories provision

Approvals are not among them: they are given in the human roles of teams.yaml, by whoever holds one.

INVARIANT: who is in no group that is named has no access at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from charter.registry.directory import fold
from charter.registry.team import Teams


class Access(IntEnum):
    """Each step includes those before it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """How it is written."""
        return self.name.lower()


def access_of(teams: Teams, groups: Iterable[str]) -> Access | None:
    """Return the most that the groups give, or None if they give nothing."""
    if teams.access is None:
        return None
    mine = {fold(group) for group in groups}
    given = [
        step
        for step, named in (
            (Access.VIEWER, teams.access.viewer),
            (Access.OPERATOR, teams.access.operator),
            (Access.ADMIN, teams.access.admin),
        )
        if not mine.isdisjoint(fold(group) for group in named)
    ]
    return max(given, default=None)
