"""The model that a call to a model provider asks for, held against what its caller's charter pins.

Only calls to systems of the kind `model` say it, in the argument `model`. What an agent asks a provider for by itself,
nobody here sees; there its charter declares it, and nothing attests it.
"""

from __future__ import annotations

from charter.gateway.call import Call
from charter.registry.composition import Part
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.system import SystemKind

ARGUMENT = "model"


def other_model(live: LiveEstate, principal: Principal, record: SystemRecord, call: Call) -> str | None:
    """Return the model that a call asks for (`provider/name`) if it is none that was accepted; else None."""
    composed = live.compositions.get(principal.id)
    accepted = composed.accepted.get(Part.MODEL.value) if composed else None
    asked = call.arguments.get(ARGUMENT)
    if accepted is None or record.system.kind is not SystemKind.MODEL or not isinstance(asked, str):
        return None
    provider = record.system.provider or accepted[0].partition("/")[0]
    model = f"{provider}/{asked}"
    return None if model in accepted else model
