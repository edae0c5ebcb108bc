"""What a charter says of its credential, and what of it is kept in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import a_charter
from charter.core.canonical import digest_of
from charter.registry.certificate import CertificateName
from charter.registry.charter import Credential, CredentialType
from charter.registry.terms import Bearing, Terms, read_terms, terms_of, write_terms


def credential(**said: Any) -> Credential:
    return Credential.model_validate({"type": "private-key-jwt"} | said)


def test_silence_means_bound_and_as_long_as_the_server_lets() -> None:
    assert terms_of(credential()) == Terms(CredentialType.PRIVATE_KEY_JWT, Bearing.BOUND)
    assert not terms_of(credential()).may_bear


def test_a_charter_can_allow_bearer_tokens_and_shorten_their_life() -> None:
    terms = terms_of(credential(bearer="allowed", tokens="2m"))
    assert (terms.may_bear, terms.token_seconds) == (True, 120)


def test_new_words_leave_the_digest_of_a_silent_charter_as_it_was() -> None:
    assert a_charter().digest == digest_of(a_charter().to_json())
    assert a_charter().to_json()["credential"] == {"type": "private-key-jwt"}


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"bearer": "refused"}, "allowed"),
        ({"bearer": True}, "allowed"),
        ({"tokens": "16m"}, "at most 15m"),
        ({"tokens": "0s"}, "no duration"),
        ({"certificate": {"san_dns": "a.example.com"}}, "belongs to a credential of the type mutual-tls"),
        ({"type": "mutual-tls", "certificate": {}}, "name the certificate by one of"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "a.example", "san_ip": "::1"}}, "by one of"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "*.example.com"}}, "wildcards name nobody"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "localhost"}}, "no host name"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "\u0430pple.example.com"}}, "no host name"),
        ({"type": "mutual-tls", "certificate": {"san_ip": "10.0.0.256"}}, "IPv4 or IPv6"),
        ({"type": "mutual-tls", "certificate": {"san_uri": "not a uri"}}, "no URI"),
        ({"type": "mutual-tls", "certificate": {"san_email": "nobody"}}, "no e-mail address"),
        ({"type": "mutual-tls", "certificate": {"subject_dn": "no name"}}, "no distinguished name"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "a" * 600}}, "1 to 512"),
    ],
)
def test_what_means_nothing_is_refused(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        credential(**said)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({"san_dns": "Refunds.Example.COM"}, "san_dns:refunds.example.com"),
        ({"san_ip": "2001:DB8:0:0::1"}, "san_ip:2001:db8::1"),
        ({"san_email": "Agent@Example.com"}, "san_email:Agent@example.com"),
        ({"san_uri": "spiffe://example.com/a"}, "san_uri:spiffe://example.com/a"),
        ({"subject_dn": "CN=refunds,O=Example"}, "subject_dn:CN=refunds,O=Example"),
    ],
)
def test_a_certificates_name_has_one_spelling(written: dict[str, str], kept: str) -> None:
    name = CertificateName.model_validate(written)
    assert str(name) == kept
    assert CertificateName.model_validate(name.model_dump(exclude_none=True)) == name


@given(
    st.builds(
        Terms,
        st.sampled_from(CredentialType),
        st.sampled_from(Bearing),
        st.none() | st.integers(1, 900),
        st.none() | st.text(max_size=50),
    )
)
def test_terms_are_read_as_they_were_written(terms: Terms) -> None:
    assert read_terms(write_terms(terms)) == terms


def test_equal_terms_are_one_object_in_memory() -> None:
    assert terms_of(credential()) is terms_of(credential())
