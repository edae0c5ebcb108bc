"""What can be asked of compositions: what each principal is made of, who attests it, what changed; and reviewing that.

Observers (the token endpoint, the Workload API, the gateway) tell here what they saw. Only what is news is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from charter.bootstrap.suspended import end_under_way
from charter.core.clock import rfc3339
from charter.lifecycle import composition as works
from charter.lifecycle.composition_finding import told_changes
from charter.lifecycle.holds import FINAL, Shifted
from charter.registry.attester import GATEWAY
from charter.registry.composed import Composed, see
from charter.registry.composition import Part, kind_of, tool_part
from charter.registry.plan import ChangeKind, Plan, What
from charter.registry.system import System

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.charter import Charter
    from charter.registry.estate import Estate
    from charter.registry.principal import Principal

DECLARED = "declared"  # nobody but the charter tells it


async def saw(house: House, principal_id: str, told: Mapping[str, str], *, by: str) -> None:
    """Take note of what `by` tells of a principal's parts; return once what that changes is in force.

    Raises:
        UnavailableError: it could not be made durable; then nothing may be given on it.
    """
    known = house.live.compositions.get(principal_id)
    if known is None or not _is_news(known, told, by, house):
        return

    def work(tx: HouseTransaction) -> None:
        shifted = works.seen(tx, principal_id, told, by=by, entropy=house.entropy)
        _end(house, tx, [shifted])

    await house.database.awrite(work)


def _is_news(known: Composed, told: Mapping[str, str], by: str, house: House) -> bool:
    at = house.clock.now()
    return any(see(known, part, value, by=by, at=at) is not known for part, value in told.items())


def told_of_tools(house: House, system: str, live: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield whose composition the definitions that a system has right now (by tool) tell something new of, and what.

    That they are as accepted is the rule, and checked on every call; it is written only where they were not before.
    An upstream that tells something else each time is written down once: all of it is held until the review.
    """
    for principal_id in tuple(house.live.tools_pinned.get(system, ())):
        known = house.live.compositions[principal_id]
        parts = {tool_part(system, tool): digest for tool, digest in live.items()}
        told = {
            part: value
            for part, value in parts.items()
            if (part in known.seen or value not in known.accepted.get(part, (value,)))
            and not is_flapping(known, part, value)
        }
        if told:
            yield principal_id, told


def is_flapping(known: Composed, part: str, value: str) -> bool:
    """Return whether a part that waits, since it was seen to be another, is seen to be yet another.

    Whoever decides what is seen, an upstream or the agent itself, must not fill the evidence by it.
    """
    waiting = known.changes.get(part)
    return waiting is not None and waiting.actor is None and value not in known.accepted.get(part, ())


def follow(house: House, tx: HouseTransaction, plan: Plan, estate: Estate, *, actor: str) -> None:
    """Hold compositions to files that this very work applied: those of charters, and of systems that they reach."""
    systems = _systems_after(tx, plan, estate)
    touched = {change.name for change in plan.changes if change.what is What.SYSTEM}
    applied = {change.name: change.change for change in plan.changes if change.what is What.PRINCIPAL}
    names = {*applied, *(_reaching(tx, estate, touched) if touched else ())}
    shifts = []
    for principal in tx.registry.principals_named(sorted(names)).values():
        is_gone = applied.get(principal.name) is ChangeKind.WITHDRAW
        charter = None if is_gone else _charter_of(tx, principal, estate)
        shifts.append(works.follow(tx, principal, charter, systems, actor=actor, entropy=house.entropy))
    _end(house, tx, shifts)


async def review(house: House, name: str, change: str, *, person: str, reason: str) -> dict[str, Any]:
    """Record that a person accepts what a principal is made of now; return its composition as it stands then."""

    def work(tx: HouseTransaction) -> works.Reviewed:
        return works.review(tx, name, change, person=person, reason=reason)

    done = await house.database.awrite(work)
    told = _view(house, house.principal(name), done.composed)
    return told | {"before": done.shifted.before.value, "index": done.index}


def view(house: House, name: str) -> dict[str, Any]:
    """Return what a principal is made of, part by part: what was accepted, what is declared, what is attested by whom.

    Raises:
        AbsentError: there is no such principal, or nothing of it is pinned.
    """
    principal = house.principal(name)
    composed = house.live.compositions.get(principal.id)
    if composed is None:
        raise works.nothing_pinned(name)
    return _view(house, principal, composed)


def _view(house: House, principal: Principal, composed: Composed) -> dict[str, Any]:
    return {
        "principal": principal.name,
        "standing": principal.standing.value,
        "digest": composed.digest,
        "accepted_by": composed.accepted_by,
        "accepted_at": rfc3339(composed.accepted_at),
        "on_change": composed.terms.on_change.value,
        "reviewer": composed.reviewer,
        "reviewers": list(_reviewers(house, principal, composed)),
        "parts": [_part(composed, part) for part in sorted({**composed.accepted, **composed.declared})],
        "change": composed.change,
        "now": composed.digest_now,
        "changes": told_changes(composed),
        "finding": composed.finding,
    }


def listing(house: House) -> list[dict[str, Any]]:
    """Return the principals of which something is pinned, by name; those that wait for a review first."""
    known = [(house.live.principals[each.principal_id], each) for each in tuple(house.live.compositions.values())]
    told = [
        {
            "principal": principal.name,
            "standing": principal.standing.value,
            "digest": composed.digest,
            "parts": len(composed.accepted),
            "kinds": sorted({kind_of(part).value for part in composed.accepted}),
            "attested": sorted({kind_of(part).value for part in composed.accepted if _who(composed, part)}),
            "change": composed.change,
            "changed": list(composed.changes),
            "reviewer": composed.reviewer,
        }
        for principal, composed in known
        if principal.standing not in FINAL
    ]
    return sorted(told, key=lambda each: (each["change"] is None, each["principal"]))


def counts(house: House) -> dict[str, int]:
    """Return of how many principals something is pinned, and of how many it changed."""
    known = [
        composed
        for composed in tuple(house.live.compositions.values())
        if house.live.principals[composed.principal_id].standing not in FINAL
    ]
    return {"pinned": len(known), "changed": sum(bool(each.changes) for each in known)}


def _part(composed: Composed, part: str) -> dict[str, Any]:
    seen, who = composed.seen.get(part), _who(composed, part)
    return {
        "part": part,
        "kind": kind_of(part).value,
        "accepted": list(composed.accepted.get(part, ())),
        "declared": list(composed.declared.get(part, ())),
        "seen": {"value": seen.value, "by": seen.by, "at": rfc3339(seen.at)} if seen else None,
        "attested_by": who or DECLARED,
        "must_be_attested": kind_of(part).value in composed.terms.attested,
    }


def _who(composed: Composed, part: str) -> str | None:
    """Return who attests that a part is what was accepted; None if only its charter says so."""
    seen = composed.attested_by(part)
    if seen is not None:
        return seen.by
    is_held_to = kind_of(part) is Part.TOOLS and part not in composed.seen and part not in composed.changes
    return GATEWAY if is_held_to and composed.accepted.get(part) == composed.declared.get(part) else None


def _reviewers(house: House, principal: Principal, composed: Composed) -> list[str]:
    """Return who may review what waits."""
    holders = house.database.read(lambda tx: tx.registry.teams()).roles.get(composed.reviewer, ())
    appliers = {each.actor.lower() for each in composed.changes.values() if each.actor}
    return [person for person in holders if person != principal.owner_person and person not in appliers]


def _reaching(tx: HouseTransaction, estate: Estate, touched: set[str]) -> list[str]:
    """Return the names of principals of which something is pinned, and which reach one of the systems."""
    found = []
    for principal_id in tx.live.compositions:
        principal = tx.live.principals[principal_id]
        if principal.standing not in FINAL and touched & set(_charter_of(tx, principal, estate).systems):
            found.append(principal.name)
    return found


def _charter_of(tx: HouseTransaction, principal: Principal, estate: Estate) -> Charter:
    part = estate.charters.get(principal.name)
    if part is not None:
        return part.value
    return tx.registry.charter_version(principal.id, principal.version).charter


def _systems_after(tx: HouseTransaction, plan: Plan, estate: Estate) -> dict[str, System]:
    """Return the systems as they are once the plan is applied; memory shows them after the commit."""
    known = {name: record.system for name, record in tx.live.systems.items()}
    for change in plan.changes:
        if change.what is What.SYSTEM and change.change is ChangeKind.WITHDRAW:
            known.pop(change.name, None)
    return known | {name: part.value for name, part in estate.systems.items()}


def _end(house: House, tx: HouseTransaction, shifts: Iterable[Shifted | None]) -> None:
    """End what is under way on the authority of those that were suspended, or must be attested from now on."""
    for shifted in shifts:
        end_under_way(house, tx, shifted, "what it is made of changed, or must be attested")
