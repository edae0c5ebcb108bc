"""Client assertions that must prove nobody, and the exact answer of the token endpoint to each."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from charter.core.canonical import canonical
from charter.identity.jose import encode_base64url
from charter.registry.standing import Standing
from identity_stage import ISSUER, LEDGER, PAYMENTS, TOKEN_ENDPOINT, ClientKeyPair, Stage, a_stage
from oauth_door import Door, a_door

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
SECONDS = int(NOW.timestamp())
Forge = Callable[[ClientKeyPair], str]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        yield found


@pytest.fixture
def door(stage: Stage) -> Door:
    return a_door(stage)


def unsigned(pair: ClientKeyPair) -> str:
    head, payload = {"alg": "none", "typ": "JWT"}, canonical(pair.claims(NOW))
    return f"{encode_base64url(canonical(head))}.{encode_base64url(payload)}."


def hmac_with_the_public_key(pair: ClientKeyPair) -> str:
    """The classic confusion: the public key, known to all, taken for a shared secret."""
    signed = f"{encode_base64url(canonical({'alg': 'HS256'}))}.{encode_base64url(canonical(pair.claims(NOW)))}"
    secret = pair.private.as_pem(private=False)
    return f"{signed}.{encode_base64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def by_another_key(pair: ClientKeyPair) -> str:
    return ClientKeyPair.fresh(pair.client_id).assertion(NOW)


def with_own_key_in_the_header(pair: ClientKeyPair) -> str:
    thief = ClientKeyPair.fresh(pair.client_id)
    return thief.assertion(NOW, {"jwk": thief.jwk})


def with_own_key_by_url(name: str) -> Forge:
    return lambda pair: ClientKeyPair.fresh(pair.client_id).assertion(NOW, {name: "https://evil.example/keys"})


def with_certificates(pair: ClientKeyPair) -> str:
    return pair.assertion(NOW, {"x5c": ["MIIBszCCAVmgAwIBAgIUfake"]})


def with_detached_payload(pair: ClientKeyPair) -> str:
    return pair.assertion(NOW, {"b64": False, "crit": ["b64"]})


def with_kid_of_another_principals_key(pair: ClientKeyPair) -> str:
    other = ClientKeyPair.fresh(pair.client_id)
    return other.assertion(NOW, {"kid": pair.thumbprint})


def with_kid_that_is_a_path(pair: ClientKeyPair) -> str:
    return pair.assertion(NOW, {"kid": "../../dev/null"})


def with_repeated_claim(pair: ClientKeyPair) -> str:
    text = canonical(pair.claims(NOW)).decode()
    return pair.signed(text.replace('"sub":', '"sub":"prn_ledger-agent","sub":').encode())


def with_repeated_header(pair: ClientKeyPair) -> str:
    return pair.framed(b'{"alg":"ES256","alg":"none"}', canonical(pair.claims(NOW)))


def with_der_signature(pair: ClientKeyPair) -> str:
    """ECDSA as ASN.1, not as JOSE has it: a second spelling of one signature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    head, payload, _ = pair.assertion(NOW).split(".")
    assert isinstance(pair.private, ECKey)
    der = pair.private.get_op_key("sign").sign(f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    return f"{head}.{payload}.{encode_base64url(der)}"


def with_zero_signature(pair: ClientKeyPair) -> str:
    """A signature of zeros passed in a JVM once (CVE-2022-21449)."""
    return pair.assertion(NOW).rpartition(".")[0] + "." + encode_base64url(bytes(64))


def oversized(pair: ClientKeyPair) -> str:
    return pair.assertion(NOW, padding="x" * 7000)


def claims(**changed: Any) -> Forge:
    return lambda pair: pair.assertion(NOW, **changed)


def header(**changed: Any) -> Forge:
    return lambda pair: pair.assertion(NOW, changed)


NO_SUCH = "there is no such client, or the assertion is not signed with a key of its own"
FORGERIES: list[tuple[str, Forge, str]] = [
    ("no signature", unsigned, "must be signed with ES256 or EdDSA"),
    ("alg none, spelt otherwise", header(alg="nOnE"), "must be signed with ES256 or EdDSA"),
    ("HMAC with the public key", hmac_with_the_public_key, "must be signed with ES256 or EdDSA"),
    ("RS256", header(alg="RS256"), "must be signed with ES256 or EdDSA"),
    ("another key's algorithm", header(alg="EdDSA"), NO_SUCH),
    ("alg that is no text", header(alg=["ES256"]), "must be signed with ES256 or EdDSA"),
    ("no alg", header(alg=None), "must be signed with ES256 or EdDSA"),
    ("another key", by_another_key, NO_SUCH),
    ("a key in the header", with_own_key_in_the_header, "has the header member 'jwk', which has no place there"),
    ("a key by jku", with_own_key_by_url("jku"), "has the header member 'jku', which has no place there"),
    ("a key by x5u", with_own_key_by_url("x5u"), "has the header member 'x5u', which has no place there"),
    ("a key in certificates", with_certificates, "has the header member 'x5c', which has no place there"),
    ("a critical extension", with_detached_payload, "has the header member 'b64', which has no place there"),
    ("the kid of the real key", with_kid_of_another_principals_key, NO_SUCH),
    ("a kid that is a path", with_kid_that_is_a_path, NO_SUCH),
    ("a kid that is no text", header(kid=7), "has a `kid` that is no text"),
    ("an access token's type", header(typ="at+jwt"), "is of the type 'at+jwt', which is for another purpose"),
    ("a DPoP proof's type", header(typ="dpop+jwt"), "is of the type 'dpop+jwt', which is for another purpose"),
    ("a type that is no text", header(typ=["JWT"]), "which is for another purpose"),
    ("a claim twice", with_repeated_claim, "a JSON member is repeated"),
    ("a header member twice", with_repeated_header, "a JSON member is repeated"),
    ("a DER signature", with_der_signature, NO_SUCH),
    ("a zero signature", with_zero_signature, NO_SUCH),
    ("too long", oversized, "is longer than 8192 characters"),
    ("no issuer", claims(iss=None), "must name the client as both `iss` and `sub`"),
    ("another issuer", claims(iss="https://idp.example"), "must name the client as both `iss` and `sub`"),
    ("no subject", claims(sub=None, iss=None), "must name the client as both `iss` and `sub`"),
    ("a subject that is no text", claims(sub=["prn_refund-agent"], iss=["prn_refund-agent"]), "must name the client"),
    ("another client", claims(sub="prn_ledger-agent", iss="prn_ledger-agent"), NO_SUCH),
    ("an unknown client", claims(sub="prn_nobody", iss="prn_nobody"), NO_SUCH),
    ("a client in capitals", claims(sub="PRN_REFUND-AGENT", iss="PRN_REFUND-AGENT"), NO_SUCH),
    ("a client with a look-alike letter", claims(sub="prn_refund-\u0430gent", iss="prn_refund-\u0430gent"), NO_SUCH),
    ("a client with a zero-width space", claims(sub="prn_refund-agent\u200b", iss="prn_refund-agent\u200b"), NO_SUCH),
    ("a client with white space", claims(sub=" prn_refund-agent", iss=" prn_refund-agent"), NO_SUCH),
    ("a client by its bare name", claims(sub="refund-agent", iss="refund-agent"), NO_SUCH),
    ("a SPIFFE ID of another kind", claims(**dict.fromkeys(("sub", "iss"), "spiffe://x/refund-agent")), NO_SUCH),
    ("no audience", claims(aud=None), "must be made out to"),
    ("another server's audience", claims(aud="https://other.example/oauth/token"), "must be made out to"),
    ("a longer audience", claims(aud=TOKEN_ENDPOINT + "/"), "must be made out to"),
    ("an audience in capitals", claims(aud=TOKEN_ENDPOINT.upper()), "must be made out to"),
    ("two audiences", claims(aud=[TOKEN_ENDPOINT, "https://other.example"]), "must be made out to"),
    ("no audience in a list", claims(aud=[]), "must be made out to"),
    ("a system's audience", claims(aud=PAYMENTS), "must be made out to"),
    ("no expiry", claims(exp=None), "must have an `exp`"),
    ("expired", claims(exp=SECONDS - 30), "has expired"),
    ("valid too long", claims(exp=SECONDS + 331), "is valid for more than 300 seconds"),
    ("valid for ever", claims(exp=2**52), "has a `exp` that is no whole number"),
    ("an expiry that is text", claims(exp=str(SECONDS + 60)), "has a `exp` that is no whole number"),
    ("an expiry that is true", claims(exp=True), "has a `exp` that is no whole number"),
    ("a negative expiry", claims(exp=-1), "has a `exp` that is no whole number"),
    ("not valid yet", claims(nbf=SECONDS + 31), "is not valid yet"),
    ("made in the future", claims(iat=SECONDS + 31), "is not valid yet"),
    ("made long ago", claims(iat=SECONDS - 331), "was made more than 300 seconds ago"),
    ("no jti", claims(jti=None), "must have a `jti`"),
    ("an empty jti", claims(jti=""), "must have a `jti`"),
    ("a jti that is a number", claims(jti=7), "must have a `jti`"),
    ("a huge jti", claims(jti="j" * 257), "must have a `jti`"),
    ("a jti with control characters", claims(jti="a\x00b"), "must have a `jti`"),
    (
        "a jti with a lone surrogate",
        lambda pair: pair.signed(canonical(pair.claims(NOW)).replace(b'"assertion-0"', b'"\\ud800"')),
        "must have a `jti`",
    ),
]


@pytest.mark.parametrize(("forge", "said"), [row[1:] for row in FORGERIES], ids=[row[0] for row in FORGERIES])
def test_a_forged_assertion_is_invalid_client(stage: Stage, door: Door, forge: Forge, said: str) -> None:
    pair = stage.client("refund-agent")
    answer = door.token(forge(pair), PAYMENTS)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert said.replace("`", "'") in answer.body["error_description"]
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" in answer.headers
    assert stage.entries("authentication") == []


def test_the_same_client_with_nothing_changed_gets_its_token(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": SECONDS - 29},
        {"exp": SECONDS + 330},
        {"nbf": SECONDS + 30},
        {"iat": SECONDS + 30},
        {"iat": None},
        {"aud": ISSUER},
        {"aud": [TOKEN_ENDPOINT]},
    ],
)
def test_clocks_may_differ_a_little_and_audiences_have_two_names(
    stage: Stage, door: Door, changed: dict[str, Any]
) -> None:
    pair = stage.client("refund-agent")
    assert door.token(pair.assertion(NOW, **changed), PAYMENTS).status == 200


def test_a_client_may_go_by_its_spiffe_id(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    spiffe = "spiffe://charter.local/production/agent/refund-agent"
    assert door.token(pair.assertion(NOW, sub=spiffe, iss=spiffe), PAYMENTS, client_id=spiffe).status == 200
    assert door.token(pair.assertion(NOW), PAYMENTS, client_id=spiffe).status == 200


@pytest.mark.parametrize("client_id", ["prn_ledger-agent", "prn_nobody", "PRN_REFUND-AGENT", "refund-agent", "*"])
def test_a_client_id_beside_the_assertion_must_be_the_same_client(stage: Stage, door: Door, client_id: str) -> None:
    pair = stage.client("refund-agent")
    answer = door.token(pair.assertion(NOW), PAYMENTS, client_id=client_id)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_a_revoked_key_proves_only_that_it_was_revoked(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    key = stage.live.keys[pair.thumbprint]
    stage.live.put_key(replace(key, standing=Standing.REVOKED))
    silent = door.token(pair.assertion(NOW), PAYMENTS)
    named = door.token(pair.assertion(NOW, {"kid": pair.thumbprint}), PAYMENTS)
    assert (silent.status, silent.body["error"]) == (401, "invalid_client")
    assert (named.status, named.body["error"]) == (400, "unauthorized_client")
    assert f"{key.id}' is revoked" in named.body["error_description"]


def test_a_replayed_assertion_is_refused_and_not_an_entry(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    assertion = pair.assertion(NOW)
    first, second = door.token(assertion, PAYMENTS), door.token(assertion, PAYMENTS)
    assert first.status == 200
    assert (second.status, second.body["error"]) == (401, "invalid_client")
    assert second.body["error_description"].startswith("this client assertion was used before")
    assert len(stage.entries("authentication")) == 1


def test_an_assertion_used_at_one_endpoint_is_used_at_all(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    assertion = pair.assertion(NOW)
    assert door.post("/oauth/introspect", token="x", **door.client(assertion)).status == 200
    for path, form in (
        ("/oauth/token", {"grant_type": "client_credentials", "resource": PAYMENTS}),
        ("/oauth/revoke", {"token": "x"}),
        ("/oauth/introspect", {"token": "x"}),
    ):
        answer = door.post(path, **form, **door.client(assertion))
        assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_an_assertion_shown_many_times_at_once_works_once(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    assertion = pair.assertion(NOW)

    async def flood() -> list[int]:
        return [a.status for a in await asyncio.gather(*(door.atoken(assertion, PAYMENTS) for _ in range(20)))]

    assert sorted(asyncio.run(flood())) == [200] + [401] * 19


def test_a_used_assertion_stays_used_after_a_restart(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        pair = stage.client("refund-agent")
        assertion = pair.assertion(NOW)
        assert a_door(stage).token(assertion, PAYMENTS).status == 200
        live = stage.live
    with a_stage(tmp_path, "another-agent") as stage:
        stage.live.principals |= live.principals
        stage.live.put_key(live.keys[pair.thumbprint])
        assert a_door(stage).token(assertion, PAYMENTS).body["error"] == "invalid_client"


def test_a_used_assertion_is_remembered_as_long_as_it_could_be_accepted(stage: Stage, door: Door) -> None:
    from charter.identity.revocation import forget_expired

    pair = stage.client("refund-agent")
    assertion = pair.assertion(NOW, exp=SECONDS + 60)
    assert door.token(assertion, PAYMENTS).status == 200
    stage.clock.advance(seconds=60 + 29)
    stage.database.write(forget_expired)
    assert "used before" in door.token(assertion, PAYMENTS).body["error_description"]
    stage.clock.advance(seconds=1)
    stage.database.write(forget_expired)
    assert "has expired" in door.token(assertion, PAYMENTS).body["error_description"]


def test_one_principals_assertion_gets_nothing_of_anothers(stage: Stage, door: Door) -> None:
    """A token is always the signer's own, whatever else the request says."""
    pair = stage.client("ledger-agent")
    answer = door.token(pair.assertion(NOW), PAYMENTS, username="refund-agent", requested_subject="prn_refund-agent")
    assert answer.status == 400
    assert answer.body["error"] == "invalid_target"
    own = door.token(pair.assertion(NOW), LEDGER)
    assert json.loads(door.payload(own.body["access_token"]))["sub"] == "prn_ledger-agent"


def test_what_an_attacker_is_told_does_not_tell_which_clients_there_are(stage: Stage, door: Door) -> None:
    pair = stage.client("refund-agent")
    known = door.token(by_another_key(pair), PAYMENTS)
    unknown = door.token(ClientKeyPair.fresh("prn_nobody").assertion(NOW), PAYMENTS)
    assert (known.status, known.body) == (unknown.status, unknown.body)
