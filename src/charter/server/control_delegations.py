"""The control API's part about delegations: lend, look, withdraw, switch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field

from charter.bootstrap import delegation
from charter.core.values import parse_name
from charter.server.control_shape import Command, Person, Reason, ReasonIfAny, house_of

delegations = APIRouter()
Name = Annotated[str, AfterValidator(lambda text: parse_name(text, "principal"))]
Purpose = Annotated[str, AfterValidator(lambda text: parse_name(text, "purpose"))]
Id = Annotated[str, Field(pattern=r"^del_[0-9a-z]{26}$")]
Lasts = Annotated[str, Field(pattern=r"^[0-9]{1,6}[smhdw]$")]


class Lend(Command):
    """A person lends authority to a principal."""

    person: Person
    borrower: Name
    purpose: Purpose
    scope: Annotated[list[dict[str, Any]], Field(max_length=32)] | None = None
    lasts: Lasts | None = None
    actor: Person
    reason: ReasonIfAny = ""


class Meant(Command):
    """Which delegations are meant: all that fit everything named."""

    link: Id | None = None
    agent: Name | None = None
    purpose: Purpose | None = None
    actor: Person
    reason: Reason

    def wanted(self) -> dict[str, str]:
        """Return what is named."""
        named = {"link": self.link, "agent": self.agent, "purpose": self.purpose}
        return {name: value for name, value in named.items() if value is not None}


class Withdraw(Meant):
    """Withdraw delegations, whoever lent them."""

    lender: Person | None = None


class WithdrawOwn(Meant):
    """Withdraw delegations that `person` lent."""

    person: Person


class Switch(Command):
    """Switch a declared edge off or on."""

    lender: Person  # a principal, a person, or `humans`
    borrower: Name
    on: bool
    actor: Person
    reason: Reason


@delegations.get("/delegations")
async def list_delegations(
    request: Request, person: str | None = None, agent: str | None = None, purpose: str | None = None
) -> dict[str, Any]:
    """The delegations that have not ended."""
    named = {"person": person, "agent": agent, "purpose": purpose}
    return delegation.listing(house_of(request), {name: value for name, value in named.items() if value})


@delegations.get("/delegations/{delegation_id}")
async def show_delegation(request: Request, delegation_id: str) -> dict[str, Any]:
    """One delegation, with its chain and the proofs of it."""
    return delegation.show(house_of(request), delegation_id)


@delegations.post("/delegations")
async def lend(request: Request, body: Lend) -> dict[str, Any]:
    """Let a person lend."""
    asked = delegation.Lending(body.person, body.borrower, body.purpose, body.scope, body.lasts)
    return await delegation.make(house_of(request), asked, actor=body.actor, door="cli", reason=body.reason)


@delegations.post("/delegations/withdraw")
async def withdraw(request: Request, body: Withdraw) -> dict[str, Any]:
    """Withdraw by link, person, agent or purpose."""
    wanted = body.wanted() | ({"person": body.lender} if body.lender else {})
    return await delegation.withdraw(house_of(request), wanted, actor=body.actor, reason=body.reason)


@delegations.post("/delegations/own/withdraw")
async def withdraw_own(request: Request, body: WithdrawOwn) -> dict[str, Any]:
    """Withdraw what a person lent."""
    wanted = body.wanted() | {"person": body.person}
    return await delegation.withdraw(house_of(request), wanted, actor=body.actor, reason=body.reason)


@delegations.post("/delegations/switch")
async def switch(request: Request, body: Switch) -> dict[str, Any]:
    """Switch an edge off or on."""
    return await delegation.switch(
        house_of(request), body.lender, body.borrower, is_on=body.on, actor=body.actor, reason=body.reason
    )
