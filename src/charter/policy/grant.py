"""Grants compiled to Cedar: for each one readable, stable `permit`, with its id and its place in the file.

    @id("refund-agent/grant-1")
    @source("principals/refund-agent.yaml:13:5")
    permit (principal == …, action in […], resource in Charter::System::"payments")
    when { resource.path like "charge/*" }
    when { … };

INVARIANT: an argument that is missing or cannot be read exactly satisfies no condition. One thing alone is free of a
condition on an amount: an action that only reads and has no such amount in its system's file, where another action of
the same grant has it, and the call does not bring it anyway. So `[charge.read, refund.create]` with `amount: {max: 200
EUR}` lets charges be read, and refunds of at most 200 EUR be made.
INVARIANT: an approval falls away only where its condition surely does not hold: an amount that is missing, in another
unit or not exact needs the approval.
INVARIANT: a limit on a sum is a condition too: what cannot be counted is not allowed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from charter.core.values import Source
from charter.policy.argument_tests import EachLikeTest, tests_of
from charter.policy.cedar_text import annotation, any_of, entity, quoted, strings
from charter.policy.condition import (
    ArgumentRule,
    Condition,
    DelegatedRule,
    ObjectRule,
    SumRule,
    WindowRule,
    action_ids,
    texts_of,
)
from charter.policy.verdict import LimitDue
from charter.policy.vocabulary import Question
from charter.registry.charter import EVERY_ACTION, ArgumentCondition, Charter, Effect, Grant, Limit
from charter.registry.seat import seats_of
from charter.registry.system import System, below
from charter.registry.unit import normal, told_in
from charter.registry.window import Window

Sources = Mapping[str, Source]
SCALE = 10_000  # sums are counted in 1/10,000 of the unit, as Cedar's decimals are


def place(sources: Sources, dotted: str) -> Source | None:
    """Return where `dotted` stands, or the nearest thing around it that does; None if nothing is known."""
    while dotted and dotted not in sources:
        dotted = dotted.rpartition(".")[0]
    return sources.get(dotted)


@dataclass(frozen=True, slots=True)
class ApprovalNeed:
    """The people who must say yes, unless one of the rules surely does not hold. Without rules, always."""

    seats: tuple[str, ...]
    rules: tuple[ArgumentRule, ...] = ()
    source: Source | None = None
    within: dt.timedelta | None = None  # how long they have

    def is_needed(self, question: Question) -> bool:
        """Whether the call needs the approval."""
        return not any(rule.surely_not(question) for rule in self.rules)

    def text(self) -> str:
        """Return, in Cedar, that the approval is given or not needed."""
        free = [term for rule in self.rules for term in rule.surely_not_terms()]
        bracketed = [term if term.startswith("(") else f"({term})" for term in free]
        given = f"contains({quoted(self.seats[0])})" if len(self.seats) == 1 else f"containsAll({strings(self.seats)})"
        return any_of([*bracketed, f"context.approvals.{given}"])


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit of a grant, with the key of its counter."""

    key: str
    limit: Limit
    source: Source | None = None
    text: str = field(init=False)
    window: Window = field(init=False)
    ceiling: int = field(init=False)

    def __post_init__(self) -> None:
        limit = self.limit
        plural = "s" if limit.count != 1 else ""
        what = f"{limit.count} call{plural}" if limit.max is None else f"{limit.max} of `{limit.sum}`"
        object.__setattr__(self, "text", f"{what} {limit.time}")
        object.__setattr__(self, "window", limit.window)
        object.__setattr__(
            self, "ceiling", limit.count if limit.max is None else _scaled(normal(limit.max.value, limit.max.unit)[0])
        )

    def due(self, question: Question) -> LimitDue | None:
        """Return what an allowed call must be counted as; None if it has no such amount."""
        if self.limit.count is not None:
            amount = 1
        else:
            quantity = question.given.get(self.limit.sum or "", {}).get("quantity")
            if quantity is None:
                return None
            amount = int(quantity["value"])
        return LimitDue(self.key, self.window, amount, self.ceiling, self.text, self.source, self.limit.sum)


def _scaled(value: Decimal) -> int:
    return int(value * SCALE)


@dataclass(frozen=True, slots=True)
class GrantRule:
    """One compiled grant."""

    id: str  # `refund-agent/grant-1`
    system: str
    actions: tuple[str, ...]  # those the system has
    conditions: tuple[Condition, ...]
    approval: ApprovalNeed | None
    limits: tuple[LimitRule, ...]
    text: str  # Cedar
    place: str  # `grants.0`
    source: Source | None

    @property
    def zones(self) -> frozenset[str]:
        """The time zones its conditions are told in."""
        return frozenset(each.zone for each in self.conditions if isinstance(each, WindowRule))

    @property
    def calendars(self) -> frozenset[tuple[str, str]]:
        """The calendars its conditions name, each with the zone in which its days are days."""
        windows = [each for each in self.conditions if isinstance(each, WindowRule)]
        return frozenset((each.zone, each.workdays) for each in windows if each.workdays is not None)

    @property
    def alike(self) -> frozenset[tuple[str, str]]:
        """The arguments whose every entry must match a pattern, each with the pattern."""
        rules = [each for each in self.conditions if isinstance(each, ArgumentRule)]
        rules += self.approval.rules if self.approval else ()
        return frozenset((t.argument, t.pattern) for each in rules if isinstance(t := each.test, EachLikeTest))

    @property
    def arguments(self) -> frozenset[str]:
        """The arguments its conditions, approval and limits read."""
        rules = [each for each in self.conditions if isinstance(each, ArgumentRule)]
        rules += self.approval.rules if self.approval else ()
        sums = {each.argument for each in self.conditions if isinstance(each, SumRule)}
        return frozenset({rule.test.argument for rule in rules} | sums)

    def failures(self, question: Question) -> tuple[Condition, ...]:
        """Return the conditions the call does not satisfy, the approval apart."""
        return tuple(each for each in self.conditions if not each.holds(question))

    def dues(self, question: Question) -> tuple[LimitDue, ...]:
        """Return what an allowed call must be counted against."""
        if not self.limits:
            return ()
        return tuple(due for each in self.limits if (due := each.due(question)) is not None)


def compile_grants(charter: Charter, sources: Sources, systems: Mapping[str, System]) -> tuple[GrantRule, ...]:
    """Return the charter's grants compiled, in its order; one that covers no action of its system is left out.

    `systems` holds each system that a grant names.
    """
    return compile_for(charter.principal, charter.grants, sources, systems)


def compile_for(
    party: str, grants: Sequence[Grant], sources: Sources, systems: Mapping[str, System]
) -> tuple[GrantRule, ...]:
    """Return the grants of any party compiled; `sources` has their places under `grants`."""
    rules = []
    for index, grant in enumerate(grants):
        system = systems[grant.system]
        if system.granted(grant):
            rules.append(_compile(party, index, grant, sources, system))
    return tuple(rules)


def _compile(principal: str, index: int, grant: Grant, sources: Sources, system: System) -> GrantRule:
    rule_id, dotted = f"{principal}/grant-{index + 1}", f"grants.{index}"
    conditions = _conditions(grant, dotted, sources, system)
    approval = _approval(grant, dotted, sources, system)
    source = place(sources, dotted)
    return GrantRule(
        id=rule_id,
        system=system.system,
        actions=system.granted(grant),
        conditions=conditions,
        approval=approval,
        limits=tuple(
            LimitRule(f"{rule_id}/limit-{number}", limit, place(sources, f"{dotted}.limit.{number - 1}"))
            for number, limit in enumerate(grant.limit, start=1)
        ),
        text=_permit(rule_id, principal, grant, system, (conditions, approval, source)),
        place=dotted,
        source=source,
    )


def _conditions(grant: Grant, dotted: str, sources: Sources, system: System) -> tuple[Condition, ...]:
    found: list[Condition] = []
    if "*" not in grant.objects:
        found.append(_objects(grant, dotted, sources, system))
    when = grant.when
    if when and (when.hours or when.days or when.workdays):
        hours, days, work = (place(sources, f"{dotted}.when.{name}") for name in ("hours", "days", "workdays"))
        found.append(WindowRule(when.hours, when.days, hours, days, when.workdays, work))
    if grant.delegated:
        found.append(DelegatedRule(grant.delegated, place(sources, f"{dotted}.delegated")))
    for name, condition in (when.arguments if when else {}).items():
        found += _argument_rules(name, condition, f"{dotted}.when", sources, (grant, system))
    for number, limit in enumerate(grant.limit):
        if limit.sum is not None and limit.max is not None:
            free = free_actions(grant, system, limit.sum)
            found.append(
                SumRule(limit.sum, told_in(limit.max.unit) or "", free, place(sources, f"{dotted}.limit.{number}"))
            )
    return tuple(found)


def _objects(grant: Grant, dotted: str, sources: Sources, system: System) -> ObjectRule:
    """Return what the object must match: a pattern, a place or what is below it, or an object of a group."""
    patterns = [*grant.objects]
    told = [f"`{each}`" for each in grant.objects]
    for each in grant.under or ():
        patterns += below(each)
        told.append(f"`{each}` and all below it")
    for name in grant.groups or ():
        patterns += system.patterns_of(name) if name in (system.groups or {}) else ()
        told.append(f"those of the group `{name}`")
    field = "objects" if grant.objects else "under" if grant.under else "groups"
    return ObjectRule(tuple(patterns), place(sources, f"{dotted}.{field}"), tuple(told))


def _argument_rules(
    name: str, condition: ArgumentCondition, dotted: str, sources: Sources, of: tuple[Grant, System]
) -> list[ArgumentRule]:
    inner = f"{dotted}.arguments.{name}" if f"{dotted}.arguments.{name}" in sources else f"{dotted}.{name}"
    places = {field: place(sources, f"{inner}.{field}") for field in ArgumentCondition.model_fields}
    free = free_actions(*of, name)
    return [ArgumentRule(test, free) for test in tests_of(name, condition, places)]


def _approval(grant: Grant, dotted: str, sources: Sources, system: System) -> ApprovalNeed | None:
    if grant.approval is None:
        return None
    rules = [
        rule
        for name, condition in grant.approval.when.items()
        for rule in _argument_rules(name, condition, f"{dotted}.approval.when", sources, (grant, system))
    ]
    seats = seats_of(grant.approval.by, grant.approval.count or 1)
    return ApprovalNeed(seats, tuple(rules), place(sources, f"{dotted}.approval"), grant.approval.within)


def free_actions(grant: Grant, system: System, amount: str) -> tuple[str, ...]:
    """Return the ids of the grant's actions that a condition on `amount` says nothing about."""
    granted = system.granted(grant)
    has_amount = {name for name in granted if amount in system.actions[name].amounts}
    if not has_amount:
        return ()
    free = [name for name in granted if name not in has_amount and system.actions[name].effect is Effect.READ]
    return action_ids(system.system, free)


def _permit(
    rule_id: str,
    principal: str,
    grant: Grant,
    system: System,
    parts: tuple[tuple[Condition, ...], ApprovalNeed | None, Source | None],
) -> str:
    conditions, approval, source = parts
    lines = [annotation("id", rule_id)]
    if source:
        lines.append(annotation("source", str(source)))
    if approval:
        lines.append(annotation("approval", ", ".join(approval.seats)))
    is_every = grant.actions == (EVERY_ACTION,)
    lines += [
        "permit (",
        f"  principal == {entity('Principal', principal)},",
        "  action," if is_every else f"  {_action_scope(system, grant)},",
        f"  resource in {entity('System', system.system)}",
        ")",
    ]
    texts = [text for condition in conditions for text in texts_of(condition)]
    if approval:
        texts.append(approval.text())
    return "\n".join([*lines, *(f"when {{ {text} }}" for text in dict.fromkeys(texts))]) + ";\n"


def _action_scope(system: System, grant: Grant) -> str:
    actions = [entity("Action", each) for each in action_ids(system.system, system.granted(grant))]
    return f"action == {actions[0]}" if len(actions) == 1 else f"action in [{', '.join(actions)}]"
