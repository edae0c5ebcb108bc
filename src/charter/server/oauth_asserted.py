"""JWT bearer for identity assertions at the token endpoint (RFC 7523 section 2.1, the ID-JAG profile).

    assertion     of a trusted identity provider: it lets the client act for a person   identity/asserted.py
    resource      the one system it is for (RFC 8707), if the assertion does not say
    purpose       ours: what it is for; may be left out where the charter knows one purpose alone

What the person lends is a delegation like any other, which lives as long as the token: the client comes back with a
fresh assertion, and gets no refresh token, so that what the provider withdraws ends within minutes here.

INVARIANT: the assertion is spent, the delegation kept and the token recorded in one work, or nothing is.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import cast

from charter.core.errors import (
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    UnauthenticatedError,
    UnavailableError,
)
from charter.identity.asserted import GRANT_TYPE, TYPE, Asserted, asserted_of, only_purpose, provider_of, scope_of
from charter.identity.clients import client_named
from charter.identity.delegation import LendingWork, Loan, check_chain, keep, root_link
from charter.identity.exchange import lent_of
from charter.identity.foreign import read_foreign, verify_foreign
from charter.identity.issuance import TokenRequest, system_at
from charter.identity.work import IdentityWork
from charter.registry.delegation import Chain, Delegation
from charter.registry.lending import longest
from charter.server.gateway_http import Head
from charter.server.oauth_charters import Charters, Looked
from charter.server.oauth_clients import Authenticated, Clients
from charter.server.oauth_flows import MAX_TRIES, Issuing, check_no_scope
from charter.server.oauth_form import Form, needed
from charter.server.oauth_http import Body
from charter.server.oauth_parts import Parts

DOOR = "identity-provider"


@dataclass(frozen=True, slots=True)
class _Made:
    """The delegation to be, and what it rests on."""

    chain: Chain
    loan: Loan
    looked: Looked


class IdentityAssertion:
    """A client acts for a person because the organisation's provider says so."""

    grant_type = GRANT_TYPE

    def __init__(self, parts: Parts, clients: Clients, issuing: Issuing) -> None:
        self._parts, self._clients, self._issuing = parts, clients, issuing
        self._charters = Charters(parts)

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with a token that stands for the person."""
        who = await self._clients.authenticated(head, form)
        check_no_scope(form)
        text = needed(form, "assertion")
        try:
            asserted = await self._verified(text)
        except UnavailableError:
            raise
        except CharterError as err:
            refused = self._refused(who, form.get("resource", ""), err, head)
            await self._issuing.once(who, refused, head)
            raise
        for _ in range(MAX_TRIES):
            asked = self._asked(who, asserted, form, head)
            body = await self._issuing.once(who, asked, head)
            if body is not None:
                return body
        raise ConflictError(ErrorCode.STALE, "a charter changed while the token was made", help="ask again")

    async def _verified(self, text: str) -> Asserted:
        """Return what the assertion says, if a trusted provider made it out to us.

        Raises:
            DeniedError: it did not.
            UnavailableError: its keys cannot be had.
        """
        parts = self._parts
        try:
            token = read_foreign(text)
            provider = provider_of(parts.live, token.issuer)
            keys = await parts.issuer_keys.of(provider, token.key_id)
            audiences = (parts.issuer, *parts.token_endpoints)
            claims = verify_foreign(token, keys, provider, audiences=audiences, at=parts.clock.now(), type_=TYPE)
        except UnauthenticatedError as err:  # it is the grant that is wrong, not the client (RFC 7523 section 3.1)
            raise DeniedError(ErrorCode.BAD_GRANT, err.detail, help=err.help) from err
        return asserted_of(parts.live, claims)

    def _asked(self, who: Authenticated, asserted: Asserted, form: Form, head: Head) -> TokenRequest:
        resource = form.get("resource") or asserted.resource or ""
        request = self._issuing.narrowed(self._issuing.asked(who, resource, head), form)
        try:
            made = self._made(who, asserted, resource, form.get("purpose"))
        except UnavailableError:
            raise
        except CharterError as err:
            return self._refused(who, resource, err, head)
        chain = made.chain
        return replace(
            request,
            lent=lent_of(self._parts.live, chain, self._parts.issuer),
            not_after=chain.links[-1].expires_at,
            rests_on=made.looked.digests,
            questions=(lambda tx: _spent(tx, asserted), lambda tx: _broken(tx, made)),
            deeds=(lambda tx: _kept(tx, made),),
            said={
                "flow": DOOR,
                "identity_provider": asserted.issuer,
                "initiator": chain.initiator,
                "delegation": chain.id,
                "purpose": chain.purpose,
            },
        )

    def _made(self, who: Authenticated, asserted: Asserted, resource: str, purpose: str | None) -> _Made:
        parts = self._parts
        principal = parts.live.principals[who.client.principal_id]
        named = client_named(parts.live, asserted.client_id)
        if named is None or named.id != principal.id:
            raise DeniedError(ErrorCode.BAD_GRANT, "the assertion is for another client than the one that sent it")
        if asserted.resource not in (None, resource):
            raise DeniedError(ErrorCode.BAD_TARGET, "the assertion is for another resource than the one asked for")
        record = system_at(parts.live, parts.issuer, resource)
        if record is None:
            raise DeniedError(ErrorCode.BAD_TARGET, "no system is at this resource", help="name it in full")
        looked = self._charters.look((asserted.person, principal.id))
        terms = parts.slices.of(principal).delegation
        lasts = min(longest(*looked.sides.values()), dt.timedelta(seconds=parts.token_seconds))
        loan = Loan(
            id=parts.entropy.identifier("del"),
            person=asserted.person,
            borrower=principal.id,
            purpose=only_purpose(tuple(terms.purposes) if terms else (), purpose),
            scope=scope_of(asserted, record.name, frozenset(record.system.actions)),
            lasts=lasts,
            control_plane=asserted.issuer,
            made_by=asserted.person,
            door=DOOR,
            reason=f"asserted by {asserted.issuer}"[:200],
        )
        chain = Chain((root_link(parts.live, loan, principal, looked.sides, parts.clock.now()),))
        self._charters.check_granted(chain, record.name)
        return _Made(chain, loan, looked)

    def _refused(self, who: Authenticated, resource: str, error: CharterError, head: Head) -> TokenRequest:
        request = self._issuing.asked(who, resource, head)
        return replace(request, fault=error, said={"flow": DOOR})


def _spent(tx: IdentityWork, asserted: Asserted) -> CharterError | None:
    if tx.identity.remember_assertion(asserted.memory_key, asserted.jti_digest, asserted.remember_until):
        return None
    return DeniedError(ErrorCode.BAD_GRANT, "the assertion was used before", help="let the provider make another")


def _broken(tx: IdentityWork, made: _Made) -> CharterError | None:
    try:
        check_chain(tx.live, made.chain, made.looked.sides, at=tx.at)
    except CharterError as err:
        return DeniedError(ErrorCode.BAD_GRANT, err.detail, help=err.help)
    return None


def _kept(tx: IdentityWork, made: _Made) -> None:
    loan = made.loan
    kept = Delegation(made.chain.links[-1], None, loan.person, loan.made_by, loan.door, loan.reason)
    keep(cast("LendingWork", tx), kept, made.chain)
