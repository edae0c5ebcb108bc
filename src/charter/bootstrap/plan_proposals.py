"""Plans put before those whose yes they need: what each does, with a call that shows it, and what was said of it.

A proposal is an entry of the evidence, written by Charter from the files it was given; the files stay with whoever
applies them. The plan's digest names them and what was registered then, so a yes is good for nothing else, and a plan
that rests on what is no longer registered is told as outdated.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from charter.adapters.evidence_store import entries_of
from charter.bootstrap import proofs
from charter.bootstrap.plan_review import GOOD_FOR
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.proof.plan_review import Need, holders, needs_of, seats_of
from charter.registry import plan as planning

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.proof.consequence import Consequence
    from charter.registry.estate import Estate

MAX_CHANGES, MAX_EFFECTS, MAX_SAID, MAX_TERMS, MAX_SENTENCE = 200, 100, 8, 20, 400
MAX_EXAMPLES = 3  # in a yes
_APPLYING = (
    EntryKind.CHARTER_APPLIED,
    EntryKind.CHARTER_WITHDRAWN,
    EntryKind.SYSTEM_APPLIED,
    EntryKind.GUARDRAILS_APPLIED,
    EntryKind.TEAMS_APPLIED,
    EntryKind.ISSUERS_APPLIED,
    EntryKind.RULES_APPLIED,
    EntryKind.PATTERN_APPLIED,
)


async def propose(house: House, estate: Estate, *, plan_digest: str, actor: str, reason: str) -> dict[str, Any]:
    """Put a plan before those whose yes it needs; return the proposal. Proposed again, it is one more entry.

    Raises:
        ConflictError: the plan is another one by now, or needs nobody's yes.
    """
    current = house.database.read(lambda tx: tx.registry.registered(estate))
    plan = planning.plan(estate, current)
    if plan.digest != plan_digest:
        raise ConflictError(ErrorCode.STALE, "the plan is another one by now", help="look at a new plan")
    found = await asyncio.to_thread(proofs.effects_of, house, plan, estate, current)

    def work(tx: HouseTransaction) -> None:
        needs = needs_of(plan.changes, found, tx.registry.teams().changes)
        if not needs:
            raise ConflictError(ErrorCode.EXISTS, "this plan needs nobody's yes", help="charter apply")
        body = {
            "plan": plan.digest,
            "reason": reason,
            "changes": [f"{each.change.value} {each.what.value} {each.name}" for each in plan.changes[:MAX_CHANGES]],
            "needs": [each.to_json() for each in needs],
            "effects": [_effect(each) for each in found[:MAX_EFFECTS]],
        }
        tx.record(Draft(EntryKind.PLAN_PROPOSED, actor, None, body))

    await house.database.awrite(work)
    return find(house, plan.digest)


def _effect(found: Consequence) -> dict[str, Any]:
    said = {
        "gains": [each.sentence for each in found.effect.gains],
        "losses": [each.sentence for each in found.effect.losses],
        "not_proven": [each.sentence for each in found.effect.gaps],
        "duties": [each.broken.sentence for each in found.breaches],
        "rules": [each.sentence for each in found.rules],
    }
    return {
        "principal": found.principal,
        "others": len(found.others),
        "conclusion": found.conclusion.value,
        "seat": found.route.name or None,
        "why": found.route.why,
        "note": found.note,
        "terms": [f"{each.turn.value}: {each.text}"[:MAX_SENTENCE] for each in found.terms[:MAX_TERMS]],
        "left": sum(max(0, len(each) - MAX_SAID) for each in said.values()),
        **{name: [sentence[:MAX_SENTENCE] for sentence in each[:MAX_SAID]] for name, each in said.items()},
    }


def listing(house: House) -> list[dict[str, Any]]:
    """Return the plans proposed within as long as a yes is good for, newest first.

    Each: plan, by, at, reason, changes [], effects [{principal, others, conclusion, seat, why, note, gains [],
    losses [], not_proven [], terms [], duties [], rules [], left}], needs [{seat, for [], why [], given [person],
    people []}], refused [{person, reason}], state. `left`: how many of these sentences are not told.
    """
    return house.database.read(lambda tx: list(_told(tx, house.clock.now())))


def find(house: House, digest: str) -> dict[str, Any]:
    """Return the proposal of one plan.

    Raises:
        AbsentError: it was not proposed.
    """
    found = next((each for each in listing(house) if each["plan"] == digest), None)
    if found is None:
        raise AbsentError(ErrorCode.UNKNOWN_ENTRY, "no such plan was proposed", help="charter plan --propose")
    return found


async def answer(house: House, digest: str, *, yes: bool, person: str, reason: str) -> dict[str, Any]:
    """Record a person's yes at every seat they may take, or their no; return the proposal as it stands.

    Raises:
        AbsentError: no such plan was proposed.
        ConflictError: it is outdated.
        DeniedError: the person holds none of the seats whose yes it needs.
    """

    def work(tx: HouseTransaction) -> None:
        proposed = next((each for each in _told(tx, house.clock.now()) if each["plan"] == digest), None)
        if proposed is None:
            raise AbsentError(ErrorCode.UNKNOWN_ENTRY, "no such plan was proposed", help="charter plan --propose")
        if proposed["state"] == "outdated":
            raise ConflictError(ErrorCode.STALE, "what is registered changed since", help="let it be proposed again")
        needs = [Need(each["seat"], tuple(each["for"]), tuple(each["why"])) for each in proposed["needs"]]
        owners = {each.name: each.owner_person for each in house.live.principals.values()}
        seats = seats_of(person, needs, tx.registry.teams(), owners)
        if not yes:
            body = {"plan": digest, "seats": list(seats), "reason": reason}
            tx.record(Draft(EntryKind.PLAN_REFUSED, person, None, body))
            return
        examples = [sentence for each in proposed["effects"] for sentence in each["gains"]][:MAX_EXAMPLES]
        for seat in seats:
            body = {"plan": digest, "seat": seat, "reason": reason, "examples": examples}
            tx.record(Draft(EntryKind.PLAN_APPROVED, person, None, body))

    await house.database.awrite(work)
    return find(house, digest)


def _told(tx: HouseTransaction, at: dt.datetime) -> Iterator[dict[str, Any]]:
    since = rfc3339(at - GOOD_FOR)
    teams = tx.registry.teams()
    newest: dict[str, dict[str, Any]] = {}
    for entry in entries_of(tx.connection, EntryKind.PLAN_PROPOSED.value, since, tx.payloads):
        newest[entry["body"]["plan"]] = entry  # the last of a plan that was proposed again
    given = list(entries_of(tx.connection, EntryKind.PLAN_APPROVED.value, since, tx.payloads))
    refused = list(entries_of(tx.connection, EntryKind.PLAN_REFUSED.value, since, tx.payloads))
    applied = max(
        (e["time"] for kind in _APPLYING for e in entries_of(tx.connection, kind.value, since, tx.payloads)), default=""
    )
    for digest, entry in sorted(newest.items(), key=lambda each: each[1]["time"], reverse=True):
        body = entry["body"]
        needs = [
            need
            | {
                "given": [
                    e["actor"] for e in given if (e["body"]["plan"], e["body"]["seat"]) == (digest, need["seat"])
                ],
                "people": sorted(holders(need["seat"], teams)),
            }
            for need in body["needs"]
        ]
        came_round = {e["actor"]: e["time"] for e in given if e["body"]["plan"] == digest}  # the last yes of each
        noes = [e for e in refused if e["body"]["plan"] == digest and came_round.get(e["actor"], "") < e["time"]]
        yield body | {
            "by": entry["actor"],
            "at": entry["time"],
            "needs": needs,
            "refused": [{"person": e["actor"], "reason": e["body"]["reason"]} for e in noes],
            "state": _state(entry["time"] < applied, needs, is_refused=bool(noes)),
        }


def _state(is_outdated: bool, needs: list[dict[str, Any]], *, is_refused: bool) -> str:
    if is_outdated:
        return "outdated"
    if is_refused:
        return "refused"
    return "approved" if all(each["given"] for each in needs) else "waiting"
