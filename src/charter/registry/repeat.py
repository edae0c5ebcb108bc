"""A person's yes to the next calls like one that they approved: so many of them, for a while.

Like it is a call of the same principal, on the same system, by the same tool and under the same delegation, with the
same arguments. A number may be smaller, never larger; an argument that the person let vary may be anything, if it is
none that strangers named.

INVARIANT: it stands in the place of a person's yes, and of nothing else: each call is decided, counted against limits
and recorded like any other, and spends an approval of its own.
INVARIANT: it ends with what it rests on: the charter's version, the principal's standing, the person who gave it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from charter.core.errors import ErrorCode, MalformedError
from charter.registry.approval import Approval

MOST = 50  # calls
LONGEST = dt.timedelta(hours=8)
USUAL = dt.timedelta(hours=1)
MAX_VARYING = 16


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person wants to let happen again."""

    count: int
    lasts: dt.timedelta = USUAL
    vary: tuple[str, ...] = ()  # arguments

    def check(self, approval: Approval) -> None:
        """Check that these can be said of an approval.

        Raises:
            MalformedError: there are too many, for too long, or of something that the call does not have.
        """
        arguments = approval.call.get("arguments") or {}
        if not 1 <= self.count <= MOST:
            raise _bad(f"the number of further calls is from 1 to {MOST}", "say fewer, and approve again later")
        if not dt.timedelta(minutes=1) <= self.lasts <= LONGEST:
            raise _bad("it lasts from a minute to 8 hours", "say a shorter time, and approve again later")
        if len(approval.roles) > 1:
            text = "several people must say yes to such a call, so each is asked about by itself"
            raise _bad(text, "approve this one call alone")
        for name in self.vary:
            if name not in arguments:
                known = ", ".join(f"`{each}`" for each in sorted(arguments)[:20]) or "none"
                raise _bad(f"the call has no argument `{name[:80]}`", f"it has {known}")
            if name in approval.call.get("doubted", ()):
                text = (
                    f"nobody vouches for `{name[:80]}` of this call, so each call with another is asked about by itself"
                )
                raise _bad(text, "leave it out: with the same value, the next calls are like this one")
            if number_of(arguments[name]) is not None:
                raise _bad(f"`{name[:80]}` is a number, which may be smaller and nothing else", "leave it out")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A yes to further calls."""

    id: str  # rpt_…
    principal_id: str
    charter: str  # digest of the version it was given under
    epoch: int
    system: str
    tool: str
    delegation: str | None
    arguments: Mapping[str, Any]
    vary: tuple[str, ...]
    seat: str  # at which the yes was given
    person: str
    reason: str
    approval_id: str  # the call that it began with
    left: int
    until: dt.datetime

    def fits(self, tool: tuple[str, str], delegation: str | None, arguments: Mapping[str, Any]) -> bool:
        """Whether a call is like the one that was approved. `tool` is the system and its tool."""
        return (
            tool == (self.system, self.tool)
            and delegation == self.delegation
            and arguments.keys() == self.arguments.keys()
            and all(name in self.vary or is_within(value, self.arguments[name]) for name, value in arguments.items())
        )

    def is_over(self, at: dt.datetime) -> bool:
        """Whether there is nothing left of it."""
        return self.left < 1 or at >= self.until

    def touches(self, doubtful: Collection[str]) -> bool:
        """Whether one of these arguments is let vary; they are told by name, or by the path into one."""
        return any(name.partition(".")[0] in self.vary for name in doubtful)


def is_within(value: Any, approved: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether a value is the approved one, or a smaller number of the same kind that is not below zero."""
    mine, its = number_of(value), number_of(approved)
    if mine is None or its is None:
        return type(value) is type(approved) and bool(value == approved)
    return 0 <= mine <= its if its >= 0 else mine == its


def number_of(value: Any) -> Decimal | None:  # noqa: ANN401
    """Return a JSON number, exactly as it is written; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return found if found.is_finite() else None


def _bad(text: str, help: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, text, help=help)
