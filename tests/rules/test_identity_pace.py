"""How fast SVIDs are given: a burst, then so many a second, for each principal by itself."""

from __future__ import annotations

from charter.core.errors import ThrottledError
from charter.identity.pace import BURST, PER_SECOND, Pace
from fakes import FixedClock


def taken(pace: Pace, principal: str) -> int:
    """Return how many SVIDs a principal can take at once."""
    for count in range(10_000):
        try:
            pace.take(principal)
        except ThrottledError:
            return count
    return -1


def test_a_burst_is_given_and_then_so_many_a_second() -> None:
    clock = FixedClock()
    pace = Pace(clock)
    assert taken(pace, "prn_a") == int(BURST)
    clock.advance(seconds=1)
    assert taken(pace, "prn_a") == int(PER_SECOND)
    clock.advance(hours=1)
    assert taken(pace, "prn_a") == int(BURST)


def test_one_principal_is_not_slowed_down_for_another() -> None:
    pace = Pace(FixedClock())
    assert taken(pace, "prn_a") == taken(pace, "prn_b") == int(BURST)
