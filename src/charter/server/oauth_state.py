"""Whether a token counts, and taking it back.

    POST /oauth/introspect    RFC 7662; with `Accept: application/token-introspection+jwt`, signed (RFC 9701)
    POST /oauth/revoke        RFC 7009

A refresh token is taken back with the consent that it stands for.
"""

from __future__ import annotations

import asyncio
from typing import cast

from charter.core.errors import UnauthenticatedError
from charter.identity.consent import REFRESH_PREFIX, ConsentWork, revoke_refresh
from charter.identity.revocation import INTROSPECTION_TYPE, introspect, revoke, signed_introspection
from charter.server.gateway_http import Head, Receive
from charter.server.oauth_clients import Clients
from charter.server.oauth_form import needed, read_form
from charter.server.oauth_http import Answer, Endpoint
from charter.server.oauth_parts import Parts

INTROSPECT_PATH = "/oauth/introspect"
REVOKE_PATH = "/oauth/revoke"
_SIGNED = f"application/{INTROSPECTION_TYPE}"


class StateDoor:
    """The two endpoints."""

    def __init__(self, parts: Parts, clients: Clients) -> None:
        self._parts, self._clients = parts, clients
        signed = {"introspection_signing_alg_values_supported": ["ES256"]}  # RFC 9701 section 7
        self.endpoints = (
            Endpoint(INTROSPECT_PATH, {"POST": self._introspect}, "introspection_endpoint", signed),
            Endpoint(REVOKE_PATH, {"POST": self._revoke}, "revocation_endpoint"),
        )

    async def _introspect(self, head: Head, receive: Receive) -> Answer:
        form = await read_form(head, receive)
        token = needed(form, "token")
        client = await self._clients.used(head, form)
        parts, at = self._parts, self._parts.clock.now()
        found = introspect(parts.live, parts.tokens, token, client, issuer=parts.issuer, at=at)
        if "chain" in found:
            proofs = await asyncio.to_thread(parts.actor_proofs, found["chain"]["delegation"])
            found |= {"actor_proofs": proofs, "actor_proofs_complete": None not in proofs}
        if not _wants_signed(head):
            return Answer(found)
        signed = signed_introspection(parts.ring, found, client, issuer=parts.issuer, at=at)
        return Answer(signed.encode(), content_type=_SIGNED.encode())

    async def _revoke(self, head: Head, receive: Receive) -> Answer:
        form = await read_form(head, receive)
        token = needed(form, "token")
        client = await self._clients.used(head, form)
        if token.startswith(REFRESH_PREFIX):
            await self._parts.writer.awrite(lambda tx: revoke_refresh(cast("ConsentWork", tx), token, client))
            return Answer({})
        try:
            found = self._parts.tokens.read(token, at=self._parts.clock.now())
        except UnauthenticatedError:
            return Answer({})  # RFC 7009 section 2.2: a token that means nothing is as good as revoked
        error = await self._parts.writer.awrite(lambda tx: revoke(tx, found, client, source=head.source))
        if error is not None:
            raise error
        return Answer({})


def _wants_signed(head: Head) -> bool:
    """Return whether the request asks for a signed answer by name: `*/*` is content with the plain one."""
    ranges = (each.partition(";")[0].strip().lower() for each in head.headers.get("accept", "").split(","))
    return _SIGNED in ranges
