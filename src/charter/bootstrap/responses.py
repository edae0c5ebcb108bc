"""Signals kept as findings, and what rules of responses.yaml do about them; previewed before any rule is in force."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from charter.adapters.behaviour_store import KeptSignal
from charter.behaviour.signal import Signal, together
from charter.bootstrap import suspended
from charter.bootstrap.authority import move_within
from charter.core.canonical import digest_of
from charter.core.clock import rfc3339
from charter.core.errors import CharterError
from charter.evidence.entry import Draft, EntryKind
from charter.lifecycle import responses as works
from charter.lifecycle.holds import BY_CHARTER, FINAL, Shifted
from charter.registry.principal import Principal
from charter.registry.record import Finding, FindingState
from charter.registry.response import Response, ResponseRule, firmest
from charter.registry.standing import Move

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

BEHAVIOUR = "behaviour"  # a kind of finding
MAX_OPEN = 20  # findings of one principal; what comes beyond is counted in one more
MAX_AT_ONCE = 20  # findings of one transaction
MAX_TITLE = 300
_log = logging.getLogger("charter.behaviour")


async def keep(house: House, found: Sequence[Signal]) -> None:
    """Keep signals as findings, with what follows of them, before anything goes on.

    Raises:
        UnavailableError: they could not be made durable.
    """
    grouped = list(together(found).values())
    for start in range(0, len(grouped), MAX_AT_ONCE):
        some = grouped[start : start + MAX_AT_ONCE]

        def work(tx: HouseTransaction, some: list[list[Signal]] = some) -> None:
            for each in some:
                _keep(house, tx, each)

        await house.database.awrite(work)


def answer(house: House, signal: Signal) -> str | None:
    """Return the id of the rule that answers a signal, if one does."""
    principal = house.live.principals.get(signal.principal)
    rule = _firmest(house, principal, [signal]) if principal is not None else None
    return rule.id if rule is not None else None


async def end_due(house: House) -> int:
    """End the responses whose time is over; return how many there were."""
    due = house.database.read(lambda tx: tx.responses.due(house.clock.now()))
    if due:
        await house.database.awrite(lambda tx: [works.expire(tx, each) for each in tx.responses.due(tx.at)])
    return len(due)


def rules_for(house: House, principal: Principal) -> list[ResponseRule]:
    """Return the rules that are for a principal; one whose tier of risk cannot be told counts as covered."""
    return [each for each in house.live.central.responses.value.rules if covers(house, each, principal)]


def covers(house: House, rule: ResponseRule, principal: Principal) -> bool:
    """Whether a rule is for `principal`."""
    try:
        return rule.scope.fits(
            principal.kind,
            principal.environment,
            principal.owner_team,
            lambda: house.slices.of(principal).risk.tier,
        )
    except CharterError as err:
        _log.warning("the tier of %s cannot be told: %s", principal.name, err.detail)
        return True


def fits(rule: ResponseRule, *, score: float, feature: str, effect: str) -> bool:
    """Whether a signal is one that a rule is about."""
    when = rule.when
    return (
        score >= when.score
        and (when.features is None or feature in when.features)
        and (when.effects is None or effect in when.effects)
    )


# --- within ---


def _keep(house: House, tx: HouseTransaction, signals: list[Signal]) -> None:
    """Keep signals that are the same as one finding; let follow what the firmest rule says. A work."""
    strongest = signals[0]
    principal = tx.live.principals.get(strongest.principal)
    if principal is None:
        return
    finding = _found(house, tx, principal, signals)
    if finding is None:
        return
    tx.behaviour.add(
        [
            KeptSignal(
                house.entropy.identifier("sig"),
                principal.id,
                finding.id,
                strongest.at,
                tx.at,
                len(signals),
                strongest.to_json(),
            )
        ]
    )
    rule = _firmest(house, principal, signals)
    if rule is not None:
        _respond(house, tx, principal, finding, rule)


def _firmest(house: House, principal: Principal, signals: Sequence[Signal]) -> ResponseRule | None:
    return firmest(
        [
            each
            for each in rules_for(house, principal)
            if any(fits(each, score=one.score, feature=one.lead.feature.value, effect=one.effect) for one in signals)
        ]
    )


def _respond(house: House, tx: HouseTransaction, principal: Principal, finding: Finding, rule: ResponseRule) -> None:
    def kill(reason: str) -> None:
        move_within(house, tx, principal, Move.KILL, actor=BY_CHARTER, reason=reason)

    shifted = works.respond(tx, principal, finding, rule, kill)
    if rule.then is not Response.NOTIFY and principal.standing not in FINAL:
        body = dict(finding.body) | {"response": {"rule": rule.id, "does": rule.then.value}}
        tx.registry.findings.update(replace(finding, body=body))
    end_under_way(house, tx, shifted)


def end_under_way(house: House, tx: HouseTransaction, shifted: Shifted | None) -> None:
    """End what is under way on the authority of a principal that a response suspended. A work."""
    suspended.end_under_way(house, tx, shifted, "it behaves unlike itself")


def _found(house: House, tx: HouseTransaction, principal: Principal, signals: list[Signal]) -> Finding | None:
    """Return the finding of these signals: the one there is, counted or open again, or a new one."""
    strongest = signals[0]
    fresh = _fresh(house, tx.at, principal, strongest, len(signals))
    kept, is_new = tx.registry.findings.open(fresh)
    if is_new and _too_many(tx, principal, kept):
        tx.registry.findings.drop(kept.id)
        fresh = replace(fresh, fingerprint=digest_of({"kind": BEHAVIOUR, "principal": principal.id, "more": True}))
        kept, is_new = tx.registry.findings.open(fresh)
    if is_new:
        tx.record(Draft(EntryKind.FINDING_OPENED, BY_CHARTER, principal.id, kept.told("last")))
        tx.changed("finding", kept.id, actor=BY_CHARTER, reason=kept.title)
        tx.after_commit(partial(house.behaviour.to_tell.append, kept.id))
        return kept
    last = {"last": strongest.to_json(), "last_at": rfc3339(tx.at), "count": kept.body.get("count", 1) + len(signals)}
    if kept.state is FindingState.OPEN:
        counted = replace(kept, body=dict(kept.body) | last)
        tx.registry.findings.update(counted)
        return counted
    opened = kept.moved(FindingState.OPEN, tx.at)
    opened = replace(opened, title=fresh.title, body=dict(fresh.body) | last)
    tx.registry.findings.update(opened)
    tx.record(Draft(EntryKind.FINDING_CHANGED, BY_CHARTER, principal.id, opened.told("last")))
    tx.changed("finding", opened.id, actor=BY_CHARTER, reason=opened.title)
    tx.after_commit(partial(house.behaviour.to_tell.append, opened.id))
    return opened


def _too_many(tx: HouseTransaction, principal: Principal, kept: Finding) -> bool:
    open_ones = tx.registry.findings.open_count(principal.id, BEHAVIOUR)
    return open_ones > MAX_OPEN and kept.state is FindingState.OPEN


def _fresh(house: House, at: dt.datetime, principal: Principal, signal: Signal, count: int) -> Finding:
    title = f"`{principal.name}` behaves unlike itself: {signal.sentence}"[:MAX_TITLE]
    return Finding.noticed(
        house.entropy.identifier("fnd"),
        BEHAVIOUR,
        signal.fingerprint,
        title=title,
        body=signal.to_json()
        | {
            "names": [principal.name],
            "feature": signal.lead.feature.value,
            "key": signal.lead.key,
            "entries": [signal.index],
            "count": count,
            "last_at": rfc3339(at),
            "lag_ms": round((at - signal.at).total_seconds() * 1000),
        },
        at=at,
        principal_id=principal.id,
    )
