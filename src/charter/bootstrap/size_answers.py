"""What people say of a proposed narrower charter: take it, keep a piece although it is not used, or ask later.

INVARIANT: what is taken was made again at that moment, from the evidence of that moment, and is what was looked at.
Calls that come in meanwhile are put to it inside the transaction that takes it: one that it would refuse stops it.
Only who answers for a principal may say it: its owner, the owner's team, or the role that approved its charter.
Where files manage the principal its file wins: taking gives a patch, and nothing that is registered changes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap import evidence, right_sizing, what_if
from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, DeniedError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.evidence.log import Stored
from charter.proof.caution import LOOKED_BACK
from charter.proof.plan_review import holders
from charter.registry.amend import amend
from charter.registry.problem import suggestion
from charter.registry.record import ManagedBy

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.right_sizing import Size
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal

DISMISSED = "90d"
MAX_KEYS, MAX_KEY, MAX_DIFF, MAX_STEPS = 200, 300, 65_536, 100
_RACED = 2_000  # entries of a node that come in while a proposal is taken; of more, it is made again


@dataclass(frozen=True, slots=True)
class Said:
    """Who says something of a proposal, why, and what it was made from (right_sizing.right_size)."""

    person: str
    reason: str
    since: str | None = None
    text: str | None = None


async def accept(house: House, name: str, proposal: str, said: Said) -> dict[str, Any]:
    """Take the proposal with this digest; return it with `applied`: whether it is in force, or waits in its file.

    Raises:
        AbsentError: there is no such principal.
        ConflictError: its charter, or what it used, changed meanwhile; or it was taken before.
        DeniedError: the person does not answer for it.
    """
    size = await asyncio.to_thread(right_sizing.size_of, house, name, said.since, said.text)
    if size.told["proposal"] is None or size.told["proposal"] != proposal:
        raise _stale(name)

    def work(tx: HouseTransaction) -> bool:
        known = tx.registry.principals_named([name])[name]
        _check_person(tx, known, size.before.approved.role, said.person)
        if known.digest != size.before.digest or known.standing is not size.principal.standing:
            raise _stale(name)
        _check_race(house, tx, size)
        at = house.clock.now()
        _, _, manager, taken, _ = right_sizing.read_all(tx, known, at, at)
        if taken is not None and taken["proposal"] == proposal:
            text = f"{taken['by']} accepted this on {taken['at'][:10]}"
            raise ConflictError(ErrorCode.EXISTS, text, help="apply its file with charter apply")
        is_applied = manager == ManagedBy.CONSOLE.value
        body = {
            "proposal": proposal,
            "before": size.before.digest,
            "after": size.after.digest,
            "narrowings": [each["key"][:MAX_KEY] for each in size.told["narrowings"][:MAX_STEPS]],
            "replayed": size.told["replayed"],
            "diff": size.told["diff"] if len(size.told["diff"]) <= MAX_DIFF else None,
            "applied": is_applied,
            "reason": said.reason,
        }
        tx.record(Draft(EntryKind.SIZE_ACCEPTED, said.person, known.id, body))
        if is_applied:
            signer, by = house.ring.signer("charter"), (said.person, f"right-sized: {said.reason}")
            amend(size.after, tx, expected=size.before.digest, signer=signer, entropy=house.entropy, by=by)
        return is_applied

    applied = await house.database.awrite(work)
    return size.told | {"applied": applied, "person": said.person}


async def keep(house: House, name: str, said: Said, *, key: str | None, until: str | None) -> dict[str, Any]:
    """Keep the piece `key` until a day, though it is not used; without a key, do not propose what is proposed now.

    `until`: a day, or a number of them (`90d`); a year and a month at most.

    Raises:
        AbsentError: there is no such principal.
        MalformedError: there is no such step, or the day cannot be read or is too far off.
        DeniedError: the person does not answer for it.
    """
    at = house.clock.now()
    end = _end(until or DISMISSED, at)
    size = await asyncio.to_thread(right_sizing.size_of, house, name, said.since, None)
    steps = [each["key"] for each in size.told["narrowings"]]
    if key is not None and key not in {*steps, *(each["key"] for each in size.told["kept"])}:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"nothing that is proposed is {key[:80]!a}", help=suggestion(key[:MAX_KEY], steps)
        )
    keys = steps[:MAX_KEYS] if key is None else [key]
    if not keys:
        raise MalformedError(ErrorCode.BAD_VALUE, "nothing is proposed that could be dismissed")

    def work(tx: HouseTransaction) -> None:
        known = tx.registry.principals_named([name])[name]
        _check_person(tx, known, size.before.approved.role, said.person)
        body = {"keys": keys, "until": rfc3339(end), "reason": said.reason, "dismissed": key is None}
        tx.record(Draft(EntryKind.SIZE_KEPT, said.person, known.id, body))

    await house.database.awrite(work)
    return {"principal": name, "keys": keys, "until": rfc3339(end), "person": said.person, "dismissed": key is None}


def _end(text: str, at: dt.datetime) -> dt.datetime:
    """Return when a mark ends: `90d` from now, or the end of a day."""
    if text.endswith("d") and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 5:  # noqa: PLR2004 - 9999 days
        end = at + dt.timedelta(days=int(text[:-1]))
    else:
        try:
            day = dt.date.fromisoformat(text)
        except ValueError:
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"{text[:40]!a} is no day", help="write 2027-01-31 or 90d"
            ) from None
        end = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
    if not at < end <= at + LOOKED_BACK:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"it is kept for at most {LOOKED_BACK.days} days", help="an earlier day"
        )
    return end


def _stale(name: str, text: str | None = None) -> ConflictError:
    told = text or f"what `{name}` may do, or what it used, is not what was looked at"
    return ConflictError(ErrorCode.STALE, told, help="look at the proposal again")


def _check_person(tx: HouseTransaction, known: Principal, role: str, person: str) -> None:
    teams = tx.registry.teams()
    free = {known.owner_person, *holders(f"team:{known.owner_team}", teams), *holders(f"role:{role}", teams)}
    if person not in free:
        text = f"`{person}` does not answer for `{known.name}`"
        who = f"its owner, someone of `{known.owner_team}` or of the role `{role}` must say it"
        raise DeniedError(ErrorCode.POLICY_DENIED, text, help=who)


def _check_race(house: House, tx: HouseTransaction, size: Size) -> None:
    """Refuse if a call that came in since the proposal was made would be refused under it, or asked for what goes.

    Raises:
        ConflictError: it would be, it did, or nobody can say.
    """
    name, compared = size.principal.name, size.compared
    if compared is None:
        return
    before = dict(compared.after)
    while what_if.catch_up(house, tx, compared, what_if.PAGE):
        if any(index - before.get(node, index) > _RACED for node, index in compared.after.items()):
            raise _stale(name, f"so much came in while the proposal for `{name}` was taken that it is not up to date")
    for change in right_sizing.refused_in(compared.comparison.to_json()["changes"]):
        call = f"`{change['action']}` on `{change['system']}` at {change['example']['at'][:16]}"
        raise _stale(name, f"`{name}` called {call}, after the proposal was made, and would be refused under it")
    fixed = {(each["system"], each["action"]) for each in size.told["untouched"]}
    for system, action in compared.comparison.open.keys() - fixed:
        text = f"`{name}` called `{action}` on `{system}` after the proposal was made, which cannot be decided again"
        raise _stale(name, text)
    taken = {each["key"] for each in size.told["narrowings"]}
    for log in evidence.logs_of(house, tx):
        for stored in log.entries(before.get(log.node), _RACED):
            _check_asked(size.principal, stored, taken)


def _check_asked(principal: Principal, stored: Stored, taken: set[str]) -> None:
    """Refuse if an entry tells that something was asked for, be it in vain, that is taken away.

    Raises:
        ConflictError: it does.
    """
    name, body = principal.name, stored.to_json()["body"]
    if stored.kind == EntryKind.VERDICT.value and stored.principal == principal.id:
        key = f"action:{body['system']}/{body.get('action')}"
        if key in taken:
            raise _stale(name, f"`{name}` asked for `{key[7:]}`, which would go, after the proposal was made")
    is_lent = any(key.startswith("delegation:") for key in taken)
    if is_lent and stored.kind == EntryKind.DELEGATION_MADE.value and _is_party(principal, body):
        raise _stale(name, f"`{name}` took part in a delegation that was made after the proposal was")


def _is_party(principal: Principal, body: dict[str, Any]) -> bool:
    return body.get("lender") == principal.id or body.get("borrower") == principal.name
