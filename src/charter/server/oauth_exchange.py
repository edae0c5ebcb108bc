"""Token exchange (RFC 8693) at the token endpoint: reads the request, looks up charters, leaves the rest to the domain.

    subject_token, subject_token_type     the lender's access token, or a delegation's id (identity/exchange.py)
    resource                              the one system it is for (RFC 8707); `audience` and `scope` are not used
    actor_proof                           the client's signed proof of its hop (identity/actor_proof.py)
    actor_token, actor_token_type         not needed; if sent, the client's own access token
    requested_token_type                  an access token, which is what there is
    purpose, authorization_details        ours and RFC 9396's: what it is for, and what is lent at most
    may_act                               ours: who may exchange the new token in turn

INVARIANT: whatever an authenticated client gets wrong is a refusal with its evidence, like any other of the endpoint.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

from charter.core.errors import (
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    MalformedError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.identity.actor_proof import Proof, read_proof
from charter.identity.bearer import Bearer, Client
from charter.identity.credential import ReadyKeys
from charter.identity.delegation import LendingWork, accept, keep
from charter.identity.exchange import (
    ACCESS_TOKEN,
    DELEGATION,
    GRANT_TYPE,
    SCOPE_DETAIL,
    Exchange,
    Planned,
    lent_of,
    parties_of,
    planned,
)
from charter.identity.issuance import TokenRequest, system_at
from charter.identity.tokens import Verified
from charter.identity.work import IdentityWork
from charter.registry.lent_scope import Scope, parse_scope
from charter.registry.standing import Standing
from charter.server.gateway_http import Head
from charter.server.oauth_charters import Charters, Looked, said_of
from charter.server.oauth_clients import Authenticated, Clients
from charter.server.oauth_flows import MAX_TRIES, Issuing, check_no_scope
from charter.server.oauth_form import Form, needed
from charter.server.oauth_http import Body
from charter.server.oauth_parts import Parts

FLOW = "token-exchange"  # as evidence calls it
MAX_DETAILS = 8192  # characters
_TYPES = (ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt")


class TokenExchange:
    """Lends a principal what another party may do."""

    grant_type = GRANT_TYPE

    def __init__(self, parts: Parts, clients: Clients, issuing: Issuing) -> None:
        self._parts, self._clients, self._issuing = parts, clients, issuing
        self._keys = ReadyKeys()
        self._charters = Charters(parts)

    async def answer(self, head: Head, form: Form) -> Body:
        """Return the answer with a token whose `act` names the client (RFC 8693 section 2.2.1)."""
        who = await self._clients.authenticated(head, form)
        for _ in range(MAX_TRIES):
            asked = self._asked(who, form, head)
            body = await self._issuing.once(who, asked, head)
            if body is not None:
                chain = asked.lent.chain if asked.lent else {}
                return body | {"issued_token_type": ACCESS_TOKEN, "delegation": chain.get("delegation")}
        raise ConflictError(ErrorCode.STALE, "a charter changed while the token was made", help="ask again")

    def _asked(self, who: Authenticated, form: Form, head: Head) -> TokenRequest:
        """Return what is asked for; if that cannot be had, with the question that says so."""
        request = self._issuing.asked(who, form.get("resource", ""), head)
        try:
            exchange = self._read(who.client, form)
            looked = self._charters.look(parties_of(self._parts.live, exchange))
            plan = planned(self._parts.live, exchange, looked.sides)
            self._charters.check_granted(plan.chain, exchange.system)
            may_act = self._issuing.may_act(who, form, plan.chain.purpose)
        except UnavailableError:
            raise
        except CharterError as err:
            return _refused(request, err)
        return replace(
            request,
            lent=lent_of(self._parts.live, plan.chain, self._parts.issuer),
            may_act=may_act.to_json(self._parts.issuer) if may_act else None,
            not_after=plan.chain.links[-1].expires_at,
            rests_on=looked.digests,
            questions=(lambda tx: _asked_again(tx, exchange, looked, plan),),
            deeds=(lambda tx: _kept(tx, exchange, plan),),
            said=said_of(FLOW, plan.chain),
        )

    # --- what the request says ---

    def _read(self, client: Client, form: Form) -> Exchange:
        check_no_scope(form)
        parts = self._parts
        resource = needed(form, "resource", ErrorCode.BAD_TARGET)
        record = system_at(parts.live, parts.issuer, resource)
        if record is None:
            raise DeniedError(ErrorCode.BAD_TARGET, f"no system is at {resource[:200]!a}", help="name it in full")
        if "audience" in form:
            raise MalformedError(
                ErrorCode.BAD_TARGET, "`audience` is not used here", help="name the system as `resource`"
            )
        if form.get("requested_token_type", ACCESS_TOKEN) not in _TYPES:
            raise MalformedError(
                ErrorCode.BAD_REQUEST, "only access tokens are issued", help=f"ask for {ACCESS_TOKEN}, or for nothing"
            )
        proof_text = form.get("actor_proof")
        return Exchange(
            client=client,
            issuer=parts.issuer,
            resource=resource,
            system=record.name,
            subject=self._subject(form),
            new_id=parts.entropy.identifier("del"),
            at=parts.clock.now(),
            actor=self._actor(form),
            proof=None if proof_text is None else self._proof(client, proof_text),
            proof_text=proof_text,
            purpose=form.get("purpose"),
            scope=_scope(form),
        )

    def _subject(self, form: Form) -> Verified | str:
        token, kind = needed(form, "subject_token"), needed(form, "subject_token_type")
        if kind == DELEGATION:
            return token
        if kind not in _TYPES:
            raise MalformedError(
                ErrorCode.BAD_SUBJECT,
                "the subject token's type is not known",
                help=f"send {ACCESS_TOKEN} or {DELEGATION}",
            )
        try:
            return self._parts.tokens.read(token, at=self._parts.clock.now())
        except UnauthenticatedError as err:
            raise MalformedError(ErrorCode.BAD_SUBJECT, f"as subject token: {err.detail}", help=err.help) from err

    def _actor(self, form: Form) -> Bearer | None:
        """Return whom the actor token speaks for. One that does not go with its type is refused (section 2.1)."""
        token, kind = form.get("actor_token"), form.get("actor_token_type")
        if token is None and kind is None:
            return None
        if token is None or kind not in _TYPES:
            raise MalformedError(
                ErrorCode.BAD_ACTOR,
                "actor_token and actor_token_type go together",
                help=f"send both, as {ACCESS_TOKEN}",
            )
        try:
            return self._parts.tokens.read(token, at=self._parts.clock.now()).bearer
        except UnauthenticatedError as err:
            raise MalformedError(ErrorCode.BAD_ACTOR, f"as actor token: {err.detail}", help=err.help) from err

    def _proof(self, client: Client, text: str) -> Proof:
        """Return the proof, signed with a key that the client has registered: only those can be looked up later."""
        known = self._parts.live.keys_of(client.principal_id)
        return read_proof(text, [self._keys.of(key) for key in known if key.jwk and key.standing is Standing.ACTIVE])


def _asked_again(tx: IdentityWork, exchange: Exchange, looked: Looked, plan: Planned) -> CharterError | None:
    """Ask everything once more, where nothing can change meanwhile, and use the proof up."""
    try:
        again = planned(tx.live, exchange, looked.sides)
    except CharterError as err:
        return err
    if again != plan:
        return ConflictError(ErrorCode.STALE, "the chain changed while the token was made", help="ask again")
    proof = exchange.proof
    if proof is not None and not tx.identity.remember_assertion(proof.key, f"proof:{proof.name}", proof.forget_after):
        return MalformedError(
            ErrorCode.BAD_ACTOR_PROOF, "the actor proof was used before", help="sign a fresh one for each exchange"
        )
    return None


def _kept(tx: IdentityWork, exchange: Exchange, plan: Planned) -> None:
    """Keep the delegation that an exchange makes, or the proof by which it is accepted."""
    work = cast("LendingWork", tx)
    if plan.made is not None:
        keep(work, plan.made, plan.chain)
    elif plan.accepts and exchange.proof is not None and exchange.proof_text is not None:
        accept(work, plan.chain.links[-1], proof=exchange.proof_text, digest=exchange.proof.digest)


def _refused(request: TokenRequest, error: CharterError) -> TokenRequest:
    """Return the request with the answer that it gets, so that it is recorded like any other."""
    return replace(request, questions=(lambda _tx: error,), said={"flow": FLOW})


def _scope(form: Form) -> Scope | None:
    """Return what `authorization_details` (RFC 9396) narrow the delegation to."""
    text = form.get("authorization_details")
    if text is None:
        return None
    try:
        details = json.loads(text) if len(text) <= MAX_DETAILS else None
    except (ValueError, RecursionError):
        details = None
    if not isinstance(details, list) or not all(isinstance(d, dict) and d.get("type") == SCOPE_DETAIL for d in details):
        raise MalformedError(
            ErrorCode.BAD_DETAILS,
            f"`authorization_details` are no list of details of the type `{SCOPE_DETAIL}`",
            help='send [{"type": "charter_scope", "system": "payments", "actions": ["charge.read"]}]',
        )
    return parse_scope([{name: value for name, value in detail.items() if name != "type"} for detail in details])
