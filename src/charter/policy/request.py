"""What a decision is asked about: one call, with every fact the policies may read, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from charter.core.errors import ErrorCode, MalformedError
from charter.policy.amount import Amount, amount_text, exact_decimal, plain_amount, unit_of
from charter.policy.argument import ABSENT, find
from charter.policy.object_path import fill_template
from charter.registry.charter import Effect, Environment
from charter.registry.data_class import NOTHING_TOUCHED, Touched
from charter.registry.system import AmountOf, System
from charter.registry.unit import FACTORS, normal, told_in

MAX_ARGUMENTS = 256


class Asker(msgspec.Struct, frozen=True):
    """The principal whose authority is asked, as one link of the chain."""

    id: str
    name: str
    kind: str
    environment: Environment
    team: str
    restrained: bool = False


class ChainFacts(msgspec.Struct, frozen=True):
    """What policies may read of the chain that a call is made under. Without one, the asker acts by itself."""

    depth: int = 0  # delegations in the chain
    purpose: str = ""
    initiator: str = ""  # a principal's name or a person's address
    by_person: bool = False  # whether a person began it
    initiator_roles: frozenset[str] = frozenset()  # human roles that the person holds
    parties: tuple[str, ...] = ()  # names, initiator to caller
    deciders: tuple[str, ...] = ()  # those who choose what is done


NO_CHAIN = ChainFacts()


class FlowFacts(msgspec.Struct, frozen=True):
    """What policies may read of where the values of a call came from, and of what its session has read before.

    Arguments are told by name. Those that lead a call decide where it goes and what it is about; those that it carries
    are text, of which only what it names counts (addresses, accounts).
    """

    exposed: bool = False  # whether the session has read what strangers wrote
    known: bool = False  # whether the person's own request is known
    spoken: bool = False  # whether that request speaks of such an action
    tired: bool = False  # whether people were asked so often in this session that they are not asked again
    data: frozenset[str] = frozenset()  # classes of data that the session has read
    untrusted: frozenset[str] = frozenset()  # arguments that lead, with values that strangers named and nobody else
    unseen: frozenset[str] = frozenset()  # … with values that stood nowhere
    carried: frozenset[str] = frozenset()  # arguments whose text names what strangers named, or what stood nowhere
    pointed: frozenset[str] = frozenset()  # arguments that lead, with the only such value of what the request points at
    told: tuple[str, ...] = ()  # for people: where each doubtful value came from

    @property
    def doubted(self) -> frozenset[str]:
        """The arguments with values that nobody vouches for."""
        return self.untrusted | self.unseen | self.carried | self.pointed


NO_FLOW = FlowFacts()
FLOW_FLAGS = ("exposed", "known", "spoken", "tired")
DOUBTS = ("untrusted", "unseen", "carried", "pointed")
FLOW_NAMES = ("data", *DOUBTS)


def flow_json(flow: FlowFacts) -> dict[str, Any]:
    """Return what is so of a call's values, as evidence and examples tell it; what is not so is left out."""
    said: dict[str, Any] = {name: True for name in FLOW_FLAGS if getattr(flow, name)}
    for name in FLOW_NAMES:
        if getattr(flow, name):
            said[name] = sorted(getattr(flow, name))
    return said | ({"told": list(flow.told)} if flow.told else {})


def read_flow(said: object) -> FlowFacts:
    """Return what `flow_json` told."""
    if not isinstance(said, Mapping):
        return NO_FLOW

    def names(part: str) -> frozenset[str]:
        found = said.get(part, ())
        return frozenset(map(str, found)) if isinstance(found, list | tuple | set | frozenset) else frozenset()

    found: dict[str, Any] = {name: bool(said.get(name, False)) for name in FLOW_FLAGS}
    found |= {name: names(name) for name in FLOW_NAMES}
    return FlowFacts(**found, told=tuple(map(str, said.get("told", ()))))


class Request(msgspec.Struct, frozen=True):
    """One call as policy sees it. Equal requests get equal decisions."""

    asker: Asker
    system: str
    system_environment: Environment
    action: str
    effect: Effect
    object: str  # the object's path within the system, from the action's template
    data: tuple[str, ...]
    arguments: dict[str, Any]
    at: dt.datetime
    amounts: dict[str, Amount] = msgspec.field(default_factory=dict)  # argument -> (decimal text, unit)
    approvals: frozenset[str] = frozenset()  # roles that have approved this exact call
    sensitive: bool = False
    untrusted: bool = False
    provider: str = ""  # whose models the system is; "" for any other system
    touched: Touched = NOTHING_TOUCHED
    unread: frozenset[str] = frozenset()  # amounts of the system's file that the call gives, but not as exact amounts
    chain: ChainFacts = NO_CHAIN
    flow: FlowFacts = NO_FLOW
    external: bool = False  # whether others run the system: what is sent there leaves the organisation
    kept: Mapping[str, Mapping[str, Any] | None] | None = None  # of a recorded call: its arguments as policy read them

    def gives(self, argument: str) -> bool:
        """Whether the call carries `argument`, be it readable or not."""
        return argument in self.arguments or argument in self.amounts or argument in self.unread


def build_request(  # noqa: PLR0913 - a call is what it is: who, where, what, with what, when, approved by whom
    asker: Asker,
    record: System,
    action: str,
    arguments: Mapping[str, Any],
    at: dt.datetime,
    approvals: frozenset[str] = frozenset(),
    *,
    object: str | None = None,  # noqa: A002 - the domain's word, here as in Request
) -> Request:
    """Return the call as policy sees it: its object filled in, its amounts read exactly or not at all.

    `object` stands for what the action's template would make of the arguments.

    Raises:
        MalformedError: the system has no such action, the arguments are too many, or one that names the object is
        missing, no scalar, or hides another path.
    """
    known = record.actions.get(action)
    if known is None:
        raise MalformedError(ErrorCode.BAD_REQUEST, f"`{record.system}` has no action `{action[:128]}`")
    if len(arguments) > MAX_ARGUMENTS:
        raise MalformedError(
            ErrorCode.TOO_LARGE, f"the call has more than {MAX_ARGUMENTS} arguments", help="send fewer"
        )
    amounts, unread = _amounts(known.amounts, arguments)
    return Request(
        asker=asker,
        system=record.system,
        system_environment=record.environment,
        action=action,
        effect=known.effect,
        object=fill_template(known.object, arguments) if object is None else object,
        data=record.data_of(action),
        arguments=dict(arguments),
        at=at,
        amounts=amounts,
        approvals=approvals,
        sensitive=record.sensitive,
        untrusted=record.untrusted,
        external=record.sends_out(action),
        provider=record.provider or "",
        touched=record.touched(action),
        unread=unread,
    )


def _amounts(
    declared: Mapping[str, AmountOf], arguments: Mapping[str, Any]
) -> tuple[dict[str, Amount], frozenset[str]]:
    """Return the call's exact amounts, and the declared ones that it gives but that cannot be read."""
    amounts: dict[str, Amount] = {}
    for name, value in arguments.items():
        amount = plain_amount(value) if name not in declared and "." not in name else None  # a dot is a path's
        if amount is not None:
            amounts[name] = amount
    unread: set[str] = set()
    for name, where in declared.items():
        value = find(arguments, where.value)
        if value is ABSENT:
            continue
        amount = _amount(where, value, arguments)
        if amount is None:
            unread.add(name)
        else:
            amounts[name] = amount
    return amounts, frozenset(unread)


def _amount(where: AmountOf, value: Any, arguments: Mapping[str, Any]) -> Amount | None:  # noqa: ANN401 - any JSON value
    """Return an amount in the unit it is told in; None where it is not exactly one."""
    number = exact_decimal(value)
    unit = unit_of(find(arguments, where.unit)) if where.unit else where.given_in
    if number is None or (where.unit and unit is None):
        return None
    told_unit = told_in(unit)
    if where.per_unit == 1 and unit not in FACTORS:  # nearly always: nothing is to be converted
        return amount_text(number), told_unit
    exact = exact_decimal(normal(number / where.per_unit, unit)[0])
    return None if exact is None else (amount_text(exact), told_unit)
