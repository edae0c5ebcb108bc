"""The conditions of a Cedar policy one by one: how each is written, whether it holds of a call, and of what values.

    when { context.local["Europe/Berlin"].minute < 360 && resource.path like "charge/*" }

is two conditions. Each is put to the engine alone, in order, until one does not hold: what stands behind it was never
asked, and may not even be askable. The engine that decides says whether a condition holds; nothing here interprets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from charter.policy.cedar_value import Fixed
from charter.policy.decide import Answer, Evaluator
from charter.policy.engine import Engine, Json
from charter.policy.statement import Statement, Token
from charter.policy.vocabulary import Question

MAX_SHOWN = 120  # characters of one value
MAX_VALUES = 8  # of one condition
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_SCALE = Decimal(10_000)


class WhyEngine(Engine, Evaluator, Protocol):
    """A Cedar implementation that also evaluates what it bound."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of a policy."""

    text: str  # as written
    wants: bool  # False: it stands in an `unless`, and must not hold
    holds: bool | None  # None: it was not asked, since one before it decided; or it cannot be answered
    values: Mapping[str, str]  # what it read: `context.local["UTC"].minute` -> `545`

    @property
    def is_met(self) -> bool | None:
        """Whether it lets the policy apply."""
        return None if self.holds is None else self.holds is self.wants


@dataclass(frozen=True, slots=True)
class Asking:
    """One call, put to one rule after another."""

    question: Question
    group: str  # of its action
    approvals: frozenset[str]
    engine: WhyEngine

    def put(self, name: str, policy: Json) -> Answer:
        """Return what the engine says of the call by one policy alone."""
        bound = self.engine.bind({name: policy}, {self.question.action: self.group})
        return self.engine.evaluate(bound, self.question, self.approvals)


def clauses_of(policy: Json, statement: Statement | None, asking: Asking) -> tuple[Clause, ...]:
    """Return the conditions of `policy` as a call meets them; `statement` is what it was parsed from."""
    texts = list(_texts(statement)) if statement else []
    found: list[Clause] = []
    is_asked = True
    for number, condition in enumerate(policy["conditions"]):
        wants = condition["kind"] == "when"
        for part, text in _written(condition["body"], texts[number] if number < len(texts) else [], wants=wants):
            holds = _holds(part, asking) if is_asked else None
            clause = Clause(text, wants, holds, values_of(part, asking.question, asking.approvals))
            is_asked = is_asked and bool(clause.is_met)
            found.append(clause)
    return tuple(found)


def _written(body: Json, texts: Sequence[str], *, wants: bool) -> list[tuple[Json, str]]:
    """Return the parts of a condition with their texts; of an `unless`, which ends with its first part, the whole."""
    parts = _conjuncts(body) if wants else [body]
    if len(parts) == len(texts):
        return list(zip(parts, texts, strict=True))
    return [(body, " && ".join(texts) or "?")]


def _holds(body: Json, asking: Asking) -> bool | None:
    every = {"op": "All"}
    scope = {"effect": "permit", "principal": every, "action": every, "resource": every, "annotations": {}}
    answer = asking.put("condition", scope | {"conditions": [{"kind": "when", "body": body}]})
    return None if answer.errors else answer.allowed


def _conjuncts(body: Json) -> list[Json]:
    both = body.get("&&") if len(body) == 1 else None
    return [*_conjuncts(both["left"]), both["right"]] if both else [body]


def _texts(statement: Statement) -> Iterator[list[str]]:
    """Yield, for each `when` and `unless`, the texts between its outermost `&&`."""
    tokens, at = statement.tokens, 0
    while at < len(tokens):
        begins = tokens[at].kind == "name" and tokens[at].text in ("when", "unless")
        if begins and at + 1 < len(tokens) and tokens[at + 1].text == "{":
            end = _closing(tokens, at + 1)
            yield list(_parts(statement, tokens[at + 2 : end]))
            at = end
        at += 1


def _closing(tokens: Sequence[Token], start: int) -> int:
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at].text in _OPEN) - (tokens[at].text in _CLOSE)
        if depth == 0:
            return at
    return len(tokens)


def _parts(statement: Statement, tokens: Sequence[Token]) -> Iterator[str]:
    depth, part = 0, list[Token]()
    for token in tokens:
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if token.text == "&&" and depth == 0:
            yield _text(statement, part)
            part = []
        else:
            part.append(token)
    if part:
        yield _text(statement, part)


def _text(statement: Statement, tokens: Sequence[Token]) -> str:
    last = tokens[-1]
    return " ".join(statement.file[tokens[0].start : last.start + len(last.text)].split())


# --- values -----------------------------------------------------------------------------------------------------------


def values_of(body: Any, question: Question, approvals: frozenset[str]) -> dict[str, str]:  # noqa: ANN401 - Cedar's JSON
    """Return what a condition reads, by how Cedar spells it, as this call has it; at most MAX_VALUES."""
    told: dict[str, str] = {}
    for path in _paths(body):
        if len(told) >= MAX_VALUES:
            break
        found = _value(path, question, approvals)
        told[_spelled(path)] = "(not given)" if found is None else _shown(found)
    return told


def _paths(node: Any) -> Iterator[tuple[str, ...]]:  # noqa: ANN401
    path = _path(node)
    if len(path) > 1:
        yield path
        return
    for each in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _paths(each)


def _path(node: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(node, Mapping) or len(node) != 1:
        return ()
    if "Var" in node:
        return (str(node["Var"]),)
    access = node.get(".") or node.get("has")
    if not isinstance(access, Mapping):
        return ()
    base = _path(access["left"])
    return (*base, str(access["attr"])) if base else ()


def _value(path: Sequence[str], question: Question, approvals: frozenset[str]) -> Any:  # noqa: ANN401 - Cedar's value
    context = {
        "now": question.now,
        "local": question.local,
        "arguments": question.given,
        "approvals": approvals,
        "chain": question.chain,
        "flow": question.flow,
    }
    found: Any = {"principal": question.principal, "resource": question.resource, "context": context}
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _spelled(path: Sequence[str]) -> str:
    first, *others = path
    return first + "".join(f".{each}" if each.isidentifier() else f'["{each}"]' for each in others)


def _shown(value: Any) -> str:  # noqa: ANN401
    match value:
        case bool():
            text = "true" if value else "false"
        case Fixed():
            text = f"{(Decimal(int(value)) / _SCALE).normalize():f}"
        case frozenset() | set() | list() | tuple():
            text = "[" + ", ".join(sorted(map(str, value))) + "]"
        case Mapping():
            text = "{" + ", ".join(f"{name}: {_shown(each)}" for name, each in sorted(value.items())) + "}"
        case _:
            text = str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
