"""Several senders at a time, told from one that moves, rotates its keys or restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charter.identity.lately import Lately
from charter.identity.trail import HANDOVER_SECONDS, MAX_SENDERS, WINDOW_SECONDS, Trail

LONG = HANDOVER_SECONDS + 1


def told(*uses: tuple[float, str]) -> list[str]:
    """Return who else is there, as told with the last of `uses`."""
    trail: Trail[None] = Trail()
    found: list[str] = []
    for at, sender in uses:
        found = [span.sender for span in trail.use(sender, None, at)]
    return found


def test_two_by_turns_are_together() -> None:
    assert told((0, "a"), (1, "b"), (LONG + 1, "a")) == ["b"]


def test_one_use_in_between_is_enough() -> None:
    assert told((0, "a"), (10, "a"), (11, "b"), (12, "a"), (11 + LONG, "a")) == ["b"]


def test_it_is_told_whoever_of_the_two_is_seen_last() -> None:
    assert told((0, "a"), (1, "b"), (LONG + 1, "a"), (LONG + 2, "b")) == ["a"]


def test_alternating_quickly_makes_no_difference() -> None:
    uses = [(at / 10, "ab"[at % 2]) for at in range(int(LONG * 10) + 20)]
    assert told(*uses) != []


def test_who_moved_is_one_sender() -> None:
    assert told((0, "a"), (10, "a"), (11, "b"), (100, "b"), (200, "b")) == []


def test_what_was_under_way_when_a_sender_changed_over_counts_for_nothing() -> None:
    assert told((0, "old"), (100, "new"), (101, "old"), (102, "new"), (129, "old"), (200, "new")) == []


def test_who_comes_back_after_the_window_is_one_sender() -> None:
    assert told((0, "a"), (1, "b"), (2 + WINDOW_SECONDS, "a")) == []


def test_nobody_pushes_out_who_is_there_all_the_time() -> None:
    uses: list[tuple[float, str]] = [(0, "me"), (5, "me")]
    uses += [(6 + n / 10, f"other-{n}") for n in range(10 * MAX_SENDERS)]
    assert len(told(*uses, (6 + 10 * MAX_SENDERS / 10 + LONG, "me"))) > 0


def test_as_long_as_there_is_one_that_is_said() -> None:
    trail: Trail[None] = Trail()
    assert not trail.is_only(0)
    trail.use("a", None, 0)
    assert trail.is_only(1)
    trail.use("b", None, 2)
    assert not trail.is_only(3)
    trail.use("b", None, 3 + WINDOW_SECONDS)
    assert trail.is_only(4 + WINDOW_SECONDS)


@given(st.lists(st.floats(0.01, 400), min_size=1, max_size=60), st.integers(1, 12))
def test_a_sender_that_rotates_is_never_several(pauses: list[float], every: int) -> None:
    trail, now = Trail[None](), 0.0
    for number, pause in enumerate(pauses):
        now += pause
        assert trail.use(f"key-{number // every}", None, now) == ()


@given(st.lists(st.tuples(st.floats(0, 500), st.sampled_from("abcdefghijkl")), max_size=80))
def test_memory_is_bounded_and_nobody_is_together_with_themselves(uses: list[tuple[float, str]]) -> None:
    trail, now = Trail[None](), 0.0
    for pause, sender in uses:
        now += pause
        others = [span.sender for span in trail.use(sender, None, now)]
        assert sender not in others
        assert len(others) < MAX_SENDERS


# --- a memory of two generations ---


def test_what_is_asked_for_is_remembered_and_what_is_not_is_forgotten() -> None:
    kept: Lately[str] = Lately(10, 100)
    kept.put("a", "A", 0)
    kept.put("b", "B", 0)
    assert kept.get("a", 9) == "A"
    assert kept.get("a", 15) == "A"
    assert kept.get("a", 26) == "A"
    assert kept.get("b", 27) is None
    assert kept.get("a", 100) is None


def test_memory_of_what_was_there_lately_is_bounded() -> None:
    kept: Lately[int] = Lately(1000, 50)
    for number in range(1000):
        kept.put(str(number), number, 0)
        assert len(kept) <= 100
    assert kept.get("999", 1) == 999
