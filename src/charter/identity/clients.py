"""Client authentication by a signed assertion: `private_key_jwt` (RFC 7523 section 3, OpenID Connect Core section 9).

    (1) The assertion is a compact JWS of bounded size with no header member but `alg`, `typ` and `kid`.
    (2) `iss` and `sub` are the same client: a principal's id or its SPIFFE ID, character for character.
    (3) One of that principal's registered keys signed it, with that key's own algorithm.
    (4) `aud` is this server alone: its issuer or its token endpoint.
    (5) It is valid now, for at most five minutes, give or take 30 seconds of clock skew.
    (6) `jti` is there. That it was never used before is for the transaction to say: whoever calls `authenticate` must
        remember the assertion (`IdentityStore.remember_assertion`) before anything is granted.

INVARIANT: before (3) has succeeded, every failure that would tell which clients and keys exist reads the same.
INVARIANT: standing is not asked here but by `authority.refusal`, inside the transaction that grants.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from charter.core.canonical import digest
from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.identity.bearer import Client, UsedAssertion
from charter.identity.credential import ReadyKeys
from charter.identity.jose import Compact, check_members, verify_compact
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing

METHOD = "private_key_jwt"
MAX_ASSERTION_SECONDS = 300
SKEW_SECONDS = 30
ALGORITHMS = ("ES256", "EdDSA", "Ed25519")
_HEADER = frozenset({"alg", "typ", "kid"})
_TYPES = frozenset({"jwt", "client-authentication+jwt"})
_JTI = re.compile(r"[\x21-\x7e]{1,256}")
WHAT = "the client assertion"


def client_named(live: LiveEstate, client_id: str) -> Principal | None:
    """Return the principal whose id or SPIFFE ID is `client_id`, character for character.

    That is its own SPIFFE ID, or the one of another trust domain that its charter names.
    """
    found = live.principals.get(live.spiffe_holders.get(client_id, client_id))
    if found is None and client_id.startswith("spiffe://"):
        named = live.principal_named(client_id.rpartition("/")[2])
        found = named if named is not None and named.spiffe_id == client_id else None
    return found


def signer_of(live: LiveEstate, keys: ReadyKeys, parts: Compact, what: str) -> tuple[Principal, ClientKey]:
    """Return whose JWS it is that names a client as `iss` and `sub`, and the registered key that signed it.

    Raises:
        UnauthenticatedError: it is nobody's; whether there is such a client or key makes no difference to what is said.
    """
    subject = parts.claims.get("sub")
    if not isinstance(subject, str) or parts.claims.get("iss") != subject:
        _refuse(f"{what} must name the client as both `iss` and `sub`")
    principal = client_named(live, subject)
    if principal is not None:
        for key in _candidates(live, principal, parts.header.get("kid")):
            try:
                verify_compact(parts, keys.of(key), what)
            except CharterError:
                continue
            return principal, key
    return _refuse(f"there is no such client, or {what.replace('client ', '')} is not signed with a key of its own")


def _candidates(live: LiveEstate, principal: Principal, kid: str | None) -> list[ClientKey]:
    """Return the keys that may have signed: the one `kid` names, else those in use."""
    keys = live.keys_of(principal.id)
    if kid is not None:
        return [key for key in keys if kid in (key.thumbprint, key.id)]
    return [key for key in keys if key.standing is Standing.ACTIVE]


@dataclass(slots=True)
class ClientAuthenticator:
    """Authenticates clients against the live estate."""

    live: LiveEstate
    issuer: str
    token_endpoints: tuple[str, ...]  # the addresses it is known by
    _keys: ReadyKeys = field(default_factory=ReadyKeys)

    def authenticate(self, parts: Compact, *, client_id: str | None, at: dt.datetime) -> Client:
        """Return the client that an assertion proves; `client_id` is the request's own parameter, if it has one.

        Raises:
            UnauthenticatedError: it proves none; the message says why.
        """
        try:
            check_members(parts, WHAT, _HEADER)
        except CharterError as err:
            raise no_client(err.detail) from err
        self._check_header(parts)
        principal, key = signer_of(self.live, self._keys, parts, WHAT)
        self._check_claims(parts.claims, at)
        if client_id is not None and client_named(self.live, client_id) is not principal:
            _refuse("the parameter `client_id` names another client than the assertion")
        jti = parts.claims["jti"]
        until = int(parts.claims["exp"]) + SKEW_SECONDS + 1
        return Client(principal.id, METHOD, key.thumbprint, UsedAssertion(digest(jti.encode()), until))

    def claimed(self, parts: Compact) -> str:
        """Return the id of the known principal that an unverified assertion claims to be, or nothing."""
        subject = parts.claims.get("sub")
        principal = client_named(self.live, subject) if isinstance(subject, str) else None
        return principal.id if principal else ""

    def _check_header(self, parts: Compact) -> None:
        if parts.header.get("alg") not in ALGORITHMS:
            _refuse(f"{WHAT} must be signed with {' or '.join(ALGORITHMS[:2])}")
        kind = parts.header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            _refuse(f"{WHAT} is of the type {str(kind)[:40]!a}, which is for another purpose")
        if not isinstance(parts.header.get("kid", ""), str):
            _refuse(f"{WHAT} has a `kid` that is no text")

    def _check_claims(self, claims: dict[str, Any], at: dt.datetime) -> None:
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            (audience,) = audience
        if not isinstance(audience, str) or audience not in (self.issuer, *self.token_endpoints):
            _refuse(f"{WHAT} must be made out to `{self.token_endpoints[0]}` or `{self.issuer}`, and to nobody else")
        self._check_time(claims, at.timestamp())
        jti = claims.get("jti")
        if not isinstance(jti, str) or not _JTI.fullmatch(jti):
            _refuse(f"{WHAT} must have a `jti` of 1 to 256 printable ASCII characters")

    def _check_time(self, claims: dict[str, Any], now: float) -> None:
        expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            _refuse(f"{WHAT} must have an `exp`")
        if now >= expires + SKEW_SECONDS:
            _refuse(f"{WHAT} has expired; check this machine's clock")
        if expires > now + MAX_ASSERTION_SECONDS + SKEW_SECONDS:
            _refuse(f"{WHAT} is valid for more than {MAX_ASSERTION_SECONDS} seconds")
        if any(value is not None and value > now + SKEW_SECONDS for value in (begins, issued)):
            _refuse(f"{WHAT} is not valid yet; check this machine's clock")
        if issued is not None and issued < now - MAX_ASSERTION_SECONDS - SKEW_SECONDS:
            _refuse(f"{WHAT} was made more than {MAX_ASSERTION_SECONDS} seconds ago")


def _seconds(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < 2**40):
        _refuse(f"{WHAT} has a `{name}` that is no whole number of seconds since 1970")
    return value


def _refuse(why: str) -> NoReturn:
    raise no_client(why)


def no_client(why: str) -> UnauthenticatedError:
    """Return the error of an assertion that proves no client."""
    return UnauthenticatedError(
        ErrorCode.BAD_CLIENT, why, help="sign a fresh assertion with the client's own key, as charter token does"
    )
