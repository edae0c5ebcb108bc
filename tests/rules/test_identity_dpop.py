"""DPoP proofs: this key, this request, this token, this moment, once."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.dpop import GENERATION_SECONDS, WINDOW_SECONDS, Proof, ProofMemory, read_proof
from charter.identity.jose import encode_base64url
from identity_stage import PAYMENTS, ClientKeyPair

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
SECONDS = int(NOW.timestamp())
TOKEN = "header.payload.signature"
ATH = encode_base64url(hashlib.sha256(TOKEN.encode()).digest())
PAIR = ClientKeyPair.fresh("prn_refund-agent")


def a_proof(header: dict[str, Any] | None = None, pair: ClientKeyPair = PAIR, **changed: Any) -> str:
    claims = {"htm": "POST", "htu": PAYMENTS, "iat": SECONDS, "jti": "proof-1", "ath": ATH} | changed
    payload = canonical({name: value for name, value in claims.items() if value is not None})
    return pair.signed(payload, {"typ": "dpop+jwt", "jwk": pair.jwk} | (header or {}))


def read(proof: str, **changed: Any) -> Proof:
    given_ = {"method": "POST", "url": PAYMENTS, "at": NOW, "token": TOKEN} | changed
    return read_proof(proof, **given_)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_proof_shows_the_key_it_was_made_with(algorithm: str) -> None:
    pair = ClientKeyPair.fresh("prn_refund-agent", algorithm)
    assert read(a_proof(pair=pair)).key == pair.thumbprint


def test_a_proof_without_a_token_needs_no_digest_of_one() -> None:
    assert read(a_proof(ath=None), token=None).key == PAIR.thumbprint


WRONG: list[tuple[str, Callable[[], str], str]] = [
    ("another method", lambda: a_proof(htm="GET"), "is for another request"),
    ("another method's case", lambda: a_proof(htm="post"), "is for another request"),
    ("another address", lambda: a_proof(htu=PAYMENTS + "2"), "is for another request"),
    ("an address with a query", lambda: a_proof(htu=PAYMENTS + "?a=1"), "is for another request"),
    ("no method", lambda: a_proof(htm=None), "is for another request"),
    ("no address", lambda: a_proof(htu=None), "is for another request"),
    ("another token", lambda: a_proof(ath=encode_base64url(bytes(32))), "is for another access token"),
    ("no token", lambda: a_proof(ath=None), "is for another access token"),
    ("a token's digest that is no text", lambda: a_proof(ath=7), "is for another access token"),
    ("too old", lambda: a_proof(iat=SECONDS - WINDOW_SECONDS - 1), "is not of this moment"),
    ("too new", lambda: a_proof(iat=SECONDS + WINDOW_SECONDS + 1), "is not of this moment"),
    ("no time", lambda: a_proof(iat=None), "is not of this moment"),
    ("a time that is text", lambda: a_proof(iat=str(SECONDS)), "is not of this moment"),
    ("no jti", lambda: a_proof(jti=None), "has no `jti`"),
    ("a long jti", lambda: a_proof(jti="j" * 257), "has no `jti`"),
    ("a jti that is a number", lambda: a_proof(jti=1), "has no `jti`"),
    ("another type", lambda: a_proof({"typ": "JWT"}), "is of another type"),
    ("no type", lambda: a_proof({"typ": None}), "is of another type"),
    ("no key", lambda: a_proof({"jwk": None}), "the public key is no JSON object"),
    ("a private key", lambda: a_proof({"jwk": PAIR.private.as_dict(private=True)}), "holds its private half"),
    ("a shared secret", lambda: a_proof({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}), "holds its private half"),
    ("another key", lambda: a_proof({"jwk": ClientKeyPair.fresh("x").jwk}), "does not verify"),
    ("no signature", lambda: a_proof({"alg": "none"}), "names the algorithm"),
    ("a kid", lambda: a_proof({"kid": PAIR.thumbprint}), "has the header member 'kid'"),
    ("a jku", lambda: a_proof({"jku": "https://evil.example"}), "has the header member 'jku'"),
    ("an assertion", lambda: PAIR.assertion(NOW), "the public key is no JSON object"),
]


@pytest.mark.parametrize(("make", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_proof_of_something_else_shows_nothing(make: Callable[[], str], said: str) -> None:
    with pytest.raises(UnauthenticatedError, match=said) as caught:
        read(make())
    assert caught.value.code is ErrorCode.BAD_PROOF


@given(st.text(max_size=300))
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        read(text)


def test_a_proof_works_once() -> None:
    memory, proof = ProofMemory(), read(a_proof())
    memory.use(proof, at=NOW)
    with pytest.raises(UnauthenticatedError, match="was used before"):
        memory.use(read(a_proof()), at=NOW)
    memory.use(read(a_proof(jti="proof-2")), at=NOW)


@given(st.lists(st.floats(0, 3 * GENERATION_SECONDS), max_size=8), st.floats(0, 2 * WINDOW_SECONDS))
def test_a_proof_is_remembered_as_long_as_it_could_be_accepted(others: list[float], later: float) -> None:
    """Whatever else was used before and between, and whenever generations turned."""
    memory, start = ProofMemory(), NOW
    for number, gap in enumerate(others):
        start += dt.timedelta(seconds=gap)
        memory.use(Proof("k", number.to_bytes(16)), at=start)
    memory.use(Proof("k", b"the proof"), at=start)
    memory.use(Proof("k", b"another"), at=start + dt.timedelta(seconds=later / 2))
    with pytest.raises(UnauthenticatedError, match="was used before"):
        memory.use(Proof("k", b"the proof"), at=start + dt.timedelta(seconds=later))


def test_memory_is_given_back() -> None:
    memory = ProofMemory()
    for minute in range(10):
        for number in range(100):
            memory.use(Proof("k", b"%d %d" % (minute, number)), at=NOW + dt.timedelta(minutes=2 * minute))
    assert len(memory._now) + len(memory._before) <= 200


def test_one_keys_flood_does_not_stop_another() -> None:
    memory = ProofMemory(max_of_key=5)
    for number in range(5):
        memory.use(Proof("greedy", b"%d" % number), at=NOW)
    with pytest.raises(UnauthenticatedError, match="one of too many"):
        memory.use(Proof("greedy", b"6"), at=NOW)
    memory.use(Proof("modest", b"7"), at=NOW)
    memory.use(Proof("greedy", b"6"), at=NOW + dt.timedelta(seconds=GENERATION_SECONDS))


def test_where_memory_is_full_the_answer_is_no() -> None:
    memory = ProofMemory(max_remembered=3)
    for number in range(3):
        memory.use(Proof(f"key-{number}", b"%d" % number), at=NOW)
    with pytest.raises(UnauthenticatedError, match="one of too many"):
        memory.use(Proof("key-4", b"4"), at=NOW)


def test_a_clock_set_back_forgets_nothing() -> None:
    memory = ProofMemory()
    memory.use(Proof("k", b"1"), at=NOW)
    back = NOW - dt.timedelta(hours=1)
    with pytest.raises(UnauthenticatedError, match="was used before"):
        memory.use(Proof("k", b"1"), at=back)
    memory.use(Proof("k", b"2"), at=back + dt.timedelta(seconds=3 * GENERATION_SECONDS))
    memory.use(Proof("k", b"3"), at=back + dt.timedelta(seconds=6 * GENERATION_SECONDS))
    memory.use(Proof("k", b"1"), at=back + dt.timedelta(seconds=6 * GENERATION_SECONDS))


def test_a_clock_that_ran_ahead_for_a_moment_forgets_nothing() -> None:
    memory = ProofMemory()
    memory.use(Proof("k", b"1"), at=NOW)
    memory.use(Proof("k", b"2"), at=NOW + dt.timedelta(hours=1))
    with pytest.raises(UnauthenticatedError, match="was used before"):
        memory.use(Proof("k", b"1"), at=NOW + dt.timedelta(seconds=1))
