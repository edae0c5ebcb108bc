"""What a caller can be asked through its client, and what it answers: elicitation, sampling, roots.

*Legacy* clients say at `initialize` what they can be asked, and are asked by requests in the stream of their call.
*Modern* ones say it with each request, and are asked by a result that has them send the request again with the answers
(2026-07-28 basic/patterns/mrtr). Nobody is asked for what their client did not say that it can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from charter.gateway.mcp_answers import SERVER_INFO, Message
from charter.gateway.mcp_protocol import SERVER_INFO_KEY

MAX_ANSWERS = 16  # in one request
MAX_STATE = 4096  # characters


class Ability(StrEnum):
    """What a client can be asked for."""

    FORM = "form"  # elicitation, in a form of the client's
    URL = "url"  # elicitation, at an address that a person opens
    SAMPLING = "sampling"
    ROOTS = "roots"


def abilities_of(capabilities: object) -> frozenset[Ability]:
    """Return what a client says that it can be asked for; an elicitation of no mode is one of forms."""
    if not isinstance(capabilities, dict):
        return frozenset()
    found = {each for each in (Ability.SAMPLING, Ability.ROOTS) if isinstance(capabilities.get(each.value), dict)}
    modes = capabilities.get("elicitation")
    if isinstance(modes, dict):
        found |= {each for each in (Ability.FORM, Ability.URL) if isinstance(modes.get(each.value), dict)}
        if not modes:
            found.add(Ability.FORM)
    return frozenset(found)


def input_required(requests: Mapping[str, Message], state: str | None = None) -> dict[str, Any]:
    """Return the result that has a modern client answer `requests` and send its request again, with `state`."""
    told = {"resultType": "input_required", "inputRequests": dict(requests), "_meta": {SERVER_INFO_KEY: SERVER_INFO}}
    return told if state is None else told | {"requestState": state}


def action_of(answer: object) -> str:
    """Return what a person did with an elicitation: `accept`, `decline` or, whatever else is said, `cancel`."""
    action = answer.get("action") if isinstance(answer, dict) else None
    return action if action in ("accept", "decline") else "cancel"
