"""Charters by dice, with the policies that their principals carry, and calls to put to both sides."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from builders import a_charter
from cedar_dice import ACTIONS, SYSTEM, a_call, a_charter_by_dice, a_grant, some_guardrails
from charter.gateway.carried import Carried, Deed, Local, carried_of, read_carried
from charter.policy.decide import decide
from charter.policy.request import FlowFacts, build_request
from charter.policy.slice import Slice, policies_of
from charter.policy.verdict import Verdict
from charter.registry.charter import Charter
from charter.registry.principal import Principal, SystemRecord
from charter.registry.standing import Standing
from charter.registry.system import System
from charter.registry.terms import terms_of
from policies import ENGINE, an_asker, bound, guards

OWN = {"points": ["refund-agent"], "vouching": "allowed"}
CLASSES = ("customer-pii", "other", "payment-data")
FLOW_GUARDRAILS = (
    "forbid (principal, action, resource) when { resource.external && context.flow.exposed };",
    "forbid (principal, action, resource) when { context.flow.exposed && !context.flow.known };",
    'forbid (principal, action, resource) unless { context.flow.known || principal.kind == "agent" };',
    'forbid (principal, action, resource) when { resource.path like "d*" || context.flow.data.contains("other") };',
    "forbid (principal, action, resource) when { if context.flow.tired then true else resource.sensitive };",
    "forbid (principal, action, resource) when { [context.flow.exposed, false].contains(resource.external) };",
    'forbid (principal, action, resource) when { resource.external && context.flow.untrusted.contains("note") };',
)


@dataclass(frozen=True)
class Side:
    """One principal: its slice, and what it carries."""

    charter: Charter
    system: System
    bound: Slice
    carried: Carried
    local: Local

    def decided(self, deed: Deed, at: dt.datetime, flow: FlowFacts) -> Verdict:
        """Return what the pipeline's policies say of a call, once `flow` is what the session has read."""
        call = deed.call()
        made = build_request(an_asker(self.charter), self.system, deed.action, deed.arguments, at, object=call.object)
        return decide(self.bound, replace(made, flow=flow), ENGINE)


def a_side(dice: random.Random) -> Side:
    """Return a principal that enforces its own system."""
    charter, _ = a_charter_by_dice(dice)
    if dice.random() < 0.7:  # one that grants much, so that guardrails and flows are what decides
        grants = [{"system": "payments", "actions": ["*"]}, *(a_grant(dice) for _ in range(dice.randrange(2)))]
        charter = a_charter(grants=grants, data=["customer-pii", "other"])
    system = an_own_system(
        environment=dice.choice(("production", "production", "staging")), external=dice.random() < 0.3
    )
    flow = dice.sample(FLOW_GUARDRAILS, dice.choice((0, 0, 1, 2)))
    some = (*some_guardrails(dice), *guards("\n".join(flow), "guardrails/flow.cedar"))
    found = bound(charter, system=system, guardrails=some)
    carried = carried_of(a_principal(charter), found, policies_in(found), {system.system: a_record(system)})
    again = read_carried(carried.encoded())
    assert again.digest == carried.digest
    return Side(charter, system, found, carried, Local(again, ENGINE, ENGINE))


def an_own_system(**changed: Any) -> System:
    """Return a system that the refund agent enforces itself."""
    told = {name: said for name, said in SYSTEM.items() if name != "upstream"}
    return System.model_validate(told | {"kind": "http", "enforcement": OWN} | changed)


def policies_in(found: Slice) -> dict[str, Any]:
    return policies_of(ENGINE, found.grants, found.guardrails, found.permits)


def a_record(system: System, standing: Standing = Standing.ACTIVE) -> SystemRecord:
    return SystemRecord(system.system, 1, system.digest, standing, system)


def a_principal(charter: Charter, standing: Standing = Standing.ACTIVE) -> Principal:
    return Principal(
        id="prn_1",
        name=charter.principal,
        spiffe_id="",
        kind=charter.kind,
        environment=charter.environment,
        owner_person=charter.owner.person,
        owner_team=charter.owner.team,
        standing=standing,
        epoch=0,
        version=1,
        digest=charter.digest,
        expires=charter.expires,
        terms=terms_of(charter.credential),
    )


def some_deeds(dice: random.Random, count: int) -> Iterator[tuple[Deed, dt.datetime, FlowFacts]]:
    """Yield calls, each with its time and what its session has read."""
    for _ in range(count):
        _, arguments, at, _, _ = a_call(dice)
        action = dice.choice(("charge.read", "report", dice.choice(ACTIONS)))
        path = dice.choice(("charge/c1", "reports", "d/e", "charge/../x", ""))
        yield Deed("payments", action, path, arguments), at, a_flow(dice)


def a_flow(dice: random.Random) -> FlowFacts:
    def some(of: tuple[str, ...]) -> frozenset[str]:
        return frozenset(dice.sample(of, dice.randrange(len(of))))

    names = ("note", "amount", "x y")
    flags = {name: dice.random() < 0.5 for name in ("exposed", "known", "spoken", "tired")}
    return FlowFacts(
        **flags,
        data=some(CLASSES),
        untrusted=some(names),
        unseen=some(names),
        carried=some(names),
        pointed=some(names),
    )
