"""Properties as Cedar: a class of calls is the guardrail that would forbid it.

    never: {systems: {environment: production}, when: {amount: {over: 1000 EUR}}, unapproved: true}

        forbid (principal, action == Charter::Action::"payments/refund.create", resource)
        when { context.arguments has amount.quantity && … .greaterThan(decimal("1000.0000")) }
        when { !(context.approvals.containsAny(["payments-lead"])) };

What is fixed for a principal and an action (who, where, which action, which data) is matched here; the rest stands in
the Cedar text. A property of the kind never holds exactly if that guardrail would stop nothing that is allowed now.

INVARIANT: the class of a bound on an argument holds only calls that surely satisfy it, as in grants: an amount that is
missing, in another unit or not exact is in no class of amounts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from charter.core.values import Source
from charter.policy.argument_tests import tests_of
from charter.policy.builtin import RESTRAINED_ROLE
from charter.policy.cedar_text import annotation, any_of, entity, pattern, strings
from charter.policy.condition import ArgumentRule, DelegatedRule, WindowRule
from charter.policy.engine import Engine
from charter.policy.guardrail import Guardrail, written_guardrail
from charter.policy.slice import Slice
from charter.policy.vocabulary import action_id
from charter.registry.charter import Charter
from charter.registry.property import CallClass, Property, Where, WhereFits, Who, WhoFits
from charter.registry.seat import role_of
from charter.registry.system import System

PREFIX = "property/"
NOWHERE: dict[str, Source | None] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """What one property says of one principal and one action."""

    principal: str
    system: str
    action: str
    text: str  # Cedar: the class of calls that is meant
    must_allow: bool = False  # every call of the class must be allowed; else none may be

    @property
    def id(self) -> str:
        """The id of the class as a rule."""
        return PREFIX + "class"

    def rule(self, engine: Engine) -> Guardrail:
        """Return the class as a guardrail."""
        return written_guardrail(self.id, self.text, Source("property", 1), engine)


@dataclass(frozen=True, slots=True)
class Party:
    """A principal that properties are asked about."""

    charter: Charter
    bound: Slice


@dataclass(frozen=True, slots=True)
class Claims:
    """What a property says of an estate."""

    claims: tuple[Claim, ...] = ()
    empty: bool = False  # nothing in the estate fits: it speaks of nothing
    aside: int = field(default=0)  # pairs of principal and action that are meant and not granted: nothing is allowed


def claims_of(found: Property, parties: Sequence[Party], systems: Mapping[str, System]) -> Claims:
    """Return what `found` says of each principal and action that it means."""
    claims: list[Claim] = []
    aside, meant = 0, False
    needs_grant = found.always is None or bool(found.approved_by)  # what is not granted is allowed to nobody
    for party in parties:
        if not _means_party(found, party):
            continue
        for system, action in _actions(found.of, systems):
            meant = True
            if needs_grant and action_id(system.system, action) not in party.bound.granted:
                aside += 1
            else:
                claims += _claims(found, party, system, action)
    return Claims(tuple(claims), not meant, aside)


def _means_party(found: Property, party: Party) -> bool:
    if found.only is not None:
        return not fits_who(found.only, party)
    principals = found.of.principals
    return principals is None or fits_who(principals, party)


def fits_who(who: Who, party: Party) -> bool:
    """Whether a principal is one of those meant."""
    return _is_who(who, party) and not (who.excluded is not None and _is_who(who.excluded, party))


def _is_who(who: WhoFits, party: Party) -> bool:
    charter = party.charter
    pairs = (
        (who.name, charter.principal),
        (who.kind, charter.kind),
        (who.environment, charter.environment),
        (who.team, charter.owner.team),
        (who.tier, party.bound.risk.tier),
        (who.provider, charter.model.provider),
    )
    return all(wanted is None or has in wanted for wanted, has in pairs)


def fits_where(where: Where, system: System) -> bool:
    """Whether a system is one of those meant."""
    return _is_where(where, system) and not (where.excluded is not None and _is_where(where.excluded, system))


def _is_where(where: WhereFits, system: System) -> bool:
    words = (
        (where.name, system.system),
        (where.environment, system.environment),
        (where.provider, system.provider),
    )
    flags = ((where.sensitive, system.sensitive), (where.untrusted, system.untrusted))
    fits_words = all(wanted is None or has in wanted for wanted, has in words)
    return fits_words and all(wanted is None or has is wanted for wanted, has in flags)


def _actions(calls: CallClass, systems: Mapping[str, System]) -> Iterator[tuple[System, str]]:
    for name, system in sorted(systems.items()):
        if calls.systems is not None and not fits_where(calls.systems, system):
            continue
        for action, known in system.actions.items():
            is_named = calls.actions is None or action in calls.actions or f"{name}/{action}" in calls.actions
            is_effect = calls.effects is None or known.effect in calls.effects
            touched = system.touched(action)
            classes = {*system.data_of(action), *touched.reads, *touched.writes, *touched.sends}
            if is_named and is_effect and (calls.data is None or not classes.isdisjoint(calls.data)):
                yield system, action


def _claims(found: Property, party: Party, system: System, action: str) -> Iterator[Claim]:
    calls, name = found.of, party.charter.principal
    terms = [*_terms(calls), *(_unapproved(party.bound) if calls.unapproved else ())]
    if found.always is not None and not found.approved_by:
        plain = ["!principal.restrained", *_unapproved(party.bound)]
        plain += [] if calls.delegated else ["context.chain.depth == 0"]
        yield Claim(name, system.system, action, _text(system, action, [*terms, *plain]), must_allow=True)
        return
    for role in found.approved_by or (None,):
        missing = [] if role is None else [f"!({strings_of(role, party.bound)})"]
        yield Claim(name, system.system, action, _text(system, action, [*terms, *missing]))


def strings_of(role: str, bound: Slice) -> str:
    """Return, in Cedar, that somebody said yes at some seat of a role."""
    seats = sorted({role, *(seat for seat in seats_of(bound) if role_of(seat) == role)})
    return f"context.approvals.containsAny({strings(seats)})"


def seats_of(bound: Slice) -> frozenset[str]:
    """Return every seat whose yes some rule of a slice asks for or accepts."""
    grants = (seat for grant in bound.grants if grant.approval for seat in grant.approval.seats)
    guards = (role for each in bound.guardrails.values() for role in each.roles)
    permits = (role for each in bound.permits.values() for role in each.roles)
    return frozenset({*grants, *guards, *permits, RESTRAINED_ROLE})


def _unapproved(bound: Slice) -> list[str]:
    return [f"!(context.approvals.containsAny({strings(sorted(seats_of(bound)))}))"]


def _terms(calls: CallClass) -> Iterator[str]:
    """Yield what a call must satisfy to be of the class, in Cedar."""
    if calls.objects is not None and "*" not in calls.objects:
        yield any_of([f"resource.path like {pattern(each)}" for each in calls.objects])
    when = calls.when
    if when is not None and (when.hours or when.days or when.workdays):
        yield from WindowRule(when.hours, when.days, workdays=when.workdays).conditions()
    for name, condition in (when.arguments if when else {}).items():
        for test in tests_of(name, condition, NOWHERE):
            yield any_of(ArgumentRule(test).clauses())
    if calls.delegated is not None:
        yield from DelegatedRule(calls.delegated).conditions()


def _text(system: System, action: str, terms: Sequence[str]) -> str:
    lines = [
        annotation("reason", "a property of the estate"),
        "forbid (",
        "  principal,",
        f"  action == {entity('Action', action_id(system.system, action))},",
        "  resource",
        ")",
    ]
    return "\n".join([*lines, *(f"when {{ {term} }}" for term in terms)]) + ";\n"
