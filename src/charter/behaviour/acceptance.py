"""What an owner says is normal: a feature and a key, until a day. And what a person says a signal was.

A key is one that a contribution named, or the beginning of such with `*` behind it: `payments: charge/*` is a folder,
`payments: *` all objects of a system. `*` alone accepts a feature whole, and so does not hold for longer than a month.

INVARIANT: an acceptance silences; it allows nothing. What policy refuses stays refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from charter.behaviour.signal import MAX_KEY, Contribution, Feature
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError

LONGEST = dt.timedelta(days=365)
LONGEST_OF_ALL = dt.timedelta(days=31)
MAX_ACCEPTED = 200  # of one principal
_ALL = "*"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One thing that is normal for one principal."""

    id: str  # acc_…
    principal: str  # id
    feature: Feature
    key: str
    until: dt.datetime
    by: str
    reason: str
    at: dt.datetime

    def covers(self, contribution: Contribution, at: dt.datetime) -> bool:
        """Whether it says that a contribution is normal at `at`."""
        return at < self.until and self.feature is contribution.feature and covers_key(self.key, contribution.key)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "id": self.id,
            "principal": self.principal,
            "feature": self.feature.value,
            "key": self.key,
            "until": rfc3339(self.until),
            "by": self.by,
            "reason": self.reason,
            "at": rfc3339(self.at),
        }


def covers_key(pattern: str, key: str) -> bool:
    """Whether a key is what `pattern` names, letter by letter but for a `*` at its end."""
    if pattern == key:
        return True
    return pattern.endswith(_ALL) and key.startswith(pattern[:-1])


def check_acceptance(feature: str, key: str, until: dt.datetime, at: dt.datetime) -> Feature:
    """Return the feature that an acceptance is about.

    Raises:
        MalformedError: there is no such feature, the key is none, or it would hold too long or not at all.
    """
    words = [each.value for each in Feature]
    if feature not in words:
        known = f"there are {', '.join(words)}"
        raise MalformedError(ErrorCode.BAD_VALUE, f"{feature[:40]!a} is no feature", help=known)
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"a key has 1 to {MAX_KEY} characters that print",
            help="write the key that the signal names, or its beginning and *",
        )
    longest = LONGEST_OF_ALL if key == _ALL else LONGEST
    if not at < until <= at + longest:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"what is accepted holds until a moment within {longest.days} days",
            help="name a nearer day: what is still normal then can be accepted again",
        )
    return Feature(feature)


def not_accepted(
    contributions: Iterable[Contribution], accepted: Iterable[Accepted], at: dt.datetime
) -> tuple[list[Contribution], list[Contribution]]:
    """Return the contributions that nobody accepted, and those that somebody did."""
    known = tuple(accepted)
    left: list[Contribution] = []
    silent: list[Contribution] = []
    for each in contributions:
        (silent if any(one.covers(each, at) for one in known) else left).append(each)
    return left, silent
