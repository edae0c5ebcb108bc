"""The agent's side: a private key that never leaves this machine, and what is signed with it.

Keys lie in `<keys>/<digest of the issuer>/<principal>.pem`, mode 0600, in folders of mode 0700. The same key signs
client assertions (RFC 7523) and DPoP proofs (RFC 9449), so that a token is worth nothing without it.

INVARIANT: a key, or a folder of keys, that others could read or write is refused, never mended in silence.
INVARIANT: assertions and tokens travel over verified TLS, or on this machine's loopback, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from charter.adapters import whole_file
from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import (
    CharterError,
    DeniedError,
    ErrorCode,
    IntegrityError,
    MalformedError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.values import is_loopback, parse_name
from charter.identity.jose import encode_base64url, sign_compact
from charter.identity.keys import p256_jwk

ASSERTION_SECONDS = 60
REFRESH_SECONDS = 30  # a token with less than this left is replaced
HTTP_SECONDS = 15.0
MAX_KEY_BYTES = 4096
NONCE_TRIES = 2
MAX_NONCE = 512  # characters
_USE_NONCE = "use_dpop_nonce"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(slots=True)
class AgentKey:
    """One principal's private key on this machine: the one in use, which whoever holds this object signs with."""

    principal: str
    path: Path
    jwk: dict[str, str]  # the public half, as it is registered
    _private: ECKey = field(repr=False)

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return a compact JWS by this key."""
        return sign_compact({"alg": "ES256"} | header, claims, self._private)

    def reread(self) -> bool:
        """Sign with what the key's file holds now; return whether that is another key.

        Raises:
            IntegrityError: others could read it, or it is no key.
            UnavailableError: it cannot be read.
        """
        try:
            now = open_key(self.principal, self.path)
        except OSError as err:
            raise UnavailableError(ErrorCode.STORE_FAILED, f"the key `{self.path}` cannot be read") from err
        is_another = now.jwk != self.jwk
        self.become(now)
        return is_another

    def become(self, other: AgentKey) -> None:
        """Sign with another key from now on: it took the place of this one, in its file too."""
        self.jwk, self._private = other.jwk, other._private


def key_path(folder: Path, issuer: str, principal: str) -> Path:
    """Return where the principal's key for `issuer` is, or would be."""
    return folder / hashlib.sha256(issuer.encode()).hexdigest()[:16] / f"{parse_name(principal, 'principal')}.pem"


def agent_key(folder: Path, issuer: str, principal: str) -> AgentKey:
    """Return the principal's key for `issuer`, making it the first time.

    Raises:
        IntegrityError: others could read it or put another in its place, or it is no key.
        UnavailableError: it cannot be read or written.
    """
    path = key_path(folder, issuer, principal)
    place = path.parent
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        _must_be_private(place, place.stat(), "chmod 700")
        if not path.exists():
            make_key(path)
        return open_key(principal, path)
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise UnavailableError(
            ErrorCode.STORE_FAILED,
            f"the agent's key `{path}` cannot be used: {why}",
            help="set CHARTER_KEYS to a folder",
        ) from err


def open_key(principal: str, path: Path) -> AgentKey:
    """Return the key in a file.

    Raises:
        IntegrityError: others could read it, or it is no key.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _must_be_private(path, os.fstat(descriptor), "rm")
        pem = os.read(descriptor, MAX_KEY_BYTES)
    finally:
        os.close(descriptor)
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as err:
        raise _unfit(path, "is no private key") from err
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise _unfit(path, "is no P-256 key")
    return AgentKey(principal, path, p256_jwk(private), ECKey.import_key(private))


def _must_be_private(path: Path, found: os.stat_result, mend: str) -> None:
    if found.st_mode & _OTHERS or found.st_uid != os.geteuid():
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"`{path}` is open to others (mode {stat.S_IMODE(found.st_mode):04o}, user {found.st_uid})",
            help=f"if nobody else used it: {mend} {path}; else revoke the key too",
        )


def make_key(path: Path) -> None:
    """Write a fresh key; two makers end up with the same one.

    Raises:
        OSError: it cannot be written.
    """
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with contextlib.suppress(FileExistsError):  # someone was faster: theirs counts
        whole_file.create(path, pem)


class Authority(Protocol):
    """What a token request says of whose authority it asks for."""

    def form(self, resource: str) -> dict[str, str]:
        """Return the parameters of a request for a token for `resource`."""
        ...

    def got(self, answer: dict[str, Any]) -> None:
        """Take note of what was answered."""
        ...


@dataclass(frozen=True, slots=True)
class OwnAuthority:
    """The principal's own; `may_act` names who may exchange the token, and `purpose` for what."""

    may_act: str | None = None
    purpose: str | None = None

    def form(self, _resource: str) -> dict[str, str]:
        """Return the parameters of client credentials."""
        return {"grant_type": "client_credentials"} | passing(self.may_act, self.purpose)

    def got(self, answer: dict[str, Any]) -> None:
        """Nothing follows from the answer."""


def passing(may_act: str | None, purpose: str | None) -> dict[str, str]:
    """Return the parameters that let somebody exchange the new token."""
    named = {"may_act": may_act, "purpose": purpose}
    return {name: value for name, value in named.items() if value is not None}


@dataclass(slots=True)
class AgentTokens:
    """Gets tokens for one principal, bound to its key unless `is_bound` is false, and proofs to go with them."""

    key: AgentKey
    issuer: str
    client_id: str
    clock: Clock
    entropy: Entropy
    authority: Authority = field(default_factory=OwnAuthority)  # whose it asks for
    when_due: Callable[[AgentTokens], Awaitable[bool]] | None = None  # replaces the key; returns whether it is another
    is_bound: bool = True  # False: whoever holds a token may use it, which the charter must allow
    _held: dict[str, tuple[str, float]] = field(default_factory=dict)  # resource -> token, until (monotonic)
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _nonce: str | None = None  # the server's newest (RFC 9449 section 8)

    def __post_init__(self) -> None:
        if not is_safe(self.issuer):
            raise MalformedError(
                ErrorCode.BAD_VALUE,
                f"`{self.issuer}` is neither https nor on this machine",
                help="let the server's public URL begin with https://",
            )

    async def headers(self, method: str, resource: str, url: str | None = None) -> dict[str, str]:
        """Return the headers that prove who calls `resource`; the token is fetched or refreshed as needed.

        `url` is the address that is called, where it is not the resource itself.

        Raises:
            CharterError: there is no token to be had.
        """
        async with self._fetching:
            held = self._held.get(resource)
            if held is None or held[1] - self.clock.monotonic() < REFRESH_SECONDS:
                asked = self.clock.monotonic()
                answer = await self.fetch(resource)
                held = (answer["access_token"], asked + answer["expires_in"])
                self._held[resource] = held
        return {"authorization": f"DPoP {held[0]}", "dpop": self.proof(method, url or resource, held[0])}

    def forget(self, resource: str) -> None:
        """Forget the token for `resource`: the gateway did not take it."""
        self._held.pop(resource, None)

    def learn(self, nonce: str | None) -> bool:
        """Keep the nonce that an answer gave, if it gave one; return whether it is another than before."""
        if nonce is None or nonce == self._nonce or len(nonce) > MAX_NONCE:
            return False
        self._nonce = nonce
        return True

    async def fetch(self, resource: str) -> dict[str, Any]:
        """Return the token endpoint's answer for `resource`.

        Raises:
            DeniedError, UnauthenticatedError: it was refused; the message says why.
            UnavailableError: the server cannot be reached, or asks to wait.
        """
        try:
            found = await self._answer(resource)
        except (DeniedError, UnauthenticatedError):
            if not self.key.reread():
                raise
            self._held.clear()  # another process of this agent replaced the key long ago
            found = await self._answer(resource)
        if self._is_key_due(found) and self.when_due is not None and await self.when_due(self):
            self._held.clear()  # they are bound to the key before, which ends
            found = await self._answer(resource)
        if not isinstance(found.get("access_token"), str) or type(found.get("expires_in")) is not int:
            raise UnavailableError(ErrorCode.NOT_RUNNING, f"what answers at {self.issuer} is no Charter")
        self.authority.got(found)
        return found

    async def _answer(self, resource: str) -> dict[str, Any]:
        """Return the answer to one token request, which must hold a token.

        Raises:
            DeniedError, UnauthenticatedError: it was refused; the message says why.
            UnavailableError: the server cannot be reached, or asks to wait.
        """
        status, found = await self._ask(resource)
        for _ in range(NONCE_TRIES):  # two: what nonces are made from may be replaced in between
            if status == httpx.codes.OK or found.get("error") != _USE_NONCE:
                break
            status, found = await self._ask(resource)  # with the nonce that came with the refusal
        if status != httpx.codes.OK:
            raise refused(found)
        return found

    def _is_key_due(self, answer: dict[str, Any]) -> bool:
        """Return whether the server wants another key by now."""
        wanted = answer.get("key_rotation_at")
        return type(wanted) is int and self.clock.now().timestamp() >= wanted

    async def _ask(self, resource: str) -> tuple[int, dict[str, Any]]:
        """Return the status and body of one token request."""
        form = self.authority.form(resource) | {
            "resource": resource,
            "client_id": self.client_id,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self.assertion(),
        }
        return await self.post("/oauth/token", form)

    async def post(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return the status and body of one request to an OAuth endpoint, with a proof of this agent's key.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        endpoint = self.issuer + path
        headers = {"dpop": self.proof("POST", endpoint)} if self.is_bound else {}
        direct = not self.issuer.startswith("https:")  # what stays on this machine goes through no proxy
        try:
            async with httpx.AsyncClient(timeout=HTTP_SECONDS, trust_env=not direct) as client:
                answer = await client.post(endpoint, data=form, headers=headers)
                body = answer.json()
        except (httpx.HTTPError, ValueError) as err:
            raise UnavailableError(
                ErrorCode.NOT_RUNNING, f"no Charter answers at {self.issuer}", help="start it: charter up"
            ) from err
        self.learn(answer.headers.get("dpop-nonce"))
        return answer.status_code, body if isinstance(body, dict) else {}

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        """Return a DPoP proof for one request (RFC 9449 section 4.2)."""
        claims: dict[str, Any] = {
            "htm": method,
            "htu": url,
            "iat": int(self.clock.now().timestamp()),
            "jti": self.entropy.token(16),
        }
        if self._nonce is not None:
            claims["nonce"] = self._nonce
        if token is not None:
            claims["ath"] = encode_base64url(hashlib.sha256(token.encode()).digest())
        return self.key.sign({"typ": "dpop+jwt", "jwk": self.key.jwk}, claims)

    def assertion(self) -> str:
        """Return a fresh client assertion (RFC 7523 section 3)."""
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": self.entropy.token(16),
        }
        return self.key.sign({"typ": "JWT"}, claims)


def is_safe(url: str) -> bool:
    """Return whether what is sent to `url` is seen by nobody else: https, or a loopback address."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    )


def refused(body: dict[str, Any]) -> CharterError:
    """Return the error that an OAuth error (RFC 6749 section 5.2) tells of."""
    error, detail = str(body.get("error", "?"))[:40], str(body.get("error_description", ""))[:500]
    match error:
        case "invalid_client" | "invalid_dpop_proof":
            return UnauthenticatedError(ErrorCode.BAD_CLIENT, detail or error)
        case "temporarily_unavailable" | "server_error":
            return UnavailableError(ErrorCode.NOT_RUNNING, detail or error, help="try again in a moment")
        case _:
            return DeniedError(ErrorCode.POLICY_DENIED, detail or error)


def _unfit(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.KEY_BROKEN, f"`{path}` {why}", help=f"rm {path}; a new one is made and registered on the next use"
    )
