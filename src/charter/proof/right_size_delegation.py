"""Delegation drawn closer: who lends, to whom it is lent on, for what, how deep, how long, and whom grants act for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from charter.proof.caution import MIN_CALLS, MIN_DAYS, RARE, season_of
from charter.proof.lent import Lent
from charter.proof.narrowing import Narrowing, Piece, Steps
from charter.proof.observed import Made, Seen
from charter.registry.charter import DelegationTerms, Grant, write_duration
from charter.registry.delegation import HUMANS

MARGIN, MUCH = 2, 4  # as with limits
_TIMES = tuple(
    dt.timedelta(minutes=each) for each in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1_440, 2_880, 10_080)
)


def draw_terms(steps: Steps, whole: dict[str, Any]) -> None:
    """Draw the charter's terms of delegation closer, in its file `whole`."""
    terms = steps.charter.delegation
    if terms is None:
        return
    told, chains = whole["delegation"], steps.observed.chains
    since = steps.ground.known(lambda charter: charter.delegation == terms)
    lent = steps.ground.lent if steps.ground.lent is not None and steps.ground.lent.is_whole else None
    used = _lenders(chains, terms) | _from(lent, steps.charter.principal)
    source = [
        each
        for each in terms.source
        if each in used or not steps.drop(Piece.DELEGATION, "", f"from {each}", since, "no call was made for it")
    ]
    to = [each for each in terms.to if lent is None or not _lends_no_more(steps, each, since)]
    if not source and not to:
        del whole["delegation"]
        return
    told["from"] = source
    if to != list(terms.to):
        told["to"] = to
        if not to:
            del told["to"]
    if lent is None and terms.to:  # what it lends on is not known
        return
    loans = [loan for _, loan in lent.in_period()] if lent else []
    if chains or loans:
        purposes = {each.purpose for each in chains} | {each.purpose for each in loans}
        _draw_purposes(steps, told, terms, purposes, since)
        _draw_depth(steps, told, terms, max([each.depth for each in chains] + [each.depth for each in loans]), since)
    if lent is not None:
        _draw_time(steps, told, terms, lent.needed(), since)


def _lenders(chains: Sequence[Made], terms: DelegationTerms) -> set[str]:
    principals = {name for name in terms.source if name != HUMANS}
    used = {name for each in chains for name in each.parties & principals}
    return used | ({HUMANS} if any(not each.parties & principals for each in chains) else set())


def _from(lent: Lent | None, name: str) -> set[str]:
    return set() if lent is None else {each.lent_by for _, each in lent.in_period() if each.borrower == name}


def _lends_no_more(steps: Steps, borrower: str, since: dt.datetime) -> bool:
    """Return whether lending on to `borrower` is taken away."""
    lent = steps.ground.lent
    loans = [each for each in lent.onward() if each.borrower == borrower] if lent else []
    if any(each.made_at + each.life >= steps.observed.since for each in loans):
        return False
    what = f"to {borrower}"
    if loans:
        last, season = max(each.made_at for each in loans), season_of({each.made_at.date() for each in loans})
        if season or len(loans) <= RARE:
            when = f"at {season}" if season else "seldom"
            steps.kept[f"{Piece.DELEGATION.value}:{what}"] = f"it is lent to {when}, last on {last:%d %b %Y}"
            return False
        why = f"nothing was lent to it since {last:%d %b %Y}"
        idle = (steps.ground.at - last).days
        step = Narrowing(Piece.DELEGATION, "", what, what, "nothing", len(loans), last, idle, why)
        return steps.take(step, since)
    return steps.drop(Piece.DELEGATION, "", what, since, "nothing was lent to it")


def _draw_purposes(
    steps: Steps, told: dict[str, Any], terms: DelegationTerms, asked: set[str], since: dt.datetime
) -> None:
    kept = [
        each
        for each in terms.purposes
        if each in asked or not steps.drop(Piece.DELEGATION, "", f"purpose {each}", since, "nothing was lent for it")
    ]
    if kept:  # without purposes, any purpose
        told["purposes"] = kept


def _draw_depth(steps: Steps, told: dict[str, Any], terms: DelegationTerms, deepest: int, since: dt.datetime) -> None:
    if deepest >= terms.max_depth or steps.observed.calls < MIN_CALLS:
        return
    said = (str(terms.max_depth), str(deepest))
    step = Narrowing(Piece.DELEGATION, "", "max_depth", *said, 0, None, None, "no chain was longer")
    if steps.take(step, since):
        told["max_depth"] = deepest


def _draw_time(
    steps: Steps,
    told: dict[str, Any],
    terms: DelegationTerms,
    needed: Sequence[tuple[dt.date, dt.timedelta]],
    since: dt.datetime,
) -> None:
    days = {day for day, _ in needed}
    if len(needed) < MIN_DAYS or len(days) < MIN_DAYS or season_of(days) is not None:
        return
    most = max(each for _, each in needed)
    becomes = roomy_time(most)
    if becomes is None or becomes >= terms.max_ttl or terms.max_ttl <= most * MUCH:
        return
    why = (
        f"the longest that one of {len(needed)} was needed, or was asked for, is {_minutes(most)}; twice that stays. "
        "One that lives now and was made for longer has to be made again"
    )
    said = (write_duration(terms.max_ttl), write_duration(becomes))
    step = Narrowing(Piece.DELEGATION, "", "max_ttl", *said, len(needed), None, None, why)
    if steps.take(step, since):
        told["max_ttl"] = said[1]


def roomy_time(most: dt.timedelta) -> dt.timedelta | None:
    """Return the next usual time at or above twice `most`, five minutes at least; None beyond a week."""
    least = max(most * MARGIN, dt.timedelta(minutes=5))
    return next((each for each in _TIMES if each >= least), None)


def _minutes(value: dt.timedelta) -> str:
    return write_duration(dt.timedelta(minutes=max(1, -(-int(value.total_seconds()) // 60))))


# --- tokens ----------------------------------------------------------------------------------------------------------


def draw_tokens(steps: Steps, whole: dict[str, Any]) -> None:
    """Draw the life of tokens closer, where the charter says one."""
    life, age, count = steps.charter.credential.tokens, steps.observed.token_age, len(steps.observed.in_use)
    if life is None or age is None or count < MIN_CALLS:
        return
    becomes = next((each for each in _TIMES if each >= max(age * MARGIN, dt.timedelta(minutes=1))), None)
    if becomes is None or becomes >= life or life <= age * MUCH:
        return
    why = f"the oldest of {count} tokens in use was {_seconds(age)} old; twice that stays, and another is had at once"
    said = (write_duration(life), write_duration(becomes))
    step = Narrowing(Piece.CREDENTIAL, "", "tokens", *said, count, None, None, why)
    since = steps.ground.known(lambda charter: charter.credential.tokens == life)
    if steps.take(step, since):
        whole["credential"]["tokens"] = said[1]


def _seconds(value: dt.timedelta) -> str:
    return f"{int(value.total_seconds())} s"


# --- whom a grant acts for --------------------------------------------------------------------------------------------


def draw_initiators(steps: Steps, grant: Grant, told: dict[str, Any], seen: Sequence[Seen]) -> None:
    """Draw closer for whom a grant may be used: who began, in which roles, for what, how deep."""
    asked = grant.delegated
    if asked is None or any(each.made is None for each in seen):
        return
    made = {each for one in seen for each in one.made or () if each.depth}
    since = steps.ground.known(
        lambda charter: any(g.system == grant.system and g.delegated == asked for g in charter.grants)
    )
    if not made or sum(each.count for each in seen) < MIN_CALLS:
        return
    begun = {HUMANS if each.by_person else each.initiator for each in made}
    roles = [steps.ground.roles_of(each.initiator) for each in made if each.by_person]
    fields: list[tuple[str, Sequence[str] | None, set[str]]] = [
        ("by", asked.by, begun),
        ("purposes", asked.purposes, {each.purpose for each in made}),
    ]
    if roles and all(each & set(asked.roles or ()) for each in roles):  # of somebody, it is not known any more
        fields.append(("roles", asked.roles, set().union(*roles)))
    for name, was, used in fields:
        left = [each for each in was or () if each in used or not _drops(steps, grant, name, each, since)]
        if was and left:
            told["delegated"][name] = left
    deepest = max(each.depth for each in made)
    if asked.max_depth is not None and deepest < asked.max_depth:
        what = f"max_depth of {'+'.join(grant.actions)[:80]}"
        said = (str(asked.max_depth), str(deepest))
        step = Narrowing(Piece.INITIATORS, grant.system, what, *said, 0, None, None, "no chain was longer")
        if steps.take(step, since):
            told["delegated"]["max_depth"] = deepest


def _drops(steps: Steps, grant: Grant, name: str, each: str, since: dt.datetime) -> bool:
    words = {"by": "begun by", "roles": "begun in the role", "purposes": "for"}
    what = f"{words[name]} {each} of {'+'.join(grant.actions)[:80]}"
    return steps.drop(Piece.INITIATORS, grant.system, what, since, "no call was")


__all__ = ["draw_initiators", "draw_terms", "draw_tokens", "roomy_time"]
