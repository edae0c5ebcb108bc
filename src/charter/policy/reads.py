"""Which arguments the rules read that a call meets, in which forms, and the texts they compare them with.

A recorded call's texts are not kept. Whether its verdict rests on one, and on what about it, stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from charter.policy.argument_tests import ChoiceTest, EachLikeTest, EachTest, LikeTest, QuantityTest, SizeTest, Test
from charter.policy.condition import ArgumentRule, SumRule
from charter.policy.engine import Json
from charter.policy.grant import GrantRule
from charter.policy.guardrail import Guardrail
from charter.policy.own import OwnPermit
from charter.policy.slice import Slice
from charter.policy.vocabulary import action_id

TEXTUAL = frozenset({"text", "texts", "alike"})
_PRESENCE = frozenset({"presence"})


@dataclass(frozen=True, slots=True)
class Read:
    """One argument as one rule reads it. `patterns` are what it is compared with, `*` standing for any text."""

    rule: str
    argument: str
    forms: frozenset[str]
    patterns: tuple[str, ...] = ()

    @property
    def is_textual(self) -> bool:
        """Whether it reads the text itself."""
        return not self.forms.isdisjoint(TEXTUAL)


def reads_of(bound: Slice, system: str, action: str, effect: str) -> tuple[Read, ...]:
    """Return what the rules of a slice read of a call for `action`."""
    asked = {action_id(system, action): effect}
    guards = (each for each in bound.guardrails.values() if each.concerns(bound.principal, asked))
    written: tuple[Guardrail | OwnPermit, ...] = (*guards, *bound.permitting(system, action))
    grants = (read for grant in bound.covering(system, action) for read in _of_grant(grant))
    return (*grants, *(read for each in written for read in _of_written(each)))


def _of_grant(grant: GrantRule) -> Iterator[Read]:
    for each in (*grant.conditions, *(grant.approval.rules if grant.approval else ())):
        match each:
            case ArgumentRule():
                forms, patterns = _of_test(each.test)
                yield Read(grant.id, each.test.argument, forms, patterns)
            case SumRule():
                yield Read(grant.id, each.argument, frozenset({"quantity"}))
            case _:
                pass


def _of_test(test: Test) -> tuple[frozenset[str], tuple[str, ...]]:
    match test:
        case QuantityTest():
            return frozenset({"quantity"}), ()
        case ChoiceTest():
            forms = {
                "flag" if isinstance(c, bool) else "text" if isinstance(c, str) else "number" for c in test.choices
            }
            return frozenset(forms), tuple(each for each in test.choices if isinstance(each, str))
        case LikeTest():
            return frozenset({"text"}), (test.pattern,)
        case SizeTest():
            return frozenset({test.form}), ()
        case EachTest():
            return frozenset({"texts"}), test.choices
        case EachLikeTest():
            return frozenset({"alike"}), (test.pattern,)


def _of_written(rule: Guardrail | OwnPermit) -> Iterator[Read]:
    policies = rule.policies.values() if isinstance(rule, Guardrail) else (rule.policy,)
    patterns = tuple(dict.fromkeys(each for policy in policies for each in _patterns(policy["conditions"])))
    for argument, forms in sorted(rule.mentions.arguments.items()):
        yield Read(rule.id, argument, forms or _PRESENCE, patterns)


def _patterns(conditions: Iterable[Json]) -> Iterator[str]:
    """Yield every text that stands in a policy, patterns with their `*`."""
    stack: list[Any] = [condition["body"] for condition in conditions]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, Mapping):
            if isinstance(node.get("pattern"), list):
                yield "".join("*" if part == "Wildcard" else str(part.get("Literal", "")) for part in node["pattern"])
            elif isinstance(node.get("Value"), str):
                yield node["Value"]
            stack += [value for key, value in node.items() if key != "pattern"]
