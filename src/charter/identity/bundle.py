"""Trust bundles: the authorities of one trust domain (SPIFFE Trust Domain and Bundle, sections 3 and 4).

A bundle holds X.509 authorities (JWKs with the use `x509-svid`) and keys that sign JWT-SVIDs (`jwt-svid`). It never
says of which trust domain it is: whoever fetched it knows, and `Bundle.trust_domain` keeps that.

INVARIANT: bundles of two trust domains are never merged; an SVID is verified with the bundle of its own trust domain
(SPIFFE Federation, section 7.3).
INVARIANT: what a document holds beside what is understood is left out, not guessed at; a document that contradicts
itself, or is larger than is sensible, is refused whole.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from charter.core.canonical import MAX_SAFE_INTEGER
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import SpiffeId
from charter.identity.jose import encode_base64url

MAX_DOCUMENT = 512 * 1024  # bytes
MAX_KEYS = 128  # of one bundle, of both uses
MAX_KEY_ID = 256
MAX_MEMBER = 2048  # characters of one member of a JWK: a modulus of 8192 bits has 1366
MAX_REFRESH = 7 * 86_400  # seconds: a longer hint is kept to a week, so that a withdrawn key is noticed
USE_X509 = "x509-svid"
USE_JWT = "jwt-svid"
_RSA_BITS = range(2048, 8193)
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}  # RFC 7518 section 3.4: a curve has one algorithm
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclass(frozen=True, slots=True)
class JwtAuthority:
    """A public key that signs JWT-SVIDs. `algorithms` are those that fit its type (JWT-SVID section 2.1)."""

    key_id: str
    jwk: Mapping[str, str]  # the members of RFC 7638 and no other
    algorithms: tuple[str, ...]
    key: RSAKey | ECKey = field(repr=False, compare=False)

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this key's over `signed`; `algorithm` must be one of its own."""
        if algorithm not in self.algorithms:
            return False
        return bool(JWSRegistry.algorithms[algorithm].verify(signed, signature, self.key))


@dataclass(frozen=True, slots=True)
class Bundle:
    """The authorities of one trust domain, as of one moment."""

    trust_domain: str
    x509_authorities: tuple[x509.Certificate, ...] = ()
    jwt_authorities: Mapping[str, JwtAuthority] = field(default_factory=dict)  # by key id
    sequence: int | None = None
    refresh_seconds: int | None = None

    @property
    def id(self) -> str:
        """The SPIFFE ID of the trust domain, by which the Workload API names its bundle."""
        return str(SpiffeId(self.trust_domain, ""))

    @property
    def x509_der(self) -> bytes:
        """The X.509 authorities one behind the other, as the Workload API has them."""
        return b"".join(each.public_bytes(serialization.Encoding.DER) for each in self.x509_authorities)

    def jwt_document(self) -> dict[str, Any]:
        """Return the JWK set of the keys that sign JWT-SVIDs, and of no other (SPIFFE Workload API section 6.2.2)."""
        return {"keys": [_jwt_entry(each) for each in self.jwt_authorities.values()]}

    def document(self) -> dict[str, Any]:
        """Return the whole bundle as its JWK set (SPIFFE Trust Domain and Bundle, section 4)."""
        keys = [*(_x509_entry(each) for each in self.x509_authorities), *self.jwt_document()["keys"]]
        found: dict[str, Any] = {"keys": keys}
        if self.sequence is not None:
            found["spiffe_sequence"] = self.sequence
        if self.refresh_seconds is not None:
            found["spiffe_refresh_hint"] = self.refresh_seconds
        return found


def parse_bundle(trust_domain: str, data: bytes) -> Bundle:
    """Return the bundle of `trust_domain` that a fetched document is; elements it cannot use are left out.

    Raises:
        MalformedError: it is no bundle: too large, no JSON, repeated members, keys of one id that differ.
    """
    document = _read(data)
    keys = document.get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise _refusal(f"has no list of at most {MAX_KEYS} keys")
    certificates: dict[bytes, x509.Certificate] = {}
    authorities: dict[str, JwtAuthority] = {}
    for entry in keys:
        if not isinstance(entry, dict):
            raise _refusal("has a key that is no object")
        certificate = _certificate_of(entry, trust_domain) if entry.get("use") == USE_X509 else None
        if certificate is not None:
            certificates.setdefault(certificate.public_bytes(serialization.Encoding.DER), certificate)
        authority = _jwt_authority(entry) if entry.get("use") == USE_JWT else None
        if authority is not None and authorities.setdefault(authority.key_id, authority).jwk != authority.jwk:
            raise _refusal("has two keys of one id")
    sequence, refresh = (_count(document, name) for name in ("spiffe_sequence", "spiffe_refresh_hint"))
    return Bundle(trust_domain, tuple(certificates.values()), authorities, sequence, refresh)


def jwt_authority(key_id: str, jwk: Mapping[str, Any]) -> JwtAuthority:
    """Return the authority that the public JWK `jwk` is.

    Raises:
        MalformedError: it is no key of RFC 7518 that JWT-SVIDs may be signed with.
    """
    found = _jwt_authority({**jwk, "kid": key_id})
    if found is None:
        raise _refusal("has a key that signs no JWT-SVIDs")
    return found


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others (X509-SVID sections 3.2, 4.1 and 4.3)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_DOCUMENT:
        raise _refusal(f"is larger than {MAX_DOCUMENT} bytes")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as err:
        raise _refusal("is no JSON, or repeats a member") from err
    if not isinstance(found, dict):
        raise _refusal("is no JSON object")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # the section on JSON key duplication, 6.3
        raise ValueError("a member is repeated")
    return found


def _count(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_SAFE_INTEGER:
        raise _refusal(f"has a `{name}` that is no whole number")
    return value if name == "spiffe_sequence" else min(value, MAX_REFRESH)


def _certificate_of(entry: Mapping[str, Any], trust_domain: str) -> x509.Certificate | None:
    """Return the CA certificate of an `x509-svid` entry: the first of its `x5c` (X509-SVID section 6.2)."""
    chain = entry.get("x5c")
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        return None
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))
        certificate.public_key()
        uris = _uris(certificate) if is_authority(certificate) else None
    except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm):
        return None
    if uris is None:
        return None
    if any(_is_foreign(uri, trust_domain) for uri in uris):
        raise _refusal("holds an authority that says it is another trust domain's")
    return certificate


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _is_foreign(uri: str, trust_domain: str) -> bool:
    """Return whether an authority's URI is not that of `trust_domain` itself; an old root may end in a slash."""
    return uri.removesuffix("/") != str(SpiffeId(trust_domain, ""))


def _jwt_authority(entry: Mapping[str, Any]) -> JwtAuthority | None:
    key_id = entry.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        return None
    try:
        key = _key_of(entry)
    except (ValueError, TypeError, binascii.Error):
        return None
    if key is None:
        return None
    jwk, algorithms = key
    named = entry.get("alg")
    if named is not None:
        algorithms = tuple(each for each in algorithms if each == named)
    loaded = RSAKey.import_key(dict(jwk)) if jwk["kty"] == "RSA" else ECKey.import_key(dict(jwk))
    return JwtAuthority(key_id, jwk, algorithms, loaded) if algorithms else None


def _key_of(entry: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """Return the required members of a public JWK, in their one form, and the algorithms that fit it.

    The point or modulus is loaded here, so that one that is none of its curve fails now and not when it is used.
    """
    kind = entry.get("kty")
    if kind == "RSA":
        public = RSAKey.import_key(_members(entry, "kty", "n", "e")).public_key
        return (_rsa_jwk(public), _RSA) if public.key_size in _RSA_BITS else None
    if kind == "EC" and entry.get("crv") in _CURVES:
        loaded = ECKey.import_key(_members(entry, "kty", "crv", "x", "y")).public_key
        jwk = ec_jwk(loaded)
        return jwk, (_CURVES[jwk["crv"]],)
    return None


def _members(entry: Mapping[str, Any], *names: str) -> dict[str, str | list[str]]:
    """Return those members, each a text of sensible length; whatever else the entry holds is not looked at."""
    found = {name: entry.get(name) for name in names}
    texts = {name: value for name, value in found.items() if isinstance(value, str) and len(value) <= MAX_MEMBER}
    if len(texts) != len(names):
        raise ValueError("a member is missing")
    return dict(texts)


def _rsa_jwk(key: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    n, e = (encode_base64url(each.to_bytes((each.bit_length() + 7) // 8)) for each in (numbers.n, numbers.e))
    return {"e": e, "kty": "RSA", "n": n}


def ec_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return the public JWK of an elliptic curve key, its required members only (RFC 7518 section 6.2.1).

    Raises:
        ValueError: its curve is none of P-256, P-384 and P-521.
    """
    name = _CURVE_NAMES.get(key.curve.name)
    if name is None:
        raise ValueError("the key is on another curve")
    size, numbers = (key.curve.key_size + 7) // 8, key.public_numbers()
    x, y = (encode_base64url(each.to_bytes(size)) for each in (numbers.x, numbers.y))
    return {"crv": name, "kty": "EC", "x": x, "y": y}


def _x509_entry(certificate: x509.Certificate) -> dict[str, Any]:
    """Return an authority's JWK: its key, its certificate, and no key id (X509-SVID section 6.1)."""
    public = certificate.public_key()
    jwk = _rsa_jwk(public) if isinstance(public, rsa.RSAPublicKey) else {}
    if isinstance(public, ec.EllipticCurvePublicKey):
        jwk = ec_jwk(public)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return {**jwk, "use": USE_X509, "x5c": [base64.b64encode(der).decode()]}


def _jwt_entry(authority: JwtAuthority) -> dict[str, Any]:
    return {**authority.jwk, "kid": authority.key_id, "use": USE_JWT}


def _refusal(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_BUNDLE, f"the trust bundle {why}", help="check what that trust domain publishes"
    )
