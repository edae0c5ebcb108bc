"""Token exchange (RFC 8693): from what a request proves to the chain that its token will stand for.

    subject_token                       what happens
    the lender's access token           the client becomes the next borrower: a new delegation, hanging on the lender's
                                        chain or on the lender itself, and a token under it
    a delegation's id (`del_…`)         the client, its borrower, gets a token under it; the first time it accepts it

Either way the client is the actor, outermost in `act`, and signs for itself: `actor_proof`. An access token can be
exchanged only by whom its `may_act` names (RFC 8693 section 4.4), and for the system that it is made out to.

`planned` is pure. It is asked when a request comes in, and again, with the same request, inside the work that issues.

INVARIANT: the chain of a token is the one that `planned` found to hold, and holds still when the token is recorded.
INVARIANT: errors name the link that broke. Subject and actor tokens that cannot be accepted, and chains that do not
hold, are `invalid_request` (RFC 8693 section 2.2.2); a resource that cannot be reached is `invalid_target`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from charter.core.errors import DeniedError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.identity.actor_proof import Hop, Proof, check_proof
from charter.identity.authority import refusal
from charter.identity.bearer import Bearer, Client
from charter.identity.claims import TOKEN_SECONDS, Lent
from charter.identity.clients import client_named
from charter.identity.delegation import check_chain
from charter.identity.tokens import Verified
from charter.registry.delegation import Chain, Delegation, Link, profile_of, role_of
from charter.registry.lending import Side, longest
from charter.registry.lent_scope import EVERYTHING, Scope
from charter.registry.principal import LiveEstate
from charter.registry.standing import Standing

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
SCOPE_DETAIL = "charter_scope"  # the `type` of `authorization_details` that narrow a delegation
DELEGATION = "urn:charter:params:oauth:token-type:delegation"


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange as it is asked for: signatures are verified, and nothing else."""

    client: Client
    issuer: str
    resource: str
    system: str  # its name
    subject: Verified | str  # the lender's token, or a delegation's id
    new_id: str  # of the delegation to be made, if one is
    at: dt.datetime
    actor: Bearer | None = None  # whom the actor token speaks for, if one came
    proof: Proof | None = None
    proof_text: str | None = None
    purpose: str | None = None
    scope: Scope | None = None  # None: as much as can be had


@dataclass(frozen=True, slots=True)
class Planned:
    """The chain of the token to be; what is to be kept of the exchange; and what the client accepts by it."""

    chain: Chain
    made: Delegation | None = None
    accepts: bool = False


def planned(live: LiveEstate, asked: Exchange, sides: Mapping[str, Side]) -> Planned:
    """Return the chain that an exchange yields; `sides` holds its parties as their charters tell of them.

    Raises:
        MalformedError: a token or proof is not what it has to be.
        DeniedError: the chain does not hold; the message names the link that broke.
        ConflictError: there are too many delegations.
    """
    _check_actor(asked)
    found = _accepted(live, asked) if isinstance(asked.subject, str) else _extended(live, asked, asked.subject, sides)
    check_chain(live, found.chain, sides, at=asked.at)
    return found


def parties_of(live: LiveEstate, asked: Exchange) -> tuple[str, ...]:
    """Return the parties of the chain that an exchange would yield, for their charters to be looked up."""
    if isinstance(asked.subject, str):
        chain = live.delegations.chain_of(asked.subject)
        return chain.parties if chain else (asked.client.principal_id,)
    bearer = asked.subject.bearer
    chain = live.delegations.chain_of(bearer.delegation)
    return (*(chain.parties if chain else (bearer.principal_id,)), asked.client.principal_id)


def _check_actor(asked: Exchange) -> None:
    """An actor token is not needed, for the client proved itself; one that says otherwise is refused."""
    if asked.actor is not None and asked.actor.principal_id != asked.client.principal_id:
        raise MalformedError(
            ErrorCode.BAD_ACTOR,
            f"the actor token is `{asked.actor.principal_name}`'s, and not the client's own",
            help="send the client's own token, or none: its authentication says who acts",
        )
    if asked.actor is not None and asked.actor.delegation is not None:
        raise MalformedError(
            ErrorCode.BAD_ACTOR, "the actor token is itself one under delegation", help="send the client's own token"
        )


# --- under a delegation that is there ---


def _accepted(live: LiveEstate, asked: Exchange) -> Planned:
    chain = live.delegations.chain_of(str(asked.subject))
    if chain is None or chain.caller != asked.client.principal_id:
        raise MalformedError(
            ErrorCode.BAD_SUBJECT,
            "the subject token names no delegation to this client",
            help="charter delegations ls tells which there are",
        )
    if asked.purpose not in (None, chain.purpose):
        _refuse(f"the delegation `{chain.id}` is for `{chain.purpose}`, and not for another purpose")
    if asked.scope is not None:
        _refuse(f"what the delegation `{chain.id}` lends is settled", "leave `authorization_details` out")
    link = chain.links[-1]
    previous = chain.links[-2].proof if chain.depth > 1 else None
    hop = Hop(link.borrower, asked.issuer, chain.initiator, chain.purpose, link.id, previous)
    if link.proof is not None and asked.proof is None:
        return Planned(chain)
    proof = _prove(asked, hop, until=link.expires_at)
    if link.proof is not None:
        return Planned(chain)
    return Planned(Chain((*chain.links[:-1], replace(link, proof=proof.digest))), accepts=True)


# --- a new delegation ---


def _extended(live: LiveEstate, asked: Exchange, subject: Verified, sides: Mapping[str, Side]) -> Planned:
    bearer = subject.bearer
    purpose = _lent_for(live, asked, subject)
    above = live.delegations.chain_of(bearer.delegation)
    if above is not None:
        purpose, onto, previous = above.purpose, above.id, above.links[-1].proof
    else:
        onto, previous = bearer.token_id, None
    if purpose is None or asked.purpose not in (None, purpose):
        _refuse("the purpose is not the one that the subject token was made for", "name that purpose, or none")
    link = _next_link(live, replace(asked, purpose=purpose), bearer, above, sides)
    chain = Chain((*(above.links if above else ()), link))
    hop = Hop(link.borrower, asked.issuer, chain.initiator, purpose, onto, previous)
    proof = _prove(asked, hop, until=int(asked.at.timestamp()) + TOKEN_SECONDS)
    last = replace(link, proof=proof.digest, expires_at=min(link.expires_at, proof.expires_at))
    chain = Chain((*chain.links[:-1], last))
    made = Delegation(
        link=last,
        parent=above.id if above else None,
        initiator=chain.initiator,
        made_by=asked.client.principal_id,
        door="exchange",
        proof=asked.proof_text,
    )
    return Planned(chain, made)


def _lent_for(live: LiveEstate, asked: Exchange, subject: Verified) -> str | None:
    """Return the purpose that the subject token was made for, if the client may exchange it for this system."""
    bearer, lender = subject.bearer, subject.bearer.principal_name
    stopped = refusal(live, bearer, live.systems.get(asked.system), at=asked.at)
    if stopped is not None:
        _refuse_subject(f"the subject token cannot be used: {stopped.text}", stopped.mend)
    may_act = subject.claims.get("may_act")
    if not isinstance(may_act, Mapping):
        help = f"let `{lender}` ask for one with may_act={asked.client.principal_id}"
        _refuse_subject(f"the token of `{lender}` names nobody who may act for it", help)
    if (may_act.get("iss"), may_act.get("sub")) != (asked.issuer, asked.client.principal_id):
        _refuse_subject(f"the token of `{lender}` names another than the client as who may act for it", "use its own")
    if subject.audience != asked.resource:
        _refuse_subject(f"the token of `{lender}` is made out to another system", "name the system that it is for")
    purpose = may_act.get("purpose")
    return purpose if isinstance(purpose, str) else None


def _next_link(
    live: LiveEstate, asked: Exchange, lender: Bearer, above: Chain | None, sides: Mapping[str, Side]
) -> Link:
    borrower = live.principals[asked.client.principal_id]
    now, nobody = int(asked.at.timestamp()), Side("?")
    most = (above.links[-1].scope if above else EVERYTHING).on(asked.system)
    narrowed = _narrowed(lender)
    wanted = asked.scope or narrowed or most
    missing = most.lacking(wanted) or (narrowed.lacking(wanted) if narrowed else None)
    if missing is not None:
        _refuse(f"`{lender.principal_name}` cannot lend {missing} by this token", "ask for less")
    lasts = longest(sides.get(lender.principal_id, nobody), sides.get(borrower.id, nobody))
    ends = [now + int(lasts.total_seconds()), *([above.links[-1].expires_at] if above else [])]
    return Link(
        id=asked.new_id,
        lender=lender.principal_id,
        borrower=borrower.id,
        role=role_of(borrower.kind),
        control_plane=asked.issuer,
        purpose=asked.purpose or "",
        scope=wanted,
        made_at=now,
        expires_at=min(ends),
        standing=Standing.ACTIVE,
        lender_epoch=lender.epoch,
        lender_credential=lender.credential,
        is_switched_off=live.delegations.is_switched_off(lender.principal_id, borrower.id),
    )


def _narrowed(lender: Bearer) -> Scope | None:
    """Return what the lender's token is narrowed to, which is the most that it can lend; None if it is not."""
    if lender.narrowing is None:
        return None
    if lender.narrowing.scope is None:
        _refuse(
            f"the token of `{lender.principal_name}` is narrowed to grants or limits, which a delegation cannot be",
            "let it ask for one that is narrowed to actions and objects alone",
        )
    return lender.narrowing.scope


def _prove(asked: Exchange, hop: Hop, *, until: int) -> Proof:
    if asked.proof is None:
        raise MalformedError(
            ErrorCode.BAD_ACTOR_PROOF,
            "the parameter `actor_proof` is missing: whoever acts for another signs that it does",
            help=f"sign one for sub={hop.subject} onto={hop.onto} purpose={hop.purpose}",
        )
    check_proof(asked.proof, hop, resource=asked.resource, at=int(asked.at.timestamp()), until=until)
    return asked.proof


# --- what the token says ---


def act_of(live: LiveEstate, chain: Chain, issuer: str) -> dict[str, Any]:
    """Return `act`: the current actor outermost, the first borrower innermost (RFC 8693 section 4.1)."""
    act: dict[str, Any] = {}
    for link in chain.links:
        principal = live.principals[link.borrower]
        inner = {"act": act} if act else {}
        act = {
            "sub": principal.id,
            "iss": issuer,
            "sub_profile": profile_of(principal.kind),
            "name": principal.name,
            "role": link.role.value,
            "delegation": link.id,
        } | inner
    return act


def lent_of(live: LiveEstate, chain: Chain, issuer: str) -> Lent:
    """Return what a token under `chain` says of it."""
    initiator = live.principals.get(chain.initiator)
    profile = profile_of(initiator.kind if initiator else None)
    return Lent(chain.initiator, profile, act_of(live, chain, issuer), chain_claim(chain))


def chain_claim(chain: Chain) -> dict[str, Any]:
    """Return `chain`: by which delegation, for what, and the hash that stands for all proofs."""
    last = chain.links[-1]
    return {"delegation": last.id, "purpose": last.purpose, "depth": chain.depth, "proof": last.proof}


@dataclass(frozen=True, slots=True)
class MayAct:
    """Whom a token names as who may exchange it, and for what."""

    principal_id: str
    purpose: str

    def to_json(self, issuer: str) -> dict[str, str]:
        """Return the claim `may_act` (RFC 8693 section 4.4)."""
        return {"sub": self.principal_id, "iss": issuer, "purpose": self.purpose}


def may_act_of(live: LiveEstate, lender: Side, named: str, purpose: str | None) -> MayAct:
    """Return whom `lender`, a principal, names by id, SPIFFE ID or name.

    Whether a name is known is not told: one that the charter does not name reads the same as one that nobody has.

    Raises:
        MalformedError: the purpose is missing or no name.
        DeniedError: its charter does not let it lend to that one, or not for that.
    """
    if purpose is None:
        raise MalformedError(
            ErrorCode.BAD_REQUEST, "the parameter `purpose` is missing", help="say what it is lent for"
        )
    borrower = client_named(live, named) or live.principal_named(named)
    terms = lender.terms
    if borrower is None or terms is None or borrower.name not in terms.to:
        _refuse(
            f"the charter of `{lender.name}` does not let it lend authority to {named[:80]!a}",
            "its owner can add that one to `delegation.to` through plan and apply",
        )
    if terms.purposes and purpose not in terms.purposes:
        _refuse(f"the charter of `{lender.name}` does not allow delegation for {purpose[:63]!a}")
    return MayAct(borrower.id, parse_name(purpose, "purpose"))


def _refuse_subject(text: str, mend: str) -> NoReturn:
    raise MalformedError(ErrorCode.BAD_SUBJECT, text, help=mend)


def _refuse(text: str, mend: str | None = None) -> NoReturn:
    raise DeniedError(ErrorCode.BAD_DELEGATION, text, help=mend)
