"""Compact JWS and public JWKs: one text, one meaning, or refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from charter.core.errors import ErrorCode, MalformedError
from charter.identity.jose import (
    MAX_COMPACT,
    decode_base64url,
    encode_base64url,
    is_sound_ed25519,
    parse_compact,
    parse_public_jwk,
    sign_compact,
    verify_compact,
)

PRIVATE = ECKey.generate_key("P-256")
PUBLIC = parse_public_jwk(PRIVATE.as_dict(private=False))
HEADER = frozenset({"alg", "typ", "kid"})
GOOD = sign_compact({"alg": "ES256", "typ": "JWT"}, {"sub": "prn_1"}, PRIVATE)


def parse(text: str) -> Any:
    return parse_compact(text, "the token", members=HEADER)


def framed(header: str, payload: str, signature: str = "c2ln") -> str:
    return ".".join([*(encode_base64url(part.encode()) for part in (header, payload)), signature])


def test_what_is_signed_verifies_and_reads_back() -> None:
    parts = parse(GOOD)
    verify_compact(parts, PUBLIC, "the token")
    assert (parts.header, parts.claims) == ({"alg": "ES256", "typ": "JWT"}, {"sub": "prn_1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not three parts"),
        ("a.b", "is not three parts"),
        ("a.b.c.d", "is not three parts"),
        ("ä.b.c", "is not three parts"),
        ("e30.e30.", ""),
        (framed("{}", "{}") + "=", "is no base64url, or is padded"),
        (framed("[]", "{}"), "is no JSON object"),
        (framed("{}", "1"), "is no JSON object"),
        (framed("{", "{}"), "is no JSON"),
        (framed('{"alg":"ES256","alg":"none"}', "{}"), "a JSON member is repeated"),
        (framed('{"alg":"ES256","\\u0061lg":"none"}', "{}"), "a JSON member is repeated"),
        (framed("{}", '{"sub":"a","sub":"b"}'), "a JSON member is repeated"),
        (framed("{}", '{"a":{"b":1,"b":2}}'), "a JSON member is repeated"),
        (framed("{}", '{"exp":1e9}'), "is not whole"),
        (framed("{}", '{"exp":NaN}'), "is not whole"),
        (framed("{}", '{"exp":1.0}'), "is not whole"),
        (framed("{}", '{"exp":' + "9" * 5000 + "}"), "cannot be read"),
        (framed("{}", "[" * 3000), "cannot be read"),
        (framed("{}", "{} {}"), "is no JSON"),
        (f"e30.{encode_base64url(bytes([0x7B, 0xFF, 0x7D]))}.c2ln", "is no UTF-8"),
        (f"e30.{encode_base64url('﻿{}'.encode())}.c2ln", "is no JSON"),
        (framed('{"alg":"ES256","jku":"https://evil.example"}', "{}"), "has the header member 'jku'"),
        (framed('{"alg":"ES256","crit":["b64"],"b64":false}', "{}"), "has the header member 'b64'"),
        (framed('{"alg":"ES256","ALG":"none"}', "{}"), "has the header member 'ALG'"),
        (framed("{" + ",".join(f'"{i}":1' for i in range(100)) + "}", "{}"), "has too many members"),
    ],
)
def test_what_has_two_readings_has_none(text: str, said: str) -> None:
    if not said:
        with pytest.raises(MalformedError):
            verify_compact(parse(text), PUBLIC, "the token")
        return
    with pytest.raises(MalformedError, match=said) as caught:
        parse(text)
    assert caught.value.detail.startswith("the token ")


def test_an_oversized_token_is_not_even_looked_at() -> None:
    with pytest.raises(MalformedError) as caught:
        parse("." * (MAX_COMPACT + 1))
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_trailing_base64_bits_are_a_second_spelling() -> None:
    head, payload, signature = GOOD.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]
    assert base64.urlsafe_b64decode(other + "==") == base64.urlsafe_b64decode(signature + "==")
    with pytest.raises(MalformedError, match="one form"):
        parse(f"{head}.{payload}.{other}")


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}"))
def test_any_text_is_parsed_or_refused_and_nothing_else(text: str) -> None:
    try:
        parts = parse(text)
    except MalformedError:
        return
    assert isinstance(parts.header, dict)
    with pytest.raises(MalformedError):
        verify_compact(parts, PUBLIC, "the token")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "x"]), JSON, max_size=4)


@given(MEMBERS, st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp"]), JSON, max_size=4))
def test_any_signed_json_is_parsed_or_refused_and_nothing_else(header: dict[str, Any], claims: dict[str, Any]) -> None:
    text = framed(json.dumps(header), json.dumps(claims))
    try:
        parts = parse(text)
    except MalformedError:
        return
    assert (parts.header, parts.claims) == (header, claims)


@given(st.data())
def test_one_changed_character_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    changed = GOOD[:at] + data.draw(st.sampled_from("ABab01-_.~")) + GOOD[at + 1 :]
    assume(changed != GOOD)
    with pytest.raises(MalformedError):
        verify_compact(parse(changed), PUBLIC, "the token")


@given(st.binary(max_size=60))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = encode_base64url(data)
    assert decode_base64url(text) == data
    for other in (text + "=", text + "A", " " + text, text.replace("-", "+").replace("_", "/") + " "):
        if other != text:
            try:
                assert decode_base64url(other) != data
            except ValueError:
                continue


# --- keys ---


@pytest.mark.parametrize("key", [ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")])
def test_a_public_key_is_known_by_its_thumbprint(key: ECKey | OKPKey) -> None:
    found = parse_public_jwk(key.as_dict(private=False) | {"kid": "mine", "use": "sig"})
    assert found.thumbprint == key.thumbprint()
    assert "kid" not in found.jwk


def changed_jwk(**members: Any) -> dict[str, Any]:
    return {k: v for k, v in (PRIVATE.as_dict(private=False) | members).items() if v is not None}


def test_a_key_seen_before_is_the_same_and_nobody_elses_to_change() -> None:
    jwk = ECKey.generate_key("P-256").as_dict(private=False)
    first = parse_public_jwk(jwk)
    first.jwk["x"] = "changed"
    assert parse_public_jwk(jwk).jwk["x"] == jwk["x"]
    assert parse_public_jwk(jwk).thumbprint == first.thumbprint
    other = jwk | {"y": ECKey.generate_key("P-256").as_dict(private=False)["y"]}
    with pytest.raises(MalformedError):
        parse_public_jwk(other)


@pytest.mark.parametrize(
    ("jwk", "said"),
    [
        (None, "is no JSON object"),
        ([], "is no JSON object"),
        ({}, "has the type 'None'"),
        (PRIVATE.as_dict(private=True), "holds its private half"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "holds its private half"),
        (RSAKey.generate_key(2048).as_dict(private=False), "has the type 'RSA'"),
        (ECKey.generate_key("P-384").as_dict(private=False), "is on the curve 'P-384'"),
        (OKPKey.generate_key("X25519").as_dict(private=False), "is on the curve 'X25519'"),
        (changed_jwk(crv="Ed25519"), "is on the curve 'Ed25519'"),
        (changed_jwk(crv=["P-256"]), "is on the curve"),
        (changed_jwk(kty=["EC"]), "has the type"),
        (changed_jwk(x=None), "has no `x`"),
        (changed_jwk(y=7), "has no `y`"),
        (changed_jwk(x="A" * 42), "that is not 32 bytes"),
        (changed_jwk(x="A" * 43, y="A" * 43), "is no point on its curve"),
        (changed_jwk(x="+" * 43), "is no point on its curve"),
        (changed_jwk(use="enc"), "is meant for another use"),
        (changed_jwk(alg="ES384"), "is meant for another use"),
        (changed_jwk(x5c=["MIIB"]), "has members that mean nothing here: 'x5c'"),
        (changed_jwk(x5u="https://evil.example/"), "has members that mean nothing here: 'x5u'"),
        ({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(b"\x02" + bytes(31))}, "is no point on its curve"),
        ({str(i): i for i in range(100)}, "is no JSON object"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_with_the_reason(jwk: Any, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        parse_public_jwk(jwk)


@pytest.mark.parametrize(
    "encoded",
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_a_key_anybody_can_sign_for_is_refused(encoded: str) -> None:
    with pytest.raises(MalformedError, match="anybody can sign for"):
        parse_public_jwk({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(bytes.fromhex(encoded))})


def test_every_real_ed25519_key_is_sound() -> None:
    for _ in range(50):
        assert is_sound_ed25519(decode_base64url(str(OKPKey.generate_key("Ed25519").as_dict(private=False)["x"])))


@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d", "kid", "use", "alg"]), JSON, max_size=8))
def test_any_json_is_a_key_or_refused_and_nothing_else(jwk: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_public_jwk(jwk)
