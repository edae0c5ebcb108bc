"""Server nonces: ours, of this minute, of this process; nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.jose import decode_base64url, encode_base64url
from charter.identity.nonce import NONCE_SECONDS, SKEW_SECONDS, Nonces

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)


class Keys:
    """A key that all share, and that can be rotated."""

    def __init__(self, seed: bytes = b"a", before: bytes | None = None) -> None:
        self.seed, self.before = seed, before

    def derived(self, purpose: bytes) -> bytes:
        return hashlib.sha256(self.seed + purpose).digest()

    def derived_before(self, purpose: bytes) -> bytes | None:
        return None if self.before is None else hashlib.sha256(self.before + purpose).digest()


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def refused(nonces: Nonces, nonce: object, at: dt.datetime = NOW) -> bool:
    try:
        nonces.check(nonce, at)
    except UnauthenticatedError as err:
        return err.code is ErrorCode.NONCE_NEEDED
    return False


@given(st.floats(-SKEW_SECONDS, NONCE_SECONDS - 1))
def test_a_nonce_is_good_for_a_minute_as_often_as_one_likes(age: float) -> None:
    nonces = Nonces(Keys(), NOW)
    nonce = nonces.fresh(after(100))
    nonces.check(nonce, after(100 + age))
    nonces.check(nonce, after(100 + age))


@pytest.mark.parametrize("age", [NONCE_SECONDS + 1, 3600, 10**7, -SKEW_SECONDS - 1, -3600])
def test_a_nonce_of_another_time_is_refused(age: float) -> None:
    nonces = Nonces(Keys(), NOW - dt.timedelta(days=365))
    assert refused(nonces, nonces.fresh(NOW), after(age))


def test_nodes_of_one_charter_know_each_others_nonces_and_strangers_do_not() -> None:
    one, other, stranger = Nonces(Keys(), NOW), Nonces(Keys(), NOW), Nonces(Keys(b"b"), NOW)
    assert not refused(other, one.fresh(NOW))
    assert refused(stranger, one.fresh(NOW))


def test_nonces_of_a_rotated_key_count_their_minute_and_those_of_one_that_went_at_once_no_more() -> None:
    keys = Keys()
    nonces = Nonces(keys, NOW)
    old = nonces.fresh(NOW)
    keys.seed, keys.before = b"b", b"a"
    assert not refused(nonces, old)
    assert refused(nonces, old, after(NONCE_SECONDS + 1))
    assert not refused(nonces, nonces.fresh(NOW))
    keys.before = None
    assert refused(nonces, old)


def test_what_was_given_out_before_this_process_began_is_worth_nothing_to_it() -> None:
    """Its memory of used proofs began empty: a proof that was used before the restart must not pass again."""
    before, restarted = Nonces(Keys(), NOW), Nonces(Keys(), after(10))
    assert refused(restarted, before.fresh(after(9)), after(11))
    assert not refused(restarted, before.fresh(after(10)), after(11))


@given(
    st.none()
    | st.text(max_size=40)
    | st.integers()
    | st.binary(min_size=21, max_size=21).map(encode_base64url)
    | st.lists(st.text(max_size=3), max_size=2)
)
def test_nothing_else_is_a_nonce(nonce: object) -> None:
    assert refused(Nonces(Keys(), NOW), nonce)


@given(st.integers(0, 20), st.integers(0, 7))
def test_no_bit_of_a_nonce_may_change(byte: int, bit: int) -> None:
    nonces = Nonces(Keys(), NOW)
    raw = bytearray(decode_base64url(nonces.fresh(NOW)))
    raw[byte] ^= 1 << bit
    assert refused(nonces, encode_base64url(bytes(raw)))
