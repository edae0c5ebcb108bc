"""Questions of MCP gateways and servers (OpenID COAZ-MCP, Draft 1): which action of which system a message is.

The draft maps each MCP message to a question. Its default mapping names the tool and not what it is called with, which
is enough for actions that touch no particular object; for all others `mapping_of` writes the declared mapping, which an
MCP server shows in its tool's input schema (`x-authzen-mapping`).

    tools/call on tool NAME        the action that the tool performs
    any other method               the action that is called like the method; undeclared ones are denied

    subject {type: identity, id: token.sub}, context.agent: token.client_id
        the same principal                by itself
        a person, or another principal    the agent, under a delegation that begins with that subject

INVARIANT: where several systems of a point could be meant, none is.
"""

from __future__ import annotations

import re
from typing import Any

from charter.gateway.evaluation import Evaluation
from charter.policy.object_path import placeholders
from charter.registry.principal import SystemRecord
from charter.registry.system import System, SystemKind

IDENTITY = "identity"
SERVER, TOOL, PROMPT = "mcp_server", "tool", "prompt"
TYPES = frozenset({SERVER, TOOL, PROMPT, "resource", "task"})
CALL = "tools/call"
MAPPING = "x-authzen-mapping"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what CEL can select as a field
_BRACED = re.compile(r"\{([^{}]+)\}")


def system_meant(
    records: tuple[SystemRecord, ...], question: Evaluation, resources: dict[str, str]
) -> SystemRecord | None:
    """Return the MCP system that a question is about; `resources`: the systems' resource indicators, by address."""
    servers = [record for record in records if record.system.kind is SystemKind.MCP]
    if question.resource.type == SERVER:
        named = resources.get(question.resource.id, question.resource.id)
        fitting = [record for record in servers if record.name == named]
    else:
        fitting = [record for record in servers if action_meant(record.system, question) is not None]
    return fitting[0] if len(fitting) == 1 else None


def action_meant(system: System, question: Evaluation) -> str | None:
    """Return the action of `system` that a message is."""
    if question.action.name == CALL:
        return system.action_of_tool(question.resource.id) if question.resource.type == TOOL else None
    return question.action.name if question.action.name in system.actions else None


def object_meant(question: Evaluation) -> str | None:
    """Return what of the resource's id names the object; None: what the action's template makes of the arguments."""
    if question.resource.type == TOOL:
        return None
    if question.resource.type == PROMPT:
        return f"prompt/{question.resource.id}"  # as the MCP gateway calls it
    return "server" if question.resource.type == SERVER else question.resource.id


def mapping_of(system: System, action: str) -> dict[str, Any]:
    """Return the declared mapping of the tool that performs `action`, with CEL where a value comes from the call."""
    return {
        "evaluation": {
            "subject": {"type": IDENTITY, "id": "$token.sub"},
            "action": {"name": action, "properties": "$params.arguments"},
            "resource": {"type": system.system, "id": _object_of(system.actions[action].object)},
            "context": {"agent": "$token.?client_id", "delegation": "$token.?chain.?delegation"},
        }
    }


def _object_of(template: str) -> str:
    """Return a template as the expression that fills it, or as the text that it is."""
    if not placeholders(template):
        return f"${template}" if template.startswith("$") else template
    terms = [
        f"string(params.arguments{_select(part)})" if is_argument else _text(part)
        for part, is_argument in _parts(template)
    ]
    return "$" + " + ".join(terms)


def _parts(template: str) -> list[tuple[str, bool]]:
    """Return a template's pieces in order, each with whether it is an argument's name."""
    pieces = _BRACED.split(template)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece or index % 2 == 1]


def _select(name: str) -> str:
    return f".{name}" if _PLAIN.fullmatch(name) else f"[{_text(name)}]"


def _text(value: str) -> str:
    """Return a CEL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
