"""What would change: recorded calls put to two estates in the order they came, what is registered and what is planned.

Limits are counted anew for each of the two, over the calls of the period alone, and given back where a call surely did
not happen. Everything else of a call is as `replay.py` has it.

    a change     a call whose verdict the planned estate would give otherwise than it was given
    its cause    these files; or what was applied since, if the registered estate would give it otherwise too
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import rfc3339
from charter.evidence.entry import EntryKind
from charter.evidence.log import Stored
from charter.gateway.recorded import RecordedCall, recorded_call
from charter.gateway.replay import Aside, Case, Told, Untold, World, decide_again
from charter.gateway.reserve import Reserved, give_back, owed, reserve
from charter.policy.verdict import Allow, Deny, Verdict, word
from charter.registry.delegation import Chain

MAX_GROUPS = 2_000  # of changes that are alike
MAX_REASONS = 50  # why calls cannot be told
_ERASED = "erased evidence"  # beside the rules that denied calls
MAX_OPEN = 100_000  # calls whose outcome is waited for


class Counters:
    """Limits counted in memory. Satisfies gateway.reserve.LimitStore."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, int], int] = {}

    def used(self, principal_id: str, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return what is used of each (counter, window start)."""
        found = ((window, self._used.get((principal_id, *window), 0)) for window in windows)
        return {window: used for window, used in found if used}

    def add(self, principal_id: str, amounts: Sequence[tuple[str, int, int]]) -> None:
        """Add each (counter, window start, amount)."""
        for counter, start, amount in amounts:
            key = (principal_id, counter, start)
            self._used[key] = self._used.get(key, 0) + amount


@dataclass(slots=True)
class Side:
    """One of the two estates, and what its limits have counted."""

    world: World
    counters: Counters = field(default_factory=Counters)
    reserved: OrderedDict[str, tuple[Reserved, ...]] = field(default_factory=OrderedDict)  # by verdict

    def settle(self, call: RecordedCall, told: Told) -> Verdict:
        """Return the verdict once limits are counted."""
        verdict, case = told.verdict, told.case
        if not isinstance(verdict, Allow) or case is None:
            return verdict
        caller = case.chain.case.parties[-1]
        links = owed(caller.owner, caller.asker.name, verdict)
        found = reserve(self.counters, links, call.system, call.moment)
        if isinstance(found, Deny):
            return found
        if found:
            self.reserved[call.verdict_id] = found
            if len(self.reserved) > MAX_OPEN:
                self.reserved.popitem(last=False)
        return verdict

    def ended(self, verdict_id: str, *, sent: bool) -> None:
        """Give limits back for a call that surely did not happen."""
        found = self.reserved.pop(verdict_id, ())
        if not sent:
            give_back(self.counters, found)


@dataclass(slots=True)
class Change:
    """Calls whose verdicts would change alike."""

    principal: str
    system: str
    action: str
    was: str
    would_be: str
    by_these_files: bool
    rule: str
    text: str
    mend: str
    source: str | None
    example: Mapping[str, Any]
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the change as programs read it."""
        return {
            "principal": self.principal,
            "system": self.system,
            "action": self.action,
            "was": self.was,
            "would_be": self.would_be,
            "cause": "these files" if self.by_these_files else "what was applied since",
            "count": self.count,
            "rule": self.rule,
            "text": self.text,
            "mend": self.mend,
            "source": self.source,
            "example": dict(self.example),
        }


@dataclass(slots=True)
class WhatIf:
    """The comparison under way. `then` gives a call before what held when it was recorded (replay.py)."""

    registered: Side
    planned: Side
    chain_of: Callable[[str], Chain | None]
    then: Callable[[RecordedCall, Chain | None], Case | None]
    counted_from: str = ""  # times before it only fill limits
    principal: str | None = None
    system: str | None = None
    replayed: int = 0
    same: int = 0
    inferred: int = 0
    changes: dict[tuple[Any, ...], Change] = field(default_factory=dict)
    unlisted: int = 0  # changes beyond MAX_GROUPS
    untold: dict[str, dict[str, Any]] = field(default_factory=dict)
    open: dict[tuple[str, str], int] = field(default_factory=dict)  # calls that passed and cannot be told, by action
    aside: dict[str, int] = field(default_factory=dict)  # calls by the rule that denied them, whatever any estate says

    def take(self, stored: Stored) -> None:
        """Take the next entry of the log in."""
        if stored.kind == EntryKind.OUTCOME.value:
            body = stored.to_json()["body"]
            for side in (self.registered, self.planned):
                side.ended(str(body["verdict_id"]), sent=bool(body["sent"]))
        elif stored.kind == EntryKind.VERDICT.value:
            call = recorded_call(stored)
            if stored.is_erased:  # what it asked for is not known any more: no estate can be asked about it
                self.aside[_ERASED] = self.aside.get(_ERASED, 0) + (stored.time >= self.counted_from)
            elif self.principal in (None, call.principal) and self.system in (None, call.system):
                self._call(call, stored.time >= self.counted_from)

    def _call(self, call: RecordedCall, is_counted: bool) -> None:
        chain = self.chain_of(call.delegation) if call.delegation else None
        before = self._before(call, chain)
        would = decide_again(call, self.planned.world, chain, before)
        now = decide_again(call, self.registered.world, chain, before)
        now_word = word(self.registered.settle(call, now)) if isinstance(now, Told) else None
        if not isinstance(would, Told):
            if is_counted:
                self._not_told(call, would)
            return
        verdict = self.planned.settle(call, would)
        if not is_counted:
            return
        self.replayed += 1
        self.inferred += would.is_inferred
        if word(verdict) == call.verdict:
            self.same += 1
        else:
            self._changed(call, verdict, by_these_files=now_word != word(verdict))

    def _before(self, call: RecordedCall, chain: Chain | None) -> Callable[[], Case | None]:
        found: list[Case | None] = []

        def before() -> Case | None:
            if not found:
                found.append(self.then(call, chain))
            return found[0]

        return before

    def _not_told(self, call: RecordedCall, found: Untold | Aside) -> None:
        if isinstance(found, Aside):
            self.aside[found.rule] = self.aside.get(found.rule, 0) + 1
            return
        if call.verdict != "deny":  # one that was refused is not refused anew
            key = (call.system, call.action or call.tool)
            self.open[key] = self.open.get(key, 0) + 1
        why = found.why
        if why not in self.untold and len(self.untold) >= MAX_REASONS:
            why = "other reasons"
        told = self.untold.setdefault(why, {"count": 0, "example": _example(call)})
        told["count"] += 1

    def _changed(self, call: RecordedCall, verdict: Verdict, *, by_these_files: bool) -> None:
        reason = verdict.reasons[0]
        action = call.action or call.tool
        key = (call.principal, call.system, action, call.verdict, word(verdict), reason.rule, by_these_files)
        if key not in self.changes:
            if len(self.changes) >= MAX_GROUPS:
                self.unlisted += 1
                return
            source = str(reason.source) if reason.source else None
            told = (reason.rule, reason.text, reason.mend, source)
            self.changes[key] = Change(*key[:5], by_these_files, *told, _example(call))
        self.changes[key].count += 1

    def to_json(self) -> dict[str, Any]:
        """Return what was found."""
        found = sorted(self.changes.values(), key=lambda c: (not c.by_these_files, -c.count, c.principal, c.rule))
        return {
            "replayed": self.replayed,
            "same": self.same,
            "inferred": self.inferred,
            "changes": [each.to_json() for each in found],
            "unlisted": self.unlisted,
            "counts": self.counts(found),
            "aside": dict(sorted(self.aside.items())),
            "untold": [{"why": why} | told for why, told in sorted(self.untold.items(), key=lambda u: -u[1]["count"])],
        }

    @staticmethod
    def counts(found: Sequence[Change]) -> dict[str, int]:
        """Return how many calls these files would decide otherwise, by what became of them."""
        total = {"newly_denied": 0, "newly_held": 0, "newly_allowed": 0, "already_changed": 0}
        names = {"deny": "newly_denied", "escalate": "newly_held", "allow": "newly_allowed"}
        for each in found:
            total[names[each.would_be] if each.by_these_files else "already_changed"] += each.count
        return total


def _example(call: RecordedCall) -> dict[str, Any]:
    return {
        "index": call.index,
        "verdict_id": call.verdict_id,
        "at": rfc3339(call.moment),
        "object": call.object,
        "said": call.text,
    }
