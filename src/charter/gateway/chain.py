"""The chain that a call is made under, read for one decision: who is in it, and what policy is asked for each of them.

INVARIANT: a chain is read once for a decision, and is the same one when the verdict is recorded, or it is read again.
INVARIANT: a party whose policy cannot be bound, and a chain that does not hold, deny; the reason names the link.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from charter.core.canonical import digest_of
from charter.core.errors import CharterError
from charter.gateway.call import Bearer, Call
from charter.policy.chain import ChainCase, Loan, Party
from charter.policy.request import Asker, ChainFacts
from charter.policy.slice import Slice
from charter.policy.verdict import Deny, Layer, Reason
from charter.registry.delegation import Chain, Role, chain_to_json, is_person
from charter.registry.lending import Side, broken_link
from charter.registry.principal import LiveEstate, Principal
from charter.registry.standing import Standing


class Slices(Protocol):
    """Where parties' bound policy slices come from."""

    def of(self, principal: Principal) -> Slice:
        """Return the slice of the charter version `principal` acts under.

        Raises:
            CharterError: it cannot be bound; nothing is allowed then.
        """
        ...

    def of_person(self, person: str, borrower: Principal) -> Slice | None:
        """Return the slice of what a person may do when `borrower` acts for them; None if nothing is said of that.

        Raises:
            CharterError: it cannot be bound; nothing is allowed then.
        """
        ...

    def roles_of(self, person: str) -> frozenset[str]:
        """Return the human roles that a person holds."""
        ...


class ReadChain(msgspec.Struct, frozen=True):
    """A chain as one decision reads it."""

    case: ChainCase
    facts: ChainFacts | None = None  # None: the caller acts by itself
    chain: Chain | None = None
    principals: tuple[Principal, ...] = ()  # those in it, as they were read

    def still_holds(self, live: LiveEstate) -> bool:
        """Whether the live estate still shows exactly this chain."""
        if any(live.principals.get(each.id) is not each for each in self.principals):
            return False
        return self.chain is None or live.delegations.chain_of(self.chain.id) == self.chain


def rests_on(live: LiveEstate, bearer: Bearer) -> tuple[str, ...]:
    """Return everything whose withdrawal stops what `bearer` does: itself, and its chain's parties and delegations."""
    chain = live.delegations.chain_of(bearer.delegation)
    return (bearer.principal_id,) if chain is None else tuple(dict.fromkeys((bearer.principal_id, *chain.rests_on)))


def approval_digest(bearer: Bearer, call: Call) -> str:
    """Return what an approval of `call` is bound to: the exact call, and the delegation that it is made under.

    Otherwise one initiator's approval could be spent on a call that the same agent makes for another.
    """
    if bearer.delegation is None:
        return call.digest
    return digest_of({"call": call.digest, "delegation": bearer.delegation})


def told_chain(live: LiveEstate, bearer: Bearer, issuer: str) -> dict[str, Any] | None:
    """Return what evidence says of the chain that a call was made under; None if its caller acted by itself."""
    if bearer.delegation is None:
        return None
    chain = live.delegations.chain_of(bearer.delegation)
    if chain is None:
        return {"delegation": bearer.delegation, "initiator": bearer.initiator, "parties": []}
    names = {party: live.principals[party].name for party in chain.parties if party in live.principals}
    told = chain_to_json(chain, names, issuer)
    told[-1]["credential"] = bearer.credential or None  # none where an enforcement point vouched
    deciders = [each["name"] for each in told if each["role"] == Role.DECIDER.value]
    return {
        "delegation": chain.id,
        "purpose": chain.purpose,
        "initiator": told[0]["name"],
        "decider": deciders[-1] if deciders else None,
        "executor": told[-1]["name"],
        "parties": told,
    }


def read_chain(live: LiveEstate, slices: Slices, bearer: Bearer, principal: Principal) -> ReadChain | Deny:
    """Return the chain that `bearer`, who is `principal`, acts under, ready for policy; or why nothing is allowed."""
    chain = live.delegations.chain_of(bearer.delegation)
    if chain is None and bearer.delegation is not None:  # `refusal` was asked before, and it was there
        why = f"the delegation `{bearer.delegation}` is not known any more"
        return _deny(Layer.DELEGATION, "built-in/delegation", why, "ask for a new one", principal.name)
    return read_alone(slices, principal) if chain is None else read_links(live.principals, slices, chain)


def read_alone(slices: Slices, principal: Principal) -> ReadChain | Deny:
    """Return a principal that acts by itself, ready for policy; or why nothing is allowed."""
    own = _bound(slices, principal)
    if isinstance(own, Deny):
        return own
    return ReadChain(ChainCase((Party(principal.id, asker_of(principal), own),)), principals=(principal,))


def read_links(known: Mapping[str, Principal], slices: Slices, chain: Chain) -> ReadChain | Deny:
    """Return `chain`, whose principals are among `known` (by id), ready for policy; or why nothing is allowed."""
    principals = [known[party] for party in chain.parties if party in known]
    bound: dict[str, Slice] = {}
    for each in principals:
        found = _bound(slices, each)
        if isinstance(found, Deny):
            return found
        bound[each.id] = found
    sides = {each.id: Side(each.name, bound[each.id].delegation) for each in principals}
    sides |= {party: Side(party) for party in chain.parties if is_person(party)}
    broken = broken_link(chain, sides)
    if broken is not None:
        return _deny(Layer.DELEGATION, "built-in/delegation", broken.text, broken.mend, broken.party)
    person = _person(known, slices, chain)
    if isinstance(person, Deny):
        return person
    parties = (*person, *(Party(each.id, asker_of(each), bound[each.id]) for each in principals))
    return ReadChain(ChainCase(parties, _loans(chain, sides)), _facts(slices, chain, sides), chain, tuple(principals))


def _bound(slices: Slices, principal: Principal) -> Slice | Deny:
    try:
        return slices.of(principal)
    except CharterError as err:
        return _deny(Layer.POLICY_ERROR, "built-in/policy", err.detail, err.help or "mend the estate", principal.name)


def _person(known: Mapping[str, Principal], slices: Slices, chain: Chain) -> tuple[Party, ...] | Deny:
    """Return the person who began the chain as a party before policy, if anything is said of what they may do."""
    person, borrower = chain.initiator, known[chain.links[0].borrower]
    if not is_person(person):
        return ()
    try:
        found = slices.of_person(person, borrower)
    except CharterError as err:
        return _deny(Layer.POLICY_ERROR, "built-in/policy", err.detail, err.help or "mend the estate", person)
    if found is None:
        return ()
    asker = Asker(person, found.principal, found.kind, found.environment, found.team)
    return (Party(owner_of(person), asker, found),)


def owner_of(person: str) -> str:
    """Return under what a person's limits are counted."""
    return "per_" + hashlib.sha256(person.encode()).hexdigest()[:32]


def _loans(chain: Chain, sides: Mapping[str, Side]) -> tuple[Loan, ...]:
    return tuple(Loan(k.id, sides[k.lender].name, sides[k.borrower].name, k.scope) for k in chain.links)


def _facts(slices: Slices, chain: Chain, sides: Mapping[str, Side]) -> ChainFacts:
    names = tuple(sides[party].name for party in chain.parties)
    by_person = is_person(chain.initiator)
    return ChainFacts(
        depth=chain.depth,
        purpose=chain.purpose,
        initiator=names[0],
        by_person=by_person,
        initiator_roles=slices.roles_of(chain.initiator) if by_person else frozenset(),
        parties=names,
        deciders=tuple(name for name, role in zip(names, chain.roles, strict=True) if role is Role.DECIDER),
    )


def asker_of(principal: Principal) -> Asker:
    """Return a principal as policy asks about it."""
    return Asker(
        principal.id,
        principal.name,
        principal.kind.value,
        principal.environment,
        principal.owner_team,
        restrained=principal.standing is Standing.RESTRAINED,
    )


def _deny(layer: Layer, rule: str, text: str, mend: str, link: str) -> Deny:
    return Deny((Reason(layer, rule, text, mend, link),))
