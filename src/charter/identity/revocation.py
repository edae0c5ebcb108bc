"""Asking about one token, and taking one back (RFC 7662, RFC 9701, RFC 7009).

A token is the matter of the client that got it, which can ask and take it back, and of those that enforce the system
it is made out to, which can ask; to anyone else it is simply not active. Everything of a principal is withdrawn at once
by its epoch (lifecycle/emergency.py), not here.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from charter.core.errors import DeniedError, ErrorCode, UnauthenticatedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import refusal
from charter.identity.bearer import Binding, Client, Confirmation
from charter.identity.issuance import is_target, system_at
from charter.identity.jose import sign_compact
from charter.identity.keys import KeyRing
from charter.identity.tokens import AccessTokens, Verified
from charter.identity.work import IdentityWork
from charter.registry.principal import LiveEstate, SystemRecord

CLOCK_STEP_SECONDS = 3600
INTROSPECTION_TYPE = "token-introspection+jwt"
INACTIVE: dict[str, Any] = {"active": False}
_SHOWN = (  # all a token says: whoever asks must not know less of it than whoever reads it (RFC 8693 section 4.1)
    "iss",
    "sub",
    "sub_profile",
    "aud",
    "client_id",
    "exp",
    "iat",
    "jti",
    "name",
    "spiffe",
    "act",
    "may_act",
    "chain",
    "authorization_details",
    "epoch",
    "charter",
    "composition",
    "crd",
    "cnf",
    "status",
)


def introspect(
    live: LiveEstate, tokens: AccessTokens, token: str, client: Client, *, issuer: str, at: dt.datetime
) -> dict[str, Any]:
    """Return what `client` may know of `token` (RFC 7662 section 2.2): its state now, not when it was issued."""
    try:
        found = tokens.read(token, at=at)
    except UnauthenticatedError:
        return INACTIVE
    record = system_at(live, issuer, found.audience)
    may_ask = found.bearer.principal_id == client.principal_id or _enforces(live, client, record)
    if not may_ask or not is_target(live, issuer, found.audience) or refusal(live, client, None, at=at) is not None:
        return INACTIVE
    if refusal(live, found.bearer, record, at=at) is not None:
        return INACTIVE
    return {"active": True, "token_type": token_type(found.bearer.bound_to)} | {
        name: found.claims[name] for name in _SHOWN if name in found.claims
    }


def _enforces(live: LiveEstate, client: Client, record: SystemRecord | None) -> bool:
    """Whether `client` stands before a system, as the system's file names it."""
    asking = live.principals.get(client.principal_id)
    enforcement = record.system.enforcement if record is not None else None
    return asking is not None and enforcement is not None and asking.name in enforcement.points


def signed_introspection(ring: KeyRing, found: dict[str, Any], client: Client, *, issuer: str, at: dt.datetime) -> str:
    """Return the answer `found` signed for whoever asked, who can keep it as a proof (RFC 9701 section 5).

    It has neither `sub` nor `exp` of its own, so that it cannot be taken for a token.
    """
    key = ring.token_key()
    claims = {
        "iss": issuer,
        "aud": client.principal_id,
        "iat": int(at.timestamp()),
        "token_introspection": found,
    }
    return sign_compact({"alg": "ES256", "kid": key.id, "typ": INTROSPECTION_TYPE}, claims, key.private)


def token_type(bound_to: Confirmation | None) -> str:
    """Return the type of a token bound to that key; one bound to a certificate is of the type Bearer (RFC 8705)."""
    return "DPoP" if bound_to is not None and bound_to.binding is Binding.JKT else "Bearer"


def revoke(tx: IdentityWork, found: Verified, client: Client, *, source: str) -> DeniedError | None:
    """Take a token back; return the error if it is not the client's own. A work.

    This grants nothing, so that a suspended client may do it too.
    """
    bearer = found.bearer
    if bearer.principal_id != client.principal_id:
        return DeniedError(
            ErrorCode.BAD_GRANT,
            "the token was issued to another client",
            help="only the client that got a token can revoke it; an operator can suspend or kill a principal",
        )
    if tx.identity.revoke_token(bearer.token_id, bearer.principal_id, bearer.expires_at):
        body = {"principal": bearer.principal_name, "token": bearer.token_id, "source": source, "outcome": "revoked"}
        tx.record(Draft(EntryKind.AUTHENTICATION, bearer.principal_id, bearer.principal_id, body))
        tx.changed("token", bearer.token_id, actor=bearer.principal_id, reason="revoked by its client")
        tx.after_commit(lambda: tx.live.revoked_tokens.__setitem__(bearer.token_id, bearer.expires_at))
    return None


def forget_expired(tx: IdentityWork) -> int:
    """Forget assertions and revoked tokens that nobody could use any more; return how many rows. A work.

    They are kept an hour longer than that: a clock that ran ahead and is set right again must not bring them back.
    """
    before = int(tx.at.timestamp()) - CLOCK_STEP_SECONDS
    gone = [token for token, expires in tx.live.revoked_tokens.items() if expires < before]

    def show() -> None:
        for token in gone:
            tx.live.revoked_tokens.pop(token, None)

    if gone:
        tx.after_commit(show)
    return tx.identity.forget_expired(before)
