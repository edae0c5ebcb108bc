"""Delegations: authority one party lends another, for a purpose and a time. A chain of them: initiator to caller.

A delegation is one durable edge, `del_…`, from a lender to a borrower. It rests on the delegation by which the lender
has the authority it lends (`parent`), or on nothing if it lends its own; so each delegation ends exactly one chain, the
path from its root. Withdrawing an edge stops every chain that holds it, and no other, without touching those beneath.

    maria ── del_1 ──▶ triage-flow ── del_2 ──▶ refund-agent        initiator, carrier, decider
                       del_2 rests on del_1; a token under del_2 has `sub: maria`, `act: {refund-agent, {triage-flow}}`

A party is named by one text: the id of a principal (`prn_…`) or a person's address (`maria@example.com`); only the
latter have an `@`.

INVARIANT: along a chain the scope only narrows, the end only comes nearer, the purpose stays, and no party comes twice.
`lending.broken_link` holds every chain to that, when a link is added and again at each call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.registry.charter import Kind
from charter.registry.lent_scope import Scope
from charter.registry.standing import Standing

MAX_DEPTH = 8  # delegations in a chain, whatever charters say
HUMANS = "humans"  # in a charter's `delegation.from`: any person


class Role(StrEnum):
    """What a party does in a chain."""

    INITIATOR = "initiator"  # whose authority it is
    CARRIER = "carrier"  # hands work on, by rules
    DECIDER = "decider"  # chooses what is done; a model has a say
    EXECUTOR = "executor"  # does what others chose


_ROLES = {
    Kind.WORKFLOW: Role.CARRIER,
    Kind.SAAS_FEATURE: Role.EXECUTOR,
    Kind.MODEL_INTEGRATION: Role.EXECUTOR,
}
_PROFILES = {  # of the OAuth Actor Profile's `sub_profile`
    Kind.WORKFLOW: "service",
    Kind.SAAS_FEATURE: "service",
    Kind.MODEL_INTEGRATION: "service",
}


def role_of(kind: Kind) -> Role:
    """Return the role in which a principal of `kind` acts for others."""
    return _ROLES.get(kind, Role.DECIDER)


def profile_of(kind: Kind | None) -> str:
    """Return what a token calls a party of that kind; None is a person."""
    return "user" if kind is None else _PROFILES.get(kind, "ai_agent")


def is_person(party: str) -> bool:
    """Whether a party is a person."""
    return "@" in party


def edge_of(lender: str, borrower: str) -> str:
    """Return the name of a declared edge: that `lender`, a party or `humans`, may lend to `borrower`."""
    return f"{lender}>{borrower}"


@dataclass(frozen=True, slots=True)
class Link:
    """One delegation, as every call reads it."""

    id: str  # del_…
    lender: str  # a party
    borrower: str  # prn_…
    role: Role  # of the borrower
    control_plane: str  # the issuer that vouched for the lender
    purpose: str
    scope: Scope
    made_at: int  # seconds since 1970
    expires_at: int
    standing: Standing
    lender_epoch: int | None = None  # of a lending principal, when it lent; None for a person
    lender_credential: str | None = None  # thumbprint by which a lending principal proved itself
    proof: str | None = (
        None  # hash of the borrower's signed acceptance (identity/actor_proof.py); None: not accepted yet
    )
    is_switched_off: bool = False  # whether its lender may not lend to its borrower for now


@dataclass(frozen=True, slots=True)
class Chain:
    """From initiator to caller, as it stands now. Two readings of one chain are equal as long as nothing changed."""

    links: tuple[Link, ...]  # from the initiator on; never empty

    @property
    def id(self) -> str:
        """The delegation that the chain ends with, by which it is known."""
        return self.links[-1].id

    @property
    def initiator(self) -> str:
        """The party whose authority it is."""
        return self.links[0].lender

    @property
    def caller(self) -> str:
        """The principal that acts now."""
        return self.links[-1].borrower

    @property
    def parties(self) -> tuple[str, ...]:
        """All parties, from initiator to caller."""
        return (self.links[0].lender, *(link.borrower for link in self.links))

    @property
    def roles(self) -> tuple[Role, ...]:
        """Each party's role, as in `parties`."""
        return (Role.INITIATOR, *(link.role for link in self.links))

    @property
    def purpose(self) -> str:
        """What it is for."""
        return self.links[-1].purpose

    @property
    def depth(self) -> int:
        """How many delegations it is made of."""
        return len(self.links)

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Everything whose withdrawal stops it: its parties, its delegations, and the edges that they are made by."""
        edges = (edge_of(link.lender, link.borrower) for link in self.links)
        everyone = (edge_of(HUMANS, link.borrower) for link in self.links[:1] if is_person(link.lender))
        return (*self.parties, *(link.id for link in self.links), *edges, *everyone)


@dataclass(frozen=True, slots=True)
class Delegation:
    """A delegation as it is kept: the link, where it hangs, and what came with it."""

    link: Link
    parent: str | None  # the delegation that it rests on
    initiator: str  # of the chain that it ends
    made_by: str  # who asked for it: a person, or the borrower by exchange
    door: str  # where: cli, console, consent, exchange
    reason: str = ""
    proof: str | None = None  # the borrower's signed acceptance itself; `link.proof` is its hash
    withdrawn_at: dt.datetime | None = None
    withdrawn_by: str | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.link.id


def chain_to_json(chain: Chain, names: Mapping[str, str], issuer: str) -> list[dict[str, Any]]:
    """Return a chain as evidence and answers tell it, initiator first.

    `names` are those of principals, by id. Each party stands with the control plane that vouched for it, and with the
    credential by which it lent; the caller is vouched for by `issuer`, which issued its token.
    """
    planes = (*(link.control_plane for link in chain.links), issuer)
    credentials = (*(link.lender_credential for link in chain.links), None)
    delegations = (None, *(link.id for link in chain.links))
    return [
        {
            "party": party,
            "name": names.get(party, party),
            "role": role.value,
            "control_plane": plane,
            "credential": credential,
            "delegation": delegation,
        }
        for party, role, plane, credential, delegation in zip(
            chain.parties, chain.roles, planes, credentials, delegations, strict=True
        )
    ]
