"""Answering approvals: who may say yes, and what their yes does.

INVARIANT: only a person who holds a missing role in teams.yaml can approve, never the owner of the principal that asks
nor the person on whose behalf it does, and never for a principal, chain or system that may not act: approving is a path
that grants, so it asks like every other.
INVARIANT: a person is the same however their address is spelt: addresses are compared in small letters.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Protocol

from charter.core.clock import rfc3339
from charter.core.errors import DeniedError, ErrorCode
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import chain_refusal, refusal
from charter.registry.approval import Approval, ApprovalState
from charter.registry.principal import LiveEstate, Principal
from charter.registry.seat import role_of
from charter.registry.stand_in import StandIn, stood_for
from charter.registry.team import Teams

OWNER = "owner"  # the role asked for a restrained principal's changes: anyone else of the team that owns it


class Approvals(Protocol):
    """The approvals kept."""

    def get(self, approval_id: str) -> Approval:
        """Return the approval, or raise AbsentError."""
        ...

    def update(self, approval: Approval) -> None:
        """Replace the one with the same id."""
        ...


class StandIns(Protocol):
    """Who stands in for whom."""

    def current(self, at: dt.datetime) -> list[StandIn]:
        """Return those that count at a moment."""
        ...


class HasTeams(Protocol):
    """The registry, as far as answering reads it."""

    def teams(self) -> Teams:
        """Return teams.yaml as applied."""
        ...


class ApprovalWork(Transaction, Protocol):
    """The slice of the work that answering needs."""

    @property
    def live(self) -> LiveEstate:
        """The estate in memory."""
        ...

    @property
    def approvals(self) -> Approvals:
        """The approvals."""
        ...

    @property
    def registry(self) -> HasTeams:
        """Where teams.yaml is kept."""
        ...

    @property
    def stand_ins(self) -> StandIns:
        """Who answers in whose roles."""
        ...


def approve(tx: ApprovalWork, approval_id: str, *, person: str, reason: str) -> Approval:
    """Record `person`'s yes; return the approval as it stands now.

    Raises:
        AbsentError: no such approval.
        ConflictError: it is not waiting any more.
        DeniedError: the person may not approve it, or the principal may not act.
    """
    person = person.lower()
    approval = tx.approvals.get(approval_id)
    principal = tx.live.principals[approval.principal_id]
    stopped = refusal(tx.live, principal.id, tx.live.systems.get(str(approval.call.get("system"))), at=tx.at)
    if stopped is not None:
        raise DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    if tx.live.directory.has_left(person):
        raise DeniedError(
            ErrorCode.POLICY_DENIED, f"`{person}` left, as the directory has it", help="someone else must approve"
        )
    if person == principal.owner_person:
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"`{person}` owns `{principal.name}` and cannot approve its calls",
            help="someone else who holds the role must approve",
        )
    _check_chain(tx, approval, person)
    teams, answered_for = tx.registry.teams(), _answered_for(tx.live, approval, principal)
    away = stood_for(tx.stand_ins.current(tx.at))
    barred = barred_people(approval, principal)

    def held(who: str, *, alone: bool = False) -> frozenset[str]:
        spent = {person, *(given.casefold() for given in approval.given.values())}
        others = () if alone else (each for each in away.get(who, ()) if each not in barred | spent)
        people = (who, *(each for each in others if not tx.live.directory.has_left(each)))
        roles = (roles_held_by(teams, people, each) for each in answered_for)
        return frozenset.intersection(*roles)

    for seat, given in approval.given.items():
        if person in away.get(given.casefold(), ()) and role_of(seat) not in held(given, alone=True):
            text = f"`{given}` said yes in the stead of `{person}`, and one person's yes counts once"
            raise DeniedError(ErrorCode.POLICY_DENIED, text, help="someone else who holds the role must approve")
    answered = approval.approved_by(person, held, tx.at)
    _keep(tx, answered, EntryKind.APPROVAL_GIVEN, person, reason)
    return answered


def _check_chain(tx: ApprovalWork, approval: Approval, person: str) -> None:
    """Check that the chain a call was made under may still be used, and that `person` did not begin it.

    Raises:
        DeniedError: it may not, or they did.
    """
    told = approval.call.get("chain")
    if not told:
        return
    chain = tx.live.delegations.chain_of(str(told["delegation"]))
    stopped = None if chain is None else chain_refusal(tx.live, chain, at=tx.at)
    if chain is None or stopped is not None:
        text = stopped.text if stopped else "the delegation that the call was made under is not known"
        raise DeniedError(ErrorCode.NOT_STANDING, text, help=stopped.mend if stopped else "nothing is left to approve")
    if person.casefold() == str(told["initiator"]).casefold():
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"the call is made on behalf of `{person}`, who cannot approve it",
            help="someone else who holds the role must approve",
        )


def _answered_for(live: LiveEstate, approval: Approval, principal: Principal) -> list[Principal]:
    """Return the principals that a yes has to be given for: the caller, and whoever of its chain is restrained."""
    restrained = [live.principals.get(str(each)) for each in approval.call.get("restrained") or ()]
    return [principal, *(each for each in restrained if each is not None)]


def barred_people(approval: Approval, principal: Principal) -> frozenset[str]:
    """Return those whose yes never counts here, nor in whose stead another's: the owner, and whoever it is done for."""
    chain = approval.call.get("chain") or {}
    return frozenset({principal.owner_person.casefold(), str(chain.get("initiator", "")).casefold()})


def roles_held_by(teams: Teams, people: Iterable[str], principal: Principal) -> frozenset[str]:
    """Return the roles in which somebody can answer who has the say of several people."""
    return frozenset().union(*(roles_held(teams, each, principal) for each in people))


def roles_held(teams: Teams, person: str, principal: Principal) -> frozenset[str]:
    """Return the roles in which `person` can answer for `principal`."""
    held = {role for role, people in teams.roles.items() if person in people}
    team = teams.teams.get(principal.owner_team)
    if team is not None and person in (team.lead, *team.members):
        held.add(OWNER)
    return frozenset(held)


def refuse(tx: ApprovalWork, approval_id: str, *, person: str, reason: str) -> Approval:
    """Record `person`'s no. Anyone named may refuse: a no takes nothing from anybody.

    Raises:
        AbsentError: no such approval.
        ConflictError: it is not waiting any more.
    """
    answered = tx.approvals.get(approval_id).refused(tx.at)
    _keep(tx, answered, EntryKind.APPROVAL_REFUSED, person, reason)
    return answered


def cancel(tx: ApprovalWork, approval_id: str, *, actor: str, reason: str) -> Approval:
    """Record that whoever asked no longer needs an answer. A work; it takes nothing from anybody.

    Raises:
        AbsentError: no such approval.
        ConflictError: it is not waiting any more.
    """
    cancelled = tx.approvals.get(approval_id).cancelled(tx.at)
    _keep(tx, cancelled, EntryKind.APPROVAL_CANCELLED, actor, reason)
    return cancelled


def _keep(tx: ApprovalWork, approval: Approval, kind: EntryKind, person: str, reason: str) -> None:
    tx.approvals.update(approval)
    body = {
        "approval": approval.id,
        "state": approval.state.value,
        "call_digest": approval.call_digest,
        "given": approval.given,
        "expires_at": rfc3339(approval.expires_at),
        "reason": reason,
    }
    tx.record(Draft(kind, person, approval.principal_id, body))
    key = (approval.principal_id, approval.call_digest)

    def show() -> None:
        if approval.state in (ApprovalState.WAITING, ApprovalState.APPROVED):
            tx.live.approvals[key] = approval
        else:
            tx.live.approvals.pop(key, None)

    tx.after_commit(show)
