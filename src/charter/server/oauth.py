"""The OAuth endpoints, in plain ASGI: tokens, introspection, revocation, metadata, keys.

    POST /oauth/token                                client credentials (OAuth 2.1 section 4.2, RFC 8707, RFC 9449)
    POST /oauth/introspect, /oauth/revoke            RFC 7662, RFC 7009
    GET  /oauth/jwks                                 RFC 7517
    GET  /.well-known/oauth-authorization-server     RFC 8414

INVARIANT: who we are comes from the settings alone, never from the request: no header can change an issuer, an audience
or an address in the metadata.
INVARIANT: a token is signed after the fact that it was issued is durable, and says exactly what was recorded.
INVARIANT: what strangers get wrong is counted per source, not written; what an authenticated client is given or refused
is written. Either way, too many failures within a minute are answered by 429 before any signature is looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import (
    CharterError,
    ConflictError,
    ErrorCode,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.work import Writer
from charter.identity.bearer import Client
from charter.identity.clients import ClientAuthenticator
from charter.identity.dpop import ProofMemory, read_proof
from charter.identity.failures import Failures
from charter.identity.issuance import Issued, Refused, TokenRequest, issue, replayed, system_at, use_assertion
from charter.identity.keys import KeyRing
from charter.identity.revocation import introspect, revoke
from charter.identity.tokens import AccessTokens
from charter.identity.work import IdentityWork
from charter.registry.principal import LiveEstate, Principal
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, encode, read_head
from charter.server.oauth_form import Form, needed, read_form
from charter.server.problems import oauth_error

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
INTROSPECT_PATH = "/oauth/introspect"
REVOKE_PATH = "/oauth/revoke"
JWKS_PATH = "/oauth/jwks"
AUTHORIZE_PATH = "/oauth/authorize"
METADATA_PATH = "/.well-known/oauth-authorization-server"
MAX_TRIES = 4  # a charter that changes while its token is made is looked at again
CACHE_SECONDS = 300
_PRIVATE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))  # RFC 6749 section 5.1
_PUBLIC = ((b"cache-control", b"public, max-age=%d" % CACHE_SECONDS),)
_log = logging.getLogger("charter.oauth")
Answer = dict[str, Any]


class BoundSlice(Protocol):
    """A principal's policy, as far as issuing asks it."""

    def actions_on(self, system: str) -> object:
        """Return the actions it grants on `system`; nothing if it grants none."""
        ...


class Slices(Protocol):
    """Where principals' policies come from."""

    def of(self, principal: Principal) -> BoundSlice:
        """Return the policy of the charter version `principal` acts under.

        Raises:
            CharterError: it cannot be bound.
        """
        ...


class House(Protocol):
    """What the endpoints take from the house."""

    settings: Any
    live: LiveEstate
    ring: KeyRing
    tokens: AccessTokens
    failures: Failures
    proofs: ProofMemory
    database: Any
    slices: Any
    clock: Clock
    entropy: Entropy


@dataclass(slots=True)
class OAuthApp:
    """The ASGI application."""

    issuer: str
    live: LiveEstate
    ring: KeyRing
    tokens: AccessTokens
    clients: ClientAuthenticator
    failures: Failures
    proofs: ProofMemory
    writer: Writer[IdentityWork]
    slices: Slices
    clock: Clock
    entropy: Entropy
    _routes: dict[str, dict[str, Callable[[Head, Receive, Send], Awaitable[None]]]] = field(init=False)

    def __post_init__(self) -> None:
        own_path = urlsplit(self.issuer).path  # RFC 8414 section 3.1: it goes behind the well-known path
        self._routes = {
            TOKEN_PATH: {"POST": self._token},
            INTROSPECT_PATH: {"POST": self._introspect},
            REVOKE_PATH: {"POST": self._revoke},
            JWKS_PATH: {"GET": self._jwks},
            AUTHORIZE_PATH: {"GET": self._authorize, "POST": self._authorize},
            METADATA_PATH + own_path: {"GET": self._metadata},
        }

    @classmethod
    def of(cls, house: House) -> Self:
        """Return the endpoints of a house."""
        issuer = house.settings.issuer
        return cls(
            issuer=issuer,
            live=house.live,
            ring=house.ring,
            tokens=house.tokens,
            clients=ClientAuthenticator(house.live, issuer, issuer + TOKEN_PATH),
            failures=house.failures,
            proofs=house.proofs,
            writer=house.database,
            slices=house.slices,
            clock=house.clock,
            entropy=house.entropy,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            methods = self._routes.get(head.path)
            if methods is None:
                raise HttpRefusal(404, "there is nothing here")  # noqa: TRY301 - answered like the others
            handler = methods.get(head.method)
            if handler is None:
                allow = (b"allow", ", ".join(methods).encode())
                raise HttpRefusal(405, f"the method here is {' or '.join(methods)}", headers=[allow])  # noqa: TRY301
            await handler(head, receive, send)
        except HttpRefusal as err:
            body = {"error": "invalid_request", "error_description": err.detail.replace("`", "'")}
            await _send(send, err.status, body, *err.headers)
        except CharterError as err:
            status, body = oauth_error(err)
            await _send(send, status, body, *_headers_of(err))
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the OAuth endpoints failed")
            await _send(send, 500, {"error": "server_error", "error_description": "the server failed"})

    # --- tokens ---

    async def _token(self, head: Head, receive: Receive, send: Send) -> None:
        """Answer a token request (RFC 6749 section 5.1)."""
        form = await read_form(head, receive)
        if needed(form, "grant_type") != "client_credentials":
            raise MalformedError(
                ErrorCode.UNSUPPORTED, "the grant type is not supported", help="use grant_type=client_credentials"
            )
        client, bound_to = self._authenticated(head, form)
        if "scope" in form:
            raise MalformedError(
                ErrorCode.BAD_SCOPE,
                "there are no scopes here",
                help="name the system as `resource`; grants say the rest",
            )
        resource = needed(form, "resource", ErrorCode.BAD_TARGET)
        for _ in range(MAX_TRIES):
            asked = self._asked(client, resource, head.source, bound_to)
            match await self.writer.awrite(partial(issue, asked=asked, issuer=self.issuer)):
                case Issued(claims):
                    kind = "DPoP" if bound_to else "Bearer"
                    token = self.tokens.sign(claims)
                    life = claims["exp"] - claims["iat"]
                    await _send(send, 200, {"access_token": token, "token_type": kind, "expires_in": life})
                    return
                case Refused(error):
                    self.failures.failed(head.source, error.code, client.principal_id)
                    raise error
                case None:
                    continue
        raise ConflictError(ErrorCode.STALE, "the charter changed while the token was made", help="ask again")

    def _asked(self, client: Client, resource: str, source: str, bound_to: str | None) -> TokenRequest:
        principal = self.live.principals[client.principal_id]
        record = system_at(self.live, self.issuer, resource)
        granted = record is not None and self._grants(principal, record.name)
        token_id = self.entropy.identifier("tok")
        return TokenRequest(client, resource, token_id, source, granted, principal.digest, bound_to)

    def _grants(self, principal: Principal, system: str) -> bool:
        """Return whether the charter grants anything on `system`; one that cannot be bound grants nothing."""
        try:
            return bool(self.slices.of(principal).actions_on(system))
        except UnavailableError:
            raise
        except CharterError as err:
            _log.warning("the policy of %s cannot be bound: %s", principal.name, err.detail)
            return False

    # --- one token ---

    async def _introspect(self, head: Head, receive: Receive, send: Send) -> None:
        form = await read_form(head, receive)
        token = needed(form, "token")
        client = await self._used_client(head, form)
        answer = introspect(self.live, self.tokens, token, client, issuer=self.issuer, at=self.clock.now())
        await _send(send, 200, answer)

    async def _revoke(self, head: Head, receive: Receive, send: Send) -> None:
        form = await read_form(head, receive)
        token = needed(form, "token")
        client = await self._used_client(head, form)
        try:
            found = self.tokens.read(token, at=self.clock.now())
        except UnauthenticatedError:
            await _send(send, 200, {})  # RFC 7009 section 2.2: a token that means nothing is as good as revoked
            return
        error = await self.writer.awrite(lambda tx: revoke(tx, found, client, source=head.source))
        if error is not None:
            raise error
        await _send(send, 200, {})

    # --- clients ---

    async def _used_client(self, head: Head, form: Form) -> Client:
        """Return the authenticated client, its assertion remembered as used."""
        client, _ = self._authenticated(head, form)
        if not await self.writer.awrite(lambda tx: use_assertion(tx, client)):
            self.failures.failed(head.source, ErrorCode.ASSERTION_REPLAYED, client.principal_id)
            raise replayed()
        return client

    def _authenticated(self, head: Head, form: Form) -> tuple[Client, str | None]:
        """Return the client that the request's assertion proves, and the key its proof shows if one came.

        Raises:
            UnauthenticatedError: it proves none; that is counted.
            ThrottledError: too many failed from there.
        """
        claimed = self.clients.claimed(form.get("client_assertion", ""))
        self.failures.check(head.source, claimed)
        try:
            client = self._client(head, form)
            return client, self._bound_to(head)
        except UnauthenticatedError as err:
            self.failures.failed(head.source, err.code, claimed)
            raise

    def _client(self, head: Head, form: Form) -> Client:
        if "client_secret" in form or "authorization" in head.headers:
            raise UnauthenticatedError(
                ErrorCode.BAD_CLIENT, "client secrets are not accepted", help="use private_key_jwt (RFC 7523)"
            )
        assertion = form.get("client_assertion")
        if assertion is None or form.get("client_assertion_type") != ASSERTION_TYPE:
            raise UnauthenticatedError(
                ErrorCode.BAD_CLIENT,
                "the client did not authenticate",
                help=f"send client_assertion, and client_assertion_type={ASSERTION_TYPE}",
            )
        return self.clients.authenticate(assertion, client_id=form.get("client_id"), at=self.clock.now())

    def _bound_to(self, head: Head) -> str | None:
        """Return the thumbprint of the key that the token shall be bound to, if a proof came with the request."""
        if "dpop" not in head.headers:
            return None
        at = self.clock.now()
        proof = read_proof(head.headers["dpop"], method=head.method, url=self.issuer + head.path, at=at)
        self.proofs.use(proof, at=at)
        return proof.key

    # --- what is public ---

    async def _jwks(self, _head: Head, _receive: Receive, send: Send) -> None:
        keys = self.ring.jwks(self.clock.now())["keys"]
        await _send(send, 200, {"keys": keys}, public=True)

    async def _authorize(self, _head: Head, _receive: Receive, _send: Send) -> None:
        """Refuse: nobody can delegate to a client here, so there are no response types.

        The address stands in the metadata all the same, because the official MCP client takes metadata without it for
        none.
        """
        raise MalformedError(
            ErrorCode.UNSUPPORTED_RESPONSE,
            "this server has no response types",
            help="use grant_type=client_credentials",
        )

    async def _metadata(self, _head: Head, _receive: Receive, send: Send) -> None:
        await _send(send, 200, metadata(self.issuer), public=True)


def metadata(issuer: str) -> Answer:
    """Return the authorization server's metadata (RFC 8414 section 2, RFC 9449 section 5.1)."""
    found: Answer = {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE_PATH,
        "token_endpoint": issuer + TOKEN_PATH,
        "introspection_endpoint": issuer + INTROSPECT_PATH,
        "revocation_endpoint": issuer + REVOKE_PATH,
        "jwks_uri": issuer + JWKS_PATH,
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
    }
    for endpoint in ("token", "introspection", "revocation"):
        found[f"{endpoint}_endpoint_auth_methods_supported"] = ["private_key_jwt"]
        found[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = ["ES256", "EdDSA"]
    return found


async def _send(send: Send, status: int, value: Answer, *headers: tuple[bytes, bytes], public: bool = False) -> None:
    body = encode(value)
    fixed = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    head = [*headers, *fixed, *(_PUBLIC if public else _PRIVATE)]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _headers_of(error: CharterError) -> tuple[tuple[bytes, bytes], ...]:
    match error:
        case ThrottledError() | UnavailableError():
            return ((b"retry-after", str(error.retry_after_seconds).encode()),)
        case UnauthenticatedError() if error.code is not ErrorCode.BAD_PROOF:
            return ((b"www-authenticate", b'Bearer realm="charter"'),)  # a 401 must have one (RFC 9110 section 15.5.2)
        case _:
            return ()
