"""What proofs are tested with: a solver or none, and worlds of `cedar_fuzz` as a proof sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cedarpy

from cedar_fuzz import Verdict, World, by_cedar
from charter.adapters.z3_solver import Z3Solver
from charter.policy.cedar_value import Fixed, Moment, Span
from charter.policy.expression import NotModelledError
from charter.proof.cedar import Rule, rule_of
from charter.proof.prover import Found, Prover, Solver, Unknown
from charter.proof.search import Means, plain_noon
from charter.proof.symbol import Fields, Kind, Listed, Named, Scalar, Symbol, Thing
from charter.proof.term import TRUE, Term, evaluate, number, text, truth, value
from policies import ENGINE, TUESDAY_NOON


def means(solver: Solver | None = None) -> Means:
    """Return what proofs are made with in tests."""
    return Means(Prover(solver or Z3Solver()), ENGINE, ENGINE, TUESDAY_NOON, plain_noon(TUESDAY_NOON))


class Helpless:
    """A solver that never finds out."""

    def solve(self, claim: Term, wishes: Sequence[Term]) -> Found:
        del claim, wishes
        return Unknown("the solver gave up: timeout")


KINDS = {int: Kind.LONG, Fixed: Kind.DECIMAL, Moment: Kind.DATETIME, Span: Kind.DURATION}


class Unknowns:
    """Symbols for values, and the values."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def symbol(self, name: str, given: Any) -> Symbol:
        """Return an unknown of the type of `given`, which its value is."""
        match given:
            case bool():
                self.values[name] = given
                return Scalar(Kind.BOOL, truth(name))
            case str():
                self.values[name] = given
                return Scalar(Kind.TEXT, text(name))
            case int():
                self.values[name] = int(given)
                return Scalar(KINDS[type(given)], number(name))
            case dict():
                return Fields({each: (TRUE, self.symbol(f"{name}.{each}", its)) for each, its in given.items()})
            case frozenset() if all(type(each) is str for each in given):
                self.values[name] = given
                return Named(name)
            case frozenset():
                return Listed(tuple(Scalar(Kind.LONG, value(int(each[1]))) for each in sorted(given, key=repr)))
            case _:
                raise TypeError(type(given))

    def attributes(self, name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> Fields:
        """Return attributes of which nobody knows whether they are there."""
        members: dict[str, tuple[Term, Symbol]] = {}
        for each in known:
            presence = truth(f"{name}.{each}?")
            self.values[f"{name}.{each}?"] = each in given
            members[each] = (presence, self.symbol(f"{name}.{each}", given.get(each, "")))
        return Fields(members)


def variables_of(world: World, names: tuple[str, ...]) -> tuple[dict[str, Symbol], dict[str, Any]]:
    """Return the variables of a request, unknown, and what they are in this world."""
    unknowns = Unknowns()
    found: dict[str, Symbol] = {}
    for place, name in enumerate(("principal", "action", "resource")):
        uid, within = world.setting[2 * place], world.setting[2 * place + 1]
        unknowns.values[f"{name}.id"] = uid[1]
        attributes = {} if name == "action" else getattr(world, name)
        own = unknowns.attributes(name, attributes, () if name == "action" else names)
        found[name] = Thing(uid[0], text(f"{name}.id"), frozenset(within) - {uid}, own)
    found["context"] = unknowns.attributes("context", world.context, names)
    return found, unknowns.values


def by_terms(rules: Mapping[str, tuple[bool, Rule]], values: Mapping[str, Any]) -> Verdict:
    """Return what terms say of a world: each policy as (whether it forbids, its rule)."""
    satisfied: dict[bool, set[str]] = {True: set(), False: set()}
    erred = set()
    for name, (forbids, rule) in rules.items():
        if evaluate(rule.errs, values):
            erred.add(name)
        elif evaluate(rule.satisfied, values):
            satisfied[forbids].add(name)
    if satisfied[True]:
        return "deny", frozenset(satisfied[True]), frozenset(erred)
    return "allow" if satisfied[False] else "deny", frozenset(satisfied[False]), frozenset(erred)


def read_rules(policies: Mapping[str, Any], variables: Mapping[str, Symbol]) -> dict[str, tuple[bool, Rule]]:
    """Return the policies that are modelled, as terms."""
    found = {}
    for name, policy in policies.items():
        try:
            found[name] = (policy["effect"] == "forbid", rule_of(policy, variables))
        except NotModelledError:
            continue
    return found


def agree(world: World, policies: Mapping[str, Any], bound: cedarpy.PolicySet, names: tuple[str, ...]) -> int:
    """Hold terms to Cedar on one world; return how many policies were modelled."""
    variables, values = variables_of(world, names)
    rules = read_rules(policies, variables)
    decision, reasons, erred = by_cedar(world, bound)
    if len(rules) == len(policies):
        assert by_terms(rules, values) == (decision, reasons, erred), (policies, world)
        return len(rules)
    for name, (_, rule) in rules.items():
        assert bool(evaluate(rule.errs, values)) == (name in erred), (policies[name], world)
    return len(rules)
