"""Which calls a principal's models proposed: an executed call is linked to the answer that decided it.

Kept in memory, bounded and for a while: what is forgotten shows as a call that no model is known to have proposed.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.core.canonical import digest_of
from charter.core.errors import CharterError
from charter.gateway.model_answer import ProposedCall

KEPT = dt.timedelta(hours=1)
MAX_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's answer that proposed a call."""

    response: str | None
    model: str | None
    verdict_id: str  # of the call to the model

    def to_json(self) -> dict[str, Any]:
        """Return it as evidence has it."""
        return {"response": self.response, "model": self.model, "verdict": self.verdict_id}


@dataclass(slots=True)
class Proposals:
    """The calls that models proposed lately, by principal."""

    _kept: OrderedDict[tuple[str, str], list[tuple[str, Answer, dt.datetime]]] = field(default_factory=OrderedDict)
    _asks: dict[str, dt.datetime] = field(default_factory=dict)  # principals, and when their models last answered

    def answers(self, principal_id: str, at: dt.datetime) -> None:
        """Know that a principal's models are asked here, whatever they propose."""
        self._asks[principal_id] = at

    def remember(self, principal_id: str, calls: Iterable[ProposedCall], answer: Answer, at: dt.datetime) -> None:
        """Keep what an answer proposes."""
        self.answers(principal_id, at)
        for call in calls:
            digest = _digest(call.arguments)
            if digest is None:
                continue
            self._kept.setdefault((principal_id, digest), []).append((call.name, answer, at))
            self._kept.move_to_end((principal_id, digest))
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def knows(self, principal_id: str, at: dt.datetime) -> bool:
        """Whether a principal's models are asked here, so that a call which none proposed means something."""
        last = self._asks.get(principal_id)
        return last is not None and at - last <= KEPT

    def decided_by(self, principal_id: str, tool: str, arguments: Mapping[str, Any], at: dt.datetime) -> Answer | None:
        """Return the answer that proposed just this call, the latest first.

        Programs put names of servers before names of tools (`mcp__mail__send`): the end of the name counts.
        """
        digest = _digest(dict(arguments))
        found = self._kept.get((principal_id, digest or ""), [])
        for name, answer, when in reversed(found):
            if at - when <= KEPT and _is_named(name, tool):
                return answer
        return None


def _is_named(name: str, tool: str) -> bool:
    return name == tool or (name.endswith(tool) and not name[-len(tool) - 1].isalnum())


def _digest(arguments: object) -> str | None:
    try:
        return digest_of(arguments)
    except CharterError:  # numbers that have no canonical form: two readers might take them for others
        return None
