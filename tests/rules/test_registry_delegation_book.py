"""The delegations in memory: found, read upwards, withdrawn and swept as a plain dictionary would have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from charter.core.entropy import SystemEntropy
from charter.registry.delegation import HUMANS, MAX_DEPTH, Chain, Delegation, Link
from charter.registry.delegation_book import DelegationBook, Pool
from charter.registry.delegation_index import RowIndex, number_of
from charter.registry.standing import Standing
from delegations import HASH, MARIA, NOON, a_chain, a_link, kept
from fakes import CountingEntropy


def a_book(*chains: Chain) -> DelegationBook:
    book = DelegationBook()
    for chain in chains:
        for each in kept(chain):
            book.add(each)
    return book


def test_a_chain_is_read_from_its_initiator_to_its_caller() -> None:
    chain = a_chain(MARIA, "prn_flow", "prn_agent", "prn_tool")
    assert a_book(chain).chain_of(chain.id) == chain


def test_a_withdrawn_link_is_seen_in_every_chain_that_holds_it_and_in_no_other() -> None:
    dice = CountingEntropy()
    chain, beside = a_chain(MARIA, "prn_a", "prn_b", "prn_c", entropy=dice), a_chain(MARIA, "prn_a", entropy=dice)
    book = a_book(chain, beside)
    middle = chain.links[1].id
    book.withdraw(middle)
    for link in chain.links:
        found = book.chain_of(link.id)
        assert found is not None
        standings = [each.standing for each in found.links]
        assert (Standing.REVOKED in standings) == (middle in found.rests_on)
    assert book.chain_of(beside.id) == beside


@pytest.mark.parametrize(
    "name",
    ["del_", "del_x", "prn_00000000000000000000000001", "del_" + "z" * 26, "del_" + "0" * 27, "", "del_" + "é" * 26],
)
def test_what_is_no_known_delegation_is_no_chain(name: str) -> None:
    book = a_book(a_chain(MARIA, "prn_a"))
    assert book.chain_of(name) is None
    assert book.link(name) is None
    book.withdraw(name)
    book.accept(name, HASH)


def test_an_id_has_one_spelling() -> None:
    chain = a_chain(MARIA, "prn_a")
    number = number_of(chain.id)
    others = [chain.id[:-1] + letter for letter in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    aliases = [each for each in others if each != chain.id and number_of(each) == number]
    book = a_book(chain)
    assert all(book.chain_of(each) is None and book.link(each) is None for each in aliases)


def test_a_delegation_is_added_once_and_only_onto_what_is_there() -> None:
    chain = a_chain(MARIA, "prn_a", "prn_b")
    root, leaf = kept(chain)
    book = DelegationBook()
    with pytest.raises(ValueError, match="which is not there"):
        book.add(leaf)
    book.add(root)
    with pytest.raises(ValueError, match="cannot be added"):
        book.add(root)


def test_a_chain_longer_than_any_may_be_is_no_chain() -> None:
    chain = a_chain(MARIA, *(f"prn_{n}" for n in range(MAX_DEPTH + 1)))
    book = a_book(chain)
    assert book.chain_of(chain.links[MAX_DEPTH - 1].id) is not None
    assert book.chain_of(chain.id) is None


def test_an_acceptance_is_shown() -> None:
    chain = a_chain(MARIA, "prn_a")
    unaccepted = Chain((replace(chain.links[0], proof=None),))
    book = a_book(unaccepted)
    assert book.chain_of(chain.id) == unaccepted
    book.accept(chain.id, HASH)
    assert book.chain_of(chain.id) == chain


def test_a_switched_off_edge_is_shown_in_what_was_lent_by_it_alone() -> None:
    dice = CountingEntropy()
    one, other = a_chain(MARIA, "prn_a", "prn_b", entropy=dice), a_chain(MARIA, "prn_b", entropy=dice)
    book = a_book(one, other)
    book.switch("prn_a", "prn_b", is_on=False)
    assert [link.is_switched_off for link in book.chain_of(one.id).links] == [False, True]  # type: ignore[union-attr]  # both are there
    assert book.chain_of(other.id) == other
    book.switch(HUMANS, "prn_b", is_on=False)
    assert book.link(other.id).is_switched_off  # type: ignore[union-attr]
    book.switch("prn_a", "prn_b", is_on=True)
    book.switch(HUMANS, "prn_b", is_on=True)
    assert book.chain_of(one.id) == one


def test_sweeping_forgets_what_is_long_over_and_frees_what_it_shared() -> None:
    dice = CountingEntropy()
    book = DelegationBook()
    for number in range(50):
        link = a_link(f"person{number}@example.com", "prn_a", entropy=dice, expires_at=NOON + number * 600)
        book.add(Delegation(link, None, link.lender, "x", "cli"))
    assert book.sweep(NOON) == 0
    assert book.sweep(NOON + 100 * 3600, most=20) == 20
    assert book.sweep(NOON + 100 * 3600) == 30
    assert len(book) == 0
    assert (book.count_of("prn_a"), book.count_of("person1@example.com")) == (0, 0)
    again = a_link(MARIA, "prn_b", entropy=dice)
    book.add(Delegation(again, None, MARIA, "x", "cli"))
    assert book.link(again.id) == again
    assert book.bytes_held < 50 * 150 + 4096


def test_what_expired_less_than_an_hour_ago_is_left_to_those_who_may_be_reading_it() -> None:
    chain = a_chain(MARIA, "prn_a")
    book = a_book(chain)
    assert book.sweep(chain.links[0].expires_at + 3599) == 0
    assert book.chain_of(chain.id) == chain


@given(st.lists(st.sampled_from("abcdef")))
def test_a_pool_keeps_a_value_as_long_as_it_is_used(taken: list[str]) -> None:
    pool: Pool[str] = Pool()
    numbers = [pool.take(each) for each in taken]
    assert [pool.at(number) for number in numbers] == taken
    assert len(pool) == len(set(taken))
    for number in numbers:
        pool.give(number)
    assert len(pool) == 0


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**128 - 1), unique=True, max_size=400), st.data())
def test_the_index_answers_as_a_dictionary_does(numbers: list[int], data: st.DataObject) -> None:
    index = RowIndex(numbers.__getitem__)
    for row, number in enumerate(numbers):
        index.put(number, row)
    gone = set(data.draw(st.lists(st.sampled_from(numbers), unique=True))) if numbers else set()
    for number in gone:
        index.drop(number)
    assert {n: index.find(n) for n in numbers} == {n: None if n in gone else row for row, n in enumerate(numbers)}
    assert len(index) == len(numbers) - len(gone)


def test_the_index_grows_and_stays_small() -> None:
    dice = SystemEntropy()
    numbers = [number_of(dice.identifier("del")) or 0 for _ in range(20_000)]
    index = RowIndex(numbers.__getitem__)
    for row, number in enumerate(numbers):
        index.put(number, row)
    assert all(index.find(number) == row for row, number in enumerate(numbers))
    assert index.bytes_held <= 20 * len(numbers)


class BookAndDictionary(RuleBasedStateMachine):
    """Whatever is done in whatever order, the book reads as a dictionary of links and parents does."""

    @initialize()
    def begin(self) -> None:
        self.book, self.dice = DelegationBook(), CountingEntropy()
        self.links: dict[str, Link] = {}
        self.parents: dict[str, str | None] = {}
        self.now = NOON

    @rule(person=st.sampled_from([MARIA, "jo@example.com"]), minutes=st.integers(1, 600))
    def lend(self, person: str, minutes: int) -> None:
        self._add(a_link(person, "prn_0", entropy=self.dice, expires_at=self.now + minutes * 60), None)

    @precondition(lambda self: self.links)
    @rule(data=st.data(), minutes=st.integers(1, 600))
    def lend_on(self, data: st.DataObject, minutes: int) -> None:
        parent = data.draw(st.sampled_from(sorted(self.links)))
        above, depth = self.links[parent], len(self._chain(parent))
        if depth < MAX_DEPTH:
            ends = min(above.expires_at, self.now + minutes * 60)
            self._add(a_link(above.borrower, f"prn_{depth}", entropy=self.dice, expires_at=ends), parent)

    @precondition(lambda self: self.links)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.links)))
        self.book.withdraw(name)
        self.links[name] = replace(self.links[name], standing=Standing.REVOKED)

    @rule(hours=st.integers(0, 4))
    def wait_and_sweep(self, hours: int) -> None:
        self.now += hours * 3600
        self.book.sweep(self.now)
        for name in [n for n, link in self.links.items() if self.book.link(n) is None]:
            assert self.links[name].expires_at + 3600 <= self.now
            del self.links[name], self.parents[name]

    @invariant()
    def reads_alike(self) -> None:
        assert len(self.book) == len(self.links)
        for name in self.links:
            chain = self.book.chain_of(name)
            assert chain is not None
            assert list(chain.links) == self._chain(name)

    def _add(self, link: Link, parent: str | None) -> None:
        self.book.add(Delegation(link, parent, MARIA, "x", "cli"))
        self.links[link.id], self.parents[link.id] = link, parent

    def _chain(self, name: str | None) -> list[Link]:
        found = []
        while name is not None:
            found.append(self.links[name])
            name = self.parents[name]
        return found[::-1]


BookAndDictionary.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestBookAndDictionary = BookAndDictionary.TestCase
