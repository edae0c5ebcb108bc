"""Agent cards by people who wish to be believed: keys of their own, other algorithms, changed words."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest

from agent_cards import CardKey, a_card, a_key, as_bytes, signature_of, signed_by
from charter.core.canonical import canonical
from charter.identity.agent_card import read_card
from charter.identity.card_signature import Signed, key_addresses, verify_card
from charter.identity.jose import encode_base64url

TRUSTED, EVE = a_key("key-1"), a_key("key-1")


def outcome(card: dict[str, Any], key: CardKey = TRUSTED) -> Signed:
    return verify_card(read_card(as_bytes(card)), key.trusted).outcome


def with_protected(card: dict[str, Any], header: dict[str, Any], signature: str) -> dict[str, Any]:
    protected = encode_base64url(canonical(header))
    return card | {"signatures": [{"protected": protected, "signature": signature}]}


def test_a_key_in_the_card_itself_is_never_the_one_it_is_believed_by() -> None:
    for member, value in (
        ("jwk", EVE.jwk),
        ("x5c", ["MIIB"]),
        ("x5u", "https://evil.example/cert.pem"),
        ("crit", ["exp"]),
        ("b64", False),
    ):
        card = signed_by(EVE, a_card(), **{member: value})
        assert outcome(card) is Signed.UNTRUSTED
        assert outcome(signed_by(TRUSTED, a_card(), **{member: value})) is Signed.UNTRUSTED  # nor beside a good one


def test_a_jku_of_the_cards_own_choosing_is_named_to_nobody() -> None:
    card = read_card(as_bytes(signed_by(EVE, a_card(), jku="https://evil.example/jwks.json")))
    assert key_addresses(card, ["routes.example.com"]) == ()
    assert verify_card(card, TRUSTED.trusted).outcome is Signed.BAD


def test_a_jku_in_the_unprotected_header_is_read_by_nobody() -> None:
    card = signed_by(EVE, a_card())
    card["signatures"][0]["header"] = {"jku": "https://routes.example.com/jwks.json", "jwk": EVE.jwk, "kid": "key-1"}
    read = read_card(as_bytes(card))
    assert key_addresses(read, ["routes.example.com"]) == ()
    assert verify_card(read, TRUSTED.trusted).outcome is Signed.BAD


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_no_signature_is_no_signature_however_it_is_spelt(algorithm: str) -> None:
    header = {"alg": algorithm, "kid": "key-1", "typ": "JOSE"}
    for signature in ("", "AA", signed_by(TRUSTED, a_card())["signatures"][0]["signature"]):
        assert outcome(with_protected(a_card(), header, signature)) is Signed.BAD


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    key = a_key("key-1", "RS256")
    header = {"alg": "HS256", "kid": "key-1", "typ": "JOSE"}
    form = read_card(as_bytes(a_card())).form
    signed = f"{encode_base64url(canonical(header))}.{encode_base64url(form)}".encode()
    for secret in (key.private.as_pem(private=False), json.dumps(key.jwk).encode()):
        raw = hmac.digest(secret, signed, "sha256")
        assert outcome(with_protected(a_card(), header, encode_base64url(raw)), key) is Signed.BAD


@pytest.mark.parametrize("algorithm", ["ES384", "RS256", "EdDSA", "ES256K"])
def test_another_algorithm_than_the_keys_own_fits_no_key(algorithm: str) -> None:
    form = read_card(as_bytes(a_card())).form
    card = a_card() | {"signatures": [signature_of(TRUSTED, form, header={"alg": algorithm}, algorithm="ES256")]}
    assert outcome(card) is Signed.BAD


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Route Planer"},
        {
            "supportedInterfaces": [
                {"url": "https://evil.example", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
            ]
        },
        {"securityRequirements": None},
        {"securityRequirements": [{"schemes": {"google": {"list": ["openid"]}}}, {}]},
        {"capabilities": {"streaming": True}},
        {"iconUrl": ""},
        {"unknownMember": "more"},
        {"skills": []},
    ],
)
def test_a_changed_card_is_not_the_one_that_was_signed(changed: dict[str, Any]) -> None:
    signed = signed_by(TRUSTED, a_card())
    forged = {k: v for k, v in (signed | changed).items() if v is not None}
    assert outcome(signed) is Signed.TRUSTED
    assert outcome(forged) is Signed.BAD


def test_another_cards_signature_is_not_this_ones() -> None:
    other = signed_by(TRUSTED, a_card(version="0.9"))
    assert outcome(a_card() | {"signatures": other["signatures"]}) is Signed.BAD


def test_a_signature_in_a_second_spelling_is_none() -> None:
    card = signed_by(TRUSTED, a_card())
    raw = card["signatures"][0]["signature"]
    for spelt in (raw + "=", raw + "A", raw + "\n", f" {raw}", raw[:-2], ""):
        card["signatures"][0]["signature"] = spelt
        assert outcome(card) is Signed.BAD


def test_a_protected_header_of_absurd_size_or_form_is_none() -> None:
    good = signed_by(TRUSTED, a_card())["signatures"][0]
    for protected in ("A" * 5000, "", "e30", encode_base64url(b'{"alg":"ES256","alg":"none","kid":"key-1"}'), "ä"):
        card = a_card() | {"signatures": [good | {"protected": protected}]}
        assert outcome(card) is Signed.UNTRUSTED
