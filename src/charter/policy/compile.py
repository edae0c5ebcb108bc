"""Cedar policies compiled to Python: one function for each shape of policy, the values it names bound beside it.

    permit (principal, action, resource in Charter::System::"crm") when { resource.path like "contact/*" };

        def rule(p, r, c, e, v):
            return (v[0] in e[5]) and (t0 if type(t0 := r["path"]) is str else fail()).startswith(v[1])
        v = (("Charter::System", "crm"), "contact/")

`p`, `r` and `c` are the attributes of principal, resource and context; `e` holds the uids of principal, action and
resource, each with all that it is in. Policies that differ in nothing but the values they name share one function, so
what is compiled grows with the patterns of an estate and not with its principals.

A function is true where Cedar would find the policy satisfied, and raises where Cedar would report an error.

INVARIANT: what is not modelled raises `NotModelledError` and is left to Cedar; nothing is approximated
(`expression.py` lists it).
INVARIANT: no byte of a policy's text stands in the code but identifiers and operators; every value is in a slot.
INVARIANT: a value's exact type is asked before it is used, wherever Cedar would ask (`cedar_value.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from charter.policy.cedar_value import Record, Uid
from charter.policy.engine import Json
from charter.policy.expression import NAMES, NotModelledError, Writer, uid_of

__all__ = ["Compiled", "NotModelledError", "Rule", "compile_policy", "in_scope"]

MAX_SHAPES = 20_000  # kept compiled; one takes about 2 kB


class Rule(Protocol):
    """A compiled shape."""

    def __call__(self, p: Record, r: Record, c: Record, e: Sequence[Any], v: Sequence[Any], /) -> bool:
        """Return whether the policy is satisfied; raise if it errs."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """One policy. The scope of its action is decided where it is bound; the function has the rest."""

    forbids: bool
    action: Json
    rule: Rule
    values: tuple[Any, ...]
    reads_now: bool


@lru_cache(maxsize=MAX_SHAPES)
def _rule(code: str) -> Rule:
    found: dict[str, Rule] = {}
    exec(compile(code, "<policy>", "exec"), NAMES, found)  # noqa: S102 - it holds identifiers, operators, slot numbers
    return found["rule"]


def compile_policy(policy: Json) -> Compiled:
    """Return `policy`, in Cedar's JSON format, compiled.

    Raises:
        NotModelledError: it is left to Cedar.
    """
    writer = Writer()
    terms = [*_scope(writer, policy["principal"], 0), *_scope(writer, policy["resource"], 4)]
    for condition in policy["conditions"]:
        is_when = condition["kind"] == "when"
        body = writer.taken(condition["body"], bool, 0)
        terms.append(body if is_when else f"not {body}")
        writer.known = writer.known_if[is_when]  # the next is asked only if this one holds
    code = f"def rule(p, r, c, e, v):\n    return {' and '.join(terms) or 'True'}\n"
    try:
        rule = _rule(code)
    except (SyntaxError, RecursionError, MemoryError) as err:  # Python's own bounds on what nests
        raise NotModelledError("it nests too deeply") from err
    return Compiled(
        policy["effect"] == "forbid",
        policy["action"],
        rule,
        tuple(writer.values),
        '"now"' in code,
    )


def in_scope(constraint: Json, uid: Uid, within: Sequence[Uid]) -> bool:
    """Whether an entity that is in `within`, itself included, satisfies a scope.

    Raises:
        NotModelledError: the scope has a slot.
    """
    match constraint:
        case {"op": "All"}:
            return True
        case {"op": "==", "entity": entity}:
            return uid == uid_of(entity)
        case {"op": "in", "entities": entities}:
            return any(uid_of(each) in within for each in entities)
        case {"op": "in", "entity": entity}:
            return uid_of(entity) in within
        case {"op": "is", "entity_type": kind, **rest}:
            inner = rest.get("in")
            return uid[0] == kind and (inner is None or in_scope({"op": "in"} | inner, uid, within))
        case _:
            raise NotModelledError("its scope has a slot")


def _scope(writer: Writer, constraint: Json, at: int) -> list[str]:
    """Return the terms of the scope of the entity whose uid `e` has `at`."""
    match constraint:
        case {"op": "All"}:
            return []
        case {"op": "==", "entity": entity}:
            return [f"(e[{at}] == {writer.slot(uid_of(entity))})"]
        case {"op": "in", "entity": entity}:
            return [f"({writer.slot(uid_of(entity))} in e[{at + 1}])"]
        case {"op": "is", "entity_type": kind, **rest}:
            terms = [f"(e[{at}][0] == {writer.slot(kind)})"]
            inner = rest.get("in")
            return terms if inner is None else [*terms, *_scope(writer, {"op": "in"} | inner, at)]
        case _:
            raise NotModelledError("its scope has a slot")
