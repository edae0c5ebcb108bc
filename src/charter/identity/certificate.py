"""A client certificate: read once, and asked which key it holds, which names it bears, and who issued it (RFC 8705).

That the client holds the private key is shown by the TLS handshake, ours or that of a reverse proxy we were told to
trust. Everything else is decided here, from the certificate alone, whatever the handshake was content with: its store
also holds certificates that clients signed themselves.

INVARIANT: a name counts only in a certificate that one of the organisation's authorities issued, and that is valid at
the time asked about (`verify_issued`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from charter.core.errors import ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.bundle import ec_jwk
from charter.identity.jose import encode_base64url, parse_public_jwk, thumbprint_of

MAX_CERTIFICATE = 16 * 1024  # bytes of DER
MAX_CACHED = 4096
MAX_DEPTH = 8
_WHAT = "the client certificate"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read; nothing about it is verified."""

    thumbprint: str  # x5t#S256: SHA-256 of the DER, base64url (RFC 8705 section 3.1)
    names: frozenset[str]  # `san_dns:refunds.example.com`, as registry/certificate.py spells them
    jwk: dict[str, str] | None  # its public key, if it is one that clients may register
    not_before: dt.datetime
    not_after: dt.datetime
    der: bytes = field(repr=False)
    parsed: x509.Certificate = field(repr=False, compare=False)

    @property
    def key(self) -> str | None:
        """The RFC 7638 thumbprint of its public key, if it is one that clients may register."""
        return thumbprint_of(self.jwk) if self.jwk else None

    def is_valid(self, at: dt.datetime) -> bool:
        """Return whether its dates include `at`."""
        return self.not_before <= at <= self.not_after


def thumbprint_of_certificate(der: bytes) -> str:
    """Return the `x5t#S256` of a certificate."""
    return encode_base64url(hashlib.sha256(der).digest())


@lru_cache(maxsize=MAX_CACHED)
def read_certificate(der: bytes) -> Certificate:
    """Return the certificate that `der` is.

    Raises:
        MalformedError: it is none, or one with extensions that cannot be read.
    """
    if len(der) > MAX_CERTIFICATE:
        raise _refusal(f"is larger than {MAX_CERTIFICATE} bytes", ErrorCode.TOO_LARGE)
    try:
        parsed = x509.load_der_x509_certificate(der)
        return Certificate(
            thumbprint=thumbprint_of_certificate(der),
            names=_names(parsed),
            jwk=_jwk(parsed),
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            der=der,
            parsed=parsed,
        )
    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension) as err:
        raise _refusal("cannot be read") from err


def read_pem(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file.

    Raises:
        MalformedError: it holds none.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "the file holds no certificate in PEM") from err


def certificate_in(pem: str) -> Certificate:
    """Return the one certificate that a PEM text holds.

    Raises:
        MalformedError: it holds none, or several.
    """
    found = read_pem(pem.encode())
    if len(found) != 1:
        raise MalformedError(ErrorCode.BAD_VALUE, f"there are {len(found)} certificates in place of one")
    return read_certificate(found[0].public_bytes(serialization.Encoding.DER))


def verify_issued(certificate: Certificate, authorities: Sequence[x509.Certificate], *, at: dt.datetime) -> None:
    """Check that one of `authorities` itself issued `certificate`, for clients, and that it is valid at `at`.

    Intermediate authorities stand in the list like roots: what a client sends along is not looked at.

    Raises:
        UnauthenticatedError: none did, or it is not.
    """
    if not certificate.is_valid(at):
        raise _unproven("has expired, or is not valid yet")
    if not authorities:
        raise _unproven("was issued by nobody who is known here", "name the authority: charter up --client-ca FILE")
    builder = PolicyBuilder().store(Store(list(authorities))).time(at).max_chain_depth(MAX_DEPTH)
    builder = builder.extension_policies(ca_policy=_AUTHORITIES, ee_policy=_CLIENTS)
    try:
        builder.build_client_verifier().verify(certificate.parsed, [])
    except VerificationError as err:
        raise _unproven("was not issued by an authority that is trusted for clients here") from err


def _no_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("an authority's certificate is no client's")


def _for_clients(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is for another purpose")


# Looser than the web's rules, which want identifiers and names that a company's own authority often leaves out.
_AUTHORITIES = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
_CLIENTS = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _no_authority)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_clients)
)


def _names(parsed: x509.Certificate) -> frozenset[str]:
    found = {f"subject_dn:{parsed.subject.rfc4514_string()}"}
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(found)
    found |= {f"san_dns:{name.lower()}" for name in names.get_values_for_type(x509.DNSName)}
    found |= {f"san_uri:{name}" for name in names.get_values_for_type(x509.UniformResourceIdentifier)}
    found |= {f"san_ip:{name}" for name in names.get_values_for_type(x509.IPAddress)}
    for name in names.get_values_for_type(x509.RFC822Name):
        local, _, domain = name.rpartition("@")
        found.add(f"san_email:{local}@{domain.lower()}")
    return frozenset(found)


def _jwk(parsed: x509.Certificate) -> dict[str, str] | None:
    try:
        key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return parse_public_jwk(ec_jwk(key)).jwk
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(raw)}
    return None


def _refusal(why: str, code: ErrorCode = ErrorCode.BAD_VALUE) -> MalformedError:
    return MalformedError(code, f"{_WHAT} {why}", help="send one X.509 certificate")


def _unproven(why: str, help: str = "use the certificate that the charter names") -> UnauthenticatedError:
    return UnauthenticatedError(ErrorCode.BAD_CLIENT, f"{_WHAT} {why}", help=help)
