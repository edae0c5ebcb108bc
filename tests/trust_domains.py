"""Trust domains made by hand, with `cryptography` alone: what other parties' authorities sign, right or wrong.

domain = ForeignDomain("partner.example")
svid = domain.x509_svid("/billing")
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from charter.identity.bundle import Bundle, parse_bundle
from charter.identity.jose import encode_base64url

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
TLS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def usage(**changed: bool) -> x509.KeyUsage:
    none = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**none | changed)


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Private

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def certificate(
    *,
    uris: tuple[str, ...],
    issuer: Signed | None = None,
    key: Private | None = None,
    ca: bool = False,
    key_usage: x509.KeyUsage | None = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = TLS,
    valid: tuple[dt.timedelta, dt.timedelta] = (dt.timedelta(minutes=-1), dt.timedelta(hours=1)),
    path_length: int | None = None,
    name: str = "",
    extra: tuple[x509.ExtensionType, ...] = (),
    at: dt.datetime = NOW,
    names: tuple[x509.GeneralName, ...] = (),
) -> Signed:
    """Return a certificate signed by `issuer`, or by itself."""
    own = key or p256()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at + valid[0])
        .not_valid_after(at + valid[1])
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
        .add_extension(key_usage or usage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca), critical=True)
    )
    named = [*(x509.UniformResourceIdentifier(uri) for uri in uris), *names]
    if named:
        builder = builder.add_extension(x509.SubjectAlternativeName(named), critical=not name)
    if purposes and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for each in extra:
        builder = builder.add_extension(each, critical=False)
    signer = issuer.key if issuer else own
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Signed(builder.sign(signer, algorithm), own)


@dataclass
class ForeignDomain:
    """A trust domain with a root, an intermediate and a key that signs JWT-SVIDs."""

    name: str
    root: Signed = field(init=False)
    intermediate: Signed = field(init=False)
    jwt_key: ECKey | RSAKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    key_id: str = "k1"
    at: dt.datetime = NOW

    def __post_init__(self) -> None:
        year, week = dt.timedelta(days=365), dt.timedelta(days=7)
        before = dt.timedelta(days=-1)
        root, ca = f"{self.name} root", f"{self.name} ca"
        self.root = certificate(uris=(self.id,), ca=True, valid=(before, year), name=root, at=self.at)
        self.intermediate = certificate(
            uris=(self.id,), issuer=self.root, ca=True, valid=(before, week), path_length=0, name=ca, at=self.at
        )

    @property
    def id(self) -> str:
        return f"spiffe://{self.name}"

    def x509_svid(self, path: str = "/billing", **changed: Any) -> list[bytes]:
        """Return a chain in DER, leaf first; `changed` goes to `certificate`."""
        return [self.leaf(path, **changed).der, self.intermediate.der]

    def leaf(self, path: str = "/billing", **changed: Any) -> Signed:
        """Return an X.509-SVID with its key."""
        return certificate(**{"uris": (self.id + path,), "issuer": self.intermediate, "at": self.at} | changed)

    def claims(self, path: str = "/billing", **changed: Any) -> dict[str, Any]:
        now = int(self.at.timestamp())
        given = {"sub": self.id + path, "aud": ["here"], "exp": now + 300, "iat": now}
        return {k: v for k, v in (given | changed).items() if v is not None}

    def jwt_svid(
        self, claims: dict[str, Any] | None = None, *, header: dict[str, Any] | None = None, algorithm: str = "ES256"
    ) -> str:
        """Return a token signed by the domain's key; None leaves a member of the header out."""
        head = {"alg": algorithm, "kid": self.key_id, "typ": "JWT"} | (header or {})
        text = json.dumps({k: v for k, v in head.items() if v is not None})
        parts = [encode_base64url(each.encode()) for each in (text, json.dumps(claims or self.claims()))]
        signed = ".".join(parts)
        signature = JWSRegistry.algorithms[algorithm].sign(signed.encode(), self.jwt_key)
        return f"{signed}.{encode_base64url(signature)}"

    def entries(self) -> list[dict[str, Any]]:
        public = dict(self.jwt_key.as_dict(private=False)) | {"kid": self.key_id, "use": "jwt-svid"}
        return [x509_entry(self.root), public]

    def document(self, **changed: Any) -> bytes:
        return json.dumps({"spiffe_sequence": 1, "spiffe_refresh_hint": 300, "keys": self.entries()} | changed).encode()

    def bundle(self) -> Bundle:
        return parse_bundle(self.name, self.document())


def x509_entry(authority: Signed) -> dict[str, Any]:
    """Return an authority's element of a bundle."""
    public = authority.certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    x, y = (encode_base64url(each.to_bytes(32)) for each in (public.public_numbers().x, public.public_numbers().y))
    head = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return head | {"use": "x509-svid", "x5c": [base64.b64encode(authority.der).decode()]}
