"""Client certificates: what is read of them, and whose word counts."""

from __future__ import annotations

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from certificates import SERVER, a_certificate, an_authority
from charter.core.errors import ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.certificate import (
    MAX_CERTIFICATE,
    certificate_in,
    read_certificate,
    thumbprint_of_certificate,
    verify_issued,
)
from charter.identity.jose import encode_base64url

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
NAMES = (
    x509.DNSName("Refunds.Example.COM"),
    x509.UniformResourceIdentifier("spiffe://example.com/a"),
    x509.IPAddress(ipaddress.ip_address("10.0.0.7")),
    x509.RFC822Name("Agent@Example.com"),
)


def test_a_certificate_is_read_with_all_its_names_in_one_spelling() -> None:
    pair = a_certificate("refunds", names=NAMES, at=NOW)
    found = read_certificate(pair.der)
    assert found.names == {
        "subject_dn:CN=refunds",
        "san_dns:refunds.example.com",
        "san_uri:spiffe://example.com/a",
        "san_ip:10.0.0.7",
        "san_email:Agent@example.com",
    }
    assert found.thumbprint == thumbprint_of_certificate(pair.der)
    assert found.jwk is not None
    assert found.jwk["kty"] == "EC"


def test_a_key_that_clients_cannot_register_is_no_jwk_and_still_a_certificate() -> None:
    large = a_certificate(key=rsa.generate_private_key(public_exponent=65537, key_size=2048), at=NOW)
    other = a_certificate(key=ec.generate_private_key(ec.SECP384R1()), at=NOW)
    assert read_certificate(large.der).key is None
    assert read_certificate(other.der).key is None


def test_an_ed25519_key_has_the_thumbprint_it_would_be_registered_under() -> None:
    raw = ed25519.Ed25519PrivateKey.generate()
    authority = an_authority(at=NOW)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(_public(raw))
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    certificate = builder.sign(raw, None)
    from cryptography.hazmat.primitives.serialization import Encoding

    found = read_certificate(certificate.public_bytes(Encoding.DER))
    assert found.jwk == {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(raw.public_key().public_bytes_raw())}


def _public(key: ed25519.Ed25519PrivateKey) -> CertificatePublicKeyTypes:
    return key.public_key()


@given(st.binary(max_size=2000))
def test_whatever_is_no_certificate_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(MalformedError, match="cannot be read"):
        read_certificate(data)


def test_a_huge_certificate_is_not_looked_at() -> None:
    with pytest.raises(MalformedError) as caught:
        read_certificate(b"0" * (MAX_CERTIFICATE + 1))
    assert caught.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_registers_one_certificate(count: int) -> None:
    with pytest.raises(MalformedError):
        certificate_in(a_certificate(at=NOW).pem * count)


def test_what_an_authority_issued_for_clients_is_good_until_it_expires() -> None:
    authority = an_authority(at=NOW, days=3650)
    issued = read_certificate(a_certificate(by=authority, at=NOW, days=2).der)
    anchors = [authority.certificate]
    verify_issued(issued, anchors, at=NOW)
    for at in (NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=3)):
        with pytest.raises(UnauthenticatedError, match="expired, or is not valid yet"):
            verify_issued(issued, anchors, at=at)


def test_an_intermediate_that_is_named_is_trusted_by_itself() -> None:
    root = an_authority("root", at=NOW)
    middle = an_authority("middle", by=root, at=NOW)
    issued = read_certificate(a_certificate(by=middle, at=NOW).der)
    verify_issued(issued, [middle.certificate], at=NOW)
    with pytest.raises(UnauthenticatedError, match="was not issued by an authority"):
        verify_issued(issued, [root.certificate], at=NOW)


def test_nobodys_word_counts_where_no_authority_is_named() -> None:
    with pytest.raises(UnauthenticatedError, match="issued by nobody who is known"):
        verify_issued(read_certificate(a_certificate(at=NOW).der), [], at=NOW)


@pytest.mark.parametrize("what", ["another authority", "itself", "for servers", "an authority itself", "same name"])
def test_a_certificate_of_anybody_else_proves_no_name(what: str) -> None:
    authority = an_authority(at=NOW)
    impostor = an_authority(at=NOW)  # the same name, another key
    pair = {
        "another authority": lambda: a_certificate(by=an_authority("other", at=NOW), at=NOW),
        "itself": lambda: a_certificate(at=NOW),
        "for servers": lambda: a_certificate(by=authority, usages=(SERVER,), at=NOW),
        "an authority itself": lambda: an_authority("sub", by=authority, at=NOW),
        "same name": lambda: a_certificate(by=impostor, at=NOW),
    }[what]()
    with pytest.raises(UnauthenticatedError, match="was not issued by an authority") as caught:
        verify_issued(read_certificate(pair.der), [authority.certificate], at=NOW)
    assert caught.value.code is ErrorCode.BAD_CLIENT
