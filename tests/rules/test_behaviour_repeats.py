"""Signals that only say again what was kept: held, counted, and never lost."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.behaviour.repeats import MAX_HELD, PACE_SECONDS, Repeats
from charter.behaviour.signal import Contribution, Feature, Signal


def a_signal(key: str = "payments", score: float = 20.0) -> Signal:
    said = (Contribution(Feature.RATE, key, score, "it made many calls"),)
    at = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
    return Signal("prn_1", at, 1, "vrd_1", "write", "payments/charge", score, said)


def none(_: Signal) -> None:
    return None


def firm(signal: Signal) -> str | None:
    return "restrain" if signal.score >= 30 else None


def test_the_same_signal_is_held_for_a_moment() -> None:
    repeats = Repeats()
    assert repeats.sift([a_signal()] * 3, 100.0, none) == [a_signal()]
    assert repeats.sift([a_signal()], 100.5, none) == []
    assert repeats.take(100.5) == []
    assert repeats.take(100.0 + PACE_SECONDS) == [a_signal()] * 3
    assert repeats.take(200.0) == []


def test_what_goes_on_is_held_again_once_it_was_kept() -> None:
    repeats = Repeats()
    repeats.sift([a_signal()], 100.0, none)
    repeats.sift([a_signal()], 100.9, none)
    assert repeats.take(101.9) == [a_signal()]
    assert repeats.sift([a_signal()], 102.0, none) == []
    assert repeats.take(102.9) == []
    assert repeats.take(103.0) == [a_signal()]


def test_after_a_silence_it_is_kept_at_once() -> None:
    repeats = Repeats()
    repeats.sift([a_signal()], 100.0, none)
    assert repeats.sift([a_signal()], 100.0 + PACE_SECONDS, none) == [a_signal()]


def test_another_key_is_kept_at_once() -> None:
    repeats = Repeats()
    repeats.sift([a_signal()], 100.0, none)
    assert repeats.sift([a_signal("mail")], 100.1, none) == [a_signal("mail")]


def test_what_another_rule_answers_is_kept_at_once() -> None:
    repeats = Repeats()
    repeats.sift([a_signal(score=20)], 100.0, firm)
    assert repeats.sift([a_signal(score=25), a_signal(score=31)], 100.1, firm) == [a_signal(score=31)]
    assert repeats.sift([a_signal(score=32)], 100.2, firm) == []


@pytest.mark.parametrize("held", [MAX_HELD, MAX_HELD + 400])
def test_no_more_than_so_many_are_held(held: int) -> None:
    repeats = Repeats()
    repeats.sift([a_signal()] * (held + 1), 100.0, none)
    assert len(repeats.take(100.0)) == held


_STEPS = st.lists(
    st.tuples(st.floats(0, 3), st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([20.0, 40.0])))),
    max_size=20,
)


@given(_STEPS)
def test_every_signal_is_given_out_once(steps: list[tuple[float, list[tuple[str, float]]]]) -> None:
    repeats, now, told, given_out = Repeats(), 0.0, 0, 0
    for passed, signals in steps:
        now += passed
        told += len(signals)
        given_out += len(repeats.sift([a_signal(*each) for each in signals], now, firm)) + len(repeats.take(now))
    given_out += len(repeats.take(now, all_of_them=True))
    assert given_out == told
    assert repeats.held == []
