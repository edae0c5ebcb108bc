"""What an access token says (RFC 9068 section 2.2): one function, whichever flow the token comes from.

INVARIANT: no flow can make a token that lives longer than the server lets it, than the charter of who acts says or
lasts itself, or than the flow's own cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter.identity.bearer import Confirmation
from charter.registry.principal import Principal

TOKEN_SECONDS = 300  # where nothing else is said
MAX_TOKEN_SECONDS = 900
STATUS_PATH = "/oauth/status/"
LIST_SIZE = 1 << 16  # entries of evidence that one status list stands for (identity/status_list.py)
Detail = Mapping[str, Any]  # one of `authorization_details` (RFC 9396)


@dataclass(frozen=True, slots=True)
class Lent:
    """What a token says of the chain that it stands for (RFC 8693 section 4.1, identity/exchange.py)."""

    subject: str  # the initiator: a person's address or a principal's id
    profile: str  # what kind of party that is: user, service, ai_agent
    act: Mapping[str, Any]  # the current actor outermost, the first borrower innermost
    chain: Mapping[str, Any]  # by which delegation, for what, with which proof


@dataclass(frozen=True, slots=True)
class TokenContent:
    """What is particular to one token."""

    principal: Principal  # who acts with it: the client it is issued to
    audience: str  # the one resource it is for (RFC 8707)
    token_id: str  # jti
    credential: str  # thumbprint of the credential that obtained it
    confirmation: Confirmation | None = None  # the key it is bound to
    lent: Lent | None = None  # whose authority it is, if not the principal's own
    may_act: Mapping[str, Any] | None = None  # who may exchange it (RFC 8693 section 4.4)
    authorization_details: tuple[Detail, ...] = ()  # what it is narrowed to
    not_after: int | None = None  # seconds since 1970: a cap on its life beyond the usual ones
    composition: Mapping[str, Any] | None = None  # what acts with it is made of, where that is pinned
    status: Mapping[str, Any] | None = None  # where its status is told (identity/status_list.py)


def claims_of(content: TokenContent, *, issuer: str, now: int, seconds: int = TOKEN_SECONDS) -> dict[str, Any]:
    """Return the claims of a token issued at `now`, in seconds since 1970, by a server that lets it live `seconds`."""
    principal = content.principal
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": principal.id,
        "aud": content.audience,
        "client_id": principal.id,
        "exp": _expiry(content, now, seconds),
        "iat": now,
        "jti": content.token_id,
        "epoch": principal.epoch,
        "charter": {"version": principal.version, "digest": principal.digest},
        "crd": content.credential,
    }
    if content.confirmation is not None:
        claims["cnf"] = content.confirmation.to_json()
    if content.lent is None:
        claims |= {"name": principal.name, "spiffe": principal.spiffe_id}
    else:  # `sub` is somebody else then, and what is told of the principal stands in `act`
        lent = content.lent
        claims |= {"sub": lent.subject, "sub_profile": lent.profile, "act": dict(lent.act), "chain": dict(lent.chain)}
    if content.may_act is not None:
        claims["may_act"] = dict(content.may_act)
    if content.composition is not None:
        claims["composition"] = dict(content.composition)
    if content.status is not None:
        claims["status"] = dict(content.status)
    if content.authorization_details:
        claims["authorization_details"] = [dict(detail) for detail in content.authorization_details]
    return claims


def status_of(issuer: str, place: tuple[str, int]) -> dict[str, Any]:
    """Return the claim `status` of a token whose issuance is recorded at `place`, a node's log and the index there."""
    node, index = place
    return {"status_list": {"idx": index % LIST_SIZE, "uri": list_address(issuer, node, index // LIST_SIZE)}}


def list_address(issuer: str, node: str, number: int) -> str:
    """Return where a status list of a node's log is."""
    return f"{issuer}{STATUS_PATH}{node}/{number}"


def _expiry(content: TokenContent, now: int, seconds: int) -> int:
    principal = content.principal
    ends = principal.subject.expires
    life = min(seconds, principal.terms.token_seconds or seconds, MAX_TOKEN_SECONDS)
    caps = [now + life, content.not_after, int(ends.timestamp()) if ends else None]
    return min(cap for cap in caps if cap is not None)
