"""Tokens that others sign: a platform for its workloads, an identity provider for people, under keys of their own.

    (1) A compact JWS whose header holds `alg`, `kid`, `typ`, `x5t`, and nothing else; `typ` is the one expected.
    (2) `iss` is the trusted issuer, character for character; the key is the issuer's, named by `kid`.
    (3) The algorithm is asymmetric and the key's own: RSA of 2048 bits or more, EC on P-256 or P-384, Ed25519.
    (4) `aud` is this server alone: a token made out to others too could be sent here by any of them.
    (5) It is valid now, give or take 30 seconds, and its whole life is at most what the issuer's file allows.

INVARIANT: what these tokens claim is believed only as far as the charter names it (registry/issuer.py), or as the flow
that takes them says. Nothing here grants anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from charter.core.errors import ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.jose import Compact, check_members, decode_base64url, split_compact
from charter.registry.issuer import Platform, TrustedIssuer, told
from charter.registry.principal import LiveEstate

MAX_FOREIGN = 16_384  # characters
MAX_KEYS = 100
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
SKEW_SECONDS = 30
MAX_AGE = dt.timedelta(hours=1)
_HEADER = frozenset({"alg", "kid", "typ", "x5t"})
_PLAIN_TYPES = frozenset({"", "jwt"})
_CURVES = {"P-256": "ES256", "P-384": "ES384"}
_RSA_ALGORITHMS = ("RS256", "PS256")
_WHAT = "the token"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A public key of another issuer, with the algorithms it may be used with."""

    key_id: str | None
    algorithms: tuple[str, ...]
    key: RSAKey | ECKey | OKPKey = field(repr=False)

    def verify(self, algorithm: str, parts: Compact) -> bool:
        """Return whether this key made the signature of `parts` by `algorithm`, which is one of its own."""
        return bool(JWSRegistry.algorithms[algorithm].verify(parts.signed, parts.signature, self.key))


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token in its parts, and what it says without proof: its issuer."""

    parts: Compact
    issuer: str

    @property
    def key_id(self) -> str | None:
        """The key it names."""
        found = self.parts.header.get("kid")
        return found if isinstance(found, str) else None


def read_foreign(token: str) -> ForeignToken:
    """Return the parts of a token. Nothing is verified yet.

    Raises:
        UnauthenticatedError: it has another form.
    """
    try:
        return foreign_of(split_compact(token, _WHAT, limit=MAX_FOREIGN))
    except MalformedError as err:
        raise _refusal(err.detail) from err


def foreign_of(parts: Compact) -> ForeignToken:
    """Return the token that has those parts. Nothing is verified yet.

    Raises:
        UnauthenticatedError: it has another form.
    """
    try:
        check_members(parts, _WHAT, _HEADER)
    except MalformedError as err:
        raise _refusal(err.detail) from err
    issuer = parts.claims.get("iss")
    if not isinstance(issuer, str):
        _refuse("does not say who issued it")
    if not isinstance(parts.header.get("kid", ""), str):
        _refuse("has a `kid` that is no text")
    return ForeignToken(parts, issuer)


def is_foreign(live: LiveEstate, parts: Compact) -> bool:
    """Return whether an assertion says that it is a token of an issuer whose tokens prove workloads."""
    said = parts.claims.get("iss")
    issuers = live.issuers.issuers.values()
    return any(each.address == said and each.platform is not Platform.IDENTITY_PROVIDER for each in issuers)


def parse_key_set(document: object) -> tuple[ForeignKey, ...]:
    """Return the keys of a JWK Set (RFC 7517 section 5) that signatures can be checked with; others are passed over.

    Raises:
        MalformedError: it is no such set, or holds none.
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, Sequence) or isinstance(keys, str) or len(keys) > MAX_KEYS:
        raise MalformedError(ErrorCode.BAD_VALUE, "the issuer's keys are no JWK Set", help="see RFC 7517 section 5")
    found = tuple(key for key in map(_key, keys) if key is not None)
    if not found:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "the issuer has no key that fits",
            help=f"RSA of {MIN_RSA_BITS} bits or more, EC on P-256 or P-384, or Ed25519",
        )
    return found


def verify_foreign(
    token: ForeignToken,
    keys: Iterable[ForeignKey],
    issuer: TrustedIssuer,
    *,
    audiences: Sequence[str],
    at: dt.datetime,
    type_: str | None = None,
) -> dict[str, Any]:
    """Return the claims of `token`, which `issuer` signed for one of `audiences`; `type_` is the `typ` it must have.

    Raises:
        UnauthenticatedError: it did not, or the token is not valid at `at`.
    """
    parts = token.parts
    kind = parts.header.get("typ", "")
    allowed = {type_, f"application/{type_}"} if type_ else _PLAIN_TYPES
    if not isinstance(kind, str) or kind.lower() not in allowed:
        _refuse(f"is of the type {str(kind)[:40]!a}, which is for another purpose")
    if issuer.address is None or token.issuer != issuer.address:
        _refuse("was issued by another issuer")
    _check_signature(token, keys)
    _check_frame(parts.claims, issuer, [issuer.audience] if issuer.audience else audiences, at)
    return parts.claims


def check_claims(issuer: TrustedIssuer, claims: Mapping[str, Any], wanted: Mapping[str, object]) -> None:
    """Check that a token says exactly what a charter names.

    Raises:
        UnauthenticatedError: it says something else; the message names the claim and not its value.
    """
    for name, value in wanted.items():
        said = told(issuer, claims, name)
        if type(said) is not type(value) or said != value:
            _refuse(f"says something else for `{name}` than the charter names")
    if "email" in wanted and claims.get("email_verified") is not True:
        _refuse("has an e-mail address that its issuer did not verify")
    if issuer.platform is Platform.KUBERNETES:
        subject = f"system:serviceaccount:{wanted.get('namespace')}:{wanted.get('service_account')}"
        if claims.get("sub") != subject:
            _refuse("says something else for `sub` than for its service account")


def _check_signature(token: ForeignToken, keys: Iterable[ForeignKey]) -> None:
    algorithm = token.parts.header.get("alg")
    fitting = [key for key in keys if algorithm in key.algorithms and token.key_id in (None, key.key_id)]
    if not fitting:
        _refuse("is signed with no key of its issuer that fits", ErrorCode.UNKNOWN_KEY)
    if not any(key.verify(str(algorithm), token.parts) for key in fitting):
        _refuse("has a signature that does not verify")


def _check_frame(claims: Mapping[str, Any], issuer: TrustedIssuer, audiences: Sequence[str], at: dt.datetime) -> None:
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        (audience,) = audience
    if audience not in audiences:
        _refuse(f"is not made out to `{audiences[0]}`, and to nobody else", ErrorCode.WRONG_AUDIENCE)
    now, ends, issued = at.timestamp(), claims.get("exp"), claims.get("iat")
    begins = claims.get("nbf", issued)
    if type(ends) is not int or type(issued) is not int or type(begins) is not int:
        _refuse("does not say, in whole seconds, when it was issued and until when it is valid")
    if now >= ends + SKEW_SECONDS:
        _refuse("has expired; check this machine's clock", ErrorCode.TOKEN_EXPIRED)
    if max(issued, begins) > now + SKEW_SECONDS:
        _refuse("is not valid yet; check this machine's clock")
    if ends - issued > (issuer.max_age or MAX_AGE).total_seconds():
        _refuse("is valid for longer than is accepted from its issuer; see `max_age` in issuers.yaml")


def _key(jwk: object) -> ForeignKey | None:
    """Return the key that a member of a JWK Set is, or None if signatures cannot be checked with it."""
    if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig" or "d" in jwk or "k" in jwk:
        return None
    key_id, named = jwk.get("kid"), jwk.get("alg")
    try:
        found = _material(jwk)
    except (ValueError, TypeError, JoseError):
        return None
    if found is None or not isinstance(key_id, str | None):
        return None
    algorithms, key = found
    fitting = algorithms if named is None else tuple(each for each in algorithms if each == named)
    return ForeignKey(key_id, fitting, key) if fitting else None


def _material(jwk: Mapping[Any, Any]) -> tuple[tuple[str, ...], RSAKey | ECKey | OKPKey] | None:
    members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if isinstance(jwk.get(name), str)}
    match members.get("kty"), members.get("crv"):
        case "RSA", None:
            bits = int.from_bytes(decode_base64url(members.get("n", ""))).bit_length()
            return (_RSA_ALGORITHMS, RSAKey.import_key(members)) if MIN_RSA_BITS <= bits <= MAX_RSA_BITS else None
        case "EC", ("P-256" | "P-384") as curve:
            return (_CURVES[curve],), ECKey.import_key(members)
        case "OKP", "Ed25519":
            return ("EdDSA", "Ed25519"), OKPKey.import_key(members)
        case _:
            return None


def _refuse(why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> NoReturn:
    raise _refusal(f"{_WHAT} {why}", code)


def _refusal(why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> UnauthenticatedError:
    return UnauthenticatedError(code, why, help="get a fresh one from the platform, made out to this server")
