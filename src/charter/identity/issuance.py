"""Issuing a token: one work that asks every question again, where nothing can change meanwhile.

Every flow issues by `issue`: it says what it asks for in a `TokenRequest`, and puts questions of its own, which are
asked in the same work after the ones that every flow has to pass.

INVARIANT: the assertion is remembered, the decision made, and the evidence of it written together or not at all. What
will be signed is recorded, by digest, before the signer sees it; a token leaves only after that is durable.
INVARIANT: a refusal is a value, so that its evidence is committed with it. A replayed assertion proves nobody, so it is
no entry of its own (strangers could grow the log) but counted by the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.canonical import digest_of
from charter.core.errors import CharterError, DeniedError, ErrorCode, UnauthenticatedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import BINDING, refusal
from charter.identity.bearer import Client, Confirmation
from charter.identity.claims import TOKEN_SECONDS, Detail, Lent, TokenContent, claims_of, status_of
from charter.identity.composition import composition_claim, unattested
from charter.identity.resource import RESOURCE_PATH, all_of, decisions_of, resource_of, spans_of
from charter.identity.work import IdentityWork
from charter.registry.principal import LiveEstate, Principal, SystemRecord

MAX_RESOURCE = 2048
Question = Callable[[IdentityWork], CharterError | None]  # asked inside the work; an error is the refusal
Deed = Callable[[IdentityWork], None]  # done inside the work, once nothing speaks against the token


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What an authenticated client asks for, and what its charter was found to say of it."""

    client: Client
    resource: str
    token_id: str  # of the token to be
    source: str  # where the request came from
    granted: bool  # whether the charter has a grant on the system
    charter_digest: str  # of the version that was looked at
    bound_to: Confirmation | None = None  # the key the token shall be bound to
    marks: tuple[str, ...] = ()  # what was shown with the request that is one principal's alone (identity/marks.py)
    lent: Lent | None = None  # whose authority it is, if not the client's own
    may_act: Mapping[str, Any] | None = None  # who may exchange it
    authorization_details: tuple[Detail, ...] = ()
    not_after: int | None = None  # seconds since 1970
    rests_on: Mapping[str, str] = field(default_factory=dict)  # further principals -> digests of their charters seen
    fault: CharterError | None = None  # what was found wrong with the request before anything is asked
    questions: tuple[Question, ...] = ()  # the flow's own
    deeds: tuple[Deed, ...] = ()  # what the flow keeps if the token is issued
    said: Mapping[str, Any] = field(default_factory=dict)  # what the flow adds to the evidence


@dataclass(frozen=True, slots=True)
class Issued:
    """A token recorded, at `index` of the log, and yet to be signed."""

    claims: dict[str, Any]
    index: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No token; the error to be raised at the edge."""

    error: CharterError


def system_at(live: LiveEstate, issuer: str, resource: str) -> SystemRecord | None:
    """Return the registered system whose resource indicator is exactly `resource`."""
    name = resource.removeprefix(issuer + RESOURCE_PATH)
    record = live.systems.get(name)
    return record if record is not None and resource == resource_of(issuer, name) else None


def is_target(live: LiveEstate, issuer: str, resource: str) -> bool:
    """Whether tokens are made out to `resource`: a system's, all of them, the decision API, or the door for spans."""
    own = (decisions_of(issuer), all_of(issuer), spans_of(issuer))
    return resource in own or system_at(live, issuer, resource) is not None


def enforces(live: LiveEstate, name: str) -> bool:
    """Whether some system's file names the principal `name` as an enforcement point."""
    named = (record.system.enforcement for record in live.systems.values())
    return any(each is not None and name in each.points for each in named)


def issue(tx: IdentityWork, asked: TokenRequest, issuer: str, seconds: int = TOKEN_SECONDS) -> Issued | Refused | None:
    """Return the claims to sign, or why there is no token; None if the charter changed since it was looked at.

    A work.
    """
    principal = tx.live.principals.get(asked.client.principal_id)
    if principal is None or principal.digest != asked.charter_digest or not _is_as_seen(tx.live, asked.rests_on):
        return None
    if not use_assertion(tx, asked.client):
        return Refused(replayed())
    error = asked.fault or _refusal_of(tx, asked, principal, issuer)
    body = _body(principal, asked)
    if error is not None:
        body |= {"outcome": "refused", "why": error.detail, "code": error.code.value}
        tx.record(Draft(EntryKind.AUTHENTICATION, principal.id, principal.id, body))
        return Refused(error)
    for deed in asked.deeds:
        deed(tx)
    content = _content(tx.live, principal, asked, status_of(issuer, tx.place))
    claims = claims_of(content, issuer=issuer, now=int(tx.at.timestamp()), seconds=seconds)
    body |= {"outcome": "issued", "token": asked.token_id, "expires": claims["exp"], "bound_to": _binding(asked)}
    body |= {"claims": digest_of(claims)}
    return Issued(claims, tx.record(Draft(EntryKind.AUTHENTICATION, principal.id, principal.id, body)))


def _is_as_seen(live: LiveEstate, seen: Mapping[str, str]) -> bool:
    """Return whether the charters of these principals are still the ones that were looked at."""
    now = {party: live.principals.get(party) for party in seen}
    return all(found is not None and found.digest == seen[party] for party, found in now.items())


def use_assertion(tx: IdentityWork, client: Client) -> bool:
    """Remember a client's assertion, if it proved itself by one; return False if that was used before. A work."""
    used = client.assertion
    return used is None or tx.identity.remember_assertion(client.credential, used.digest, used.remember_until)


def replayed() -> UnauthenticatedError:
    """Return the error of an assertion that was used before."""
    return UnauthenticatedError(
        ErrorCode.ASSERTION_REPLAYED,
        "this client assertion was used before",
        help="sign a fresh one, with a `jti` of its own, for each request",
    )


def _content(live: LiveEstate, principal: Principal, asked: TokenRequest, status: Mapping[str, Any]) -> TokenContent:
    return TokenContent(
        principal=principal,
        audience=asked.resource,
        token_id=asked.token_id,
        credential=asked.client.credential,
        confirmation=asked.bound_to,
        lent=asked.lent,
        may_act=asked.may_act,
        authorization_details=asked.authorization_details,
        not_after=asked.not_after,
        composition=composition_claim(live, principal),
        status=status,
    )


def _body(principal: Principal, asked: TokenRequest) -> dict[str, Any]:
    lent = asked.lent  # a token's status is worked out from this entry (identity/status_list.py)
    return {
        "method": asked.client.method,
        "principal": principal.name,
        "key": asked.client.credential,
        "resource": asked.resource,
        "source": asked.source,
        "charter": {"version": principal.version, "digest": principal.digest},
        "epoch": principal.epoch,
        "narrowed_to": [dict(detail) for detail in asked.authorization_details] or None,
    } | (
        dict(asked.said)
        | ({} if asked.marks == (_binding(asked),) else {"shown": list(asked.marks)} if asked.marks else {})
        | ({} if lent is None else {"initiator": lent.subject, "delegation": lent.chain["delegation"]})
    )


def _binding(asked: TokenRequest) -> str | None:
    return asked.bound_to.thumbprint if asked.bound_to else None


def _refusal_of(tx: IdentityWork, asked: TokenRequest, principal: Principal, issuer: str) -> CharterError | None:
    """Return why the client gets no token: itself first, then what it asks for, then what the flow has to ask."""
    stopped = refusal(tx.live, asked.client, None, at=tx.at)
    if stopped is not None:
        return DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    unproven = _unproven(tx, asked, principal)
    if unproven is not None:
        return unproven
    if asked.resource == decisions_of(issuer):
        error = _refusal_of_point(tx.live, asked, principal)
    elif asked.resource == all_of(issuer):
        error = _refusal_of_all(asked, principal)
    elif asked.resource == spans_of(issuer):
        error = _refusal_of_spans(asked)
    else:
        error = _bad_system(tx, asked, principal, issuer)
    answers = (question(tx) for question in asked.questions)
    return error or next((each for each in answers if each is not None), None)


def _bad_system(tx: IdentityWork, asked: TokenRequest, principal: Principal, issuer: str) -> CharterError | None:
    """Return why the client gets no token for the system it asks for, if it is one."""
    record = system_at(tx.live, issuer, asked.resource)
    if record is None:
        return _bad_target(
            f"no system is at {asked.resource[:200]!a}", f"name one as {resource_of(issuer, 'SYSTEM')}, in full"
        )
    stopped = refusal(tx.live, asked.client, record, at=tx.at)
    if stopped is not None:
        return _bad_target(stopped.text, stopped.mend)
    if not asked.granted:
        return _bad_target(
            f"the charter of `{principal.name}` grants nothing on `{record.name}`",
            "its owner can add a grant, then charter plan and apply",
        )
    return None


def _refusal_of_point(live: LiveEstate, asked: TokenRequest, principal: Principal) -> CharterError | None:
    """Return why the client may not ask for decisions: it does so for itself alone, and where a system names it."""
    if asked.lent is not None or asked.may_act is not None or asked.authorization_details:
        return _bad_target("a token for decisions stands for the enforcement point alone", "ask without all of that")
    if not enforces(live, principal.name):
        mend = "name it under `enforcement.points` in a system's file"
        return _bad_target(f"no system names `{principal.name}` as an enforcement point", mend)
    return None


def _refusal_of_spans(asked: TokenRequest) -> CharterError | None:
    """Return why the client gets no token for spans: it tells of itself alone."""
    if asked.lent is not None or asked.may_act is not None or asked.authorization_details:
        return _bad_target("a token for spans stands for the principal alone", "ask without all of that")
    return None


def _refusal_of_all(asked: TokenRequest, principal: Principal) -> CharterError | None:
    """Return why the client gets no token for all systems together: what is lent or narrowed is for one system each."""
    if asked.lent is not None or asked.may_act is not None or asked.authorization_details:
        return _bad_target("what is lent or narrowed is for one system", "ask for a token for each system")
    if not asked.granted:
        return _bad_target(
            f"the charter of `{principal.name}` grants nothing on any MCP system",
            "its owner can add a grant, then charter plan and apply",
        )
    return None


def _unproven(tx: IdentityWork, asked: TokenRequest, principal: Principal) -> DeniedError | None:
    """Return what the client's charter asks for beside its proof, and did not get."""
    stopped = unattested(tx.live, principal, asked.client.vouched)
    if stopped is not None:
        return DeniedError(ErrorCode.UNATTESTED, stopped.text, help=stopped.mend)
    if asked.bound_to is None and not principal.terms.may_bear:
        text = f"the charter of `{principal.name}` asks for tokens that are bound to a key, and none was shown"
        return DeniedError(ErrorCode.NOT_BOUND, text, help=BINDING)
    return None


def _bad_target(text: str, mend: str) -> DeniedError:
    return DeniedError(ErrorCode.BAD_TARGET, text, help=mend)
