"""What policy read of a call, as evidence keeps it, so that the call can be decided again.

    {"arguments": {"amount": {"quantity": {"value": "150", "unit": "EUR"}}, "note": {"withheld": true, "length": 12},
                   "reason": null},
     "approvals": ["payments-lead"], "restrained": [], "parties": [{"name": …, "charter": 3}], "tool_pin": "sha256:…",
     "at": "2026-11-24T09:30:00.000000Z"}

Only arguments that the policies at hand name, or that the system's file calls amounts, are told: numbers, flags, exact
amounts, and how long a text or list is. The texts themselves are withheld: they may hold what does not belong in a log
that nothing is ever erased from. An argument that the call did not give is null; one that is not told is unknown.

INVARIANT: `read_asked` gives back exactly what `told_asked` told; what was not told is unknown, and never absent.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from charter.core.clock import parse_rfc3339, rfc3339
from charter.policy.cedar_value import Fixed, Record
from charter.policy.request import NO_FLOW, FlowFacts, Request, flow_json, read_flow
from charter.policy.vocabulary import record_of

MAX_TOLD = 64  # arguments
MAX_NAME = 128  # characters of one's name
_TEXTUAL = ("text", "texts", "alike")
_SIZES = ("length", "items")
_SCALE = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a recorded call beside its system, action and object."""

    arguments: Mapping[str, Record | None] = field(default_factory=dict)  # None: the call did not give it
    withheld: frozenset[str] = frozenset()  # of these arguments, those whose text is not told
    approvals: frozenset[str] = frozenset()
    restrained: frozenset[str] = frozenset()  # names of parties
    parties: Mapping[str, int] = field(default_factory=dict)  # principals of the chain, with their charters' versions
    tool_pin: str | None = None  # digest of the tool's definition as it was; None: not known
    flow: FlowFacts = NO_FLOW  # where its values came from
    at: dt.datetime | None = None  # when it was decided; None: not known to the microsecond

    def knows(self, argument: str) -> bool:
        """Whether everything that policy could read of `argument` is told."""
        return argument in self.arguments and argument not in self.withheld


UNKNOWN = Asked()  # of a verdict from before this was recorded


def told_asked(
    request: Request, names: Iterable[str], parties: Sequence[tuple[str, int, bool]], tool_pin: str | None
) -> dict[str, Any]:
    """Return what evidence keeps of `request`.

    Args:
        request: the call as policy saw it.
        names: the arguments that policies name or a system's file declares.
        parties: the principals of the chain, caller last: name, version of the charter, whether it is restrained.
        tool_pin: the digest of the tool's definition.
    """
    wanted = [name for name in sorted(set(names)) if len(name) <= MAX_NAME][:MAX_TOLD]
    return {
        "arguments": {name: _told(record_of(request, name)) for name in wanted},
        "approvals": sorted(request.approvals),
        "restrained": [name for name, _, is_restrained in parties if is_restrained],
        "parties": [{"name": name, "charter": version} for name, version, _ in parties],
        "tool_pin": tool_pin,
        "at": rfc3339(request.at),
    } | ({"flow": flow_json(request.flow)} if request.flow != NO_FLOW else {})


def _told(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    told: dict[str, Any] = {name: record[name] for name in (*_SIZES, "flag") if name in record}
    if "number" in record:
        told["number"] = str(record["number"])  # beyond 2^53 JSON's readers disagree
    if "quantity" in record:
        value = Decimal(int(record["quantity"]["value"])) / _SCALE
        told["quantity"] = {"value": f"{value.normalize():f}", "unit": record["quantity"]["unit"]}
    if any(name in record for name in _TEXTUAL):
        told["withheld"] = True
    return told


def read_asked(told: object) -> Asked:
    """Return what `told_asked` told. What cannot be read is unknown."""
    if not isinstance(told, dict):
        return UNKNOWN
    arguments: dict[str, Record | None] = {}
    withheld: set[str] = set()
    for name, said in _members(told.get("arguments")):
        if said is None:
            arguments[name] = None
        elif isinstance(said, dict):
            arguments[name] = _record(said)
            if said.get("withheld"):
                withheld.add(name)
    parties = (each for each in told.get("parties", ()) if isinstance(each, dict))
    return Asked(
        arguments,
        frozenset(withheld),
        _words(told.get("approvals")),
        _words(told.get("restrained")),
        {str(each.get("name")): int(each.get("charter") or 0) for each in parties},
        str(told["tool_pin"]) if told.get("tool_pin") else None,
        read_flow(told.get("flow")),
        parse_rfc3339(told["at"]) if told.get("at") else None,
    )


def _record(said: Mapping[str, Any]) -> Record:
    record: Record = {name: said[name] for name in (*_SIZES, "flag") if name in said}
    if "number" in said:
        record["number"] = int(said["number"])
    quantity = said.get("quantity")
    if isinstance(quantity, dict):
        with contextlib.suppress(InvalidOperation):  # an entry of another version: its quantity is not known
            record["quantity"] = {"value": Fixed(Decimal(quantity["value"]) * _SCALE), "unit": str(quantity["unit"])}
    return record


def _members(found: object) -> Iterable[tuple[str, Any]]:
    return found.items() if isinstance(found, dict) else ()


def _words(found: object) -> frozenset[str]:
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
