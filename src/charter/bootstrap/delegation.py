"""What people do to delegations: lend, look, withdraw, switch edges off and on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from charter.bootstrap import lease_keeping
from charter.bootstrap.authority import SETTLE_SECONDS
from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, ErrorCode, MalformedError
from charter.identity import withdrawal
from charter.identity.authority import chain_refusal
from charter.identity.delegation import Loan, Wanted, lend
from charter.lifecycle import leases
from charter.registry.charter import parse_duration
from charter.registry.delegation import HUMANS, Chain, Delegation, chain_to_json, edge_of, is_person
from charter.registry.lending import Side
from charter.registry.lent_scope import parse_scope

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

MAX_LISTED = 1_000
MAX_TRIES = 4


@dataclass(frozen=True, slots=True)
class Lending:
    """What a person asks to lend, as it comes in."""

    person: str
    borrower: str  # a name
    purpose: str
    scope: Any = None  # a list of {system, actions, objects}; None: whatever both may do for the purpose
    lasts: str | None = None  # `30m`


async def make(house: House, asked: Lending, *, actor: str, door: str, reason: str) -> dict[str, Any]:
    """Let a person lend authority to a principal; return the delegation.

    Raises:
        AbsentError: there is no such principal.
        DeniedError: its charter does not allow it.
        MalformedError: what is asked is not of its form.
    """
    scope, lasts = parse_scope(asked.scope), _duration(asked.lasts)
    for _ in range(MAX_TRIES):
        principal = house.principal(asked.borrower)
        side = Side(principal.name, house.slices.of(principal).delegation)
        loan = Loan(
            id=house.entropy.identifier("del"),
            person=asked.person.lower(),
            borrower=principal.id,
            purpose=asked.purpose,
            scope=scope,
            lasts=lasts,
            control_plane=house.settings.issuer,
            made_by=actor,
            door=door,
            reason=reason,
        )
        made = await house.database.awrite(partial(lend, loan=loan, side=side, digest=principal.digest))
        if made is not None:
            return view(house, made)
    raise ConflictError(ErrorCode.STALE, "the charter changed while this was lent", help="ask again")


async def withdraw(house: House, wanted: dict[str, str], *, actor: str, reason: str) -> dict[str, Any]:
    """Withdraw delegations by link, person, agent or purpose; what is under way on them ends before the answer.

    Raises:
        AbsentError: none is meant.
        MalformedError: nothing, or another thing, is named.
    """
    meant = wanted_of(house, wanted)
    ended: list[tuple[int, int]] = []

    def end(ids: Sequence[str]) -> None:
        for each in ids:
            ended.append(house.pipeline.withdrawn(each, f"the delegation `{each}` was withdrawn"))  # noqa: PERF401

    def work(tx: HouseTransaction) -> tuple[withdrawal.Withdrawn, list[str]]:
        done = withdrawal.withdraw(tx, meant, actor=actor, reason=reason, then=end)
        return done, _end_leases(house, tx, done.ids, why="a delegation was withdrawn", actor=actor)

    done, leased = await house.database.awrite(work)
    revoked = await lease_keeping.settle(house.leasing, leased, SETTLE_SECONDS)
    return {
        "withdrawn": list(done.ids[: withdrawal.MAX_NAMED]),
        "count": len(done.ids),
        "beneath": done.beneath,
        "streams": sum(streams for streams, _ in ended),
        "permits": sum(permits for _, permits in ended),
        "leases": len(leased),
        "leases_revoked": revoked,
        "index": done.index,
    }


async def switch(house: House, lender: str, borrower: str, *, is_on: bool, actor: str, reason: str) -> dict[str, Any]:
    """Switch a declared edge off or on: whether `lender` (a name, a person or `humans`) may lend to `borrower`.

    Raises:
        AbsentError: there is no such principal.
    """
    party = lender if lender == HUMANS else _party(house, lender)
    edge = (party, house.principal(borrower).id)

    def end(ids: Sequence[str]) -> None:
        for each in ids:
            house.pipeline.withdrawn(each, f"delegation from `{lender}` to `{borrower}` was switched off")

    def work(tx: HouseTransaction) -> tuple[int, list[str]]:
        index = withdrawal.switch(tx, edge, is_on=is_on, actor=actor, reason=reason, then=end)
        why = f"delegation from `{lender}` to `{borrower}` was switched off"
        return index, [] if is_on else _end_leases(house, tx, [edge_of(*edge)], why=why, actor=actor)

    index, leased = await house.database.awrite(work)
    await lease_keeping.settle(house.leasing, leased, SETTLE_SECONDS)
    return {"lender": lender, "borrower": borrower, "state": "on" if is_on else "off", "index": index}


def _end_leases(house: House, tx: HouseTransaction, on: Sequence[str], *, why: str, actor: str) -> list[str]:
    """End the leases that rest on what was withdrawn, in the same work; return their ids."""
    return [lease.id for lease in leases.end_resting(tx, house.leasing.book, on, why=why, actor=actor)]


def listing(house: House, wanted: dict[str, str], *, limit: int = MAX_LISTED) -> dict[str, Any]:
    """Return the delegations that are wanted and have not ended, newest first, and which edges are switched off."""
    meant, after = wanted_of(house, wanted), int(house.clock.now().timestamp())
    found = house.database.read(lambda tx: tx.delegations.listed(meant, after, limit=limit))
    off = [
        {"lender": _name(house, lender), "borrower": _name(house, borrower)}
        for lender, borrower in sorted(house.live.delegations.switched_off)
    ]
    return {"delegations": [view(house, each) for each in found], "live": len(house.live.delegations), "off": off}


def show(house: House, delegation_id: str) -> dict[str, Any]:
    """Return one delegation with its whole chain, the actors' proofs, and the public keys they verify with.

    Raises:
        AbsentError: there is none of that id.
    """
    kept = house.database.read(lambda tx: tx.delegations.chain(delegation_id))
    chain = Chain(tuple(each.link for each in kept))
    names = {party: _name(house, party) for party in chain.parties}
    keys = {
        party: [key.jwk for key in house.live.keys_of(party) if key.jwk]
        for party in chain.parties
        if not is_person(party)
    }
    return view(house, kept[-1]) | {
        "chain": chain_to_json(chain, names, house.settings.issuer),
        "issuer": house.settings.issuer,
        "hop": {  # what its borrower signs to accept it
            "subject": chain.initiator,
            "purpose": chain.purpose,
            "onto": chain.id,
            "previous": chain.links[-2].proof if chain.depth > 1 else None,
        },
        "links": [view(house, each) for each in kept],
        "proofs": [each.proof for each in reversed(kept)],  # newest first, as in a token
        "keys": keys,
    }


def view(house: House, delegation: Delegation) -> dict[str, Any]:
    """Return a delegation as JSON, with what stands against its use now."""
    link = delegation.link
    chain = house.live.delegations.chain_of(link.id)
    stopped = chain_refusal(house.live, chain, at=house.clock.now()) if chain else None
    return {
        "id": link.id,
        "rests_on": delegation.parent,
        "initiator": _name(house, delegation.initiator),
        "lender": _name(house, link.lender),
        "borrower": _name(house, link.borrower),
        "role": link.role.value,
        "control_plane": link.control_plane,
        "purpose": link.purpose,
        "scope": link.scope.to_json(),
        "made": _moment(link.made_at),
        "expires": _moment(link.expires_at),
        "standing": link.standing.value,
        "usable": chain is not None and stopped is None,
        "why": stopped.text if stopped else None if chain else "it has ended",
        "accepted": link.proof is not None,
        "made_by": _name(house, delegation.made_by),
        "door": delegation.door,
        "reason": delegation.reason,
        "withdrawn_by": delegation.withdrawn_by,
    }


def wanted_of(house: House, wanted: dict[str, str]) -> Wanted:
    """Return which delegations are meant by the words of a person.

    Raises:
        MalformedError: a word names nothing that can be asked for.
        AbsentError: there is no such principal.
    """
    unknown = wanted.keys() - {"link", "person", "agent", "purpose"}
    if unknown:
        raise MalformedError(ErrorCode.BAD_VALUE, f"{min(unknown)[:40]!a} says not which delegations are meant")
    agent, person = wanted.get("agent"), wanted.get("person")
    return Wanted(
        link=wanted.get("link"),
        person=person.lower() if person else None,
        agent=house.principal(agent).id if agent else None,
        purpose=wanted.get("purpose"),
    )


def _party(house: House, name: str) -> str:
    return name.lower() if is_person(name) else house.principal(name).id


def _name(house: House, party: str) -> str:
    found = house.live.principals.get(party)
    return found.name if found else party


def _moment(seconds: int) -> str:
    return rfc3339(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _duration(text: str | None) -> dt.timedelta | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_VALUE, str(err), help="write 30m or 8h") from err
