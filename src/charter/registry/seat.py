"""Seats: the places at which people must say yes, each person at one of them.

`payments-lead` is the first seat of a role, `payments-lead/2` the second. So a yes of two people in one role is asked
for like that of two roles, in grants, Cedar and evidence: `context.approvals.containsAll(["lead", "lead/2"])`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MAX_SEATS = 9  # of one role


def seats_of(role: str, count: int = 1) -> tuple[str, ...]:
    """Return the first `count` seats of `role`."""
    return (role, *(f"{role}/{number}" for number in range(2, count + 1)))


def role_of(seat: str) -> str:
    """Return the role whose seat it is."""
    return seat.partition("/")[0]


def is_seat(text: str) -> bool:
    """Whether `text` is written as a seat is: a role, or a role with a number from 2 to 9."""
    _, slash, number = text.partition("/")
    return not slash or (len(number) == 1 and "2" <= number <= str(MAX_SEATS))


def taken(roles: Iterable[str]) -> frozenset[str]:
    """Return the seats of people who said yes in these roles, one entry each: a role twice takes two of its seats."""
    return frozenset(seat for role, count in Counter(roles).items() for seat in seats_of(role, count))


def told(seats: Iterable[str]) -> str:
    """Return seats in words: "`payments-lead` and 2 people with the role `risk`"."""
    counts = Counter(map(role_of, seats))
    words = [f"`{role}`" if count == 1 else f"{count} people with the role `{role}`" for role, count in counts.items()]
    return " and ".join(words)
