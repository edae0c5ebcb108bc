"""Policies for whoever does not know what a session has read: where they read `context.flow`, the stricter is assumed.

Each policy is replaced by one that reads nothing of the flow, and is at least as strict whatever the flow is: a forbid
forbids wherever some flow would make it forbid, a permit permits only where every flow would. So what the policies that
come of it allow, the policies themselves allow, whatever the session has read.

    forbid … when { resource.external && context.flow.exposed }        forbid … when { resource.external && true }
    permit … unless { context.flow.exposed || principal.restrained }   permit … unless { true || principal.restrained }

Expressions are Cedar's JSON (EST). `&&`, `||` and `!` are followed; any other expression that reads the flow is taken
whole for what it could be.
"""

from __future__ import annotations

from typing import Any, Final

from charter.policy.engine import Json

_VALUES: Final = {True: {"Value": True}, False: {"Value": False}}
MAX_DEPTH = 256  # beyond what the engine binds


def assumed(policy: Json) -> Json:
    """Return a policy that reads nothing of the flow and, whatever the flow, is at least as strict as `policy`.

    Raises:
        RecursionError: it nests deeper than the engine binds.
    """
    forbids = policy["effect"] == "forbid"
    conditions = [
        {"kind": each["kind"], "body": _taken_for(each["body"], (each["kind"] == "when") is forbids, 0)}
        for each in policy.get("conditions", ())
    ]
    return policy | {"conditions": conditions}


def reads_flow(expression: Any, depth: int = 0) -> bool:  # noqa: ANN401 - any JSON value
    """Whether an expression could read what a session has read."""
    if depth > MAX_DEPTH:
        raise RecursionError("the policy nests too deep")
    if isinstance(expression, list):
        return any(reads_flow(each, depth + 1) for each in expression)
    if not isinstance(expression, dict):
        return False
    for name, said in expression.items():
        if name == "Var":
            if said == "context":  # the whole of it, flow and all
                return True
        elif _is_part(name, said):
            if said["attr"] == "flow":
                return True
        elif name != "Value" and reads_flow(said, depth + 1):
            return True
    return False


def _is_part(name: str, said: Any) -> bool:  # noqa: ANN401
    """Whether this reads, or asks for, one attribute of the context itself."""
    return name in (".", "has") and isinstance(said, dict) and said.get("left") == {"Var": "context"}


def _taken_for(expression: Json, could_be: bool, depth: int) -> Json:
    """Return an expression without the flow, that is `could_be` wherever some flow would make this one so."""
    if depth > MAX_DEPTH:
        raise RecursionError("the policy nests too deep")
    if not reads_flow(expression):
        return expression
    for name in ("&&", "||"):
        if name in expression:
            parts = expression[name]
            return {name: {side: _taken_for(parts[side], could_be, depth + 1) for side in ("left", "right")}}
    if "!" in expression:
        return {"!": {"arg": _taken_for(expression["!"]["arg"], not could_be, depth + 1)}}
    return _VALUES[could_be]
