"""Delegations for tests: links, chains and sides in order, with one thing changed.

chain = a_chain("maria@example.com", "prn_flow", "prn_agent")
assert broken_link(chain, sides_of(chain)) is None
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from charter.core.entropy import Entropy
from charter.registry.charter import DelegationTerms
from charter.registry.delegation import HUMANS, Chain, Delegation, Link, Role, is_person
from charter.registry.lending import Side
from charter.registry.lent_scope import EVERYTHING
from charter.registry.standing import Standing
from fakes import CountingEntropy

MARIA = "maria@example.com"
ISSUER = "http://127.0.0.1:8420"
NOON = 1_764_072_000  # 2025-11-25T12:00:00Z
HASH = "A" * 42 + "E"


def a_link(lender: str, borrower: str, *, entropy: Entropy | None = None, **changed: Any) -> Link:
    """Return a link in good standing from `lender` to `borrower`."""
    given: dict[str, Any] = {
        "id": (entropy or CountingEntropy()).identifier("del"),
        "lender": lender,
        "borrower": borrower,
        "role": Role.DECIDER,
        "control_plane": ISSUER,
        "purpose": "dispute-handling",
        "scope": EVERYTHING,
        "made_at": NOON,
        "expires_at": NOON + 3600,
        "standing": Standing.ACTIVE,
        "lender_epoch": None if is_person(lender) else 1,
        "lender_credential": None if is_person(lender) else f"key-of-{lender}",
        "proof": HASH,
    }
    return Link(**given | changed)


def a_chain(*parties: str, entropy: Entropy | None = None) -> Chain:
    """Return the chain of `parties`, from initiator to caller."""
    dice = entropy or CountingEntropy()
    return Chain(tuple(a_link(a, b, entropy=dice) for a, b in pairwise(parties)))


def terms(**changed: Any) -> DelegationTerms:
    """Return what a charter says of delegation: everyone named `agent` to `agent-9`, eight deep."""
    names = [f"p{number}" for number in range(10)]
    given: dict[str, Any] = {
        "from": [HUMANS, *names],
        "to": names,
        "purposes": ["dispute-handling"],
        "max_ttl": "1h",
        "max_depth": 8,
    }
    return DelegationTerms.model_validate({k: v for k, v in (given | changed).items() if v is not None})


def sides_of(chain: Chain, **changed: DelegationTerms | None) -> dict[str, Side]:
    """Return each party of a chain with generous terms; `changed` replaces those of a principal called so."""
    found = {}
    for party in chain.parties:
        name = party.removeprefix("prn_")
        found[party] = Side(party) if is_person(party) else Side(name, changed.get(name, terms()))
    return found


def kept(chain: Chain) -> list[Delegation]:
    """Return the delegations of a chain as they are kept, the root first."""
    made = []
    for number, link in enumerate(chain.links):
        parent = chain.links[number - 1].id if number else None
        made.append(Delegation(link, parent, chain.initiator, "test@example.com", "cli", "a test"))
    return made


def with_link(chain: Chain, at: int, **changed: Any) -> Chain:
    """Return `chain` with its link at `at` changed."""
    return Chain(tuple(replace(link, **changed) if n == at else link for n, link in enumerate(chain.links)))


def ids(chains: Iterable[Chain]) -> list[str]:
    """Return the delegations that chains end with."""
    return [chain.id for chain in chains]
