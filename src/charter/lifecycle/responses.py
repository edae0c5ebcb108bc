"""What follows of a finding by a rule of responses.yaml, and its end: works of the writer.

    respond     a rule fits: the standing is held down, or the identity killed, in this very transaction
    expire      its time is over: what it took comes back by itself
    release     a person settled the finding: what it took comes back

INVARIANT: a response only lowers. What it can do to a standing is a hold's floor or a kill, and the end of a hold gives
back what that hold took and nothing else (registry/hold.py).
INVARIANT: whoever was revoked or retired is left alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle.emergency import StandingWork
from charter.lifecycle.holds import BY_CHARTER, FINAL, Shifted, hold, release
from charter.registry.principal import Principal
from charter.registry.record import Finding
from charter.registry.response import Response, ResponseRule


@dataclass(frozen=True, slots=True)
class Responded:
    """What a rule did because of a finding, and until when."""

    finding_id: str
    principal_id: str
    rule: str
    does: Response
    began_at: dt.datetime
    until: dt.datetime | None  # None: until a person settles the finding


class ResponseStore(Protocol):
    """Where responses are kept while they last."""

    def put(self, found: Responded) -> None:
        """Keep one, in place of the one before of the same finding."""
        ...

    def get(self, finding_id: str) -> Responded | None:
        """Return the one of a finding, if it lasts."""
        ...

    def end(self, finding_id: str) -> None:
        """Forget one."""
        ...


class ResponseWork(StandingWork, Protocol):
    """The slice of the work that responses need."""

    @property
    def responses(self) -> ResponseStore:
        """Where they are kept."""
        ...


def respond(
    tx: ResponseWork, principal: Principal, finding: Finding, rule: ResponseRule, kill: Callable[[str], None]
) -> Shifted | None:
    """Let a rule have its way with `principal`, as the transaction has it; return what it did to the standing. A work.

    `kill` ends the identity for a reason, with all that ends with it.
    """
    if principal.standing in FINAL or rule.then is Response.NOTIFY:
        return None
    reason = f"the rule `{rule.id}`, for the finding {finding.id}: {finding.title}"[:1000]
    if rule.then.floor is None:
        kill(reason)
        return None
    known = tx.responses.get(finding.id)
    if known is not None and known.does.floor is not rule.then.floor and known.does.is_firmer_than(rule.then):
        return None  # more is in force already, for as long as its own rule says
    until = tx.at + rule.expires if rule.expires is not None else None
    if known is not None:  # it goes on: the hold lasts longer, and never less long
        until = None if known.until is None or until is None else max(known.until, until)
    began = known.began_at if known is not None else tx.at
    tx.responses.put(Responded(finding.id, principal.id, rule.id, rule.then, began, until))
    is_held = principal.held is not None and principal.held.floors.get(finding.id) is rule.then.floor
    return None if is_held else hold(tx, principal, finding.id, rule.then.floor, reason=reason)


def expire(tx: ResponseWork, found: Responded) -> Shifted | None:
    """End a response whose time is over. A work."""
    return _end(tx, found, by=BY_CHARTER, reason=f"the rule `{found.rule}` lets it end by itself")


def end_with(tx: ResponseWork, finding: Finding, *, by: str, reason: str) -> Shifted | None:
    """End what was done because of a finding, which a person settled. A work."""
    found = tx.responses.get(finding.id)
    return _end(tx, found, by=by, reason=reason) if found is not None else None


def _end(tx: ResponseWork, found: Responded, *, by: str, reason: str) -> Shifted | None:
    tx.responses.end(found.finding_id)
    principal = tx.live.principals.get(found.principal_id)
    if principal is None:
        return None
    said = {"finding": found.finding_id, "rule": found.rule, "does": found.does.value, "reason": reason}
    tx.record(Draft(EntryKind.RESPONSE_ENDED, by, principal.id, {"principal": principal.name} | said))
    return release(tx, principal, found.finding_id, by=by, reason=reason)
