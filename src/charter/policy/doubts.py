"""What Cedar that an estate holds says otherwise than its author meant, as far as that is seen without a proof.

    nested        an expression that Cedar reads, and will not read back from its own form: a problem
    overflow      arithmetic that leaves Cedar's range: a problem if it always does, else a warning
    unbounded     `like "*"`: every text is like it
    everybody     a guardrail without a condition, on everything: it stops every call there is
    nobody        a role whose yes lets calls by, and which nobody holds

Each is told at its place. Whether rules leave anything together is for proofs (`charter prove`, `charter plan`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from charter.core.values import Source
from charter.policy.engine import Engine, Json
from charter.policy.guardrail import Guardrail
from charter.policy.overflow import LIKELY, overflows
from charter.policy.own import OwnPermit, parse_own
from charter.policy.statement import Statement
from charter.registry.estate import Estate
from charter.registry.problem import EstateError, Problem
from charter.registry.seat import is_seat, role_of

MAX_NESTED = 124  # levels of a policy's parsed form; a set of policies holds it within two more, and Cedar reads 127
_HUGE = "such a policy errs, and denies whatever it is about; write smaller numbers"


def sure_faults(statement: Statement, policy: Json) -> Iterator[Problem]:
    """Yield a problem for each operation that overflows whatever a call gives, and for what Cedar will not bind."""
    yield from (problem for is_sure, problem in _overflows(statement, policy) if is_sure)
    if _depth(policy) > MAX_NESTED:
        text = "too many conditions stand in a row here for Cedar to read them back"
        yield Problem.at(statement.source, text, "divide them among several `when { … }`: all of them must hold")


def doubts(guardrails: Sequence[Guardrail], estate: Estate, engine: Engine) -> Iterator[Problem]:
    """Yield the warnings about the Cedar of an estate that has no problem."""
    for each in guardrails:
        policy = each.policies[each.id]
        yield from _of_text(each.statement, policy)
        yield from _everybody(each, policy)
        yield from _nobody(each, estate)
    for name, part in estate.charters.items():
        try:
            own = parse_own(name, part.value.policy, engine) if part.value.policy else None
        except EstateError:
            continue
        for permit in own.permits.values() if own else ():
            yield from _of_text(permit.statement, permit.policy)
            yield from _nobody(permit, estate)
        for forbid in own.forbids if own else ():
            yield from _of_text(forbid.statement, forbid.policies[forbid.id])
            yield from _nobody(forbid, estate)


def _of_text(statement: Statement, policy: Json) -> Iterator[Problem]:
    yield from (problem for is_sure, problem in _overflows(statement, policy) if not is_sure)
    if any(_likes_anything(condition["body"]) for condition in policy["conditions"]):
        where = _source_of(statement, "like")
        yield Problem.at(where, "every text is like `*`", "write what it begins or ends with, or remove the condition")


def _overflows(statement: Statement, policy: Json) -> Iterator[tuple[bool, Problem]]:
    for each in overflows(policy):
        where = _source_of(statement, *each.literals, each.operator)
        always = f"this always leaves the range of Cedar's numbers ({each.operator})"
        for_some = (
            f"this leaves the range of Cedar's numbers ({each.operator}) where a call gives numbers up to {LIKELY:g}"
        )
        yield each.is_sure, Problem.at(where, always if each.is_sure else for_some, _HUGE)


def _everybody(guardrail: Guardrail, policy: Json) -> Iterator[Problem]:
    scopes = (policy["principal"], policy["action"], policy["resource"])
    if not policy["conditions"] and all(each["op"] == "All" for each in scopes):
        text = f"`{guardrail.name}` stops every call of every principal, so no charter allows anything"
        yield Problem.at(guardrail.source, text, "say in its scope or in `when { … }` which calls are meant")


def _nobody(rule: Guardrail | OwnPermit, estate: Estate) -> Iterator[Problem]:
    roles = estate.teams.value.roles
    for seat in sorted(rule.roles):
        if is_seat(seat) and not roles.get(role_of(seat), ("",)):
            text = f"it waits for a yes of `{role_of(seat)}`, and nobody holds that role"
            held = estate.teams.source_of(f"roles.{role_of(seat)}")
            yield Problem.at(_source_of(rule.statement, seat), text, f"name a person at {held}")


def _depth(policy: Json) -> int:
    deepest = 0
    stack: list[tuple[Any, int]] = [(policy, 1)]
    while stack:
        node, level = stack.pop()
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        deepest = max(deepest, level if isinstance(node, dict | list) else 0)
        stack += [(each, level + 1) for each in inner]
    return deepest


def _likes_anything(node: Any) -> bool:  # noqa: ANN401 - any JSON value
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack += each
        elif isinstance(each, dict):
            like = each.get("like")
            if isinstance(like, dict) and like.get("pattern") and all(part == "Wildcard" for part in like["pattern"]):
                return True
            stack += each.values()
    return False


def _source_of(statement: Statement, *words: str) -> Source:
    found = (statement.find(word) for word in words)
    token = next((each for each in found if each is not None), None)
    return statement.source_of(token) if token else statement.source
