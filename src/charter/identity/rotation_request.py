"""A client's request to go by another key from now on: one JWS within another, so that both keys have signed it.

    outer, by the key in use    {alg, typ: key-rotation+jwt, kid?}           {iss, sub, aud, iat, exp, jti, new}
    inner, by the new key       {alg, typ: key-rotation-proof+jwt, jwk}      {iss, sub, aud, iat, exp, old, …}

`new` is the inner one. `old` is the thumbprint of the key in use, so that a proof of possession serves this one change;
a `certificate` in DER, base64, may come with the new key that it holds (RFC 8705 section 2.2). The shape is that of
ACME's key change (RFC 8555 section 7.3.5): a client assertion that is caught on its way cannot be put together with
another key, since the signature of the key in use covers the new one.

INVARIANT: both are made out to the rotation endpoint alone: no assertion or proof made for anything else is one.
INVARIANT: before the outer signature is known to be the client's, all failures that would tell of clients and keys read
the same. That the request was never used before is for the transaction to say.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.canonical import digest
from charter.core.errors import CharterError, ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.bearer import UsedAssertion
from charter.identity.clients import signer_of
from charter.identity.credential import ReadyKeys
from charter.identity.jose import PublicKey, parse_compact, parse_public_jwk, verify_compact
from charter.registry.principal import ClientKey, LiveEstate, Principal

TYPE, PROOF_TYPE = "key-rotation+jwt", "key-rotation-proof+jwt"
REQUEST_SECONDS, SKEW_SECONDS = 120, 30
MAX_OUTER, MAX_INNER, MAX_CERTIFICATE = 14_000, 9_000, 6_000  # characters
_OUTER = frozenset({"iss", "sub", "aud", "iat", "exp", "jti", "new"})
_INNER = frozenset({"iss", "sub", "aud", "iat", "exp", "old"})
_JTI = re.compile(r"[\x21-\x7e]{16,256}")
_WHAT, _PROOF = "the rotation request", "the proof of the new key"


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """A request that the key in use signed. It is not yet remembered as used, and its new key not looked at."""

    principal: Principal
    old: ClientKey
    used: UsedAssertion
    client_id: str  # as the request names it
    audience: str
    proof: object  # the inner JWS


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that signed for itself, and perhaps a certificate (DER) said to hold it."""

    public: PublicKey
    certificate: bytes | None


def read_rotation(text: str, live: LiveEstate, keys: ReadyKeys, *, audience: str, at: dt.datetime) -> RotationRequest:
    """Return whose request it is, and the key in use that signed it.

    Raises:
        UnauthenticatedError: it is nobody's, or for another place or time.
    """
    try:
        parts = parse_compact(text, _WHAT, members=frozenset({"alg", "typ", "kid"}), limit=MAX_OUTER)
    except MalformedError as err:
        raise _unproven(err.detail) from err
    if parts.header.get("typ") != TYPE:
        raise _unproven(f"{_WHAT} is not of the type {TYPE}")
    if not isinstance(parts.header.get("kid", ""), str):
        raise _unproven(f"{_WHAT} has a `kid` that is no text")
    principal, key = signer_of(live, keys, parts, _WHAT)
    claims = parts.claims
    if claims.keys() != _OUTER:
        raise _unproven(f"{_WHAT} must have the claims {', '.join(sorted(_OUTER))}, and no others")
    if claims["aud"] != audience:
        raise _unproven(f"{_WHAT} is not made out to `{audience}`")
    wrong = _wrong_time(claims, at.timestamp())
    if wrong:
        raise _unproven(f"{_WHAT} {wrong}")
    jti = claims["jti"]
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        raise _unproven(f"{_WHAT} must have a `jti` of 16 to 256 printable ASCII characters")
    used = UsedAssertion(digest(jti.encode()), int(claims["exp"]) + SKEW_SECONDS + 1)
    return RotationRequest(principal, key, used, claims["sub"], audience, claims["new"])


def read_new_key(request: RotationRequest, at: dt.datetime) -> NewKey:
    """Return the key that the request names and that signed for this change.

    Raises:
        MalformedError: it is none, or did not.
    """
    text = request.proof
    if not isinstance(text, str):
        _refuse("is no text")
    try:
        parts = parse_compact(text, _PROOF, members=frozenset({"alg", "typ", "jwk"}), limit=MAX_INNER)
        key = parse_public_jwk(parts.header.get("jwk"))
        verify_compact(parts, key, _PROOF)
    except MalformedError as err:
        raise _bad_key(err.detail) from err
    claims = parts.claims
    if parts.header.get("typ") != PROOF_TYPE:
        _refuse(f"is not of the type {PROOF_TYPE}")
    if claims.keys() - {"certificate"} != _INNER:
        _refuse(f"must have the claims {', '.join(sorted(_INNER))}, and perhaps certificate")
    if (claims["iss"], claims["sub"]) != (request.client_id, request.client_id):
        _refuse("is another client's")
    if claims["aud"] != request.audience:
        _refuse(f"is not made out to `{request.audience}`")
    if claims["old"] != request.old.thumbprint:
        _refuse("is for the place of another key than the one that signed the request")
    wrong = _wrong_time(claims, at.timestamp())
    if wrong:
        _refuse(wrong)
    return NewKey(key, _certificate(claims.get("certificate")))


def _certificate(text: object) -> bytes | None:
    if text is None:
        return None
    try:
        if isinstance(text, str) and len(text) <= MAX_CERTIFICATE:
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    return _refuse("has a certificate that is no base64 of DER")


def _wrong_time(claims: Mapping[str, Any], now: float) -> str | None:
    issued, expires = claims["iat"], claims["exp"]
    if type(issued) is not int or type(expires) is not int or not 0 < expires - issued <= REQUEST_SECONDS:
        return f"must have `iat` and `exp`, at most {REQUEST_SECONDS} seconds apart"
    if now >= expires + SKEW_SECONDS or issued > now + SKEW_SECONDS:
        return "is not of this moment; check this machine's clock"
    return None


def _refuse(why: str) -> NoReturn:
    raise _bad_key(f"{_PROOF} {why}")


def _bad_key(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_NEW_KEY, why, help="docs/rotation.md shows the request")


def _unproven(why: str) -> CharterError:
    return UnauthenticatedError(
        ErrorCode.BAD_CLIENT, why, help="sign it with the client's own key; docs/rotation.md shows how"
    )
