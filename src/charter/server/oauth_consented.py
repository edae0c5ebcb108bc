"""The flows that begin with a person's consent, at the token endpoint: code, refresh, device.

    authorization_code    code, redirect_uri, code_verifier         OAuth 2.1 section 4.1.3, RFC 7636
    refresh_token         refresh_token, resource if another        OAuth 2.1 section 4.3
    device_code           device_code                               RFC 8628 section 3.4

Whichever it is, the token stands for the person (`sub`), and the client acts (`act`) under the delegation that the
person made. The client accepts it by picking the consent up, which takes the code and its verifier; one that has a key
of its own may sign for it besides (token exchange).

INVARIANT: code and refresh token are taken, the next one kept, and the token recorded in one work, or nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from charter.core.errors import CharterError, ConflictError, DeniedError, ErrorCode, UnavailableError
from charter.identity.asking import Consents
from charter.identity.bearer import Binding, Client
from charter.identity.consent import (
    REFRESH_PREFIX,
    ConsentCode,
    ConsentWork,
    Pickup,
    RefreshState,
    RefreshToken,
    digest_of_secret,
    refuse_code,
    refuse_refresh,
    replaced,
)
from charter.identity.delegation import check_chain
from charter.identity.exchange import lent_of
from charter.identity.issuance import Question, TokenRequest, system_at
from charter.identity.work import IdentityWork
from charter.registry.delegation import Chain
from charter.registry.lending import Side
from charter.server.gateway_http import Head
from charter.server.oauth_charters import Charters, said_of
from charter.server.oauth_clients import Authenticated, Clients
from charter.server.oauth_flows import MAX_TRIES, Issuing, check_no_scope
from charter.server.oauth_form import Form, needed
from charter.server.oauth_http import Body
from charter.server.oauth_parts import Parts
from charter.server.oauth_public import DEVICE_CODE

Take = Callable[[ConsentWork], DeniedError | None]  # takes what the client brought, or says why not


@dataclass(frozen=True, slots=True)
class Held:
    """What a client brought was found to stand for, before anything is taken."""

    delegation_id: str
    resource: str
    expires_at: int  # of the refresh token to come
    take: Take
    keep: Callable[[ConsentWork, str], None]  # what to keep, with the digest of the next refresh token
    flow: str


class Consented:
    """What the three flows share: from what a client holds of a consent to a token under it."""

    def __init__(self, parts: Parts, clients: Clients, issuing: Issuing) -> None:
        self._parts, self._clients, self._issuing = parts, clients, issuing
        self._charters = Charters(parts)

    async def authenticated(self, head: Head, form: Form) -> Authenticated:
        """Return who asks."""
        check_no_scope(form)
        return await self._clients.authenticated(head, form)

    async def answer(self, who: Authenticated, held: Held, head: Head, form: Form) -> Body:
        """Return the answer with a token under the consent, and the next refresh token.

        Raises:
            CharterError: there is none; that is recorded.
        """
        for _ in range(MAX_TRIES):
            secret = REFRESH_PREFIX + self._parts.entropy.token(32)
            asked = self._asked(who, held, head, form, digest_of_secret(secret))
            body = await self._issuing.once(who, asked, head)
            if body is not None:
                return body | {"refresh_token": secret, "delegation": held.delegation_id}
        raise ConflictError(ErrorCode.STALE, "a charter changed while the token was made", help="ask again")

    def _asked(self, who: Authenticated, held: Held, head: Head, form: Form, next_digest: str) -> TokenRequest:
        parts, live = self._parts, self._parts.live
        request = self._issuing.narrowed(self._issuing.asked(who, held.resource, head), form)
        if not held.delegation_id:
            unknown = DeniedError(ErrorCode.BAD_GRANT, "nothing like this was given to this client", help="begin again")
            return replace(request, fault=unknown, said={"flow": held.flow})
        chain = live.delegations.chain_of(held.delegation_id)
        if chain is None or chain.caller != who.client.principal_id:
            return replace(request, questions=(_taking(held),), said={"flow": held.flow})
        try:
            looked = self._charters.look(chain.parties)
            record = system_at(live, parts.issuer, held.resource)
            if record is not None:
                self._charters.check_granted(chain, record.name)
        except UnavailableError:
            raise
        except CharterError as err:
            return replace(request, fault=err, said={"flow": held.flow})

        def holds(tx: IdentityWork) -> CharterError | None:
            return _broken(tx, chain, looked.sides)

        return replace(
            request,
            lent=lent_of(live, chain, parts.issuer),
            not_after=chain.links[-1].expires_at,
            rests_on=looked.digests,
            questions=(_taking(held), holds),
            deeds=(lambda tx: held.keep(cast("ConsentWork", tx), next_digest),),
            said=said_of(held.flow, chain),
        )


def _taking(held: Held) -> Question:
    return lambda tx: held.take(cast("ConsentWork", tx))


def _broken(tx: IdentityWork, chain: Chain, sides: Mapping[str, Side]) -> CharterError | None:
    try:
        now = tx.live.delegations.chain_of(chain.id)
        if now is None:
            return DeniedError(ErrorCode.BAD_GRANT, "what the person lent is withdrawn, or has ended")
        check_chain(tx.live, now, sides, at=tx.at)
    except CharterError as err:
        return DeniedError(ErrorCode.BAD_GRANT, err.detail, help=err.help)
    return None


class AuthorizationCode:
    """A client picks a person's consent up with the code that its browser brought back."""

    grant_type = "authorization_code"

    def __init__(self, parts: Parts, consented: Consented) -> None:
        self._parts, self._consented = parts, consented

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with a token under the consent."""
        who = await self._consented.authenticated(head, form)
        pickup = Pickup(
            needed(form, "code"),
            who.client.principal_id,
            form.get("redirect_uri"),
            form.get("code_verifier"),
            form.get("resource"),
            who.bound_to.thumbprint if who.bound_to and who.bound_to.binding is Binding.JKT else None,
        )
        return await self._consented.answer(who, held_by_code(self._parts, who, pickup, self.grant_type), head, form)


class RefreshTokens:
    """A client comes back with a refresh token, and gets the next one with its token."""

    grant_type = "refresh_token"

    def __init__(self, parts: Parts, consented: Consented) -> None:
        self._parts, self._consented = parts, consented

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with a token under the consent."""
        who = await self._consented.authenticated(head, form)
        digest = digest_of_secret(needed(form, "refresh_token"))
        found = self._parts.consents_kept(lambda kept: kept.refresh(digest))
        shown = who.bound_to.thumbprint if who.bound_to else None
        resource = form.get("resource") or (found.resource if found else "")

        def take(tx: ConsentWork) -> DeniedError | None:
            known = tx.consents.refresh(digest)
            error = refuse_refresh(tx, known, principal_id=who.client.principal_id, shown_key=shown)
            if error is None:
                tx.consents.set_refresh(digest, RefreshState.USED)
            return error

        def keep(tx: ConsentWork, next_digest: str) -> None:
            if found is not None:
                tx.consents.add_refresh(replaced(found, next_digest, resource, shown))

        held = Held(found.family if found else "", resource, found.expires_at if found else 0, take, keep, "refresh")
        return await self._consented.answer(who, held, head, form)


class DeviceCode:
    """A device that showed a code asks whether its person said yes (RFC 8628 section 3.4)."""

    grant_type = DEVICE_CODE

    def __init__(self, parts: Parts, consented: Consented, consents: Consents) -> None:
        self._parts, self._consented, self._consents = parts, consented, consents

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with a token under the consent, once there is one.

        Raises:
            DeniedError: there is none yet, or not any more, or there never will be.
        """
        who = await self._consented.authenticated(head, form)
        secret = needed(form, "device_code")
        device, is_hasty = self._consents.poll(secret)
        if device is None or device.wish.principal_id != who.client.principal_id:
            raise DeniedError(ErrorCode.CODE_EXPIRED, "no such device asks, or it took longer than ten minutes")
        if is_hasty:
            raise DeniedError(ErrorCode.TOO_HASTY, "ask again after five seconds, and not before")
        if device.refused:
            raise DeniedError(ErrorCode.CONSENT_REFUSED, "the person said no")
        if not device.granted:
            raise DeniedError(ErrorCode.CONSENT_PENDING, "the person has not answered yet")
        pickup = Pickup(secret, who.client.principal_id, None, None, form.get("resource"))
        held = held_by_code(self._parts, who, pickup, "device_code")
        body = await self._consented.answer(who, held, head, form)
        self._consents.end_device(secret)
        return body


def held_by_code(parts: Parts, who: Authenticated, pickup: Pickup, flow: str) -> Held:
    """Return what a code stands for."""
    digest = digest_of_secret(pickup.secret)
    found = parts.consents_kept(lambda kept: kept.code(digest))
    chain = parts.live.delegations.chain_of(found.delegation_id) if found else None
    ends = chain.links[-1].expires_at if chain else 0

    def take(tx: ConsentWork) -> DeniedError | None:
        known = tx.consents.code(digest)
        error = refuse_code(tx, known, pickup)
        if error is None and known is not None and pickup.resource not in (None, known.resource):
            error = DeniedError(ErrorCode.BAD_TARGET, "the person was asked about another resource")
        if error is None:
            tx.consents.use_code(digest)
        return error

    def keep(tx: ConsentWork, next_digest: str) -> None:
        if found is not None:
            tx.consents.add_refresh(first_refresh(found, who.client, who, ends, next_digest))

    return Held(found.delegation_id if found else "", found.resource if found else "", ends, take, keep, flow)


def first_refresh(code: ConsentCode, client: Client, who: Authenticated, ends: int, digest: str) -> RefreshToken:
    """Return the refresh token that comes with the first token of a consent."""
    return RefreshToken(
        digest=digest,
        family=code.delegation_id,
        principal_id=client.principal_id,
        credential=client.credential,
        resource=code.resource,
        bound_to=who.bound_to.thumbprint if who.bound_to else None,
        expires_at=ends,
    )
