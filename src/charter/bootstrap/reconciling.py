"""Verdicts held against their effects, from the log: of one call, of a period, and for as long as the house serves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from charter.bootstrap import verdicts
from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query, Stored, entry_at
from charter.evidence.reconciliation import (
    LONGEST,
    SKEW,
    WAITED,
    Ended,
    Governed,
    Held,
    Reconciled,
    Seen,
    Told,
    ended_of,
    reconcile,
    seen_of,
    told_of,
)
from charter.registry.system import HttpUpstream, SystemKind

if TYPE_CHECKING:
    from charter.bootstrap.house import House

Json = dict[str, Any]
MAX_NEAR = 20_000  # entries of one principal that are looked at


def governed(house: House) -> Governed:
    """Return how logs of others name what the estate governs now."""
    services: dict[str, str] = {}
    operations: dict[str, dict[str, tuple[str, str]]] = {}
    providers: dict[str, str] = {}
    for name, record in sorted(house.live.systems.items()):
        system = record.system
        for told in (name, _host(system.upstream)):
            if told:
                services.setdefault(told.casefold(), name)
        known = operations.setdefault(name, {})
        for action, each in system.actions.items():
            for told in (each.tool, action):
                known[told.casefold()] = (action, each.tool)
        if system.kind is SystemKind.MODEL and system.upstream is not None:
            providers.setdefault((system.provider or name).casefold(), name)
    return Governed(services, operations, providers)


def _host(upstream: object) -> str:
    return urlsplit(upstream.url).hostname or "" if isinstance(upstream, HttpUpstream) else ""


@dataclass(frozen=True, slots=True)
class Near:
    """What the log has of one principal about some time."""

    verdicts: list[Told]
    outcomes: list[Ended]
    seen: list[Seen]
    is_whole: bool  # whether that is all

    def held(self, at: dt.datetime) -> Reconciled:
        """Return what comes of it."""
        return reconcile(self.verdicts, self.outcomes, self.seen, at)


def of_one(house: House, entry: Mapping[str, Any]) -> Held:
    """Return a recorded verdict held against what is known of its effect.

    Raises:
        IntegrityError: the entry has no verdict that can be read.
    """
    told = told_of(entry)
    if told is None:
        raise IntegrityError(ErrorCode.EVIDENCE_BROKEN, "the entry has no verdict that can be read")
    near = _near(house, told.principal_id, told.at, told.at, governed(house), only=told)
    found = near.held(house.clock.now())
    return next(each for each in found.held if each.verdict.verdict_id == told.verdict_id)


def entries_of(house: House, held: Held) -> list[Stored]:
    """Return the entries of the observations that were laid to a verdict."""
    return house.database.read_log(lambda log: [entry_at(log, each.index) for each in held.seen])


def _near(
    house: House, principal: str, since: dt.datetime, until: dt.datetime, known: Governed, *, only: Told | None = None
) -> Near:
    """Return a principal's verdicts between two moments and about them, with what is told of their effects."""
    before = SKEW + (WAITED if only is not None else LONGEST)
    first, last = since - before, until + WAITED + SKEW
    wanted = Query(principal, (EntryKind.VERDICT, EntryKind.OUTCOME), since=first, until=last + WAITED)
    entries = [each.to_json() for each in verdicts.newest_first(house, wanted, most=MAX_NEAR)]
    told = [each for entry in entries if entry["kind"] == EntryKind.VERDICT and (each := told_of(entry)) is not None]
    if only is not None and all(each.verdict_id != only.verdict_id for each in told):
        told.append(only)
    named = {each.verdict_id for each in told}
    ended = [out for entry in entries if entry["kind"] == EntryKind.OUTCOME and (out := ended_of(entry)) is not None]
    later = Query(principal, (EntryKind.OBSERVED,), since=first)
    stored = list(verdicts.newest_first(house, later, most=MAX_NEAR))
    seen = [saw for each in stored if (saw := seen_of(each.to_json(), known)) and first <= saw.at <= last]
    is_whole = max(len(entries), len(stored)) < MAX_NEAR
    return Near(told, [each for each in ended if each.verdict_id in named], seen, is_whole)
