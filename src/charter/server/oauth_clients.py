"""Who asks: the ways in which a client can prove itself at the token, introspection and revocation endpoints.

A `ClientMethod` is one way. `Clients` holds those that are installed, finds the one that a request uses, and yields the
client with the key that its token shall be bound to.

INVARIANT: too many failures of one source, or of one client there, are answered by 429 before any method looks at the
request; what a stranger gets wrong is counted, not written.
INVARIANT: what a client gets right is counted too, so that one in a loop does not keep the writer from the others.
INVARIANT: a request proves its client in one way or not at all (RFC 6749 section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from charter.core.errors import ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.bearer import Binding, Client, Confirmation
from charter.identity.certificate import thumbprint_of_certificate
from charter.identity.clients import METHOD, WHAT, ClientAuthenticator, no_client
from charter.identity.dpop import read_proof
from charter.identity.foreign import MAX_FOREIGN, is_foreign
from charter.identity.issuance import replayed, use_assertion
from charter.identity.jose import MAX_COMPACT, Compact, split_compact
from charter.server.gateway_http import Head
from charter.server.oauth_form import Form
from charter.server.oauth_parts import Parts

PUBLIC = "none"  # the method of a client that proves nothing (RFC 7591 section 2)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Asked:
    """A request, as far as a client can prove itself by it."""

    head: Head
    form: Form

    @cached_property
    def assertion(self) -> Compact | MalformedError | None:
        """Its assertion of RFC 7523, taken apart once for all who look at it, or what is wrong with that."""
        text = self.form.get("client_assertion")
        if text is None or self.form.get("client_assertion_type") != ASSERTION_TYPE:
            return None
        try:
            return split_compact(text, WHAT, limit=MAX_FOREIGN)
        except MalformedError as err:
            return err


class ClientMethod(Protocol):
    """One way to prove who a client is."""

    name: str  # its name in the metadata: private_key_jwt
    signing_algorithms: tuple[str, ...]  # if it is done by a signature

    def fits(self, asked: Asked) -> bool:
        """Return whether the request tries this way."""
        ...

    def claimed(self, asked: Asked) -> str:
        """Return the id of the known principal that the request claims to be, unverified, or nothing."""
        ...

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client that the request proves.

        Raises:
            UnauthenticatedError: it proves none.
        """
        ...


class Authenticated(NamedTuple):
    """A client, and the key whose proof came with its request, if one did: its token is bound to that."""

    client: Client
    bound_to: Confirmation | None


class Clients:
    """The installed methods, in the order of the metadata."""

    def __init__(self, parts: Parts, methods: tuple[ClientMethod, ...]) -> None:
        self.methods = methods
        self._parts = parts

    async def authenticated(self, head: Head, form: Form) -> Authenticated:
        """Return the client of a request. Its assertion is yet to be remembered as used.

        Raises:
            UnauthenticatedError: it proves none; that is counted.
            ThrottledError: too many failed from there.
        """
        asked = Asked(head, form)
        fitting = [method for method in self.methods if method.fits(asked)]
        method = fitting[0] if fitting else None
        claimed = method.claimed(asked) if method else ""
        self._parts.failures.check(head.source, claimed)
        try:
            if len(fitting) > 1:
                raise MalformedError(
                    ErrorCode.BAD_REQUEST, "the client authenticates in more than one way", help="use one (RFC 6749)"
                )
            if method is None:
                raise _unproven(asked)
            client = await method.authenticate(asked)
            if client.method != PUBLIC:  # anybody can say such a name, and would slow its people down
                self._parts.pace.take(client.principal_id)
            return Authenticated(client, self._bound_to(head))
        except UnauthenticatedError as err:
            if err.code is not ErrorCode.NONCE_NEEDED:  # who asks for the first time cannot have one
                self._parts.failures.failed(head.source, err.code, claimed)
            raise

    async def used(self, head: Head, form: Form) -> Client:
        """Return the client of a request, its assertion remembered as used: for what is no issuance.

        Raises:
            UnauthenticatedError: it proves none; that is counted.
            ThrottledError: too many failed from there.
        """
        client, _ = await self.authenticated(head, form)
        if not await self._parts.writer.awrite(lambda tx: use_assertion(tx, client)):
            self._parts.failures.failed(head.source, ErrorCode.ASSERTION_REPLAYED, client.principal_id)
            raise replayed()
        return client

    def _bound_to(self, head: Head) -> Confirmation | None:
        """Return the key that the token shall be bound to: that of a DPoP proof, else that of the connection."""
        if "dpop" not in head.headers:
            found = head.certificate
            return Confirmation(Binding.X5T, thumbprint_of_certificate(found)) if found is not None else None
        parts, at = self._parts, self._parts.clock.now()
        proof = read_proof(head.headers["dpop"], method=head.method, url=parts.base + head.path, at=at)
        parts.proofs.use(proof, at=at)
        return Confirmation(Binding.JKT, proof.key)


class PrivateKeyJwt:
    """`private_key_jwt`: an assertion signed with a registered key (RFC 7523)."""

    name = METHOD
    signing_algorithms: tuple[str, ...] = ("ES256", "EdDSA")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._assertions = ClientAuthenticator(parts.live, parts.issuer, parts.token_endpoints)

    def fits(self, asked: Asked) -> bool:
        """Return whether the request has an assertion that no issuer we trust says it signed, and no secret."""
        found = asked.assertion
        if found is None or has_secret(asked):
            return False
        return not isinstance(found, Compact) or not is_foreign(self._parts.live, found)

    def claimed(self, asked: Asked) -> str:
        """Return whose assertion it says it is."""
        return self._assertions.claimed(asked.assertion) if isinstance(asked.assertion, Compact) else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose assertion it is.

        Raises:
            UnauthenticatedError: it proves none.
        """
        found = asked.assertion
        if not isinstance(found, Compact):
            raise no_client(found.detail if found else f"{WHAT} is missing")
        if len(asked.form["client_assertion"]) > MAX_COMPACT:
            raise no_client(f"{WHAT} is longer than {MAX_COMPACT} characters")
        return self._assertions.authenticate(found, client_id=asked.form.get("client_id"), at=self._parts.clock.now())


def has_secret(asked: Asked) -> bool:
    """Return whether a request holds a secret, or tries to."""
    return "client_secret" in asked.form or "authorization" in asked.head.headers


def _unproven(asked: Asked) -> UnauthenticatedError:
    """Return the error of a request that tries none of the ways."""
    if has_secret(asked):
        return UnauthenticatedError(
            ErrorCode.BAD_CLIENT, "the header `Authorization` proves no client", help="use private_key_jwt (RFC 7523)"
        )
    if "client-cert" in asked.head.headers and asked.head.certificate is None:
        return UnauthenticatedError(
            ErrorCode.BAD_CLIENT,
            "the header `Client-Cert` holds no certificate, or comes from an address that is no trusted proxy's",
            help="name the proxy: charter up --trusted-proxy ADDRESS",
        )
    return UnauthenticatedError(
        ErrorCode.BAD_CLIENT,
        "the client did not authenticate",
        help=f"send client_assertion, and client_assertion_type={ASSERTION_TYPE}",
    )
