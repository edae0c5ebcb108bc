"""Who calls a resource that access tokens open: the checks of a request's head, the token, and the challenge.

A system's endpoint and the decision API are protected resources (RFC 8707, RFC 9728); what they are about differs, and
who may come in is found out here, alike.

INVARIANT: the caller's token goes to the pipeline's `authenticate` and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from charter.core.clock import Clock
from charter.core.errors import CharterError, DeniedError, ErrorCode, UnauthenticatedError
from charter.gateway.call import Bearer
from charter.gateway.mcp_protocol import RpcCode
from charter.gateway.pipeline import PLAINLY, Came
from charter.identity.certificate import thumbprint_of_certificate
from charter.identity.nonce import Nonces
from charter.server.gateway_http import Head, HttpRefusal

MAX_TOKEN = 8192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1


class Authenticator(Protocol):
    """The check of tokens."""

    def authenticate(self, token: str, *, audience: str, at: datetime, came: Came = PLAINLY) -> Bearer:
        """Return whose token it is, or raise UnauthenticatedError."""
        ...


class Resource(msgspec.Struct, frozen=True):
    """What a token must be made out to, and where clients learn how to get one (RFC 9728 section 5.1)."""

    audience: str
    metadata: str


@dataclass(slots=True)
class Callers:
    """Finds out who calls."""

    authenticator: Authenticator
    issuer: str
    base: str  # the address it is seen at
    hosts: frozenset[str]  # values of `Host` that are ours, in lower case, without a default port
    origins: frozenset[str]  # web origins that may call, besides the issuer's own
    clock: Clock
    nonces: Nonces | None = None
    failed: Callable[[str, ErrorCode], None] | None = None  # told of each token that proved nothing, by source address

    def check_head(self, head: Head, *methods: str) -> None:
        """Refuse what did not mean to come here: a rebound name, a foreign web page, a token in the URL.

        Raises:
            HttpRefusal: it did not.
        """
        host = head.headers.get("host", "").lower()
        if without_default_port(host, self.issuer) not in self.hosts:
            raise HttpRefusal(421, "the header `Host` names another server")
        origin = head.headers.get("origin")
        if origin is not None and origin.lower() not in {_origin_of(self.issuer), *self.origins}:
            raise HttpRefusal(403, "web pages of another origin may not call this server")
        if head.method not in methods:
            allowed = ", ".join(methods)
            said = "the method here is" if len(methods) == 1 else "the methods here are"
            words = " and ".join(", ".join(methods).rsplit(", ", 1))
            raise HttpRefusal(405, f"{said} {words}", headers=[(b"allow", allowed.encode())])
        if b"access_token" in head.query.lower():
            raise HttpRefusal(400, "a token belongs in the header `Authorization`, never in the URL")

    def caller(self, head: Head, resource: Resource) -> Bearer:
        """Return who calls.

        Raises:
            HttpRefusal: 401 with where to get a token, or 403 if this one does not reach.
        """
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if not token:
            raise self.challenge(head, resource, "a token is needed: charter token shows how to get one", None)
        try:
            proof = head.headers.get("dpop") if scheme.lower() == "dpop" else None
            if scheme.lower() not in ("bearer", "dpop") or len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
                raise UnauthenticatedError(ErrorCode.BAD_TOKEN, "the header `Authorization` holds no bearer token")  # noqa: TRY301 - counted like the others
            certificate = thumbprint_of_certificate(head.certificate) if head.certificate is not None else None
            came = Came(head.method, self.base + head.path, proof, certificate)
            at = self.clock.now()
            return self.authenticator.authenticate(token, audience=resource.audience, at=at, came=came)
        except UnauthenticatedError as err:
            if err.code is ErrorCode.NONCE_NEEDED:  # who comes for the first time cannot have one
                raise self.challenge(head, resource, words(err), "use_dpop_nonce") from err
            if self.failed is not None:
                self.failed(head.source, err.code)
            raise self.challenge(head, resource, words(err), "invalid_token") from err
        except DeniedError as err:
            raise self.challenge(head, resource, words(err), "insufficient_scope") from err

    def challenge(self, head: Head, resource: Resource, detail: str, error: str | None) -> HttpRefusal:
        """Return the refusal that tells a client where tokens are given out (RFC 9728 section 5.1).

        The scheme is the one that the client tried (RFC 9449 section 7.1).
        """
        is_dpop = head.headers.get("authorization", "").partition(" ")[0].lower() == "dpop"
        value = f'resource_metadata="{resource.metadata}"'
        value = f'DPoP algs="ES256 EdDSA", {value}' if is_dpop else f"Bearer {value}"
        if error is not None:
            said = "".join(ch for ch in detail if " " <= ch <= "~" and ch not in '"\\')  # RFC 6750 section 3
            value += f', error="{error}", error_description="{said[:300]}"'
        headers = [(b"www-authenticate", value.encode()), *self.nonce_for(head)]
        status, code = (403, RpcCode.DENIED) if error == "insufficient_scope" else (401, RpcCode.UNAUTHENTICATED)
        return HttpRefusal(status, detail, headers=headers, rpc_code=int(code))

    def nonce_for(self, head: Head) -> tuple[tuple[bytes, bytes], ...]:
        """Return the header that gives whoever sends proofs the nonce for the next one (RFC 9449 section 9)."""
        if self.nonces is None or "dpop" not in head.headers:
            return ()
        return ((b"dpop-nonce", self.nonces.fresh(self.clock.now()).encode()),)


def words(err: CharterError) -> str:
    """Return what an error says, and what to do."""
    return f"{err.detail}; {err.help}" if err.help else err.detail


def host_of(url: str) -> str:
    """Return the host that a URL names, in lower case, without a default port."""
    return without_default_port(urlsplit(url).netloc.lower(), url)


def without_default_port(host: str, url: str) -> str:
    """Return `host` without the port that `url`'s scheme has anyway."""
    return host.removesuffix(":443" if url.startswith("https:") else ":80")


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_of(url)}"
