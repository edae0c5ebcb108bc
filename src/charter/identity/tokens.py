"""Access tokens: JWTs of RFC 9068, made out to exactly one system (RFC 8707) and good for five minutes.

A token says which principal (`client_id`, `name`, `spiffe`), by which key (`crd`), under which version of its charter
(`charter`), in which epoch of its authority (`epoch`), and, if it is bound to a key, to which (`cnf`, RFC 9449 section
6.1).

    (1) A compact JWS of at most 8 KiB whose header holds `typ: at+jwt`, `alg: ES256` and a `kid`, and nothing else.
    (2) `kid` is one of our own token keys that is not retired; it signed the token.
    (3) `iss` is us, `aud` is the one resource asked for.
    (4) It has not expired, and was not issued in the future.
    (5) A bound token comes with a proof by its key; a plain one needs none.

INVARIANT: what was verified may be remembered (signature work is most of a call's cost); whether its principal may act
is never: the caller owes that question to `authority.refusal` on every use.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.identity.bearer import NOTHING, Bearer, Binding, Confirmation, Shown
from charter.identity.jose import Compact, parse_compact, sign_compact, verify_compact
from charter.identity.keys import KeyRing
from charter.registry.narrowing import parse_narrowing

MAX_TOKEN = 8192  # characters
SKEW_SECONDS = 5  # between nodes of one Charter; expiry is exact
MAX_CACHED = 10_000
TYPE = "at+jwt"
_ALGORITHM = "ES256"
_HEADER = frozenset({"alg", "typ", "kid"})
_WHAT = "the access token"


@dataclass(frozen=True, slots=True)
class Verified:
    """A token of ours that has not expired: its claims, and whom it speaks for."""

    claims: dict[str, Any]
    bearer: Bearer
    audience: str
    key_id: str


class AccessTokens:
    """Signs and verifies the tokens of one issuer. Satisfies gateway.pipeline.TokenVerifier."""

    def __init__(self, ring: KeyRing, issuer: str, *, max_cached: int = MAX_CACHED) -> None:
        self._ring = ring
        self._issuer = issuer
        self._max_cached = max_cached
        self._lock = threading.Lock()
        self._cache: dict[bytes, Verified] = {}  # by SHA-256 of the token, oldest first

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the token that says `claims`. They must be recorded already.

        Raises:
            IntegrityError: there is no key to sign with.
        """
        key = self._ring.token_key()
        return sign_compact({"alg": _ALGORITHM, "kid": key.id, "typ": TYPE}, claims, key.private)

    def verify(self, token: str, *, audience: str, at: dt.datetime, shown: Shown = NOTHING) -> Bearer:
        """Return whom `token` speaks for at `audience`.

        `shown` are the keys that came with it: that of a DPoP proof (identity/dpop.py), that of the connection.

        Raises:
            UnauthenticatedError: it is no token of ours, not for `audience`, not valid at `at`, or bound to a key that
                did not come with it.
        """
        verified = self.read(token, at=at)
        if verified.audience != audience:
            raise UnauthenticatedError(
                ErrorCode.WRONG_AUDIENCE,
                "the access token is made out to another system",
                help=f"ask for a token with the resource {audience}",
            )
        if not shown.proves(verified.bearer.bound_to):
            raise _not_shown(verified.bearer.bound_to)
        return verified.bearer

    def read(self, token: str, *, at: dt.datetime) -> Verified:
        """Return what `token` says, whatever system it is for, if it is ours and valid at `at`.

        Raises:
            UnauthenticatedError: it is not.
        """
        if len(token) > MAX_TOKEN:
            raise _refusal(f"{_WHAT} is longer than {MAX_TOKEN} characters", ErrorCode.TOO_LARGE)
        name = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        verified = self._cache.get(name)
        if verified is None or self._ring.token_verifier(verified.key_id, at) is None:
            verified = self._verify_signature(token, at)
            self._remember(name, verified)
        if at.timestamp() >= verified.bearer.expires_at:
            raise UnauthenticatedError(ErrorCode.TOKEN_EXPIRED, f"{_WHAT} has expired", help="ask for a new one")
        return verified

    def _verify_signature(self, token: str, at: dt.datetime) -> Verified:
        try:
            parts = parse_compact(token, _WHAT, members=_HEADER, limit=MAX_TOKEN)
        except CharterError as err:
            raise _refusal(err.detail) from err
        key_id = self._check_header(parts)
        key = self._ring.token_verifier(key_id, at)
        if key is None:
            raise _refusal(f"{_WHAT} is signed with no key of ours", ErrorCode.UNKNOWN_KEY)
        try:
            verify_compact(parts, key, _WHAT)
        except CharterError as err:
            raise _refusal(err.detail) from err
        return self._meaning(parts.claims, key_id, at)

    def _check_header(self, parts: Compact) -> str:
        kind, key_id = parts.header.get("typ"), parts.header.get("kid")
        if not isinstance(kind, str) or kind.lower() not in (TYPE, f"application/{TYPE}"):  # RFC 9068 section 4
            _refuse(f"{_WHAT} is of another type than `{TYPE}`")
        if parts.header.get("alg") != _ALGORITHM:
            _refuse(f"{_WHAT} is not signed with {_ALGORITHM}")
        if not isinstance(key_id, str):
            _refuse(f"{_WHAT} does not name its key")
        return key_id

    def _meaning(self, claims: dict[str, Any], key_id: str, at: dt.datetime) -> Verified:
        """Return what the claims mean; they are signed by us, so that a fault in them is a fault of ours."""
        if claims.get("iss") != self._issuer:
            _refuse(f"{_WHAT} was issued by another server")
        try:
            bearer, audience = _bearer(claims), _text(claims["aud"])
            begins = max(_whole(claims["iat"]), _whole(claims.get("nbf", 0)))
        except (KeyError, TypeError, ValueError, CharterError) as err:
            raise _refusal(f"{_WHAT} lacks a claim, or has one of another type") from err
        if begins > at.timestamp() + SKEW_SECONDS:
            _refuse(f"{_WHAT} is not valid yet")
        return Verified(claims, bearer, audience, key_id)

    def _remember(self, name: bytes, verified: Verified) -> None:
        with self._lock:
            while len(self._cache) >= self._max_cached:
                del self._cache[next(iter(self._cache))]
            self._cache[name] = verified


def _bearer(claims: Mapping[str, Any]) -> Bearer:
    confirmation, chain = claims.get("cnf"), claims.get("chain")
    told = claims.get("act", claims)  # whoever presents it: the current actor, or the subject itself
    if told["sub"] != claims["client_id"] or ("act" in claims) is not (chain is not None):
        raise TypeError
    return Bearer(
        principal_id=_text(told["sub"]),
        principal_name=_text(told["name"]),
        epoch=_whole(claims["epoch"]),
        charter_digest=_text(claims["charter"]["digest"]),
        token_id=_text(claims["jti"]),
        credential=_text(claims["crd"]),
        expires_at=_whole(claims["exp"]),
        bound_to=None if confirmation is None else _confirmation(confirmation),
        delegation=None if chain is None else _text(chain["delegation"]),
        initiator=None if chain is None else _text(claims["sub"]),
        narrowing=parse_narrowing(claims["authorization_details"]) if "authorization_details" in claims else None,
    )


def _confirmation(members: object) -> Confirmation:
    """Return the one key that `cnf` names; several would leave open which of them counts."""
    if not isinstance(members, dict) or len(members) != 1:
        raise TypeError
    ((name, thumbprint),) = members.items()
    return Confirmation(Binding(name), _text(thumbprint))


def _not_shown(bound_to: Confirmation | None) -> UnauthenticatedError:
    if bound_to is None:
        why = "a proof came with an access token that is bound to no key"
    elif bound_to.binding is Binding.JKT:
        why = "the access token is bound to a key, and no proof by that key came with it"
    else:
        why = (
            "the access token is bound to a client certificate, and did not come over a connection with that one alone"
        )
    return UnauthenticatedError(ErrorCode.BAD_PROOF, why, help="present it as its own client does: charter run")


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _refuse(why: str) -> NoReturn:
    raise _refusal(why)


def _refusal(why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> UnauthenticatedError:
    return UnauthenticatedError(code, why, help="ask the token endpoint for a new one")
