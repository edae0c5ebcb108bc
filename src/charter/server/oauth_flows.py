"""The flows of the token endpoint (OAuth calls them grant types): each answers one `grant_type` and knows no other.

A flow reads what is particular to it, and leaves the rest to `Issuing`: to look at the charter, to ask and record in
one work, and to sign what was recorded.

INVARIANT: a token is signed after the fact that it was issued is durable, and says exactly what was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from charter.core.errors import CharterError, ConflictError, ErrorCode, MalformedError, UnavailableError
from charter.gateway.mcp_all import mcp_systems
from charter.identity.bearer import Binding, Client
from charter.identity.exchange import MayAct, may_act_of
from charter.identity.issuance import Issued, Refused, TokenRequest, issue, system_at
from charter.identity.marks import mark_of_certificate
from charter.identity.resource import all_of, decisions_of, spans_of
from charter.identity.revocation import token_type
from charter.registry.lending import Side
from charter.registry.lent_scope import ANY
from charter.registry.narrowing import Narrowing, read_narrowing
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.rotation import wanted_at
from charter.server.gateway_http import Head
from charter.server.oauth_clients import Authenticated, Clients
from charter.server.oauth_form import Form, needed
from charter.server.oauth_http import Body
from charter.server.oauth_parts import Parts

MAX_TRIES = 4  # a charter that changes while its token is made is looked at again
_log = logging.getLogger("charter.oauth")


class Flow(Protocol):
    """One way to a token."""

    grant_type: str

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer to a token request of this grant type (RFC 6749 section 5.1).

        Raises:
            CharterError: there is no token; the edge says so in OAuth's words.
        """
        ...


class Flows:
    """The installed flows, by grant type."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._flows = {flow.grant_type: flow for flow in flows}

    @property
    def grant_types(self) -> list[str]:
        """The grant types supported, in the order they were installed."""
        return list(self._flows)

    def of(self, form: Form) -> Flow:
        """Return the flow that a token request asks for.

        Raises:
            MalformedError: it names none, or one that is not installed.
        """
        flow = self._flows.get(needed(form, "grant_type"))
        if flow is None:
            known = " or ".join(f"grant_type={name}" for name in self._flows)
            raise MalformedError(ErrorCode.UNSUPPORTED, "the grant type is not supported", help=f"use {known}")
        return flow


class Issuing:
    """From a flow's request to a signed token."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.issuer = parts.issuer

    def asked(self, who: Authenticated, resource: str, head: Head) -> TokenRequest:
        """Return the request of `who` for a token for `resource`, with what its charter says of that now.

        A flow adds what is its own by `dataclasses.replace`.
        """
        parts = self._parts
        principal = parts.live.principals[who.client.principal_id]
        record = system_at(parts.live, parts.issuer, resource)
        return TokenRequest(
            client=who.client,
            resource=resource,
            token_id=parts.entropy.identifier("tok"),
            source=head.source,
            granted=self._is_granted(principal, resource, record),
            charter_digest=principal.digest,
            bound_to=who.bound_to,
            marks=_marks(who, head),
        )

    def _is_granted(self, principal: Principal, resource: str, record: SystemRecord | None) -> bool:
        if resource == all_of(self._parts.issuer):
            return any(self._grants(principal, each.name) for each in mcp_systems(self._parts.live))
        return record is not None and self._grants(principal, record.name)

    async def answer(self, who: Authenticated, asked: TokenRequest, head: Head) -> Body:
        """Issue the token that `asked` describes, and return the answer that holds it.

        Raises:
            CharterError: it is refused; that is recorded, and counted as a failure.
        """
        for _ in range(MAX_TRIES):
            body = await self.once(who, asked, head)
            if body is not None:
                return body
            seen = self.asked(who, asked.resource, head)
            asked = replace(asked, granted=seen.granted, charter_digest=seen.charter_digest)
        raise ConflictError(ErrorCode.STALE, "the charter changed while the token was made", help="ask again")

    async def once(self, who: Authenticated, asked: TokenRequest, head: Head) -> Body | None:
        """Issue the token that `asked` describes; return None if a charter changed since it was looked at.

        Raises:
            CharterError: it is refused; that is recorded, and counted as a failure.
        """
        parts = self._parts
        work = partial(issue, asked=asked, issuer=parts.issuer, seconds=parts.token_seconds)
        match await parts.writer.awrite(work):
            case Issued(claims, index):
                await self._notice(who.client, asked, index)
                body = {
                    "access_token": parts.tokens.sign(claims),
                    "token_type": token_type(asked.bound_to),
                    "expires_in": claims["exp"] - claims["iat"],
                }
                return body | _told(asked) | _due(parts.live, who)
            case Refused(error):
                parts.failures.failed(head.source, error.code, who.client.principal_id)
                raise error
            case None:
                return None

    async def _notice(self, client: Client, asked: TokenRequest, index: int) -> None:
        """Let it be noticed if what was shown is another's too; what follows from that has happened on return."""
        watch = self._parts.watch
        if watch is not None:
            found = watch.issued(client, asked.marks, source=asked.source, token=asked.token_id, entry=index)
            if found:
                await watch.tell(found)

    def narrowed(self, asked: TokenRequest, form: Form) -> TokenRequest:
        """Return `asked` narrowed to what the request's `authorization_details` name (RFC 9396), if it has any.

        Raises:
            MalformedError: they are none, or name what the charter does not grant.
        """
        text, live = form.get("authorization_details"), self._parts.live
        record = system_at(live, self._parts.issuer, asked.resource)
        if text is not None and asked.resource == decisions_of(self._parts.issuer):
            detail = "a token for decisions cannot be narrowed"
            raise MalformedError(ErrorCode.BAD_DETAILS, detail, help="ask without `authorization_details`")
        if text is not None and asked.resource == spans_of(self._parts.issuer):
            detail = "a token for spans cannot be narrowed"
            raise MalformedError(ErrorCode.BAD_DETAILS, detail, help="ask without `authorization_details`")
        if text is not None and asked.resource == all_of(self._parts.issuer):
            detail = "a token for all systems together cannot be narrowed"
            raise MalformedError(ErrorCode.BAD_DETAILS, detail, help="ask for one system")
        if text is None or record is None:  # a resource that is no system is refused when it is issued, and recorded
            return asked
        narrowing = read_narrowing(text, system=record.name, location=asked.resource)
        principal = live.principals[asked.client.principal_id]
        self._check_granted(principal, record.name, narrowing)
        return replace(asked, authorization_details=tuple(narrowing.to_json()))

    def _check_granted(self, principal: Principal, system: str, narrowing: Narrowing) -> None:
        """Tell at once of what could never be used; that it cannot be is for each decision to say."""
        own = self._parts.slices.of(principal)
        actions, rules = own.actions_on(system), own.rules_on(system)
        for detail in narrowing.details:
            strange = [name for name in detail.part.actions if name not in (ANY, *actions)]
            strange += [rule for rule in detail.grants or () if rule not in rules]
            if strange:
                raise MalformedError(
                    ErrorCode.BAD_DETAILS,
                    f"the charter of `{principal.name}` grants no `{strange[0]}` on `{system}`",
                    help="name actions and grants of its own; charter show lists them",
                )

    def may_act(self, who: Authenticated, form: Form, purpose: str | None) -> MayAct | None:
        """Return whom the new token shall name as who may exchange it, if the request names anyone.

        Raises:
            MalformedError: the purpose is missing or no name.
            DeniedError: the client's charter does not let it lend to whom it names.
        """
        named, live = form.get("may_act"), self._parts.live
        if named is None:
            return None
        lender = live.principals[who.client.principal_id]
        return may_act_of(live, Side(lender.name, self._parts.slices.of(lender).delegation), named, purpose)

    def _grants(self, principal: Principal, system: str) -> bool:
        """Return whether the charter grants anything on `system`; one that cannot be bound grants nothing."""
        try:
            return bool(self._parts.slices.of(principal).actions_on(system))
        except UnavailableError:
            raise
        except CharterError as err:
            _log.warning("the policy of %s cannot be bound: %s", principal.name, err.detail)
            return False


def _marks(who: Authenticated, head: Head) -> tuple[str, ...]:
    """Return what a request showed that is one principal's alone: keys, be they in proofs or certificates; subjects."""
    key = who.bound_to.thumbprint if who.bound_to and who.bound_to.binding is Binding.JKT else None
    held = mark_of_certificate(head.certificate) if head.certificate is not None else None
    return tuple(dict.fromkeys(each for each in (key, held, *who.client.shown) if each is not None))


def _told(asked: TokenRequest) -> Body:
    """Return what a client is told of its token's details (RFC 9396 section 7)."""
    details = [dict(detail) for detail in asked.authorization_details]
    return {"authorization_details": details} if details else {}


def _due(live: LiveEstate, who: Authenticated) -> Body:
    """Return from when on the client shall replace the key that it proved itself by, if it ever shall."""
    key, principal = live.keys.get(who.client.credential), live.principals.get(who.client.principal_id)
    wanted = wanted_at(key, principal.terms) if key is not None and principal is not None else None
    return {} if wanted is None else {"key_rotation_at": int(wanted.timestamp())}


class ClientCredentials:
    """A client asks for itself (OAuth 2.1 section 4.2), for one system (RFC 8707)."""

    grant_type = "client_credentials"

    def __init__(self, clients: Clients, issuing: Issuing) -> None:
        self._clients, self._issuing = clients, issuing

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with the client's token."""
        who = await self._clients.authenticated(head, form)
        check_no_scope(form)
        resource = needed(form, "resource", ErrorCode.BAD_TARGET)
        asked = self._issuing.narrowed(self._issuing.asked(who, resource, head), form)
        may_act = self._issuing.may_act(who, form, form.get("purpose"))
        if may_act is not None:
            asked = replace(asked, may_act=may_act.to_json(self._issuing.issuer))
        return await self._issuing.answer(who, asked, head)


def check_no_scope(form: Form) -> None:
    """Check that a request has no `scope`.

    Raises:
        MalformedError: it has one.
    """
    if "scope" in form:
        raise MalformedError(
            ErrorCode.BAD_SCOPE, "there are no scopes here", help="name the system as `resource`; grants say the rest"
        )
