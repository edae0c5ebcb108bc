"""SVIDs and bundles that lie: each is refused, with the reason."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hmac
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from charter.core.errors import MalformedError, UnauthenticatedError
from charter.core.values import SpiffeId
from charter.identity.bundle import Bundle, parse_bundle
from charter.identity.jose import encode_base64url
from charter.identity.spiffe import verify_jwt_svid, verify_x509_svid
from trust_domains import NOW, ForeignDomain, certificate, usage, x509_entry

HOME, PARTNER = ForeignDomain("charter.local"), ForeignDomain("partner.example")
BUNDLES = {each.name: each.bundle() for each in (HOME, PARTNER)}


def jwt(token: str, audience: str = "here", at: dt.datetime = NOW) -> Any:
    return verify_jwt_svid(token, audience=audience, bundles=BUNDLES, at=at)


def svid(chain: list[bytes], at: dt.datetime = NOW, bundles: dict[str, Bundle] | None = None) -> Any:
    return verify_x509_svid(chain, bundles=BUNDLES if bundles is None else bundles, at=at)


# --- SPIFFE IDs ---

TRICKS = [
    "",
    "spiffe://",
    "spiffe:///a",
    "SPIFFE://charter.local/a",
    "spiffe://Charter.local/a",
    "spiffe://charter.local/",
    "spiffe://charter.local/a/",
    "spiffe://charter.local//a",
    "spiffe://charter.local/./a",
    "spiffe://charter.local/a/../b",
    "spiffe://charter.local/%61",
    "spiffe://charter.local/a%2fb",
    "spiffe://charter%2elocal/a",
    "spiffe://user@charter.local/a",
    "spiffe://charter.local:8443/a",
    "spiffe://[::1]/a",
    "spiffe://charter.local/a?b",
    "spiffe://charter.local/a#b",
    "spiffe://charter.local/a b",
    "spiffe://charter.local/a\n",
    "spiffe://charter.local/a\x00",
    "spiffe://ch\u0430rter.local/a",
    "spiffe://charter.local/\u0430",
    "spiffe://charter.local/a\u200b",
    "spiffe://charter.local\\a",
    "spiffe:/charter.local/a",
    "https://charter.local/a",
    " spiffe://charter.local/a",
    "spiffe://" + "a" * 256 + "/a",
    "spiffe://charter.local/" + "a" * 2048,
]


@pytest.mark.parametrize("text", TRICKS)
def test_an_id_with_a_second_spelling_is_no_id(text: str) -> None:
    with pytest.raises(MalformedError, match="is no SPIFFE ID"):
        SpiffeId.parse(text)


@pytest.mark.parametrize(
    "text", ["spiffe://a", "spiffe://127.0.0.1/a", "spiffe://-_./A", "spiffe://a/b.c/...", "spiffe://a/" + "b" * 2037]
)
def test_an_id_that_the_standard_allows_is_itself(text: str) -> None:
    assert str(SpiffeId.parse(text)) == text


@given(st.text(max_size=60) | st.from_regex(r"spiffe://[a-zA-Z0-9._%:@/?#\\-]*", fullmatch=True))
def test_an_id_that_parses_is_written_the_same(text: str) -> None:
    try:
        found = SpiffeId.parse(text)
    except MalformedError:
        return
    assert str(found) == text
    assert text.isascii()
    assert "//" not in found.path


@pytest.mark.parametrize("text", [t for t in TRICKS if t.isascii() and "\x00" not in t])
def test_no_certificate_carries_such_an_id(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        svid(HOME.x509_svid(uris=(text,)))


@pytest.mark.parametrize("text", TRICKS)
def test_no_token_carries_such_an_id(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        jwt(HOME.jwt_svid(HOME.claims(sub=text)))


# --- X.509-SVIDs ---


def test_a_sound_svid_says_who_it_is() -> None:
    found = svid(PARTNER.x509_svid("/billing"))
    assert str(found.spiffe_id) == "spiffe://partner.example/billing"
    assert found.origin is None


def test_a_domain_cannot_speak_for_another() -> None:
    """The chain leads to an authority that is trusted, for another trust domain."""
    with pytest.raises(UnauthenticatedError, match=r"does not lead to an authority of `charter\.local`"):
        svid(PARTNER.x509_svid(uris=("spiffe://charter.local/production/agent/refund-agent",)))


def test_a_domain_that_is_not_held_is_not_trusted() -> None:
    with pytest.raises(UnauthenticatedError, match="is not trusted here"):
        svid(ForeignDomain("stranger.example").x509_svid())


def test_a_bundle_filed_under_another_name_is_not_used() -> None:
    with pytest.raises(UnauthenticatedError, match="is not trusted here"):
        svid(HOME.x509_svid(), bundles={"charter.local": PARTNER.bundle()})


def test_an_emptied_bundle_trusts_nobody() -> None:
    """SPIFFE Trust Domain and Bundle section 4.1.3: no keys means that all were withdrawn."""
    with pytest.raises(UnauthenticatedError, match=r"no X\.509 authority"):
        svid(HOME.x509_svid(), bundles={"charter.local": Bundle("charter.local")})


LEAVES: list[tuple[str, dict[str, Any]]] = [
    ("no URI", {"uris": ()}),
    ("two URIs", {"uris": ("spiffe://charter.local/a", "spiffe://charter.local/b")}),
    ("a URI that is no SPIFFE ID beside one", {"uris": ("spiffe://charter.local/a", "https://a.example")}),
    ("no path", {"uris": ("spiffe://charter.local",)}),
    ("an authority", {"ca": True}),
    ("a key that may sign certificates", {"key_usage": usage(digital_signature=True, key_cert_sign=True)}),
    ("a key that may sign lists", {"key_usage": usage(digital_signature=True, crl_sign=True)}),
    ("a key that may not sign", {"key_usage": usage(key_agreement=True)}),
    ("for mail", {"purposes": (ExtendedKeyUsageOID.EMAIL_PROTECTION,)}),
    ("for servers alone", {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}),
    ("expired", {"valid": (dt.timedelta(hours=-2), dt.timedelta(seconds=-1))}),
    ("not valid yet", {"valid": (dt.timedelta(seconds=5), dt.timedelta(hours=1))}),
    ("a short RSA key", {"key": rsa.generate_private_key(65537, 1024)}),  # noqa: S505 - breakable: that is the point
]


@pytest.mark.parametrize("changed", [c for _, c in LEAVES], ids=[name for name, _ in LEAVES])
def test_a_leaf_that_is_none_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        svid(HOME.x509_svid(**changed))


def test_a_workload_cannot_issue() -> None:
    """A leaf, or an authority that a leaf made of itself, signs another."""
    own = certificate(uris=("spiffe://charter.local/a",), issuer=HOME.intermediate, name="a leaf")
    signed = certificate(uris=("spiffe://charter.local/b",), issuer=own)
    with pytest.raises(UnauthenticatedError):
        svid([signed.der, own.der, HOME.intermediate.der])
    authority = certificate(uris=("spiffe://charter.local",), issuer=HOME.intermediate, ca=True, name="below")
    deeper = certificate(uris=("spiffe://charter.local/b",), issuer=authority)
    with pytest.raises(UnauthenticatedError, match="does not lead"):
        svid([deeper.der, authority.der, HOME.intermediate.der])


def test_an_authority_with_a_path_is_refused() -> None:
    made = certificate(uris=("spiffe://charter.local/ca",), issuer=HOME.root, ca=True, name="ca")
    leaf = certificate(uris=("spiffe://charter.local/b",), issuer=made)
    with pytest.raises(UnauthenticatedError, match="an authority that is a workload"):
        svid([leaf.der, made.der])


def test_an_authority_that_may_not_sign_is_refused() -> None:
    mute = certificate(
        uris=("spiffe://charter.local",), issuer=HOME.root, ca=True, key_usage=usage(digital_signature=True), name="ca"
    )
    leaf = certificate(uris=("spiffe://charter.local/b",), issuer=mute)
    with pytest.raises(UnauthenticatedError):
        svid([leaf.der, mute.der])


def test_a_self_signed_certificate_proves_nothing() -> None:
    alone = certificate(uris=("spiffe://charter.local/production/agent/refund-agent",), name="charter.local root")
    with pytest.raises(UnauthenticatedError):
        svid([alone.der])


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x00"], [b"x" * 20_000], [HOME.root.der] * 9])
def test_what_is_no_chain_is_refused(chain: list[bytes]) -> None:
    with pytest.raises(UnauthenticatedError):
        svid(chain)


HOME_CHAIN = HOME.x509_svid("/a")
SIGNED = x509.load_der_x509_certificate(HOME_CHAIN[0]).tbs_certificate_bytes


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # what cryptography says of a negative one
@settings(max_examples=300)
@given(position=st.integers(0, len(SIGNED) - 1), bits=st.integers(1, 255))
def test_an_altered_byte_of_what_is_signed_is_noticed(position: int, bits: int) -> None:
    leaf = bytearray(HOME_CHAIN[0])
    leaf[leaf.index(SIGNED) + position] ^= bits
    with pytest.raises(UnauthenticatedError):
        svid([bytes(leaf), HOME_CHAIN[1]])


# --- JWT-SVIDs ---


def test_a_sound_token_says_who_it_is() -> None:
    assert str(jwt(PARTNER.jwt_svid()).spiffe_id) == "spiffe://partner.example/billing"
    assert jwt(PARTNER.jwt_svid(header={"kid": None, "typ": None})).audiences == ("here",)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *((RSAKey.generate_key(2048), each) for each in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (ECKey.generate_key("P-384"), "ES384"),
        (ECKey.generate_key("P-521"), "ES512"),
    ],
)
def test_every_algorithm_of_the_standard_is_understood(key: Any, algorithm: str) -> None:
    domain = ForeignDomain("partner.example", jwt_key=key)
    found = verify_jwt_svid(
        domain.jwt_svid(algorithm=algorithm), audience="here", bundles={domain.name: domain.bundle()}, at=NOW
    )
    assert found.spiffe_id.path == "/billing"


def test_none_is_no_algorithm() -> None:
    head, claims, _ = HOME.jwt_svid().split(".")
    none = encode_base64url(json.dumps({"alg": "none", "kid": "k1"}).encode())
    for forged in (f"{none}.{claims}.", f"{none}.{claims}.AA", f"{head}.{claims}."):
        with pytest.raises(UnauthenticatedError):
            jwt(forged)


def test_a_public_key_is_no_shared_secret() -> None:
    """HMAC keyed with what everyone can read from the bundle."""
    public = HOME.jwt_key.as_pem(private=False)
    head = encode_base64url(json.dumps({"alg": "HS256", "kid": "k1", "typ": "JWT"}).encode())
    signed = f"{head}.{encode_base64url(json.dumps(HOME.claims()).encode())}"
    mac = hmac.digest(public, signed.encode(), "sha256")
    with pytest.raises(UnauthenticatedError, match="HS256"):
        jwt(f"{signed}.{encode_base64url(mac)}")


HEADERS: list[dict[str, Any]] = [
    {"jwk": HOME.jwt_key.as_dict(private=False)},
    {"jku": "https://evil.example/keys"},
    {"x5u": "https://evil.example/cert"},
    {"x5c": []},
    {"crit": ["exp"]},
    {"b64": False},
    {"typ": "at+jwt"},
    {"typ": 1},
    {"kid": ["k1"]},
    {"kid": "k2"},
    {"alg": ["ES256"]},
    {"alg": "EdDSA"},
    {"alg": "ES512"},
    {"alg": "RS256"},
    {"alg": "es256"},
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: next(iter(h)))
def test_a_header_that_steers_the_verifier_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        jwt(HOME.jwt_svid(header=header))


CLAIMS: list[dict[str, Any]] = [
    {"aud": None},
    {"aud": []},
    {"aud": "elsewhere"},
    {"aud": "HERE"},
    {"aud": {"here": 1}},
    {"aud": ["here", 1]},
    {"aud": ["here"] * 33},
    {"exp": None},
    {"exp": int(NOW.timestamp())},
    {"exp": "never"},
    {"exp": True},
    {"exp": 1e12},
    {"iat": int(NOW.timestamp()) + 3600},
    {"nbf": int(NOW.timestamp()) + 3600},
    {"nbf": "1"},
    {"sub": None},
    {"sub": ["spiffe://charter.local/a"]},
    {"sub": "spiffe://charter.local"},
    {"sub": "spiffe://partner.example/billing"},
]


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda c: f"{c}"[:50])
def test_a_claim_out_of_bounds_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        jwt(HOME.jwt_svid(HOME.claims(**claims)))


def test_a_huge_token_is_not_looked_at() -> None:
    with pytest.raises(UnauthenticatedError, match="longer than"):
        jwt(HOME.jwt_svid(HOME.claims(padding="x" * 9000)))


# --- bundles ---


def test_a_bundle_is_read_and_written() -> None:
    found = parse_bundle(HOME.name, HOME.document())
    assert (found.sequence, found.refresh_seconds) == (1, 300)
    assert len(found.x509_authorities) == len(found.jwt_authorities) == 1
    again = parse_bundle(HOME.name, json.dumps(found.document()).encode())
    assert again == found


def test_what_is_not_understood_is_left_out() -> None:
    """SPIFFE Trust Domain and Bundle sections 4.1.3, 4.2.1 and 4.2.2."""
    odd: list[dict[str, Any]] = [
        {"kty": "EC", "use": "wit-svid"},
        {"kty": "EC"},
        {"kty": "hologram", "use": "jwt-svid", "kid": "a"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "use": "jwt-svid", "kid": "b"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "jwt-svid", "kid": "c"},
        dict(HOME.entries()[1]) | {"kid": None},
        {"use": "x509-svid", "kty": "EC", "x5c": []},
        {"use": "x509-svid", "kty": "EC", "x5c": ["%%%"]},
        {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(HOME_CHAIN[0]).decode()]},
    ]
    found = parse_bundle(HOME.name, HOME.document(keys=[*odd, *HOME.entries()]))
    assert (len(found.x509_authorities), list(found.jwt_authorities)) == (1, ["k1"])


def test_a_bundle_with_another_domains_authority_is_refused_whole() -> None:
    with pytest.raises(MalformedError, match="another trust domain's"):
        parse_bundle("partner.example", PARTNER.document(keys=[*PARTNER.entries(), x509_entry(HOME.root)]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b"{}",
        b'{"keys": [], "keys": []}',
        b'{"keys": [], "spiffe_sequence": -1}',
        b'{"keys": [], "spiffe_sequence": 1.5}',
        b'{"keys": [], "spiffe_sequence": "1"}',
        b'{"keys": [], "spiffe_refresh_hint": true}',
        b'{"keys": [' + b"{}," * 128 + b"{}]}",
        b" " * (512 * 1024 + 1),
        b'{"keys": ' + b"[" * 100_000,
        b"\xff",
    ],
    ids=range(15),
)
def test_a_document_that_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_bundle("partner.example", data)


def test_two_keys_of_one_id_are_refused() -> None:
    other = dict(ForeignDomain("x").entries()[1])
    with pytest.raises(MalformedError, match="two keys of one id"):
        parse_bundle(HOME.name, HOME.document(keys=[*HOME.entries(), other]))


def test_a_key_of_an_unknown_kind_in_a_certificate_does_no_harm() -> None:
    root = certificate(uris=(HOME.id,), ca=True, key=ed25519.Ed25519PrivateKey.generate(), name="ed")
    entry = {"kty": "OKP", "use": "x509-svid", "x5c": [base64.b64encode(root.der).decode()]}
    assert len(parse_bundle(HOME.name, HOME.document(keys=[entry])).x509_authorities) == 1
    other = certificate(uris=(HOME.id,), ca=True, key=ec.generate_private_key(ec.SECP256K1()), name="k1")
    entry["x5c"] = [base64.b64encode(other.der).decode()]
    parse_bundle(HOME.name, HOME.document(keys=[entry]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
members = st.sampled_from(["kty", "use", "kid", "x5c", "n", "e", "crv", "x", "y", "alg"])
values = json_values | st.sampled_from(["RSA", "EC", "P-256", "P-521", "jwt-svid", "x509-svid", "AQAB", ["AA=="]])


@settings(max_examples=400)
@given(st.lists(st.dictionaries(members, values, max_size=10), max_size=4))
def test_no_document_breaks_the_parser(keys: list[dict[str, Any]]) -> None:
    with contextlib.suppress(MalformedError):
        parse_bundle("partner.example", json.dumps({"keys": keys}).encode())


def test_an_unsupported_version_of_certificate_is_left_out() -> None:
    der = bytearray(HOME.root.der)
    at = der.index(b"\xa0\x03\x02\x01\x02") + 4
    der[at] = 7
    entry = {"kty": "EC", "use": "x509-svid", "x5c": [base64.b64encode(bytes(der)).decode()]}
    assert parse_bundle(HOME.name, HOME.document(keys=[entry])).x509_authorities == ()
