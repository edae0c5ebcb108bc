"""The OAuth endpoints, in plain ASGI: tokens, introspection, revocation, metadata, keys.

    POST /oauth/token                                one of the installed flows (server/oauth_flows.py)
    POST /oauth/introspect, /oauth/revoke            whether a token counts (server/oauth_state.py)
    POST /oauth/rotate                               a client replaces its key (server/oauth_rotation.py)
    GET  /oauth/jwks                                 RFC 7517
    GET  /oauth/status, /oauth/status/…              status lists (server/oauth_status.py)
    GET  /.well-known/oauth-authorization-server     RFC 8414, composed of what is installed
    GET  /.well-known/openid-configuration           the same, for clients that look there first (RFC 8414 section 5)

Here are routes and the translation of errors; who asks is found by server/oauth_clients.py. `OAuthApp.at` is the one
place that chooses which methods of client authentication and which flows are installed.

INVARIANT: who we are comes from the settings alone, never from the request: no header can change an issuer, an audience
or an address in the metadata.
INVARIANT: what strangers get wrong is counted per source, not written; what an authenticated client is given or refused
is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import urlsplit

from charter.core.errors import CharterError
from charter.identity.exchange import SCOPE_DETAIL
from charter.registry.narrowing import TYPE as GRANT_DETAIL
from charter.server.gateway_http import Head, HttpRefusal, Receive, Scope, Send, read_head
from charter.server.oauth_asking import Asking
from charter.server.oauth_asserted import IdentityAssertion
from charter.server.oauth_aws import AwsCallerIdentity
from charter.server.oauth_clients import ASSERTION_TYPE, ClientMethod, Clients, PrivateKeyJwt
from charter.server.oauth_consented import AuthorizationCode, Consented, DeviceCode, RefreshTokens
from charter.server.oauth_exchange import TokenExchange
from charter.server.oauth_federated import FederatedJwt
from charter.server.oauth_flows import ClientCredentials, Flows, Issuing
from charter.server.oauth_form import read_form
from charter.server.oauth_http import Answer, Body, Endpoint, answer_of, answer_of_refusal, send_answer
from charter.server.oauth_mtls import SelfSignedTlsClientAuth, TlsClientAuth
from charter.server.oauth_parts import TOKEN_PATH, House, Parts
from charter.server.oauth_public import PublicClient
from charter.server.oauth_rotation import KeyRotation
from charter.server.oauth_secret import ClientSecretBasic, ClientSecretPost
from charter.server.oauth_spiffe import SpiffeJwt, SpiffeX509
from charter.server.oauth_state import StateDoor
from charter.server.oauth_status import StatusDoor

__all__ = ["ASSERTION_TYPE", "OAuthApp"]
JWKS_PATH = "/oauth/jwks"
AUTHORIZE_PATH = "/oauth/authorize"
METADATA_PATH = "/.well-known/oauth-authorization-server"
OPENID_PATH = "/.well-known/openid-configuration"
_ALIASED = frozenset({"token_endpoint", "introspection_endpoint", "revocation_endpoint"})
METHODS: tuple[Callable[[Parts], ClientMethod], ...] = (
    PrivateKeyJwt,
    FederatedJwt,
    AwsCallerIdentity,
    SpiffeJwt,
    PublicClient,
    ClientSecretBasic,
    ClientSecretPost,
)
CERTIFICATE_METHODS: tuple[Callable[[Parts], ClientMethod], ...] = (TlsClientAuth, SelfSignedTlsClientAuth, SpiffeX509)
_log = logging.getLogger("charter.oauth")


def _installed(parts: Parts) -> Iterator[Callable[[Parts], ClientMethod]]:
    """Yield the ways that a client can use here: without a door for certificates there are none by certificate."""
    yield from METHODS
    if parts.takes_certificates:
        yield from CERTIFICATE_METHODS


def _metadata_paths(own_path: str) -> Iterator[str]:
    """Yield where the metadata of an issuer is that has a path: behind the well-known one (RFC 8414 section 3.1)."""
    yield METADATA_PATH + own_path
    yield OPENID_PATH + own_path


@dataclass(slots=True)
class OAuthApp:
    """The ASGI application."""

    parts: Parts
    clients: Clients
    flows: Flows
    endpoints: tuple[Endpoint, ...] = ()  # those of flows that need more than the token endpoint
    _routes: dict[str, Endpoint] = field(init=False)

    def __post_init__(self) -> None:
        own_path = urlsplit(self.parts.issuer).path
        self.endpoints = (
            Endpoint(AUTHORIZE_PATH, {}, "authorization_endpoint"),  # a page of the console
            Endpoint(TOKEN_PATH, {"POST": self._token}, "token_endpoint"),
            Endpoint(JWKS_PATH, {"GET": self._jwks}, "jwks_uri"),
            *(Endpoint(path, {"GET": self._metadata}) for path in _metadata_paths(own_path)),
            *self.endpoints,
        )
        self._routes = {endpoint.path: endpoint for endpoint in self.endpoints}

    @classmethod
    def of(cls, house: House, *, mtls: bool = False) -> Self:
        """Return the endpoints of a house, as its own door leads to them, or the one for clients with certificates."""
        parts = Parts.of(house)
        return cls.at(replace(parts, base=parts.mtls_url or "") if mtls else parts)

    @classmethod
    def at(cls, parts: Parts) -> Self:
        """Return the endpoints built on `parts`, with all that is installed."""
        clients, issuing = (
            Clients(parts, tuple(method(parts) for method in _installed(parts))),
            Issuing(parts),
        )
        consented = Consented(parts, clients, issuing)
        flows = Flows(
            [
                ClientCredentials(clients, issuing),
                TokenExchange(parts, clients, issuing),
                IdentityAssertion(parts, clients, issuing),
                AuthorizationCode(parts, consented),
                RefreshTokens(parts, consented),
                DeviceCode(parts, consented, parts.consents),
            ]
        )
        rooms = (StateDoor(parts, clients), Asking(parts, clients), KeyRotation(parts), StatusDoor(parts))
        return cls(parts, clients, flows, tuple(each for room in rooms for each in room.endpoints))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        head: Head | None = None
        try:
            head = read_head(scope)
            answer = await self._answer(head, receive)
        except HttpRefusal as refusal:
            answer = answer_of_refusal(refusal)
        except CharterError as err:
            answer = answer_of(err, head)
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request to the OAuth endpoints failed")
            answer = Answer({"error": "server_error", "error_description": "the server failed"}, 500)
        if head is not None and "dpop" in head.headers:
            answer = self._with_nonce(answer)
        await send_answer(send, answer)

    def _with_nonce(self, answer: Answer) -> Answer:
        """Give whoever sends proofs the nonce for the next one (RFC 9449 section 8.2)."""
        nonces = self.parts.proofs.nonces
        if nonces is None:
            return answer
        fresh = (b"dpop-nonce", nonces.fresh(self.parts.clock.now()).encode())
        return replace(answer, headers=(*answer.headers, fresh))

    async def _answer(self, head: Head, receive: Receive) -> Answer:
        endpoint = self._routes.get(head.path) or self._above(head.path)
        if endpoint is None:
            raise HttpRefusal(404, "there is nothing here")
        handler = endpoint.methods.get(head.method)
        if handler is None:
            allow = (b"allow", ", ".join(endpoint.methods).encode())
            raise HttpRefusal(405, f"the method here is {' or '.join(endpoint.methods)}", headers=[allow])
        return await handler(head, receive)

    def _above(self, path: str) -> Endpoint | None:
        return next((each for each in self.endpoints if each.holds_below and path.startswith(each.path)), None)

    async def _token(self, head: Head, receive: Receive) -> Answer:
        form = await read_form(head, receive)
        return Answer(await self.flows.of(form).answer(head, form))

    async def _jwks(self, _head: Head, _receive: Receive) -> Answer:
        keys = self.parts.ring.jwks(self.parts.clock.now())["keys"]
        return Answer({"keys": keys}, public=True)

    async def _metadata(self, _head: Head, _receive: Receive) -> Answer:
        return Answer(self.metadata(), public=True)

    def metadata(self) -> Body:
        """Return the authorization server's metadata (RFC 8414 section 2, RFC 9449 section 5.1)."""
        issuer = self.parts.issuer
        found: Body = {"issuer": issuer}
        found |= {each.name: issuer + each.path for each in self.endpoints if each.name}
        found |= {
            "grant_types_supported": self.flows.grant_types,
            "response_types_supported": ["code"],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "authorization_details_types_supported": [GRANT_DETAIL, SCOPE_DETAIL],
            "authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"],
            "actor_proofs_supported": True,
        }
        methods = self.clients.methods
        algorithms = dict.fromkeys(name for method in methods for name in method.signing_algorithms)
        for endpoint in ("token", "introspection", "revocation"):
            here = (each.name for each in methods if endpoint != "introspection" or each.name != PublicClient.name)
            found[f"{endpoint}_endpoint_auth_methods_supported"] = list(here)
            found[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(algorithms)
        if self.parts.mtls_url is not None:  # RFC 8705 section 5
            named = {each.name: self.parts.mtls_url + each.path for each in self.endpoints if each.name in _ALIASED}
            found |= {"mtls_endpoint_aliases": named, "tls_client_certificate_bound_access_tokens": True}
        for each in self.endpoints:
            found |= each.metadata
        return found
