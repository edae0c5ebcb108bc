"""What can be asked of behaviour: what a principal usually does, what was noticed, and saying that it is normal."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from charter.adapters.behaviour_store import KeptSignal
from charter.behaviour.acceptance import MAX_ACCEPTED, Accepted, check_acceptance, covers_key
from charter.behaviour.baseline import DEEDS, FOLDERS, YOUNG, Baseline
from charter.behaviour.signal import Feature
from charter.bootstrap import responses
from charter.bootstrap.evidence import parse_moment
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import ConflictError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle import responses as works
from charter.lifecycle import sharing  # it settles findings of any kind
from charter.registry.duration import parse_duration
from charter.registry.principal import Principal
from charter.registry.problem import nearest
from charter.registry.record import Finding, FindingState

if TYPE_CHECKING:
    from charter.behaviour.known import Known
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

USUAL_UNTIL = dt.timedelta(days=90)  # how long what is accepted with its finding is normal
TOLD = 12  # names of one memory
MAX_SIGNALS = 500


def view(house: House, name: str) -> dict[str, Any]:
    """Return what a principal usually does, what was noticed of it lately, what is accepted, and what is in force.

    Raises:
        AbsentError: there is no such principal.
    """
    principal = house.principal(name)
    room, at = house.behaviour, house.clock.now()
    own, peers = room.baseline_of(principal.id), room.peers_of(principal)

    def read(tx: HouseTransaction) -> tuple[list[KeptSignal], list[Accepted], list[works.Responded]]:
        return (
            tx.behaviour.signals(principal=principal.id, limit=50),
            tx.behaviour.accepted(at, principal.id),
            tx.responses.all(principal.id),
        )

    signals, accepted, in_force = house.database.read(read)
    return {
        "principal": principal.name,
        "owner": principal.owner_person,
        "standing": principal.standing.value,
        "is_young": own.is_young,
        "needs": max(0, math.ceil(YOUNG - own.deeds.total)),  # more calls until it is known by what it does alone
        "peers": {"group": peers.group, "calls": peers.baseline.calls if peers.baseline else 0},
        "thresholds": {
            "act": room.thresholds.act,
            "milder": room.thresholds.milder,
            "session": room.thresholds.session,
        },
        "baseline": _told(own),
        "narrowing": _narrowing(own),
        "signals": [_signal(house, each) for each in signals],
        "accepted": [each.to_json() for each in accepted],
        "responses": [_responded(each) for each in in_force],
    }


def signals(house: House, *, principal: str | None = None, since: str = "7d", limit: int = 100) -> dict[str, Any]:
    """Return what was noticed, newest first.

    Raises:
        AbsentError: there is no such principal.
        MalformedError: `since` names no moment, or the limit is out of bounds.
    """
    if not 1 <= limit <= MAX_SIGNALS:
        raise MalformedError(ErrorCode.BAD_VALUE, f"between 1 and {MAX_SIGNALS} signals are shown, not {limit}")
    wanted = house.principal(principal).id if principal else None
    start = parse_moment(since, house.clock.now())
    found = house.database.read(lambda tx: tx.behaviour.signals(principal=wanted, since=start, limit=limit))
    return {"signals": [_signal(house, each) for each in found], "watch": health(house)}


def health(house: House) -> dict[str, Any]:
    """Return how the watch does: how far behind the log it is, and how long signals took."""
    room, node = house.behaviour, house.database.node
    kept = house.database.read(lambda tx: tx.behaviour.cursor(node)) if room.next < 0 else None  # nobody watches here
    begun = kept[0] if kept is not None else max(0, room.next)
    lags = sorted(room.lags)
    return {
        "backlog": max(0, house.database.head.size - begun),
        "weighed": room.weighed,
        "in_memory": len(room.crowd.baselines),
        "failure": room.failure,
        "lag_seconds": {
            "signals": len(lags),
            "middle": round(lags[len(lags) // 2], 3) if lags else None,
            "most": round(lags[-1], 3) if lags else None,
        },
    }


async def accept(  # noqa: PLR0913 - what a person says, word by word
    house: House, name: str, feature: str, key: str, *, until: str, actor: str, reason: str
) -> dict[str, Any]:
    """Record that something is normal for a principal until a moment; settle the findings that it answers.

    `signals`: how many of its latest signals name such a key; where none does, `nearest` is a key that one names. A
    key that nothing named yet is accepted: what is about to become normal can be said beforehand.

    Raises:
        AbsentError: there is no such principal.
        MalformedError: the feature, the key or the moment is none.
        ConflictError: too much is accepted of it already.
    """
    principal, now = house.principal(name), house.clock.now()
    end = _end(until, now)
    accepted = Accepted(
        house.entropy.identifier("acc"),
        principal.id,
        check_acceptance(feature, key, end, now),
        key,
        end,
        actor,
        reason,
        now,
    )

    def work(tx: HouseTransaction) -> list[str]:
        _keep(tx, principal, accepted)
        settled = []
        for each in tx.registry.findings.of_kinds((responses.BEHAVIOUR,)):
            body = each.body
            is_it = each.principal_id == principal.id and each.state is FindingState.OPEN
            if is_it and body.get("feature") == feature and covers_key(key, str(body.get("key", ""))):
                _settle(house, tx, each, FindingState.ACCEPTED, actor=actor, reason=reason)
                settled.append(each.id)
        tx.after_commit(house.behaviour.reread_soon)
        return settled

    known = await asyncio.to_thread(
        house.database.read, lambda tx: tx.behaviour.signals(principal=principal.id, limit=MAX_SIGNALS)
    )
    settled = await house.database.awrite(work)
    named = [_keys_of(each, accepted.feature) for each in known]
    count = sum(any(covers_key(key, each) for each in keys) for keys in named)
    return accepted.to_json() | {
        "principal": name,
        "settled": settled,
        "standing": house.principal(name).standing.value,
        "signals": count,
        "nearest": None if count else nearest(key, {each for keys in named for each in keys}),
    }


async def withdraw(house: House, name: str, accepted_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Let something be normal no more.

    Raises:
        AbsentError: there is no such principal.
        ConflictError: nothing of that id is accepted of it.
    """
    principal = house.principal(name)

    def work(tx: HouseTransaction) -> Accepted:
        known = {each.id: each for each in tx.behaviour.accepted(tx.at, principal.id)}
        if accepted_id not in known:
            raise ConflictError(
                ErrorCode.BAD_MOVE, f"{accepted_id[:64]!a} is not accepted of `{name}`", help="charter behaviour show"
            )
        tx.behaviour.withdraw(accepted_id)
        tx.after_commit(house.behaviour.reread_soon)
        told = known[accepted_id].to_json() | {"principal": name, "change": "withdrawn", "reason": reason}
        tx.record(Draft(EntryKind.BEHAVIOUR_ACCEPTED, actor, principal.id, told))
        return known[accepted_id]

    found = await house.database.awrite(work)
    return found.to_json() | {"principal": name}


def settle(
    house: House, tx: HouseTransaction, finding: Finding, to: FindingState, *, actor: str, reason: str
) -> Finding:
    """Move a finding of behaviour on a person's word: accepted, what it is about is normal for three months. A work."""
    if to is FindingState.ACCEPTED:
        _accept_all(house, tx, finding, tx.at + USUAL_UNTIL, actor=actor, reason=reason)
    return _settle(house, tx, finding, to, actor=actor, reason=reason)


async def accept_finding(
    house: House, name: str, finding_id: str, *, until: str, actor: str, reason: str
) -> dict[str, Any]:
    """Record that all of what a finding says is normal for a principal until a moment, and settle the finding.

    Raises:
        AbsentError: there is no such principal or finding.
        MalformedError: the moment is none.
        ConflictError: the finding is not one of its behaviour, is settled already, or too much is accepted.
    """
    principal, now = house.principal(name), house.clock.now()
    end = _end(until, now)

    def work(tx: HouseTransaction) -> list[Accepted]:
        finding = tx.registry.findings.get(finding_id)
        if finding.kind != responses.BEHAVIOUR or finding.principal_id != principal.id:
            raise ConflictError(
                ErrorCode.BAD_MOVE, f"the finding `{finding.id}` is not of the behaviour of `{name}`", help="look at it"
            )
        found = _accept_all(house, tx, finding, end, actor=actor, reason=reason)
        _settle(house, tx, finding, FindingState.ACCEPTED, actor=actor, reason=reason)
        return found

    accepted = await house.database.awrite(work)
    return {
        "principal": name,
        "accepted": [each.to_json() for each in accepted],
        "until": rfc3339(end),
        "settled": [finding_id],
        "standing": house.principal(name).standing.value,
    }


# --- within ---


def _keys_of(kept: KeptSignal, feature: Feature) -> set[str]:
    """Return the keys of one feature that a signal names."""
    return {str(each["key"]) for each in kept.body["contributions"] if each["feature"] == feature.value}


def _accept_all(
    house: House, tx: HouseTransaction, finding: Finding, until: dt.datetime, *, actor: str, reason: str
) -> list[Accepted]:
    """Let all that a finding tells of, at first and at last, be normal for its principal. A work."""
    principal = tx.live.principals[finding.principal_id or ""]
    last = finding.body.get("last", {})
    told = [*finding.body.get("contributions", ()), *last.get("contributions", ())]
    pairs = dict.fromkeys((str(each["feature"]), str(each["key"])) for each in told)
    found = [
        Accepted(
            house.entropy.identifier("acc"),
            principal.id,
            check_acceptance(feature, key, until, tx.at),
            key,
            until,
            actor,
            reason,
            tx.at,
        )
        for feature, key in pairs
    ]
    for each in found:
        _keep(tx, principal, each)
    tx.after_commit(house.behaviour.reread_soon)
    return found


def _settle(
    house: House, tx: HouseTransaction, finding: Finding, to: FindingState, *, actor: str, reason: str
) -> Finding:
    moved = sharing.settle(tx, finding, to, actor=actor, reason=reason)
    if to is not FindingState.OPEN:
        responses.end_under_way(house, tx, works.end_with(tx, moved, by=actor, reason=reason))
    return moved


def _keep(tx: HouseTransaction, principal: Principal, accepted: Accepted) -> None:
    known = tx.behaviour.accepted(tx.at, principal.id)
    if len(known) >= MAX_ACCEPTED:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"{MAX_ACCEPTED} things are accepted of `{principal.name}` already",
            help="accept a folder with `*`, or withdraw some: charter behaviour show",
        )
    tx.behaviour.accept(accepted)
    told = accepted.to_json() | {"principal": principal.name, "change": "accepted"}
    tx.record(Draft(EntryKind.BEHAVIOUR_ACCEPTED, accepted.by, principal.id, told))


def _end(until: str, now: dt.datetime) -> dt.datetime:
    try:
        return now + parse_duration(until)
    except ValueError:
        pass
    try:
        if len(until) == len("2026-12-24"):
            return dt.datetime.combine(dt.date.fromisoformat(until), dt.time(), dt.UTC) + dt.timedelta(days=1)
        return parse_rfc3339(until)
    except (ValueError, OverflowError) as err:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{until[:40]!a} is no end", help="write 30d, 2026-12-24 or 2026-12-24T18:00Z"
        ) from err


def _told(own: Baseline) -> dict[str, Any]:
    """Return what a baseline says, for people."""
    return {
        "since": rfc3339(own.since) if own.since else None,
        "calls": own.calls,
        "deeds": _names(own.deeds),
        "steps": [
            {"after": last, "then": [[name, round(count)] for name, count in known.most(3)]}
            for last, known in sorted(own.steps.items(), key=lambda each: -each[1].total)[:TOLD]
        ],
        "places": _names(own.folders),
        "objects": {"known": len(own.objects.names), "new_of_100": round(100 * own.objects.newness(0.5))},
        "parties": _names(own.parties),
        "networks": _names(own.networks),
        "data": _names(own.labels),
        "purposes": _names(own.purposes),
        "hours": [[round(n, 1) for n in hours] for hours in own.week.hours],
        "days": [round(n) for n in own.week.days],
        "refused_of_100": round(100 * own.denials.denied / own.denials.calls) if own.denials.calls else 0,
        "refused_in_a_row": own.denials.run,
        "calls_in_ten_minutes": round(math.exp(own.pace.mean)) if own.pace.count else None,
        "bytes": [[deed, round(math.exp(spread.mean))] for deed, spread in list(own.volumes.items())[-TOLD:]],
        "cost": f"{math.exp(own.spend.mean) / 1000:.3f}" if own.spend.count else None,
    }


def _narrowing(own: Baseline) -> list[dict[str, Any]]:
    """Return the grants that all it usually does would fit into: a change that takes, and takes nothing it uses.

    Nothing is proposed of a young principal, nor where memory was too small to know all that it uses.
    """
    if own.is_young or len(own.folders.names) >= FOLDERS or len(own.deeds.names) >= DEEDS:
        return []
    grants: dict[str, dict[str, Any]] = {}
    for deed in sorted(own.deeds.names):
        system, _, action = deed.partition("/")
        grants.setdefault(system, {"system": system, "actions": [], "objects": []})["actions"].append(action)
    for place in sorted(own.folders.names):
        system, _, folder = place.partition(": ")
        if system in grants:
            grants[system]["objects"].append(folder)
    return list(grants.values())


def _names(known: Known) -> list[list[Any]]:
    return [[name, round(count)] for name, count in known.most(TOLD)]


def _signal(house: House, kept: KeptSignal) -> dict[str, Any]:
    principal = house.live.principals.get(kept.principal_id)
    return {
        **kept.body,
        "id": kept.id,
        "principal": principal.name if principal else kept.principal_id,
        "finding": kept.finding_id,
        "count": kept.count,
        "noticed_at": rfc3339(kept.noticed_at),
        "lag_ms": round((kept.noticed_at - kept.at).total_seconds() * 1000),
    }


def _responded(found: works.Responded) -> dict[str, Any]:
    return {
        "finding": found.finding_id,
        "rule": found.rule,
        "does": found.does.value,
        "began_at": rfc3339(found.began_at),
        "until": rfc3339(found.until) if found.until else None,
    }
