"""Verdicts held against their effects, from the log: of one call, of a period, and for as long as the house serves."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from charter.bootstrap import evidence, verdicts
from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import Query, Stored, entry_at
from charter.evidence.reconciliation import (
    LONGEST,
    SKEW,
    WAITED,
    Agreement,
    Apart,
    Ended,
    Governed,
    Ground,
    Held,
    Reconciled,
    Seen,
    Told,
    ended_of,
    reconcile,
    seen_of,
    told_of,
)
from charter.registry.record import Finding, FindingState
from charter.registry.system import SystemKind
from charter.registry.upstream import HttpUpstream

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

Json = dict[str, Any]
DISAGREEMENT = "disagreement"
STATED = frozenset({"otlp", "jsonl"})  # told by anybody; what platforms' own logs tell is proved
DEFAULT_PERIOD = "24h"
RECALLED = dt.timedelta(days=1)  # how far back a process that starts looks
PAGE = 1_000  # observations looked at in one go
MAX_ENTRIES = 200_000  # of one period that are looked at
_KINDS = (EntryKind.VERDICT, EntryKind.OUTCOME)
MAX_LISTED = 500
MAX_NAMED = 50  # entries and verdicts that a finding names
MAX_TITLE = 400
MAX_NEAR = 20_000  # entries of one principal that are looked at


def governed(house: House) -> Governed:
    """Return how logs of others name what the estate governs now.

    Systems that are reached with a lease are left out: under one lease much is done that no verdict of its own has.
    """
    services: dict[str, str] = {}
    operations: dict[str, dict[str, tuple[str, str]]] = {}
    providers: dict[str, str] = {}
    told: dict[tuple[str, str], tuple[str, str, str]] = {}
    twice: set[tuple[str, str]] = set()
    for name, record in sorted(house.live.systems.items()):
        system = record.system
        if system.is_leased:
            continue
        for called in (name, _host(system.upstream)):
            if called:
                services.setdefault(called.casefold(), name)
        known = operations.setdefault(name, {})
        for action, each in system.actions.items():
            for called in (each.tool, action):
                known[called.casefold()] = (action, each.tool)
            for said in each.seen_as or ():
                source, _, operation = said.partition(":")
                key = (source, operation.casefold())
                twice |= {key} & told.keys()
                told[key] = (name, action, each.tool)
        if system.kind is SystemKind.MODEL and system.upstream is not None:
            providers.setdefault((system.provider or name).casefold(), name)
    return Governed(services, operations, providers, {key: found for key, found in told.items() if key not in twice})


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
    wanted = Query(principal, (EntryKind.VERDICT, EntryKind.OUTCOME), since=first, until=last + LONGEST)
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


# --- a period ---------------------------------------------------------------------------------------------------------


def over(house: House, wanted: Mapping[str, str | None], *, most: int = MAX_ENTRIES) -> Json:
    """Return what comes of the verdicts of a period, held against all that is known of their effects by now.

    Args:
        house: whose log.
        wanted: any of since (default 24h), until and principal (a name).
        most: how many entries are looked at.

    Raises:
        MalformedError: a time cannot be read.
        AbsentError: nobody has that principal's name.
    """
    now = house.clock.now()
    since = evidence.parse_moment(wanted.get("since") or DEFAULT_PERIOD, now)
    until = evidence.parse_moment(str(wanted["until"]), now) if wanted.get("until") else now
    principal = house.principal(str(wanted["principal"])).id if wanted.get("principal") else None
    read = _read(house, principal, since, until, most)
    found = read.near.held(now)
    held = [each for each in found.held if since <= each.verdict.at <= until]
    apart = [each for each in found.apart if each.seen is None or since <= each.seen.at <= until]
    judged = [*(each.judgement for each in held), *(each.judgement for each in apart)]
    grounds = Counter(each.ground.value for each in judged)
    counts = Counter(each.agreement for each in judged)
    wrong = [each for each in held if each.judgement.agreement is Agreement.DISAGREES]
    unsure = [each for each in held if each.judgement.agreement is Agreement.UNKNOWN]
    told = [*map(_held_json, wrong), *map(_apart_json, apart)]
    return {
        "since": rfc3339(since),
        "until": rfc3339(until),
        "entries": read.entries,
        "is_whole": read.near.is_whole,
        "verdicts": len(held),
        "observed": sum(since <= each.at <= until for each in read.near.seen),
        "not_governed": read.not_governed,
        "counts": {each.value: counts[each] for each in Agreement},
        "grounds": dict(sorted(grounds.items())),
        "disagreements": told[:MAX_LISTED],
        "unknown": [_held_json(each) for each in unsure[-MAX_LISTED:]],
        "unlisted": max(0, len(told) - MAX_LISTED) + max(0, len(unsure) - MAX_LISTED),
    }


@dataclass(frozen=True, slots=True)
class _Period:
    near: Near
    entries: int
    not_governed: int  # observations of what no system's file speaks of, or of nobody who is a principal


def _read(house: House, principal: str | None, since: dt.datetime, until: dt.datetime, most: int) -> _Period:
    """Return what the log says of a period: verdicts and outcomes about it, and observations up to now."""
    known = governed(house)
    first, last = since - WAITED - SKEW, until + WAITED + SKEW
    wanted = Query(principal, _KINDS, since=first, until=last + LONGEST)
    near, looked = Near([], [], [], is_whole=True), 0
    named: set[str] = set()
    found_in = (
        verdicts.newest_first(house, wanted, most=most)
        if principal is not None
        else verdicts.scan(house, first, last + LONGEST, most=most)
    )
    for stored in found_in:
        looked += 1
        if stored.kind not in _KINDS:
            continue
        if stored.kind == EntryKind.VERDICT.value:
            told = told_of(stored.to_json())
            if told is not None:
                named.add(told.verdict_id)
                near.verdicts.extend([told] if told.at <= last else ())
        elif (ended := ended_of(stored.to_json())) is not None:
            near.outcomes.append(ended)
    aside = 0
    later = Query(principal, (EntryKind.OBSERVED,), since=first)
    seen = 0
    for stored in verdicts.newest_first(house, later, most=most):
        seen += 1
        found = seen_of(stored.to_json(), known)
        if found is None:
            aside += 1
        elif first <= found.at <= last:
            near.seen.append(found)
    # outcomes at the edges close verdicts that were not looked at
    outcomes = [each for each in near.outcomes if each.verdict_id in named or since <= each.at - LONGEST]
    is_whole = looked < most and seen < most
    outcomes = outcomes if is_whole else [each for each in outcomes if each.verdict_id in named]
    kept = {each.verdict_id for each in near.verdicts} | {each.verdict_id for each in outcomes} - named
    outcomes = [each for each in outcomes if each.verdict_id in kept]
    return _Period(Near(near.verdicts, outcomes, near.seen, is_whole), looked + seen, aside)


def _held_json(held: Held) -> Json:
    verdict = held.verdict
    return {
        "verdict_id": verdict.verdict_id,
        "index": verdict.index,
        "at": rfc3339(verdict.at),
        "principal": verdict.principal,
        "system": verdict.system,
        "action": verdict.action or verdict.tool,
        "verdict": verdict.word,
        "seen": [each.index for each in held.seen],
    } | held.judgement.to_json()


def _apart_json(apart: Apart) -> Json:
    return {
        "verdict_id": None,
        "index": apart.index,
        "at": rfc3339(apart.seen.at) if apart.seen is not None else None,
        "principal": apart.principal or None,
        "system": apart.system or None,
        "action": apart.action or None,
        "verdict": None,
        "seen": [apart.index] if apart.seen is not None else [],
    } | apart.judgement.to_json()


# --- what disagrees is a finding --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Follower:
    """Goes on from where it was in the log, and opens a finding for each way in which effects disagree with verdicts.

    Where it begins again (a process that starts looks a day back), what a finding has counted is not counted again.
    """

    after: int | None = None  # index of the last observation that was looked at

    async def go_on(self, house: House) -> int:
        """Look at what was told since; return how many findings opened."""
        opened, kind = 0, EntryKind.OBSERVED.value
        since = rfc3339(house.clock.now() - RECALLED)
        found = house.database.read_log(lambda log: list(log.of_kind(kind, after=self.after, since=since)))
        for start in range(0, len(found), PAGE):
            page = found[start : start + PAGE]
            opened += await self._take(house, page)
            self.after = page[-1].index
        return opened

    async def _take(self, house: House, page: list[Stored]) -> int:
        known, opened = governed(house), 0
        by: dict[tuple[str, dt.date], list[Seen]] = defaultdict(list)
        for stored in page:
            seen = seen_of(stored.to_json(), known)
            if seen is not None:
                by[seen.principal_id, seen.at.date()].append(seen)
        for (principal, _), seen_ in by.items():
            first, last = min(each.at for each in seen_), max(each.at for each in seen_)
            near = _near(house, principal, first, last, known)
            for wrong in _wrong(near, {each.index for each in seen_}, house.clock.now()):
                opened += await house.database.awrite(partial(_open, house, wrong))
        return opened


@dataclass(frozen=True, slots=True)
class Wrong:
    """Effects that disagree in one way: of one principal, on one action, as one source tells."""

    ground: Ground
    principal_id: str
    principal: str
    system: str
    action: str
    source: str
    text: str  # of the first
    seen: tuple[int, ...]  # entries, in order
    verdicts: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """What makes it the same finding when it is seen again."""
        names = ("ground", "principal_id", "system", "action", "source")
        return digest_of({"kind": DISAGREEMENT} | {name: str(getattr(self, name)) for name in names})


def _wrong(near: Near, fresh: set[int], at: dt.datetime) -> list[Wrong]:
    """Return in which ways the effects among `fresh` disagree."""
    found = near.held(at)
    by: dict[tuple[Ground, str, str, str], list[tuple[Seen, str, str]]] = defaultdict(list)
    for each in found.held:
        if each.judgement.agreement is Agreement.DISAGREES:
            for seen in each.seen:
                key = (each.judgement.ground, each.verdict.system, each.verdict.action, seen.source)
                by[key].append((seen, each.judgement.text, each.verdict.verdict_id))
    for apart in found.apart if near.is_whole else ():  # else a verdict may be among what was not looked at
        if apart.seen is not None:
            key = (apart.judgement.ground, apart.system, apart.action, apart.source)
            by[key].append((apart.seen, apart.judgement.text, ""))
    wrong = []
    for (ground, system, action, source), cases in by.items():
        new = sorted((case for case in cases if case[0].index in fresh), key=lambda case: case[0].index)
        if new:
            first = new[0][0]
            indexes = tuple(case[0].index for case in new)
            ids = tuple(dict.fromkeys(case[2] for case in new if case[2]))
            names = (first.principal_id, first.principal, system, action, source)
            wrong.append(Wrong(ground, *names, text=new[0][1], seen=indexes, verdicts=ids))
    return wrong


def _open(house: House, wrong: Wrong, tx: HouseTransaction) -> int:
    """Open the finding of a disagreement, or count it where it is known; return how many are new."""
    title = f"{wrong.principal}: {wrong.text}"
    body: Json = {
        "ground": wrong.ground.value,
        "principal": wrong.principal,
        "system": wrong.system,
        "action": wrong.action,
        "source": wrong.source,
        "certainty": "stated" if wrong.source in STATED else "proved",
        "entries": list(wrong.seen[:MAX_NAMED]),
        "verdicts": list(wrong.verdicts[:MAX_NAMED]),
        "count": len(wrong.seen),
        "last_entry": wrong.seen[-1],
        "last_at": rfc3339(tx.at),
    }
    finding = Finding.noticed(
        house.entropy.identifier("fnd"),
        DISAGREEMENT,
        wrong.fingerprint,
        title=title[:MAX_TITLE],
        body=body,
        at=tx.at,
        principal_id=wrong.principal_id,
    )
    kept, is_first = tx.registry.findings.open(finding)
    if not is_first:
        counted = [each for each in wrong.seen if each > int(kept.body.get("last_entry", -1))]
        if not counted:
            return 0
        told = dict(kept.body) | {"count": int(kept.body.get("count", 0)) + len(counted)}
        told |= {"last_entry": counted[-1], "last_at": rfc3339(tx.at)}
        told["entries"] = [*kept.body.get("entries", ()), *counted][:MAX_NAMED]
        is_back = kept.state is FindingState.RESOLVED
        kept = replace(kept.moved(FindingState.OPEN, tx.at) if is_back else kept, body=told)
        tx.registry.findings.update(kept)
        if not is_back:
            return 0
    said = {"finding": kept.id, "kind": DISAGREEMENT, "title": kept.title, "state": kept.state.value} | dict(kept.body)
    kind = EntryKind.FINDING_OPENED if is_first else EntryKind.FINDING_CHANGED
    tx.record(Draft(kind, "charter", kept.principal_id, said))
    tx.changed("finding", kept.id, actor="charter", reason=kept.title)
    return 1
