"""Access tokens: what they say, and what verification remembers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import Binding, Confirmation, Shown
from charter.identity.claims import TokenContent, claims_of
from charter.identity.issuance import system_at
from charter.identity.keys import OVERLAP, KeyUse
from charter.identity.resource import resource_of
from charter.identity.tokens import AccessTokens
from charter.registry.principal import LiveEstate
from identity_stage import ISSUER, LEDGER, PAYMENTS, Stage, a_principal, a_record, a_stage

CREDENTIAL = "thumbprint-of-the-client-key"


def a_token(stage: Stage, **changed: Any) -> str:
    """Return a token signed by the stage's own key; None leaves a claim out."""
    content = TokenContent(a_principal(), PAYMENTS, "tok_1", CREDENTIAL)
    claims = claims_of(content, issuer=ISSUER, now=int(stage.clock.now().timestamp()))
    return stage.tokens.sign({name: value for name, value in (claims | changed).items() if value is not None})


def verified(stage: Stage, token: str, audience: str = PAYMENTS, shown_key: str | None = None) -> Any:
    return stage.tokens.verify(token, audience=audience, at=stage.clock.now(), shown=Shown(shown_key))


def test_a_token_says_who_by_which_key_under_which_charter(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        bearer = verified(stage, a_token(stage))
        found = stage.tokens.read(a_token(stage), at=stage.clock.now())
    assert bearer.principal_id == "prn_refund-agent"
    assert bearer.credential == "thumbprint-of-the-client-key"
    assert (bearer.epoch, bearer.charter_digest) == (0, a_principal().digest)
    assert found.claims["spiffe"] == "spiffe://charter.local/production/agent/refund-agent"
    assert found.claims["exp"] - found.claims["iat"] == 300


def test_a_token_never_outlives_the_charter(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        last = a_principal(expires=stage.clock.now().date())
        content = TokenContent(last, PAYMENTS, "tok_1", CREDENTIAL)
        late = dt.datetime(2026, 11, 24, 23, 59, tzinfo=dt.UTC)
        claims = claims_of(content, issuer=ISSUER, now=int(late.timestamp()))
    assert claims["exp"] == int(dt.datetime(2026, 11, 25, tzinfo=dt.UTC).timestamp())


def test_a_token_is_good_until_the_second_it_expires(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        token = a_token(stage)
        stage.clock.advance(seconds=300, microseconds=-1)
        verified(stage, token)
        stage.clock.advance(microseconds=1)
        for _ in range(2):
            with pytest.raises(UnauthenticatedError, match="has expired") as caught:
                verified(stage, token)
            assert caught.value.code is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("audience", [LEDGER, PAYMENTS + "/", PAYMENTS.upper(), ISSUER, ""])
def test_a_token_is_for_one_system_alone(tmp_path: Path, audience: str) -> None:
    with a_stage(tmp_path) as stage:
        token = a_token(stage)
        verified(stage, token)
        with pytest.raises(UnauthenticatedError, match="made out to another system") as caught:
            verified(stage, token, audience)
    assert caught.value.code is ErrorCode.WRONG_AUDIENCE


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"iss": "https://other.example"}, "was issued by another server"),
        ({"iss": ISSUER + "/"}, "was issued by another server"),
        ({"iss": None}, "was issued by another server"),
        ({"aud": None}, "lacks a claim"),
        ({"aud": [PAYMENTS]}, "lacks a claim"),
        ({"sub": None}, "lacks a claim"),
        ({"sub": 7}, "lacks a claim"),
        ({"epoch": "0"}, "lacks a claim"),
        ({"epoch": True}, "lacks a claim"),
        ({"charter": "sha256:1"}, "lacks a claim"),
        ({"charter": {}}, "lacks a claim"),
        ({"crd": None}, "lacks a claim"),
        ({"jti": None}, "lacks a claim"),
        ({"exp": None}, "lacks a claim"),
        ({"exp": "never"}, "lacks a claim"),
        ({"cnf": {}}, "lacks a claim"),
        ({"cnf": "key"}, "lacks a claim"),
        ({"nbf": "soon"}, "lacks a claim"),
        ({"iat": 2**40}, "is not valid yet"),
        ({"nbf": 2**40}, "is not valid yet"),
    ],
)
def test_a_token_with_a_claim_missing_or_wrong_proves_nothing(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with a_stage(tmp_path) as stage, pytest.raises(UnauthenticatedError, match=said):
        verified(stage, a_token(stage, **changed))


def test_a_bound_token_needs_its_key_and_a_plain_one_none(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        bound, plain = a_token(stage, cnf={"jkt": "key-1"}), a_token(stage)
        assert verified(stage, bound, shown_key="key-1").bound_to == Confirmation(Binding.JKT, "key-1")
        for token, shown in ((bound, None), (bound, "key-2"), (plain, "key-1")):
            with pytest.raises(UnauthenticatedError) as caught:
                verified(stage, token, shown_key=shown)
            assert caught.value.code is ErrorCode.BAD_PROOF


def test_a_verified_token_is_remembered_but_not_beyond_its_key(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        token = a_token(stage, exp=int(stage.clock.now().timestamp()) + 100_000)
        verified(stage, token)
        stage.database.write(lambda tx: stage.ring.rotate(tx, KeyUse.TOKEN, actor="maria@example.com", reason="due"))
        assert verified(stage, token).token_id == "tok_1"
        stage.clock.advance(seconds=OVERLAP.total_seconds())
        with pytest.raises(UnauthenticatedError, match="signed with no key of ours"):
            verified(stage, token)


def test_a_token_from_before_a_rotation_lives_out_its_life(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        before = a_token(stage)
        stage.database.write(lambda tx: stage.ring.rotate(tx, KeyUse.TOKEN, actor="maria@example.com", reason="due"))
        after = a_token(stage)
        fresh = AccessTokens(stage.ring, ISSUER)
        for token in (before, after):
            assert fresh.verify(token, audience=PAYMENTS, at=stage.clock.now()).token_id == "tok_1"


def test_the_memory_of_verified_tokens_is_bounded(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        tokens = AccessTokens(stage.ring, ISSUER, max_cached=3)
        for number in range(10):
            tokens.verify(a_token(stage, jti=f"tok_{number}"), audience=PAYMENTS, at=stage.clock.now())
        assert len(tokens._cache) == 3


def test_what_is_remembered_is_the_whole_token(tmp_path: Path) -> None:
    """A cache by a part of the token would let a changed signature pass."""
    with a_stage(tmp_path) as stage:
        token = a_token(stage)
        verified(stage, token)
        changed = token[:-2] + ("AA" if token[-2:] != "AA" else "BA")
        with pytest.raises(UnauthenticatedError):
            verified(stage, changed)


@given(st.text(max_size=200), st.integers(0, 10_000))
def test_any_text_is_refused_and_nothing_else(text: str, length: int) -> None:
    tokens = AccessTokens(NO_RING, ISSUER)
    for token in (text, "e30." * length, "." * length):
        with pytest.raises(UnauthenticatedError):
            tokens.verify(token, audience=PAYMENTS, at=dt.datetime(2026, 11, 24, tzinfo=dt.UTC))


class _NoKeys:
    """A ring without keys."""

    def token_verifier(self, _key_id: str, _at: dt.datetime) -> None:
        return None


NO_RING: Any = _NoKeys()


def test_a_resource_is_a_registered_system_character_for_character() -> None:
    live = LiveEstate()
    live.systems["payments"] = a_record("payments")
    assert resource_of(ISSUER, "payments") == PAYMENTS
    assert system_at(live, ISSUER, PAYMENTS) is live.systems["payments"]
    for other in ("payments", PAYMENTS + "/", PAYMENTS + "#x", PAYMENTS + "?x", PAYMENTS.upper(), LEDGER, "", ISSUER):
        assert system_at(live, ISSUER, other) is None
