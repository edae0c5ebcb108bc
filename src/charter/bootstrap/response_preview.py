"""What rules of responses.yaml would do, before they are in force: whom they are for, and whom they would have stopped.

The preview plays back the signals of a period: each that a rule fits begins a response then and there, and every call
that was allowed while it would have lasted, by the principal or by whoever acts on what it lent, counts as stopped. A
restraint stops what changes something (a person would have been asked); a suspension stops everything.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from charter.adapters.behaviour_store import KeptSignal
from charter.behaviour.act import Call, act_of
from charter.bootstrap.evidence import parse_moment
from charter.bootstrap.responses import covers, fits
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ErrorCode
from charter.core.values import Source
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query, query
from charter.registry.central import read_central
from charter.registry.principal import Principal
from charter.registry.problem import suggestion
from charter.registry.response import RESPONSES, Response, ResponseRule
from charter.registry.sourced import Sourced, TextFile
from charter.registry.standing import Standing

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.registry.response import ResponseFile

MAX_SIGNALS = 10_000
PAGES = 20  # of a thousand verdicts, for each principal that would have been stopped
MAX_NAMED = 50
MAX_LENT = 1_000  # delegations beneath one principal
MAX_LENDERS = 200
_FINAL = (Standing.REVOKED, Standing.RETIRED)
_CHANGES = ("write", "irreversible")
_FOREVER = dt.datetime.max.replace(tzinfo=dt.UTC)


async def preview(house: House, text: str | None, *, since: str = "1d", only: str | None = None) -> dict[str, Any]:
    """Return what each rule would have done since a moment; `text` is a responses.yaml, else the one in force counts.

    Raises:
        EstateError: the file is wrong.
        AbsentError: no rule is called `only`.
        MalformedError: `since` names no moment.
    """
    return await asyncio.to_thread(_preview, house, text, since, only)


def _preview(house: House, text: str | None, since: str, only: str | None) -> dict[str, Any]:
    part = house.live.central.responses
    if text is not None:
        part = read_central([TextFile(RESPONSES, text)]).responses
    start = parse_moment(since, house.clock.now())
    wanted = [each for each in part.value.rules if only in (None, each.id)]
    if only is not None and not wanted:
        known = [each.id for each in part.value.rules]
        raise AbsentError(
            ErrorCode.BAD_VALUE, f"no rule is called {only[:63]!a}", help=suggestion(only[:63], known) or RESPONSES
        )
    signals = house.database.read(lambda tx: tx.behaviour.signals(since=start, limit=MAX_SIGNALS))
    return {
        "since": rfc3339(start),
        "in_force": text is None,
        "signals": len(signals),
        "rules": [_of_rule(house, part, each, signals, start) for each in wanted],
    }


def _of_rule(
    house: House, part: Sourced[ResponseFile], rule: ResponseRule, signals: list[KeptSignal], start: dt.datetime
) -> dict[str, Any]:
    for_whom = [
        each for each in house.live.principals.values() if each.standing not in _FINAL and covers(house, rule, each)
    ]
    covered = {each.id: each for each in for_whom}
    hit: dict[str, list[KeptSignal]] = {}
    for each in signals:
        if each.principal_id in covered and _fits(rule, each.body):
            hit.setdefault(each.principal_id, []).append(each)
    at = next(index for index, each in enumerate(part.value.rules) if each is rule)
    where: Source = part.source_of(f"rules.{at}")
    stopped = [_of_principal(house, rule, covered[principal], those, start) for principal, those in hit.items()]
    return {
        "rule": rule.id,
        "then": rule.then.value,
        "ends": rule.ends,
        "source": str(where),
        "covers": {"count": len(for_whom), "names": sorted(each.name for each in for_whom)[:MAX_NAMED]},
        "delegations": _lent_by_all(house, covered),  # that rest on one of them, now
        "would_have": sorted(stopped, key=lambda each: (-int(each["calls"]), each["principal"]))[:MAX_NAMED],
        "principals_hit": len(stopped),
        "calls_stopped": sum(each["calls"] for each in stopped),
    }


def _fits(rule: ResponseRule, body: Mapping[str, Any]) -> bool:
    lead = body["contributions"][0]["feature"]
    return fits(rule, score=float(body["score"]), feature=lead, effect=str(body.get("effect", "")))


def _of_principal(
    house: House, rule: ResponseRule, principal: Principal, those: list[KeptSignal], start: dt.datetime
) -> dict[str, Any]:
    spans = _spans(rule, sorted(each.noticed_at for each in those))
    calls, by_others = 0, 0
    sample: list[dict[str, Any]] = []
    for call, by in _calls(house, principal, start) if rule.then is not Response.NOTIFY else ():
        if any(begin <= call.at < end for begin, end in spans) and _is_stopped(rule, call):
            calls += 1
            by_others += by != principal.id
            if len(sample) < 5:  # noqa: PLR2004 - what a person looks at
                sample.append({"at": rfc3339(call.at), "deed": call.deed, "object": call.object, "index": call.index})
    return {
        "principal": principal.name,
        "owner": principal.owner_person,
        "signals": len(those),
        "first": rfc3339(min(each.noticed_at for each in those)),
        "calls": calls,
        "by_others": by_others,
        "sample": sample,
        "delegations": [
            {"id": delegation, "lender": _name(house, lender), "borrower": _name(house, borrower), "purpose": purpose}
            for delegation, lender, borrower, purpose in _lent(house, principal, house.clock.now())[:MAX_NAMED]
        ],
    }


def _spans(rule: ResponseRule, moments: list[dt.datetime]) -> list[tuple[dt.datetime, dt.datetime]]:
    return [(each, each + rule.expires if rule.expires is not None else _FOREVER) for each in moments]


def _is_stopped(rule: ResponseRule, call: Call) -> bool:
    if call.verdict != "allow":
        return False
    return rule.then.floor is not Standing.RESTRAINED or call.effect in _CHANGES


def _calls(house: House, principal: Principal, start: dt.datetime) -> list[tuple[Call, str]]:
    """Return the calls since `start` of a principal, and of those to whom it lent."""
    borrowers = {borrower for _, _, borrower, _ in _lent(house, principal, start)}
    found: list[tuple[Call, str]] = []
    for who in (principal.id, *sorted(borrowers)):
        cursor: str | None = None
        for _ in range(PAGES):
            wanted = Query(principal=who, kinds=(EntryKind.VERDICT,), since=start, limit=1000, cursor=cursor)
            page = house.database.read_log(lambda log, wanted=wanted: query(log, wanted))  # type: ignore[misc]
            for stored in page.entries:
                act = act_of(stored.to_json())
                if isinstance(act, Call) and (who == principal.id or _is_through(stored.data, principal)):
                    found.append((act, who))
            cursor = page.cursor
            if cursor is None:
                break
    return found


def _is_through(data: bytes, principal: Principal) -> bool:
    """Whether a call of another was made on what a principal lent: it stands in the chain."""
    return principal.id.encode() in data


def _lent(house: House, principal: Principal, since: dt.datetime) -> list[tuple[str, str, str, str]]:
    """Return what rests on a principal and ended after `since`, or not yet: what it lent, and what was lent on."""
    after = int(since.timestamp())
    return house.database.read(lambda tx: tx.delegations.lent_by(principal.id, after, limit=MAX_LENT))


def _lent_by_all(house: House, covered: Mapping[str, Principal]) -> int:
    """Return how many delegations rest on one of these principals; of very many, of the first ones alone."""
    lenders = [each for each in covered.values() if house.live.delegations.count_of(each.id)][:MAX_LENDERS]
    now = house.clock.now()
    return len({delegation for each in lenders for delegation, *_ in _lent(house, each, now)})


def _name(house: House, party: str) -> str:
    found = house.live.principals.get(party)
    return found.name if found is not None else party
