"""A workload proves itself by its platform's own token (RFC 7523 section 2.2, with the issuer's `iss` and `sub`).

The request names the principal in `client_id`; the token must be signed by the issuer that the principal's charter
trusts, and say exactly what the charter names. A platform's token is good until it expires, and may be shown again:
what it obtains is bound to a key where a proof comes with the request (RFC 9449).

INVARIANT: which clients and credentials exist is told to nobody whose token does not verify.
"""

from __future__ import annotations

import json
from typing import NoReturn

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import Client
from charter.identity.clients import client_named
from charter.identity.foreign import ForeignToken, check_claims, foreign_of, is_foreign, verify_foreign
from charter.identity.jose import Compact
from charter.identity.marks import subject_marks
from charter.registry.attester import told_by
from charter.registry.declared import FEDERATED
from charter.registry.issuer import TrustedIssuer
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing
from charter.server.oauth_clients import Asked
from charter.server.oauth_parts import Parts

METHOD = "federated_jwt"


class FederatedJwt:
    """`federated_jwt`: the assertion is a token of a trusted issuer."""

    name = METHOD
    signing_algorithms: tuple[str, ...] = ()  # what a platform signs with is no choice of its workloads

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request's assertion says that a trusted issuer signed it."""
        return isinstance(asked.assertion, Compact) and is_foreign(self._parts.live, asked.assertion)

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that `client_id` names, if there is one."""
        principal = client_named(self._parts.live, asked.form.get("client_id", ""))
        return principal.id if principal else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose charter trusts the token.

        Raises:
            UnauthenticatedError: it proves none.
            UnavailableError: its issuer's keys cannot be had.
        """
        parts = self._parts
        if not isinstance(asked.assertion, Compact):
            _refuse("the assertion is no token", "send the platform's token as it is")
        token = foreign_of(asked.assertion)
        key, issuer = self._credential(asked, token)
        audiences = (parts.issuer, *parts.token_endpoints)
        keys = await parts.issuer_keys.of(issuer, token.key_id)
        claims = verify_foreign(token, keys, issuer, audiences=audiences, at=parts.clock.now())
        check_claims(issuer, claims, json.loads(key.jwk["claims"]))
        told = told_by(issuer, claims)
        await parts.saw(key.principal_id, told, by=f"a token of {issuer.address}")
        marks = subject_marks(token.issuer, claims.get("sub"))
        return Client(key.principal_id, METHOD, key.thumbprint, shown=marks, vouched=frozenset(told))

    def _credential(self, asked: Asked, token: ForeignToken) -> tuple[ClientKey, TrustedIssuer]:
        if "client_id" not in asked.form:
            _refuse("the request does not say which principal the token is for", "send it as `client_id`")
        principal = client_named(self._parts.live, asked.form["client_id"])
        found = declared_of(self._parts.live, principal) if principal else None
        if found is None or found[1].address != token.issuer:
            _refuse("there is no such client, or its charter does not trust this token", "charter show NAME")
        return found


def declared_of(live: LiveEstate, principal: Principal) -> tuple[ClientKey, TrustedIssuer] | None:
    """Return the principal's credential at a trusted issuer, and the issuer, if it has one in use."""
    for key in live.keys_of(principal.id):
        if key.jwk.get("kty") == FEDERATED and key.standing is Standing.ACTIVE:
            issuer = live.issuers.issuers.get(key.jwk["issuer"])
            if issuer is not None:
                return key, issuer
    return None


def _refuse(why: str, help: str) -> NoReturn:
    raise UnauthenticatedError(ErrorCode.BAD_CLIENT, why, help=help)
