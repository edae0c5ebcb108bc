"""On whose authority `charter run` and `charter token` act: the principal's own, or somebody's who lent it.

Under delegation the agent's side exchanges (RFC 8693), and signs that it takes part: an actor proof by the same key
that signs its client assertions. What it signs is what it is told of the chain; the server checks every word.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter.cli.agent_keys import AgentKey, passing
from charter.cli.context import segment
from charter.cli.control import Control
from charter.core.clock import Clock, parse_rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, MalformedError, UnavailableError
from charter.identity.actor_proof import TYPE, Hop, proof_claims
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION, GRANT_TYPE, SCOPE_DETAIL
from charter.identity.jose import decode_base64url

PROOF_DAYS = 30
MAX_FILE = 16_384


@dataclass(slots=True)
class Borrowed:
    """What somebody lent: a delegation, accepted with the first token; or, at first, the lender's own token."""

    key: AgentKey
    clock: Clock
    entropy: Entropy
    hop: Hop
    resources: Sequence[str]
    expires_at: int  # of the delegation, in seconds since 1970
    delegation: str | None = None
    token: str | None = None  # the lender's, until it is exchanged
    may_act: str | None = None
    narrowed: Sequence[dict[str, object]] = ()  # what is asked of the lender's token at most

    def form(self, _resource: str) -> dict[str, str]:
        """Return the parameters of an exchange."""
        subject = self.token or self.delegation or ""
        given = {
            "grant_type": GRANT_TYPE,
            "subject_token": subject,
            "subject_token_type": ACCESS_TOKEN if self.token else DELEGATION,
        }
        if self.token and self.narrowed:
            given["authorization_details"] = json.dumps([{"type": SCOPE_DETAIL} | part for part in self.narrowed])
        return given | {"actor_proof": self._proof()} | passing(self.may_act, None)

    def got(self, answer: dict[str, Any]) -> None:
        """Go on under the delegation that an exchange made."""
        made = answer.get("delegation")
        if self.token is not None and isinstance(made, str):
            self.hop = Hop(self.hop.actor, self.hop.issuer, self.hop.subject, self.hop.purpose, made, self.hop.previous)
            self.delegation, self.token = made, None

    def _proof(self) -> str:
        """Return the actor's proof of its hop."""
        now = int(self.clock.now().timestamp())
        claims = proof_claims(
            self.hop, self.resources, at=now, expires_at=max(self.expires_at, now + 1), jti=self.entropy.token(16)
        )
        return self.key.sign({"typ": TYPE}, claims)


@dataclass(frozen=True, slots=True)
class Side:
    """The agent's side: who it is, with which key, and what it could ask for."""

    key: AgentKey
    client_id: str
    issuer: str
    systems: Sequence[str]
    clock: Clock
    entropy: Entropy

    def resources(self, systems: Sequence[str] | None = None) -> list[str]:
        """Return where the systems are reached."""
        return [f"{self.issuer}/mcp/{system}" for system in (systems or self.systems)]


def borrowed(
    control: Control, side: Side, delegation_id: str, may_act: str | None = None
) -> tuple[Borrowed, list[str]]:
    """Return what the delegation lends, and the systems it reaches.

    Raises:
        AbsentError: there is none of that id.
    """
    shown = control.get(f"/v1/delegations/{segment(delegation_id)}")
    hop = Hop(side.client_id, side.issuer, **shown["hop"])
    reached = shown["scope"] and {part["system"] for part in shown["scope"]}
    systems = [system for system in side.systems if not reached or system in reached]
    expires = int(parse_rfc3339(shown["expires"]).timestamp())
    own = Borrowed(
        side.key, side.clock, side.entropy, hop, side.resources(systems), expires, delegation_id, may_act=may_act
    )
    return own, systems


def exchanging(
    side: Side, token: str, may_act: str | None = None, narrowed: dict[str, list[str]] | None = None
) -> tuple[Borrowed, list[str]]:
    """Return what exchanging a lender's token yields, and the one system it is for; `narrowed` to these at most.

    Raises:
        MalformedError: it is no token that could be exchanged.
    """
    claims = _claims(token)
    chain, named = claims.get("chain") or {}, claims.get("may_act") or {}
    purpose = chain.get("purpose") or named.get("purpose")
    onto = chain.get("delegation") or claims.get("jti")
    resource = str(claims.get("aud"))
    if not isinstance(purpose, str) or not isinstance(onto, str):
        raise _no_token("names nobody who may act for its principal, or no purpose")
    hop = Hop(side.client_id, side.issuer, str(claims.get("sub")), purpose, onto, chain.get("proof"))
    until = int(side.clock.now().timestamp()) + PROOF_DAYS * 86_400
    own = Borrowed(side.key, side.clock, side.entropy, hop, [resource], until, token=token, may_act=may_act)
    system = resource.rpartition("/")[2]
    if narrowed:
        own.narrowed = [{"system": system, **narrowed}]
    return own, [system]


def read_token(file: str) -> str:
    """Return the token in a file: an argument would be seen by every program on the machine.

    Raises:
        UnavailableError: it cannot be read.
    """
    try:
        with Path(file).open(encoding="ascii") as opened:
            text = opened.read(MAX_FILE)
    except (OSError, ValueError) as err:  # or no path, or no ASCII
        raise UnavailableError(
            ErrorCode.STORE_FAILED, f"cannot read the token in {file[:200]!a}", help="name a file"
        ) from err
    return text.strip()


def _claims(token: str) -> dict[str, Any]:
    """Return what a token says, unverified: what is signed of it is checked by the server."""
    try:
        claims = json.loads(decode_base64url(token.split(".")[1]))
    except (ValueError, IndexError, binascii.Error, RecursionError) as err:
        raise _no_token("is no access token") from err
    if not isinstance(claims, dict):
        raise _no_token("is no access token")
    return claims


def _no_token(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_SUBJECT, f"the token {why}", help="make it with: charter token LENDER SYSTEM --may-act NAME"
    )
