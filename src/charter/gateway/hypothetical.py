"""A call that nobody made, put to an estate: for `charter why`, and for the tables of `charter test`.

A hypothetical call is asked of every link of its chain, as the gateway asks: of the party that began it, those that it
went through, and the caller. Which delegation lends what is nobody's to suppose, so no scope of one narrows it, and
charters' terms of delegation are not asked about.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from charter.core.errors import AbsentError, ErrorCode
from charter.gateway.chain import asker_of, owner_of
from charter.gateway.replay import World, is_pinned
from charter.policy.chain import ChainCase, Party
from charter.policy.request import NO_FLOW, Asker, ChainFacts, FlowFacts, Request, build_request
from charter.registry.delegation import Role, is_person, role_of
from charter.registry.principal import Principal
from charter.registry.problem import suggestion
from charter.registry.seat import taken
from charter.registry.system import System


@dataclass(frozen=True, slots=True)
class SupposedChain:
    """The delegation that a supposed call is made under."""

    initiator: str  # a principal's name, or a person's address
    through: tuple[str, ...] = ()  # principals between the initiator and the caller
    roles: tuple[str, ...] = ()  # of a person, beside those that teams.yaml gives them
    purpose: str = ""
    depth: int | None = None  # None: as many as there are links


@dataclass(frozen=True, slots=True)
class Supposed:
    """A call to be asked about."""

    principal: str
    system: str
    action: str
    at: dt.datetime
    arguments: Mapping[str, Any] = field(default_factory=dict)
    object: str | None = None  # None: what the action's template makes of the arguments
    approvals: tuple[str, ...] = ()  # roles of people who said yes; a role twice is two people
    chain: SupposedChain | None = None
    flow: FlowFacts = NO_FLOW


@dataclass(frozen=True, slots=True)
class SupposedCase:
    """The call before an estate's policies."""

    case: ChainCase
    request: Request
    principal: Principal
    system: System


def supposed_case(asked: Supposed, world: World) -> SupposedCase:
    """Return `asked` before the policies of `world`.

    Raises:
        AbsentError: it names a principal, system or action that there is none of.
        MalformedError: its arguments do not name an object, or are too many.
        CharterError: a party's policies cannot be bound.
    """
    caller = _principal(asked.principal, world)
    system = world.systems.get(asked.system)
    if system is None:
        raise _absent("system", asked.system, world.systems, ErrorCode.UNKNOWN_SYSTEM)
    if asked.action not in system.actions:
        text = f"`{asked.action[:80]}` is no action of the system `{asked.system}`"
        raise AbsentError(ErrorCode.UNKNOWN_SYSTEM, text, help=suggestion(asked.action[:80], system.actions))
    parties, facts = _chain(asked.chain, caller, world)
    request = build_request(
        asker_of(caller), system, asked.action, asked.arguments, asked.at, taken(asked.approvals), object=asked.object
    )
    request = replace(request, chain=facts or request.chain, flow=asked.flow)
    return SupposedCase(ChainCase(parties), request, caller, system)


def _chain(asked: SupposedChain | None, caller: Principal, world: World) -> tuple[tuple[Party, ...], ChainFacts | None]:
    own = _party(caller, world)
    if asked is None:
        return (own,), None
    by_person = is_person(asked.initiator)
    middle = [_principal(name, world) for name in asked.through]
    lenders = ([] if by_person else [_principal(asked.initiator, world)]) + middle
    first = _person(asked.initiator, (*middle, caller)[0], world) if by_person else ()
    names = (asked.initiator, *asked.through, caller.name)
    known = world.slices.roles_of(asked.initiator) if by_person else frozenset()
    facts = ChainFacts(
        depth=asked.depth or len(names) - 1,
        purpose=asked.purpose,
        initiator=asked.initiator,
        by_person=by_person,
        initiator_roles=known.union(asked.roles),
        parties=names,
        deciders=tuple(each.name for each in (*middle, caller) if role_of(each.kind) is Role.DECIDER),
    )
    return (*first, *(_party(each, world) for each in lenders), own), facts


def _person(person: str, borrower: Principal, world: World) -> tuple[Party, ...]:
    """Return the person as a party, if anything is said of what they may do."""
    found = world.slices.of_person(person, borrower)
    if found is None:
        return ()
    return (Party(owner_of(person), Asker(person, found.principal, found.kind, found.environment, found.team), found),)


def _party(principal: Principal, world: World) -> Party:
    return Party(principal.id, asker_of(principal), world.slices.of(principal))


def _principal(name: str, world: World) -> Principal:
    found = world.principals.get(world.ids.get(name, ""))
    if found is None:
        raise _absent("principal", name, world.ids, ErrorCode.UNKNOWN_PRINCIPAL)
    return found


def _absent(what: str, name: str, known: Collection[str], code: ErrorCode) -> AbsentError:
    return AbsentError(code, f"there is no {what} `{name[:80]}`", help=suggestion(name[:80], known))


def pinned(case: SupposedCase) -> bool:
    """Whether a person accepted the definition of the tool that the call would use."""
    return not is_pinned(case.system) or case.system.actions[case.request.action].pin is not None
