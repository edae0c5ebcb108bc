"""Adopt an A2A agent: its card becomes a draft charter that pins the card, and says what a person still has to say.

INVARIANT: what a card says stands in comments alone, cut and cleaned: it grants nothing, and names nobody.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from charter.discovery.adopt import A_YEAR, among, is_name, said, word
from charter.identity.agent_card import AgentCard
from charter.identity.card_signature import CardProof, Signed
from charter.registry.team import Teams

_MANY = 12  # interfaces or skills in comments
_MAX_NAME = 63
_TOLD = {
    Signed.UNSIGNED: "it is not signed: anybody could have written it",
    Signed.UNCHECKED: "its signatures were not checked: nobody said which keys count",
    Signed.UNTRUSTED: "none of its signatures is by a key that counts",
    Signed.BAD: "a signature of it does not verify",
}


def draft_from_card(card: AgentCard, proof: CardProof, where: str, *, teams: Teams, at: dt.datetime) -> tuple[str, str]:
    """Return the name of the principal and the text of its draft file; `where` says what the card was read from."""
    name = name_of(card)
    return name, "\n".join(_lines(card, proof, where, name, teams, at)) + "\n"


def name_of(card: AgentCard) -> str:
    """Return the principal's name that a card proposes, or one of its digest where it proposes none that can be."""
    plain = re.sub(r"[^a-z0-9]+", "-", str(card.content["name"]).lower())[:_MAX_NAME].strip("-")
    return plain if is_name(plain) else f"agent-{card.digest[7:19]}"


def proof_told(proof: CardProof) -> str:
    """Return in words what a card's signatures are worth."""
    if proof.outcome is Signed.TRUSTED:
        return f"it is signed by the key {proof.key_id or ''}, which counts"
    return _TOLD[proof.outcome] + (f" ({'; '.join(proof.faults)})" if proof.faults else "")


def _lines(card: AgentCard, proof: CardProof, where: str, name: str, teams: Teams, at: dt.datetime) -> Iterator[str]:
    content = card.content
    yield f"# Drafted on {at.date().isoformat()} from the A2A agent card of {said(content['name'])}"
    yield f"# Read from {said(where)}; {said(proof_told(proof))}"
    yield f"# It says of itself: {said(content['description'])} (version {said(content['version'])})"
    for each in content["supportedInterfaces"][:_MANY]:
        yield f"# Reached at {said(each['url'])} ({said(each['protocolBinding'])} {said(each['protocolVersion'])})"
    for skill in content["skills"][:_MANY]:
        yield f"# Skill {said(skill['id'])}: {said(skill['name'])}"
    yield "charter: v1"
    yield f"principal: {word(name)}"
    yield "kind: agent"
    yield "# MISSING: environment: where it runs: sandbox, staging or production"
    yield f"# MISSING: owner: {{person: who answers for it, team: {among(teams.teams, 'one of teams.yaml')}}}"
    yield "# MISSING: purpose: what it is for, in one sentence"
    yield "# MISSING: model: {provider: whose model it calls, name: which}"
    yield "grants: []  # nothing is allowed until someone grants it"
    yield f"# MISSING: approved: {{by: someone else, role: {among(teams.roles, 'a human role')}, on: the day}}"
    yield "credential: {type: private-key-jwt}"
    yield f"composition: {{card: {card.digest}}}"
    yield "review: 90d"
    yield f"# MISSING: expires: the day it needs a new yes, at most {(at + A_YEAR).date().isoformat()}"
