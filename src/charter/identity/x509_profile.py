"""The certificates of our own trust domain: what stands in an authority's, and in an X.509-SVID's (X509-SVID spec).

An SVID has no subject; its name is its one URI, which is critical for that reason (RFC 5280 section 4.2.1.6). It also
says, for this Charter alone, by which credential it was obtained and in which epoch of the principal's authority.

INVARIANT: every serial number is 127 random bits; every authority has a name of its own.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from charter.core.canonical import canonical, digest
from charter.core.entropy import Entropy
from charter.core.values import SpiffeId

EARLY = dt.timedelta(seconds=30)  # certificates are valid from a little before they are made: clocks differ
# An object identifier under 2.25 (ITU-T X.667) collides with nobody's.
ORIGIN_OID = x509.ObjectIdentifier("2.25.150447052019205073639309647784750247982")
_SERIAL_BYTES = 16
_UTF8_STRING = 0x0C
_SHORT = 127  # bytes: the longest content whose length is one byte in DER


@dataclass(frozen=True, slots=True)
class Origin:
    """What an SVID of ours rests on: the credential by which its workload was known, in one epoch of its principal."""

    credential: str  # thumbprint
    epoch: int

    def to_json(self) -> dict[str, str | int]:
        """Return it as plain JSON: the claim of a JWT-SVID, the extension of an X.509-SVID."""
        return {"credential": self.credential, "epoch": self.epoch}


@dataclass(frozen=True, slots=True)
class AuthorityPlan:
    """What stands in an authority's certificate. `depth` is how many authorities may follow it."""

    name: str
    spiffe_id: SpiffeId
    public: ec.EllipticCurvePublicKey
    serial: int
    begins: dt.datetime
    ends: dt.datetime
    depth: int


@dataclass(frozen=True, slots=True)
class SvidPlan:
    """What stands in an X.509-SVID."""

    spiffe_id: SpiffeId
    public: ec.EllipticCurvePublicKey
    serial: int
    begins: dt.datetime
    ends: dt.datetime
    origin: Origin | None  # None: Charter's own


def sign_authority(
    plan: AuthorityPlan, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Return an authority's certificate (X509-SVID sections 3.2 and 4), signed by `issuer` or by itself."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Charter"),
            x509.NameAttribute(NameOID.COMMON_NAME, plan.name),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(plan.public)
        .serial_number(plan.serial)
        .not_valid_before(plan.begins - EARLY)
        .not_valid_after(plan.ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=plan.depth), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(plan.public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_names(plan.spiffe_id), critical=False)
        .sign(signer, hashes.SHA256())
    )


def svid_form(issuer: x509.Certificate) -> x509.CertificateBuilder:
    """Return what stands in every X.509-SVID that `issuer` signs (X509-SVID sections 2 to 4)."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .add_extension(_LEAF, critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(_TLS, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(p256_of(issuer)), critical=False)
    )


def sign_svid(plan: SvidPlan, form: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the X.509-SVID that `plan` describes, in DER; `form` is its issuer's."""
    builder = (
        form.public_key(plan.public)
        .serial_number(plan.serial)
        .not_valid_before(plan.begins - EARLY)
        .not_valid_after(plan.ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(plan.public), critical=False)
        .add_extension(_names(plan.spiffe_id), critical=True)
    )
    if plan.origin is not None:
        said = x509.UnrecognizedExtension(ORIGIN_OID, _write_origin(plan.origin))
        builder = builder.add_extension(said, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def origin_of(certificate: x509.Certificate) -> Origin | None:
    """Return what an X.509-SVID rests on, if it is one of ours. The caller has verified it."""
    try:
        found = certificate.extensions.get_extension_for_oid(ORIGIN_OID).value
    except x509.ExtensionNotFound:
        return None
    data = found.value if isinstance(found, x509.UnrecognizedExtension) else b""
    if len(data) < 2 or data[0] != _UTF8_STRING or data[1] != len(data) - 2:  # noqa: PLR2004 - tag and length
        return None
    try:
        return parse_origin(json.loads(data[2:].decode()))
    except ValueError:
        return None


def parse_origin(value: object) -> Origin | None:
    """Return the origin that `to_json` wrote, or None."""
    if not isinstance(value, dict) or value.keys() != {"credential", "epoch"}:
        return None
    credential, epoch = value["credential"], value["epoch"]
    return Origin(credential, epoch) if isinstance(credential, str) and type(epoch) is int else None


def serial_number(entropy: Entropy) -> int:
    """Return a positive serial number of 127 random bits (RFC 5280 section 4.1.2.2)."""
    return int.from_bytes(entropy.bytes(_SERIAL_BYTES)) >> 1 or 1


def key_id_of(public: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo, in hexadecimal."""
    return digest(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).removeprefix("sha256:")


def p256_of(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """Return the public key of a certificate of ours: we make no others."""
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)  # noqa: S101
    return public


def _write_origin(origin: Origin) -> bytes:
    content = canonical(origin.to_json())
    assert len(content) <= _SHORT  # noqa: S101 - a thumbprint of 43 characters and a number of at most 16 digits
    return bytes([_UTF8_STRING, len(content)]) + content


def _names(spiffe_id: SpiffeId) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


_LEAF = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_USAGE = _usage(authority=False)
_TLS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
