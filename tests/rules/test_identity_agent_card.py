"""Agent cards: what is one, its canonical form, and signatures by the keys that an operator trusts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.types import AgentCard as SdkCard
from a2a.utils.signing import _canonicalize_agent_card, create_agent_card_signer
from google.protobuf.json_format import MessageToDict, ParseDict
from jwt.api_jwk import PyJWK

from agent_cards import a_card, a_key, as_bytes, signature_of, signed_by
from charter.core.errors import MalformedError
from charter.identity.agent_card import MAX_CARD, MAX_SIGNATURES, AgentCard, read_card
from charter.identity.card_signature import Signed, key_addresses, verify_card

KEY = a_key()


def read(card: dict[str, Any]) -> AgentCard:
    return read_card(as_bytes(card))


# --- the card ---


def test_a_card_reads_and_has_one_digest_whatever_its_layout() -> None:
    card = a_card()
    turned = dict(reversed(card.items()))
    assert read(card).digest == read(turned).digest
    assert read_card(json.dumps(card, indent=4).encode()).digest == read(card).digest


def test_its_digest_covers_every_member_and_no_signature() -> None:
    plain = read(a_card())
    assert read(signed_by(KEY, a_card())).digest == plain.digest
    for changed in ({"name": "Other"}, {"iconUrl": ""}, {"xOther": 1}, {"skills": []}):
        assert read(a_card(**changed)).digest != plain.digest


def test_the_canonical_form_is_that_of_the_specifications_example() -> None:
    card = a_card(
        name="Example Agent",
        description="",
        capabilities={"streaming": False, "pushNotifications": False, "extensions": []},
        skills=[],
    )
    content = read(card).content
    assert content["description"] == ""
    assert content["skills"] == []
    assert content["capabilities"] == {"streaming": False, "pushNotifications": False}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"securityRequirements": []}, None),
        ({"securitySchemes": {}}, None),
        ({"documentationUrl": ""}, ""),
        ({"iconUrl": None}, None),
    ],
)
def test_what_has_its_default_stands_there_only_if_it_was_meant_to(changed: dict[str, Any], kept: object) -> None:
    (name,) = changed
    assert read(a_card(**changed)).content.get(name) == kept


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"name": "a", "name": "b"}', "a member twice"),
        (b'{"a": NaN}', "number that is none"),
        (b'{"a": 1e999}', "readers disagree"),
        (b'{"a": 9007199254740993}', "readers disagree"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "nests deeper"),
        (b"[" * 100_000, "no JSON"),
        (b" " * (MAX_CARD + 1), "longer than 256 KiB"),
        (as_bytes(a_card(supportedInterfaces=None, url="https://a.example")), "A2A 0.3"),
        (as_bytes(a_card(name=None)), "has no `name`"),
        (as_bytes(a_card(name=7)), "`name` of the agent card is not text"),
        (as_bytes(a_card(supportedInterfaces=[])), "is empty"),
        (as_bytes(a_card(supportedInterfaces=[{}])), "`supportedInterfaces.0` of the agent card has no `url`"),
        (as_bytes(a_card(skills=[{"id": "a"}])), "`skills.0` of the agent card has no `name`"),
        (as_bytes(a_card(skills="all")), "is not a list"),
        (as_bytes(a_card(defaultInputModes=[1])), "`defaultInputModes.0` of the agent card is not text"),
        (as_bytes(a_card(capabilities={"streaming": "yes"})), "is not true or false"),
        (as_bytes(a_card(description="a" * 20_000)), "more than 16384 characters"),
        (as_bytes(a_card(xMany=list(range(501)))), "more than 500 entries"),
        (as_bytes(a_card(signatures={})), "no list of at most 8"),
        (as_bytes(a_card(signatures=[{}] * (MAX_SIGNATURES + 1))), "no list of at most 8"),
        (as_bytes(a_card(signatures=[{"protected": "a"}])), "both text"),
        (as_bytes(a_card(signatures=[{"protected": "a", "signature": "b", "jwk": {}}])), "has no place there"),
        (b'{"name": "\\ud800"}', "has no `description`"),
        (as_bytes(a_card()).replace(b"Route Planner", b"\\ud800"), "no canonical form"),
    ],
)
def test_what_is_no_card_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(MalformedError) as told:
        read_card(data)
    assert why in told.value.detail


# --- its signatures ---


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "PS256"])
def test_a_signature_by_a_trusted_key_counts(algorithm: str) -> None:
    key = a_key("key-1", algorithm)
    found = verify_card(read(signed_by(key, a_card())), key.trusted)
    assert (found.outcome, found.key_id) == (Signed.TRUSTED, "key-1")


def test_one_good_signature_among_others_is_enough() -> None:
    old, fresh = a_key("old"), a_key("fresh")
    card = signed_by(fresh, signed_by(old, a_card()))
    assert verify_card(read(card), fresh.trusted).key_id == "fresh"


def test_without_signature_or_without_keys_nothing_is_checked() -> None:
    assert verify_card(read(a_card()), KEY.trusted).outcome is Signed.UNSIGNED
    assert verify_card(read(signed_by(KEY, a_card())), ()).outcome is Signed.UNCHECKED


def test_a_key_that_nobody_trusts_makes_no_signature_count() -> None:
    found = verify_card(read(signed_by(a_key("stranger"), a_card())), KEY.trusted)
    assert found.outcome is Signed.UNTRUSTED


def test_a_jku_is_named_only_where_the_operator_named_its_host() -> None:
    card = read(signed_by(KEY, a_card(), jku="https://routes.example.com/jwks.json"))
    assert key_addresses(card, ["routes.example.com"]) == ("https://routes.example.com/jwks.json",)
    for hosts in ([], ["example.com"], ["outes.example.com"], ["routes.example.com.evil.example"]):
        assert key_addresses(card, hosts) == ()


@pytest.mark.parametrize(
    "address",
    [
        "http://routes.example.com/jwks.json",
        "https://routes.example.com@evil.example/jwks.json",
        "https://evil.example/#routes.example.com",
        "https://evil.example\\@routes.example.com/",
        "file:///routes.example.com",
        "//routes.example.com/jwks.json",
        "https://[::1",
        7,
    ],
)
def test_an_address_that_only_looks_like_the_named_host_is_passed_over(address: object) -> None:
    card = read(signed_by(KEY, a_card(), jku=address))
    found = key_addresses(card, ["routes.example.com"])
    assert all(each.startswith("https://") and "evil.example/" not in each for each in found)
    assert len(found) == 0 or "\\" in found[0]


# --- as the Python SDK of A2A signs ---


def sdk_signed(card: dict[str, Any], **header: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return `card` as the SDK signs it and writes it, and the key to trust."""
    key = a_key("sdk-1")
    members = {"alg": "ES256", "kid": "sdk-1", "typ": "JOSE", "jku": None} | header
    signer = create_agent_card_signer(
        PyJWK.from_dict({**key.private.as_dict(private=True), "alg": "ES256"}),
        {name: value for name, value in members.items() if value is not None},  # type: ignore[arg-type]
    )
    return MessageToDict(signer(ParseDict(card, SdkCard()))), key.trusted


def test_a_card_signed_by_the_sdk_verifies() -> None:
    card, trusted = sdk_signed(a_card())
    found = verify_card(read(card), trusted)
    assert found.outcome is Signed.TRUSTED, found.faults


def test_a_card_signed_by_the_sdk_with_other_letters_and_numbers_verifies() -> None:
    extension = {"uri": "https://e.example/x", "params": {"weight": 1.5, "whole": 3, "deep": [{"a": True}]}}
    card, trusted = sdk_signed(a_card(name="Größe ✓", capabilities={"extensions": [extension]}))
    assert verify_card(read(card), trusted).outcome is Signed.TRUSTED


def test_our_canonical_form_is_the_sdks_where_nothing_is_empty() -> None:
    assert _canonicalize_agent_card(ParseDict(a_card(), SdkCard())).encode() == read(a_card()).form


def test_a_card_signed_by_the_sdk_without_what_is_empty_verifies_as_long_as_only_that_is_left_out() -> None:
    card, trusted = sdk_signed(a_card(description="", skills=[]))
    found = verify_card(read(card | {"description": "", "skills": []}), trusted)
    assert found.outcome is Signed.TRUSTED, found.faults


def test_a_card_whose_security_the_sdk_left_out_of_the_signature_is_not_believed() -> None:
    open_to_all = [{"schemes": {"google": {}}}]  # the scheme, with no scopes: the SDK's form drops it whole
    card, trusted = sdk_signed(a_card(securityRequirements=open_to_all))
    assert verify_card(read(card), trusted).outcome is Signed.BAD
    signed = {name: value for name, value in card.items() if name != "securityRequirements"}  # what the SDK signed
    assert verify_card(read(signed), trusted).outcome is Signed.TRUSTED


def test_a_signature_by_hand_over_the_lax_form_is_the_sdks() -> None:
    card = a_card(skills=[])
    lax = read(card).lax_form
    assert lax is not None
    signed = card | {"signatures": [signature_of(KEY, lax)]}
    assert verify_card(read(signed), KEY.trusted).outcome is Signed.TRUSTED
