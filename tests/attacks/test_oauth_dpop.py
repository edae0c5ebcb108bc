"""Sender constraint under attack: nonces missing, made up, hoarded; proofs replayed, before and after a restart."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.gateway.pipeline import Came
from charter.identity.dpop import ProofMemory
from charter.identity.failures import PER_CLIENT
from charter.identity.jose import encode_base64url
from charter.identity.nonce import NONCE_SECONDS, Nonces
from charter.registry.charter import CredentialType
from charter.registry.terms import Bearing, Terms
from houses import a_house
from identity_stage import PAYMENTS, TOKEN_ENDPOINT, ClientKeyPair, Stage, a_stage
from oauth_door import Answer, Door, a_door

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        yield found


def a_strict_door(stage: Stage) -> Door:
    """Return a door that asks for nonces, as a house's does."""
    return a_door(stage, proofs=ProofMemory(Nonces(stage.ring, stage.clock.now())))


def a_proof(pair: ClientKeyPair, at: dt.datetime, url: str = TOKEN_ENDPOINT, **changed: Any) -> str:
    claims = {"htm": "POST", "htu": url, "iat": int(at.timestamp()), "jti": f"proof-{next(pair.serial)}"}
    payload = {name: value for name, value in (claims | changed).items() if value is not None}
    return pair.signed(canonical(payload), {"typ": "dpop+jwt", "jwk": pair.jwk})


def ask(stage: Stage, door: Door, pair: ClientKeyPair, **changed: Any) -> Answer:
    at = stage.clock.now()
    return door.token(pair.assertion(at), PAYMENTS, dpop=a_proof(pair, at, **changed))


def test_a_first_proof_is_told_the_nonce_to_use_and_the_second_gets_in(stage: Stage) -> None:
    door, pair = a_strict_door(stage), stage.client("refund-agent")
    first = ask(stage, door, pair)
    second = ask(stage, door, pair, nonce=first.headers["dpop-nonce"])
    assert (first.status, first.body["error"]) == (400, "use_dpop_nonce")
    assert (second.status, second.body["token_type"]) == (200, "DPoP")
    assert second.headers["dpop-nonce"]


def test_a_first_try_is_no_failure_that_anyone_is_throttled_for(stage: Stage) -> None:
    door, pair = a_strict_door(stage), stage.client("refund-agent")
    answers = [ask(stage, door, pair) for _ in range(PER_CLIENT + 5)]
    assert {answer.body["error"] for answer in answers} == {"use_dpop_nonce"}
    assert stage.failures.drain(early=True) == []
    assert stage.entries("authentication") == []


@pytest.mark.parametrize("nonce", ["", "x" * 28, 7, None, "\u00e9" * 28, ["a"], "a" * 5000])
def test_a_made_up_nonce_is_use_dpop_nonce(stage: Stage, nonce: object) -> None:
    answer = ask(stage, a_strict_door(stage), stage.client("refund-agent"), nonce=nonce)
    assert (answer.status, answer.body["error"]) == (400, "use_dpop_nonce")


def test_a_hoarded_nonce_is_use_dpop_nonce(stage: Stage) -> None:
    door, pair = a_strict_door(stage), stage.client("refund-agent")
    nonce = ask(stage, door, pair).headers["dpop-nonce"]
    stage.clock.advance(seconds=NONCE_SECONDS + 1)
    answer = ask(stage, door, pair, nonce=nonce)
    assert (answer.status, answer.body["error"]) == (400, "use_dpop_nonce")


def test_a_replayed_proof_is_invalid_dpop_proof_although_its_nonce_is_good(stage: Stage) -> None:
    door, pair = a_strict_door(stage), stage.client("refund-agent")
    nonce = ask(stage, door, pair).headers["dpop-nonce"]
    proof = a_proof(pair, NOW, nonce=nonce)
    answers = [door.token(pair.assertion(NOW), PAYMENTS, dpop=proof) for _ in range(2)]
    again = door.token(pair.assertion(NOW), PAYMENTS, dpop=a_proof(pair, NOW, nonce=nonce))
    assert [(answer.status, answer.body.get("error")) for answer in answers] == [
        (200, None),
        (400, "invalid_dpop_proof"),
    ]
    assert again.status == 200


def test_a_used_proof_is_worth_nothing_after_a_restart(stage: Stage) -> None:
    """The memory of used proofs is gone then; the nonce of before says so."""
    door, pair = a_strict_door(stage), stage.client("refund-agent")
    proof = a_proof(pair, NOW, nonce=ask(stage, door, pair).headers["dpop-nonce"])
    assert door.token(pair.assertion(NOW), PAYMENTS, dpop=proof).status == 200
    stage.clock.advance(seconds=2)
    restarted = a_strict_door(stage)
    answer = restarted.token(pair.assertion(stage.clock.now()), PAYMENTS, dpop=proof)
    assert (answer.status, answer.body["error"]) == (400, "use_dpop_nonce")


def test_a_strangers_proof_is_not_even_told_a_nonce_for_its_client(stage: Stage) -> None:
    stranger = ClientKeyPair.fresh("prn_refund-agent")
    answer = ask(stage, a_strict_door(stage), stranger)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_without_proof_or_certificate_there_is_no_token_where_the_charter_is_silent(stage: Stage) -> None:
    bound = Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.BOUND)
    stage.show(replace(stage.live.principals["prn_refund-agent"], terms=bound))
    pair = stage.client("refund-agent")
    answer = a_strict_door(stage).token(pair.assertion(NOW), PAYMENTS)
    (entry,) = stage.entries("authentication")
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "DPoP" in answer.body["error_description"]
    assert (entry["body"]["outcome"], entry["body"]["code"]) == ("refused", "not_bound")


def test_a_plain_token_from_before_is_dead_once_the_charter_asks_for_bound_ones(stage: Stage) -> None:
    from charter.identity.authority import refusal

    door, pair = a_door(stage), stage.client("refund-agent")
    token = door.token(pair.assertion(NOW), PAYMENTS).body["access_token"]
    bearer = stage.tokens.read(token, at=NOW).bearer
    assert refusal(stage.live, bearer, None, at=NOW) is None
    bound = Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.BOUND)
    stage.show(replace(stage.live.principals["prn_refund-agent"], terms=bound))
    stopped = refusal(stage.live, bearer, None, at=NOW)
    assert stopped is not None
    assert "bound to no key" in stopped.text


def test_the_gateway_asks_for_nonces_too_and_takes_a_proof_once(tmp_path: Path) -> None:
    """In a whole house: the same nonces at the token endpoint and at the systems."""
    import asyncio

    from charter.bootstrap import authority
    from charter.server.oauth import OAuthApp
    from oauth_door import Grants

    with a_house(tmp_path) as stage:
        house, at = stage.house, stage.clock.now()
        pair = ClientKeyPair.fresh(house.principal("refund-agent").id)
        asyncio.run(authority.register_key(house, "refund-agent", pair.jwk, actor="a@example.com", reason="a test"))
        door = Door(OAuthApp.of(house), Grants())
        nonce = door.token(pair.assertion(at), PAYMENTS, dpop=a_proof(pair, at)).headers["dpop-nonce"]
        answer = door.token(pair.assertion(at), PAYMENTS, dpop=a_proof(pair, at, nonce=nonce))
        token = answer.body["access_token"]
        ath = encode_base64url(hashlib.sha256(token.encode()).digest())

        def present(**changed: Any) -> None:
            proof = a_proof(pair, at, PAYMENTS, **{"ath": ath, "nonce": nonce} | changed)
            house.pipeline.authenticate(token, audience=PAYMENTS, at=at, came=Came(proof=proof))

        present()
        for changed, code in (
            ({"nonce": None}, ErrorCode.NONCE_NEEDED),
            ({"nonce": "x" * 28}, ErrorCode.NONCE_NEEDED),
            ({"jti": "the same", "iat": int(at.timestamp())}, None),
            ({"jti": "the same", "iat": int(at.timestamp())}, ErrorCode.BAD_PROOF),
            ({"htm": "GET"}, ErrorCode.BAD_PROOF),
            ({"ath": encode_base64url(bytes(32))}, ErrorCode.BAD_PROOF),
        ):
            if code is None:
                present(**changed)
                continue
            with pytest.raises(UnauthenticatedError) as caught:
                present(**changed)
            assert caught.value.code is code
