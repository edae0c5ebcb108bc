"""How fast tokens and SVIDs are given: a burst, then so many a second, for each principal by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from charter.core.clock import Clock
from charter.core.errors import ThrottledError
from charter.identity.pace import Pace, of_spans, of_svids, of_tokens
from fakes import FixedClock


def taken(pace: Pace, principal: str) -> int:
    """Return how many a principal can take at once."""
    for count in range(10_000):
        try:
            pace.take(principal)
        except ThrottledError:
            return count
    return -1


@pytest.mark.parametrize("kind", [of_svids, of_tokens])
def test_a_burst_is_given_and_then_so_many_a_second(kind: Callable[[Clock], Pace]) -> None:
    clock = FixedClock()
    pace = kind(clock)
    assert taken(pace, "prn_a") == int(pace.burst)
    clock.advance(seconds=1)
    assert taken(pace, "prn_a") == int(pace.per_second)
    clock.advance(hours=1)
    assert taken(pace, "prn_a") == int(pace.burst)


def test_one_principal_is_not_slowed_down_for_another() -> None:
    pace = of_tokens(FixedClock())
    assert taken(pace, "prn_a") == taken(pace, "prn_b") == int(pace.burst)


def test_who_is_too_fast_is_told_when_to_come_again() -> None:
    pace = Pace(FixedClock(), 1, 0.25, "tokens", "keep one")
    pace.take("prn_a")
    with pytest.raises(ThrottledError) as caught:
        pace.take("prn_a")
    assert (caught.value.retry_after_seconds, caught.value.help) == (4, "keep one")


def test_many_at_once_are_counted_as_many() -> None:
    clock = FixedClock()
    pace = of_spans(clock)
    pace.take("src_1", 20_000)
    pace.take("src_1", 0)
    with pytest.raises(ThrottledError) as refused:
        pace.take("src_1", 1000)
    assert refused.value.retry_after_seconds == 2
    pace.take("src_2", 1000)
    clock.advance(seconds=2)
    pace.take("src_1", 1000)
