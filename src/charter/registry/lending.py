"""Whether a chain of delegations holds: the rules that stand in no single record, asked of the whole chain at once.

They are asked when a link is added, and again at every call, with the charters as they are then. So a charter that
stops naming a borrower, a purpose or a depth stops the delegations that rested on it, without anybody looking for them.

    each link   lender and borrower name each other in their charters, and the purpose, and allow the time
    each joint  the borrower is the next lender; scope narrows, the end comes nearer, the purpose stays
    the whole   nobody comes twice; no deeper than the least that any party's charter allows

INVARIANT: whatever is not surely in order is broken, and the answer names the link.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from charter.registry.charter import DelegationTerms, write_duration
from charter.registry.delegation import HUMANS, MAX_DEPTH, Chain, Link, is_person

_THROUGH = "through plan and apply"


@dataclass(frozen=True, slots=True)
class Side:
    """One party of a chain, as its charter tells of it; a person has none."""

    name: str
    terms: DelegationTerms | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a chain does not hold: the link that broke it, in one sentence, and what would mend it."""

    link: str  # the delegation's id
    party: str  # whose word is missing: a name
    text: str
    mend: str


def longest(lender: Side, borrower: Side) -> dt.timedelta:
    """Return how long a delegation between the two may last at most; zero if neither charter speaks of delegation."""
    return min((side.terms.max_ttl for side in (lender, borrower) if side.terms), default=dt.timedelta())


def broken_link(chain: Chain, sides: Mapping[str, Side]) -> Broken | None:
    """Return the first thing that breaks `chain`, from its initiator on; None if it holds.

    `sides` holds every party; one that is missing breaks the chain.
    """
    for link in chain.links:
        for party in (link.lender, link.borrower):
            if party not in sides:
                mend = "register it: charter plan, then charter apply"
                return Broken(link.id, party, f"`{party}` is not registered", mend)
    for link in chain.links:
        broken = _one_sided(link, sides) or _untimely(link, sides)
        if broken:
            return broken
    return _disjointed(chain, sides) or _circular(chain, sides) or _too_deep(chain, sides)


def _one_sided(link: Link, sides: Mapping[str, Side]) -> Broken | None:
    """Tell of a side that does not agree to the link."""
    lender, borrower = sides[link.lender], sides[link.borrower]
    asked = HUMANS if is_person(link.lender) else lender.name
    if borrower.terms is None or asked not in borrower.terms.source:
        who = "people" if asked == HUMANS else f"`{asked}`"
        text = f"the charter of `{borrower.name}` does not let {who} lend it authority"
        return Broken(link.id, borrower.name, text, f"its owner can add `{asked}` to `delegation.from` {_THROUGH}")
    if not is_person(link.lender) and (lender.terms is None or borrower.name not in lender.terms.to):
        text = f"the charter of `{lender.name}` does not let it lend authority to `{borrower.name}`"
        mend = f"its owner can add `{borrower.name}` to `delegation.to` {_THROUGH}"
        return Broken(link.id, lender.name, text, mend)
    for side in (lender, borrower):
        if side.terms and side.terms.purposes and link.purpose not in side.terms.purposes:
            text = f"the charter of `{side.name}` does not allow delegation for `{link.purpose}`"
            known = ", ".join(side.terms.purposes)
            return Broken(link.id, side.name, text, f"name one of its purposes: {known}")
    return None


def _untimely(link: Link, sides: Mapping[str, Side]) -> Broken | None:
    lasts = dt.timedelta(seconds=link.expires_at - link.made_at)
    for side in (sides[link.lender], sides[link.borrower]):
        if side.terms and lasts > side.terms.max_ttl:
            most = write_duration(side.terms.max_ttl)
            text = f"`{link.id}` is made for longer than the {most} that the charter of `{side.name}` allows"
            return Broken(link.id, side.name, text, f"delegate again, for at most {most}")
    return None


def _disjointed(chain: Chain, sides: Mapping[str, Side]) -> Broken | None:
    """Tell of a joint at which authority would grow, or that joins two chains that are not one."""
    for upper, lower in pairwise(chain.links):
        who = sides[lower.lender].name
        if upper.borrower != lower.lender:
            text = f"`{lower.id}` does not continue `{upper.id}`"
            return Broken(lower.id, who, text, "exchange the lender's own token")
        missing = upper.scope.lacking(lower.scope)
        if missing:
            text = f"`{who}` was not lent {missing}, so it cannot lend it on"
            return Broken(lower.id, who, text, "ask for less, or have its lender delegate more")
        if lower.expires_at > upper.expires_at:
            text = f"`{who}` cannot lend for longer than it was lent to itself"
            return Broken(lower.id, who, text, "ask for a shorter time")
        if lower.purpose != upper.purpose:
            text = f"`{who}` was lent authority for `{upper.purpose}`, and cannot lend it on for `{lower.purpose}`"
            return Broken(lower.id, who, text, f"name the purpose `{upper.purpose}`, or none")
    return None


def _circular(chain: Chain, sides: Mapping[str, Side]) -> Broken | None:
    seen = {chain.initiator}
    for link in chain.links:
        if link.borrower in seen:
            name = sides[link.borrower].name
            text = f"`{name}` is in this chain already, and authority does not go in circles"
            return Broken(link.id, name, text, "let it use the authority that it was lent before")
        seen.add(link.borrower)
    return None


def _too_deep(chain: Chain, sides: Mapping[str, Side]) -> Broken | None:
    last = chain.links[-1].id
    for party in chain.parties:
        terms = sides[party].terms
        if terms and chain.depth > terms.max_depth:
            text = f"{chain.depth} delegations in a row are more than the {terms.max_depth} that the charter of "
            mend = f"delegate more directly, or its owner can raise `delegation.max_depth` {_THROUGH}"
            return Broken(last, sides[party].name, f"{text}`{sides[party].name}` allows", mend)
    if chain.depth > MAX_DEPTH:
        return Broken(last, sides[chain.caller].name, f"no more than {MAX_DEPTH} delegations follow each other", "")
    return None
