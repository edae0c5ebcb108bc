"""SVIDs verified: which workload is this, in which trust domain (JWT-SVID and X509-SVID specifications).

    found = verify_jwt_svid(token, audience=issuer, bundles=house.bundles(), at=now)
    found = verify_x509_svid(chain, bundles=house.bundles(), at=now)   # DER, the SVID first
    workload = workload_of(live, found)                                # if it is one of our own principals

A JWT-SVID:

    (1) A compact JWS of at most 8 KiB whose header holds `alg`, perhaps `kid` and `typ`, and nothing else.
    (2) `sub` is a SPIFFE ID with a path. Its trust domain chooses the bundle; no other bundle is looked at.
    (3) A key of that bundle signed it, with an algorithm of that key's type. The token's own `alg` only selects.
    (4) `aud` holds the one audience asked for.
    (5) It has not expired, and was neither issued nor made valid in the future.

An X.509-SVID:

    (1) One to eight certificates, the leaf first.
    (2) The leaf has exactly one URI, which is a SPIFFE ID with a path, and is no authority: neither `cA`, nor
        `keyCertSign`, nor `cRLSign`; it may sign (`digitalSignature`) and, if it says what for, for TLS.
    (3) RFC 5280 path validation from an X.509 authority of the SPIFFE ID's own trust domain, at the given time, over
        authorities that say they are and whose SPIFFE ID, if they have one, has no path.

INVARIANT: `verify_*` raises, and says nothing of standing. Whoever grants something owes `workload_of` and
`authority.refusal`: an SVID outlives a kill by up to its lifetime, its epoch and its credential do not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.core.values import SPIFFE_SCHEME, SpiffeId
from charter.identity.bearer import Workload
from charter.identity.bundle import Bundle, JwtAuthority
from charter.identity.jose import Compact, parse_compact
from charter.identity.x509_profile import ORIGIN_OID, Origin, origin_of, parse_origin
from charter.registry.principal import LiveEstate

E = TypeVar("E", bound=x509.ExtensionType)

ORIGIN_CLAIM = f"urn:oid:{ORIGIN_OID.dotted_string}"  # where a JWT-SVID of ours says what it rests on
MAX_TOKEN = 8192  # characters
MAX_CHAIN = 8  # certificates
MAX_CERTIFICATE = 16 * 1024  # bytes
MAX_AUDIENCES = 32
MIN_RSA_BITS = 2048
MIN_CURVE_BITS = 256
SKEW_SECONDS = 30  # for what lies in the future; expiry is exact
ALGORITHMS = frozenset(f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in (256, 384, 512))
_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"JWT", "JOSE"})
_TLS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_JWT = "the JWT-SVID"
_X509 = "the X.509-SVID"


@dataclass(frozen=True, slots=True)
class JwtSvid:
    """A verified JWT-SVID."""

    spiffe_id: SpiffeId
    audiences: tuple[str, ...]
    expires_at: int  # seconds since 1970
    claims: Mapping[str, Any]

    @property
    def origin(self) -> Origin | None:
        """What one of our own rests on."""
        return parse_origin(self.claims.get(ORIGIN_CLAIM))

    @property
    def id(self) -> str:
        """The `jti`, or nothing."""
        found = self.claims.get("jti")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class X509Svid:
    """A verified X.509-SVID. `thumbprint` is the SHA-256 of its DER, as `x5t#S256` has it (RFC 8705 section 3.1)."""

    spiffe_id: SpiffeId
    leaf: x509.Certificate = field(repr=False)
    expires_at: int  # seconds since 1970

    @property
    def origin(self) -> Origin | None:
        """What one of our own rests on."""
        return origin_of(self.leaf)

    @property
    def id(self) -> str:
        """The serial number in hexadecimal."""
        return f"{self.leaf.serial_number:x}"

    @property
    def der(self) -> bytes:
        """The leaf certificate."""
        return self.leaf.public_bytes(Encoding.DER)


def verify_jwt_svid(token: str, *, audience: str, bundles: Mapping[str, Bundle], at: dt.datetime) -> JwtSvid:
    """Return whom a JWT-SVID names; `bundles` are those that are trusted, by trust domain.

    Raises:
        UnauthenticatedError: it is no valid JWT-SVID for `audience` of any of these trust domains.
    """
    try:
        parts = parse_compact(token, _JWT, members=_HEADER, limit=MAX_TOKEN)
    except CharterError as err:
        raise _refusal(err.detail) from err
    algorithm = _algorithm_of(parts.header)
    spiffe_id = _spiffe_id_of(parts.claims.get("sub"), f"{_JWT}'s `sub`")
    bundle = _bundle_of(spiffe_id, bundles)
    if not any(key.verify(algorithm, parts.signed, parts.signature) for key in _candidates(parts, bundle)):
        raise _refusal(f"{_JWT} is not signed by an authority of `{bundle.trust_domain}`", ErrorCode.BAD_SIGNATURE)
    return _claims_of(parts, spiffe_id, audience, int(at.timestamp()))


def verify_x509_svid(chain: Sequence[bytes], *, bundles: Mapping[str, Bundle], at: dt.datetime) -> X509Svid:
    """Return whom an X.509-SVID names. `chain` is DER, the SVID first and its intermediate authorities behind it.

    Raises:
        UnauthenticatedError: it is no valid X.509-SVID of any of these trust domains.
    """
    leaf, *intermediates = _load(chain)
    try:
        spiffe_id = _check_leaf(leaf)
        for each in intermediates:
            _check_authority(each)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as err:
        raise _refusal(f"{_X509} has an extension that cannot be read") from err
    bundle = _bundle_of(spiffe_id, bundles)
    if not bundle.x509_authorities:
        raise _refusal(f"no X.509 authority of `{bundle.trust_domain}` is known", ErrorCode.UNTRUSTED_DOMAIN)
    _check_path(leaf, intermediates, bundle, at)
    return X509Svid(spiffe_id, leaf, int(leaf.not_valid_after_utc.timestamp()))


def check_svid_leaf(der: bytes, expected: SpiffeId) -> None:
    """Check that a certificate, whose path is verified already, is an X.509-SVID for `expected`.

    Raises:
        UnauthenticatedError: it is none, or another's.
    """
    (leaf,) = _load([der])
    try:
        found = _check_leaf(leaf)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as err:
        raise _refusal(f"{_X509} has an extension that cannot be read") from err
    if found != expected:
        raise _refusal(f"{_X509} is `{found}`'s and not `{expected}`'s")


def workload_of(live: LiveEstate, svid: JwtSvid | X509Svid) -> Workload:
    """Return the principal of ours that a verified SVID names, with the credential and the epoch it was issued under.

    Raises:
        UnauthenticatedError: it names none of ours, or was not issued by this Charter.
    """
    principal, origin = live.principal_named(svid.spiffe_id.path.rpartition("/")[2]), svid.origin
    if principal is None or principal.spiffe_id != str(svid.spiffe_id) or origin is None:
        raise _refusal(f"`{svid.spiffe_id}` is no principal that is registered here")
    return Workload(principal.id, principal.name, origin.epoch, origin.credential, svid.id, svid.expires_at)


# --- JWT ---


def _algorithm_of(header: Mapping[str, Any]) -> str:
    algorithm, kind, key_id = header.get("alg"), header.get("typ", "JWT"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _refusal(f"{_JWT} names the algorithm {str(algorithm)[:20]!a}, which JWT-SVIDs do not have")
    if kind not in _TYPES or not isinstance(key_id, str):
        raise _refusal(f"{_JWT} has a `typ` that is neither JWT nor JOSE, or a `kid` that is no text")
    return algorithm


def _candidates(parts: Compact, bundle: Bundle) -> Iterator[JwtAuthority]:
    """Yield the key that the header names; if it names none, each of the bundle: there are few."""
    key_id = parts.header.get("kid")
    if key_id is None:
        yield from bundle.jwt_authorities.values()
    elif key_id in bundle.jwt_authorities:
        yield bundle.jwt_authorities[key_id]


def _claims_of(parts: Compact, spiffe_id: SpiffeId, audience: str, now: int) -> JwtSvid:
    claims = parts.claims
    named = claims.get("aud")
    audiences = [named] if isinstance(named, str) else named
    if not isinstance(audiences, list) or not 0 < len(audiences) <= MAX_AUDIENCES or audience not in audiences:
        raise _refusal(f"{_JWT} is not made out to {audience[:200]!a}", ErrorCode.WRONG_AUDIENCE)
    if not all(isinstance(each, str) for each in audiences):
        raise _refusal(f"{_JWT} has an audience that is no text")
    for name in ("exp", "iat", "nbf"):
        if type(claims.get(name, 0)) is not int:
            raise _refusal(f"{_JWT} has an `{name}` that is no whole number")
    if claims.get("exp", 0) <= now:
        raise _refusal(f"{_JWT} has expired, or never says when it does", ErrorCode.TOKEN_EXPIRED)
    if max(claims.get("iat", 0), claims.get("nbf", 0)) > now + SKEW_SECONDS:
        raise _refusal(f"{_JWT} is from the future")
    return JwtSvid(spiffe_id, tuple(audiences), claims["exp"], claims)


# --- X.509 ---


def _load(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not 0 < len(chain) <= MAX_CHAIN or any(len(each) > MAX_CERTIFICATE for each in chain):
        raise _refusal(f"{_X509} is not 1 to {MAX_CHAIN} certificates of at most {MAX_CERTIFICATE} bytes")
    try:
        return [x509.load_der_x509_certificate(each) for each in chain]
    except (ValueError, x509.InvalidVersion) as err:
        raise _refusal(f"{_X509} holds something that is no certificate") from err


def _check_leaf(leaf: x509.Certificate) -> SpiffeId:
    """Check what is asked of the leaf beyond RFC 5280 (X509-SVID sections 2, 4 and 5.2); return its SPIFFE ID."""
    uris = _uris(leaf)
    if len(uris) != 1:
        raise _refusal(f"{_X509} has {len(uris)} URIs in place of one")
    spiffe_id = _spiffe_id_of(uris[0], f"{_X509}'s URI")
    constraints, usage = _extension(leaf, x509.BasicConstraints), _extension(leaf, x509.KeyUsage)
    if constraints is not None and constraints.ca:
        raise _refusal(f"{_X509} is an authority's certificate, which identifies nobody")
    if usage is None or usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise _refusal(f"{_X509} has a key usage that is not a leaf's")
    if not _is_strong(leaf):
        raise _refusal(f"{_X509} has a key that is too weak, or of an unknown kind")
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not all(each in purposes for each in _TLS):
        raise _refusal(f"{_X509} is not for TLS on both sides")
    return spiffe_id


def _is_strong(leaf: x509.Certificate) -> bool:
    """Return whether a leaf's key is one that a handshake can rest on; path validation looks at signers' keys alone."""
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size >= MIN_CURVE_BITS
    return isinstance(key, ed25519.Ed25519PublicKey)


def _check_authority(certificate: x509.Certificate) -> None:
    """Check that an authority's SPIFFE ID, if it has one, has no path but perhaps a slash (X509-SVID section 3.2)."""
    for uri in _uris(certificate):
        if uri.startswith(SPIFFE_SCHEME) and "/" in uri.removeprefix(SPIFFE_SCHEME).removesuffix("/"):
            raise _refusal(f"{_X509} is signed by an authority that is a workload")


def _check_path(leaf: x509.Certificate, intermediates: list[x509.Certificate], bundle: Bundle, at: dt.datetime) -> None:
    builder = (
        PolicyBuilder()
        .store(Store(list(bundle.x509_authorities)))
        .time(at)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=_AUTHORITIES, ee_policy=ExtensionPolicy.permit_all())
    )
    try:
        builder.build_client_verifier().verify(leaf, intermediates)
    except VerificationError as err:
        if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
            raise _refusal(f"{_X509} has expired, or is not valid yet", ErrorCode.TOKEN_EXPIRED) from err
        raise _refusal(f"{_X509} does not lead to an authority of `{bundle.trust_domain}`") from err


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.key_cert_sign:
        raise ValueError("a signer's key may not sign certificates")


# Looser than the web's rules, which want identifiers that SPIFFE does not; `cA` and path lengths count regardless.
_AUTHORITIES = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)


def _uris(certificate: x509.Certificate) -> list[str]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


# --- both ---


def _spiffe_id_of(text: object, what: str) -> SpiffeId:
    try:
        found = SpiffeId.parse(text) if isinstance(text, str) else None
    except CharterError as err:
        raise _refusal(f"{what} is no SPIFFE ID: {err.detail}") from err
    if found is None or not found.path:
        raise _refusal(f"{what} is no SPIFFE ID with a path")
    return found


def _bundle_of(spiffe_id: SpiffeId, bundles: Mapping[str, Bundle]) -> Bundle:
    found = bundles.get(spiffe_id.trust_domain)
    if found is None or found.trust_domain != spiffe_id.trust_domain:
        raise _refusal(
            f"the trust domain `{spiffe_id.trust_domain}` is not trusted here",
            ErrorCode.UNTRUSTED_DOMAIN,
            "federate with it: charter federation add",
        )
    return found


def _refusal(detail: str, code: ErrorCode = ErrorCode.BAD_SVID, help: str | None = None) -> UnauthenticatedError:
    return UnauthenticatedError(code, detail, help=help or "ask the Workload API for a fresh SVID")
