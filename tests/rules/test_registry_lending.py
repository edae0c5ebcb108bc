"""Whether a chain holds: each rule, and that no chain whose authority grew is taken for one that does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.registry.charter import DelegationTerms
from charter.registry.delegation import Chain
from charter.registry.lending import Side, broken_link, longest
from charter.registry.lent_scope import parse_scope
from delegations import MARIA, NOON, a_chain, a_link, sides_of, terms, with_link
from fakes import CountingEntropy

THREE = a_chain(MARIA, "prn_p1", "prn_p2", "prn_p3")
ONE_SYSTEM = parse_scope([{"system": "payments"}])
READING = parse_scope([{"system": "payments", "actions": ["charge.read"]}])


def test_a_chain_in_order_holds() -> None:
    assert broken_link(THREE, sides_of(THREE)) is None


def test_a_chain_that_a_principal_begins_holds() -> None:
    chain = a_chain("prn_p1", "prn_p2")
    assert broken_link(chain, sides_of(chain)) is None


@pytest.mark.parametrize(
    ("changed", "party", "text"),
    [
        ({"p1": None}, "p1", "the charter of `p1` does not let people lend it authority"),
        ({"p1": terms(**{"from": ["p9"]})}, "p1", "the charter of `p1` does not let people lend it authority"),
        ({"p2": terms(**{"from": ["humans"]})}, "p2", "the charter of `p2` does not let `p1` lend it authority"),
        ({"p1": terms(to=["p9"])}, "p1", "the charter of `p1` does not let it lend authority to `p2`"),
        ({"p2": terms(to=None)}, "p2", "the charter of `p2` does not let it lend authority to `p3`"),
        (
            {"p3": terms(purposes=["travel"])},
            "p3",
            "the charter of `p3` does not allow delegation for `dispute-handling`",
        ),
        ({"p2": terms(max_ttl="30m")}, "p2", "is made for longer than the 30m that the charter of `p2` allows"),
        (
            {"p1": terms(max_depth=2)},
            "p1",
            "3 delegations in a row are more than the 2 that the charter of `p1` allows",
        ),
    ],
)
def test_a_side_that_does_not_agree_breaks_it(
    changed: dict[str, DelegationTerms | None], party: str, text: str
) -> None:
    broken = broken_link(THREE, sides_of(THREE, **changed))
    assert broken is not None
    assert broken.party == party
    assert text in broken.text
    assert broken.mend


@pytest.mark.parametrize(
    ("at", "changed", "text"),
    [
        (1, {"lender": "prn_p9"}, "does not continue"),
        (1, {"purpose": "travel"}, "cannot lend it on for `travel`"),
        (1, {"expires_at": NOON + 3601, "made_at": NOON + 1800}, "cannot lend for longer than it was lent to itself"),
        (2, {"borrower": "prn_p1"}, "`p1` is in this chain already"),
    ],
)
def test_a_joint_at_which_authority_would_grow_breaks_it(at: int, changed: dict[str, Any], text: str) -> None:
    chain = with_link(THREE, at, **changed)
    sides = {party: Side(party.removeprefix("prn_"), terms(purposes=None)) for party in (*THREE.parties, "prn_p9")}
    broken = broken_link(chain, sides)
    assert broken is not None
    assert broken.link == chain.links[at].id
    assert text in broken.text


def test_a_scope_that_widens_is_named_with_who_did_not_have_it() -> None:
    chain = with_link(with_link(THREE, 0, scope=READING), 1, scope=ONE_SYSTEM)
    broken = broken_link(chain, sides_of(chain))
    assert broken is not None
    assert (broken.link, broken.party) == (chain.links[1].id, "p1")
    assert broken.text == "`p1` was not lent every action on `payments`, so it cannot lend it on"


def test_a_party_that_is_not_known_breaks_it() -> None:
    sides = sides_of(THREE)
    del sides["prn_p2"]
    broken = broken_link(THREE, sides)
    assert broken is not None
    assert broken.text == "`prn_p2` is not registered"


def test_the_longest_time_is_the_shorter_of_both_sides() -> None:
    assert longest(Side("a", terms(max_ttl="2h")), Side("b", terms(max_ttl="30m"))).total_seconds() == 1800
    assert longest(Side(MARIA), Side("b", terms(max_ttl="30m"))).total_seconds() == 1800
    assert longest(Side(MARIA), Side("b")).total_seconds() == 0


names = st.sampled_from([f"prn_p{n}" for n in range(6)])
scopes = st.sampled_from(
    [
        parse_scope(None),
        ONE_SYSTEM,
        READING,
        parse_scope([{"system": "payments", "actions": ["charge.read"], "objects": ["charge/a*"]}]),
        parse_scope([{"system": "ledger"}]),
    ]
)


@st.composite
def any_chain(draw: st.DrawFn) -> Chain:
    """A chain thrown together: parties, scopes, ends and purposes at random."""
    dice = CountingEntropy()
    lender, links = draw(st.one_of(st.just(MARIA), names)), []
    for _ in range(draw(st.integers(1, 5))):
        borrower = draw(names)
        links.append(
            a_link(
                lender,
                borrower,
                entropy=dice,
                scope=draw(scopes),
                expires_at=NOON + draw(st.sampled_from([600, 1800, 3600])),
                purpose=draw(st.sampled_from(["dispute-handling"] * 5 + ["travel"])),
            )
        )
        lender = draw(names) if draw(st.integers(0, 9)) == 0 else borrower
    return Chain(tuple(links))


@given(
    any_chain(),
    st.sampled_from(["payments", "ledger"]),
    st.sampled_from(["charge.read", "refund.create"]),
    st.sampled_from(["charge/a1", "charge/b1"]),
)
def test_authority_never_grows_along_a_chain_that_holds(chain: Chain, system: str, action: str, path: str) -> None:
    if broken_link(chain, sides_of(chain)) is not None:
        return
    for above, below in zip(chain.links, chain.links[1:], strict=False):
        assert above.borrower == below.lender
        assert below.expires_at <= above.expires_at
        assert below.purpose == above.purpose
        assert above.scope.allows(system, action, path) or not below.scope.allows(system, action, path)
    assert len(set(chain.parties)) == len(chain.parties)
