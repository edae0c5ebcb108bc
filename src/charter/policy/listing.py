"""A slice as a person reads it: the Cedar that is bound, in its order, with the name and place of what people wrote.

What Charter compiles says its `@id` and `@source` itself. A guardrail and the Cedar beside a charter are bound as they
were written, so a comment above each tells what verdicts call it, and where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from charter.policy.builtin import BUILT_IN
from charter.policy.guardrail import Guardrail
from charter.policy.slice import Slice


def told(bound: Slice) -> str:
    """Return all policies of a slice as Cedar text in a stable order: built-in, guardrails, grants, own permits."""
    return "\n".join(_policies(bound))


def _policies(bound: Slice) -> Iterator[str]:
    yield from BUILT_IN.values()
    for guardrail in bound.guardrails.values():
        yield f"// {guardrail.id}, {guardrail.source}\n{_with_companion(guardrail)}"
    yield from (grant.text for grant in bound.grants)
    for permit in bound.permits.values():
        yield f"// {permit.id}, {permit.source}\n{permit.text}"


def _with_companion(guardrail: Guardrail) -> str:
    own, *companions = guardrail.texts
    return "".join([own, *(f"\n// what it cannot read, it stops too\n{each}" for each in companions)])
