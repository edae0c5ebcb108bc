"""Tokens of trusted platforms that are not the principal's: each fails with the exact OAuth error, and says why."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from charter.core.errors import CharterError, UnauthenticatedError
from charter.identity.foreign import parse_key_set, read_foreign
from charter.identity.jose import encode_base64url
from charter.registry.issuer import Issuers, Platform
from identity_stage import ISSUER, PAYMENTS, Stage, a_stage
from oauth_door import Answer, Door, a_door
from platforms import CLAIMS, NAMED, LocalIssuer, a_local_issuer, declare, trust

CLIENT = "prn_refund-agent"
GITHUB = CLAIMS[Platform.GITHUB]


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with a_local_issuer() as issuer:
        yield issuer


@pytest.fixture
def stage(tmp_path: Path, issuer: LocalIssuer) -> Iterator[Stage]:
    with a_stage(tmp_path) as stage:
        trust(stage, issuer, Platform.GITHUB)
        yield stage


def refused(stage: Stage, token: str, why: str, client_id: str | None = CLIENT, status: int = 401) -> None:
    door = a_door(stage)
    more = {} if client_id is None else {"client_id": client_id}
    answer = door.token(token, PAYMENTS, **more)
    assert (answer.status, answer.body["error"]) == (status, "invalid_client"), answer.raw
    assert why in answer.body["error_description"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"repository": "acme/refunds-fork"}, "says something else for 'repository'"),
        ({"repository": "ACME/refunds"}, "says something else for 'repository'"),
        ({"repository": "acme/refunds\u200b"}, "says something else for 'repository'"),
        ({"repository": None}, "says something else for 'repository'"),
        ({"repository": ["acme/refunds"]}, "says something else for 'repository'"),
        ({"environment": "staging"}, "says something else for 'environment'"),
        ({"aud": "https://elsewhere.example"}, "is not made out to"),
        ({"aud": [ISSUER, "https://elsewhere.example"]}, "and to nobody else"),
        ({"aud": None}, "is not made out to"),
        ({"exp": None}, "in whole seconds"),
        ({"iat": None}, "in whole seconds"),
    ],
)
def test_a_token_of_somebody_else_on_the_platform_is_refused(
    stage: Stage, issuer: LocalIssuer, changed: dict[str, Any], why: str
) -> None:
    refused(stage, issuer.token(stage, GITHUB, **changed), why)


def test_a_token_out_of_its_time_is_refused(stage: Stage, issuer: LocalIssuer) -> None:
    now = int(stage.clock.now().timestamp())
    refused(stage, issuer.token(stage, GITHUB, iat=now - 700, nbf=None, exp=now - 31), "has expired")
    refused(stage, issuer.token(stage, GITHUB, nbf=now + 31), "is not valid yet")
    refused(stage, issuer.token(stage, GITHUB, iat=now + 31, nbf=None), "is not valid yet")
    refused(stage, issuer.token(stage, GITHUB, exp=now + 7200), "valid for longer")


def test_a_token_signed_with_another_key_is_refused(stage: Stage, issuer: LocalIssuer) -> None:
    mine = LocalIssuer(issuer.server, {"k1": RSAKey.generate_key(2048)})
    refused(stage, mine.token(stage, GITHUB), "a signature that does not verify")
    mine.keys["k9"] = mine.keys["k1"]
    now = int(stage.clock.now().timestamp())
    frame = {"iss": issuer.address, "aud": ISSUER, "iat": now, "exp": now + 60}
    refused(stage, mine.sign(frame | GITHUB, kid="k9"), "no key of its issuer")


def test_algorithm_confusion_fails_before_any_signature_is_looked_at(stage: Stage, issuer: LocalIssuer) -> None:
    now = int(stage.clock.now().timestamp())
    claims = {"iss": issuer.address, "aud": ISSUER, "iat": now, "exp": now + 60} | GITHUB
    public = issuer.keys["k1"].as_pem(private=False)
    signed = f"{jwt_head({'alg': 'HS256', 'kid': 'k1'})}.{jwt_head(claims)}"
    mac = encode_base64url(hmac.digest(public, signed.encode(), "sha256"))
    refused(stage, f"{signed}.{mac}", "no key of its issuer that fits")
    head, body, _ = issuer.sign(claims).split(".")
    for alg in ("none", "NONE", "RS1", "ES256"):
        forged = jwt_head({"alg": alg, "kid": "k1"}) + f".{body}."
        refused(stage, forged, "no key of its issuer that fits")
    assert head


@pytest.mark.parametrize("member", ["jku", "jwk", "x5u", "x5c", "crit", "b64"])
def test_a_token_that_brings_its_own_key_is_no_token(stage: Stage, issuer: LocalIssuer, member: str) -> None:
    now = int(stage.clock.now().timestamp())
    body = issuer.sign({"iss": issuer.address, "aud": ISSUER, "iat": now, "exp": now + 60} | GITHUB).split(".")[1]
    forged = jwt_head({"alg": "RS256", "kid": "k1", member: issuer.server.url("/mine")}) + f".{body}.AA"
    asked = len(issuer.server.asked)
    answer = a_door(stage).token(forged, PAYMENTS, client_id=CLIENT)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert len(issuer.server.asked) == asked


@pytest.mark.parametrize("kind", ["at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "secevent+jwt"])
def test_a_token_made_for_another_purpose_is_refused(stage: Stage, issuer: LocalIssuer, kind: str) -> None:
    now = int(stage.clock.now().timestamp())
    claims = {"iss": issuer.address, "aud": ISSUER, "iat": now, "exp": now + 60} | GITHUB
    refused(stage, issuer.sign(claims, typ=kind), "for another purpose")


def test_a_token_proves_no_other_principal(stage: Stage, issuer: LocalIssuer) -> None:
    token = issuer.token(stage, GITHUB)
    refused(stage, token, "no such client", "prn_ledger-agent")
    refused(stage, token, "no such client", "prn_nobody")
    refused(stage, token, "does not say which principal", None)
    declare(stage, NAMED[Platform.GITHUB] | {"environment": "staging"}, "ledger-agent")
    refused(stage, token, "says something else for 'environment'", "prn_ledger-agent")


def test_a_service_account_of_another_namespace_cannot_lend_its_name(stage: Stage, issuer: LocalIssuer) -> None:
    stage.live.keys.clear()
    stage.live.thumbprints.clear()
    stated = {"platform": "kubernetes", "issuer": issuer.address}
    stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})
    declare(stage, NAMED[Platform.KUBERNETES], "ledger-agent")
    forged = CLAIMS[Platform.KUBERNETES] | {"sub": "system:serviceaccount:evil:refund-agent"}
    refused(stage, issuer.token(stage, forged), "says something else for 'sub'", "prn_ledger-agent")


def test_a_people_issuer_proves_no_workload(stage: Stage, issuer: LocalIssuer) -> None:
    stated = {"platform": "identity-provider", "issuer": issuer.address}
    stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})
    refused(stage, issuer.token(stage, GITHUB), "")


def test_a_discovery_document_that_speaks_for_another_is_not_believed(stage: Stage) -> None:
    with a_local_issuer() as liar:
        trust_again(stage, liar)
        liar.server.documents["/.well-known/openid-configuration"]["issuer"] = "https://issuer.example"
        answer: Answer = a_door(stage).token(liar.token(stage, GITHUB), PAYMENTS, client_id=CLIENT)
        assert (answer.status, answer.body["error"]) == (503, "temporarily_unavailable")


def trust_again(stage: Stage, issuer: LocalIssuer) -> None:
    stated = {"platform": "github-actions", "issuer": issuer.address}
    stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": "x"},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AA"}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{"kty": "RSA", "e": "AQAB", "n": encode_base64url(b"\xc5" * 128)}]},
        {"keys": [RSAKey.generate_key(2048).as_dict(private=True)]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
        {"keys": [{}] * 101},
    ],
)
def test_key_sets_without_a_sound_key_are_refused(document: Any) -> None:
    with pytest.raises(CharterError, match=r"no JWK Set|no key that fits"):
        parse_key_set(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(json_values)
def test_any_document_is_a_key_set_or_a_clear_refusal(document: Any) -> None:
    try:
        keys = parse_key_set({"keys": [document, {"kty": "RSA"} | (document if isinstance(document, dict) else {})]})
    except CharterError:
        return
    assert keys


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "x"]), json_values), st.text(max_size=30))
def test_any_text_is_a_token_or_a_clear_refusal(claims: dict[str, Any], tail: str) -> None:
    for text in (tail, f"{tail}.{tail}.{tail}", f"{jwt_head({'alg': 'RS256'})}.{jwt_head(claims)}.{tail}"):
        try:
            read_foreign(text)
        except UnauthenticatedError as err:
            if not err.detail.isascii():
                pytest.fail(f"the refusal repeats what was sent: {err.detail}")


def jwt_head(value: Any) -> str:
    return encode_base64url(json.dumps(value).encode())


def test_the_door_takes_a_platform_token_once_more_but_never_for_more(stage: Stage, issuer: LocalIssuer) -> None:
    door: Door = a_door(stage)
    token = issuer.token(stage, GITHUB)
    assert door.token(token, PAYMENTS, client_id=CLIENT).status == 200
    assert door.token(token, PAYMENTS, client_id=CLIENT).status == 200
    elsewhere = door.token(token, f"{ISSUER}/mcp/ledger", client_id=CLIENT)
    assert (elsewhere.status, elsewhere.body["error"]) == (400, "invalid_target")
