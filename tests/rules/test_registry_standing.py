"""Standing: legal moves, and the one question everybody asks."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ConflictError
from charter.registry.standing import Move, Standing, Subject, may_act, moved

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
moves = st.sampled_from(Move)


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED])
def test_only_active_and_restrained_may_act(standing: Standing) -> None:
    refusal = may_act(Subject("refund-agent", standing), at=NOW)
    assert refusal is not None
    assert refusal.text == f"`refund-agent` is {standing.value}"


@pytest.mark.parametrize("standing", [Standing.ACTIVE, Standing.RESTRAINED])
def test_active_and_restrained_may_act(standing: Standing) -> None:
    assert may_act(Subject("refund-agent", standing), at=NOW) is None


def test_an_expired_charter_may_not_act_from_that_instant() -> None:
    subject = Subject("refund-agent", Standing.ACTIVE, expires=NOW)
    refusal = may_act(subject, at=NOW)
    assert refusal is not None
    assert "expired on 2026-11-24" in refusal.text
    assert may_act(subject, at=NOW - dt.timedelta(microseconds=1)) is None


def test_a_token_from_before_the_last_withdrawal_is_dead() -> None:
    subject = Subject("refund-agent", Standing.ACTIVE, epoch=3)
    assert may_act(subject, at=NOW, epoch=2) is not None
    assert may_act(subject, at=NOW, epoch=3) is None


@given(st.lists(moves, max_size=12))
def test_nothing_comes_back_from_revoked_or_retired(path: list[Move]) -> None:
    standing, was_final = Standing.ACTIVE, False
    for move in path:
        try:
            standing = moved(standing, move, "x")
        except ConflictError:
            continue
        if was_final:
            assert standing is Standing.RETIRED
        was_final = was_final or standing in (Standing.REVOKED, Standing.RETIRED)


ILLEGAL = [(s, m) for s in Standing for m in Move if s in (Standing.REVOKED, Standing.RETIRED) and m is not Move.RETIRE]


@pytest.mark.parametrize(("standing", "move"), ILLEGAL)
def test_every_illegal_move_says_what_is_legal(standing: Standing, move: Move) -> None:
    with pytest.raises(ConflictError) as caught:
        moved(standing, move, "refund-agent")
    assert caught.value.detail == f"`refund-agent` is {standing.value} and cannot {move.value}"
    assert caught.value.help
