"""Certificates for tests: authorities, what they issue, and certificates that clients sign themselves."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both as PEM; return where."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key


def a_certificate(
    name: str = "agent",
    *,
    by: Pair | None = None,
    key: Key | None = None,
    at: dt.datetime | None = None,
    days: int = 30,
    names: tuple[Any, ...] = (),
    ca: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
) -> Pair:
    """Return a certificate, signed by itself or `by` an authority, valid from a minute before `at`."""
    begins = (at or dt.datetime.now(dt.UTC)) - dt.timedelta(minutes=1)
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if ca:
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "digital_signature": True}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    elif usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return Pair(builder.sign(by.key if by else own, hashes.SHA256()), own)


def an_authority(name: str = "Example CA", **given: Any) -> Pair:
    """Return an authority that issues certificates."""
    return a_certificate(name, ca=True, **given)


def a_server_certificate(**given: Any) -> Pair:
    """Return the certificate of a server on this machine, signed by itself."""
    names = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    return a_certificate("localhost", names=names, usages=(SERVER,), **given)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
