"""Delegations as rows, on SQLite and PostgreSQL: what is kept comes back as it was, what is meant is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.delegation_store import MAX_ROWS_NAMED, SqlDelegations
from charter.adapters.engine import open_engines, sqlite_url
from charter.adapters.registry_store import load_live
from charter.core.errors import AbsentError
from charter.identity.delegation import Wanted
from charter.registry.delegation import HUMANS, Chain, Delegation
from charter.registry.delegation_book import DelegationBook
from charter.registry.lent_scope import Scope, ScopePart
from charter.registry.standing import Standing
from databases import a_database
from delegations import HASH, MARIA, NOON, a_chain, a_link, kept
from fakes import CountingEntropy, FixedClock

AT = FixedClock().now()
JO = "jo@example.com"


@contextmanager
def a_store(folder: Path, url: str, *chains: Chain) -> Iterator[tuple[SqlDelegations, sa.Connection]]:
    """Return the store on a database that holds the delegations of `chains`."""
    with a_database(folder, url=url) as database:
        database.write(lambda tx: _keep(SqlDelegations(tx.connection), chains))
    engine, reader = open_engines(url or sqlite_url(folder / "charter.db"))
    try:
        with engine.connect() as connection, connection.begin():
            yield SqlDelegations(connection), connection
    finally:
        engine.dispose()
        reader.dispose()


def _keep(store: SqlDelegations, chains: tuple[Chain, ...]) -> None:
    for chain in chains:
        for depth, each in enumerate(kept(chain), 1):
            store.add(each, depth)


def two_chains() -> tuple[Chain, Chain]:
    dice = CountingEntropy()
    return a_chain(MARIA, "prn_a", "prn_b", "prn_c", entropy=dice), a_chain(JO, "prn_a", "prn_c", entropy=dice)


def test_every_field_comes_back(tmp_path: Path, database_url: str) -> None:
    scope = Scope((ScopePart("payments", ("charge.read",), ("charge/*", "charge/é")),))
    bare = Delegation(a_link(MARIA, "prn_a", proof=None, scope=scope), None, MARIA, "op@example.com", "cli", "why")
    whole = Delegation(
        replace(
            bare.link, id="del_" + "0" * 25 + "z", proof=HASH, lender="prn_b", lender_epoch=3, lender_credential="k"
        ),
        bare.id,
        MARIA,
        "prn_a",
        "exchange",
        proof="a.b.c",
    )
    with a_store(tmp_path, database_url) as (store, _):
        store.add(bare, 1)
        store.add(whole, 2)
        assert [store.get(each.id) for each in (bare, whole)] == [bare, whole]
        assert store.chain(whole.id) == [bare, whole]
        assert store.proofs(whole.id) == ["a.b.c", None]
        store.accept(bare.id, "d.e.f", HASH)
        assert store.proofs(whole.id) == ["a.b.c", "d.e.f"]
        assert store.get(bare.id) == replace(bare, link=replace(bare.link, proof=HASH), proof="d.e.f")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (Wanted(person=MARIA), ["first 0"]),
        (Wanted(person="MARIA@example.com"), []),
        (Wanted(agent="prn_b"), ["first 1", "first 2"]),
        (Wanted(agent="prn_c"), ["first 2", "second 1"]),
        (Wanted(agent="prn_c", person=JO), []),
        (Wanted(purpose="dispute-handling"), ["first 0", "first 1", "first 2", "second 0", "second 1"]),
        (Wanted(purpose="dispute%"), []),
        (Wanted(link="del_nothing"), []),
    ],
    ids=lambda each: str(each.to_json()) if isinstance(each, Wanted) else "",
)
def test_what_is_meant_is_what_fits_everything_named(
    tmp_path: Path, database_url: str, wanted: Wanted, meant: list[str]
) -> None:
    chains = dict(zip(("first", "second"), two_chains(), strict=True))
    names = {link.id: f"{name} {at}" for name, chain in chains.items() for at, link in enumerate(chain.links)}
    with a_store(tmp_path, database_url, *chains.values()) as (store, _):
        assert sorted(names[each] for each in store.matching(wanted, NOON)) == meant
        assert sorted(names[each.id] for each in store.listed(wanted, NOON, limit=10)) == meant
        assert store.matching(wanted, NOON + 3600) == []


def test_a_list_is_newest_first_and_bounded(tmp_path: Path, database_url: str) -> None:
    first, second = two_chains()
    with a_store(tmp_path, database_url, first, second) as (store, _):
        listed = [each.id for each in store.listed(Wanted(), NOON, limit=3)]
    assert listed == sorted((link.id for chain in (first, second) for link in chain.links), reverse=True)[:3]


def test_what_hangs_beneath_is_counted_at_whatever_remove(tmp_path: Path, database_url: str) -> None:
    first, second = two_chains()
    ids = [link.id for link in first.links]
    with a_store(tmp_path, database_url, first, second) as (store, _):
        assert [store.beneath([each], NOON) for each in ids] == [2, 1, 0]
        assert store.beneath(ids[:2], NOON) == 1  # what is withdrawn itself is not beneath
        assert store.beneath(ids, NOON + 3600) == 0


def test_a_withdrawn_one_says_by_whom_and_is_meant_no_more(tmp_path: Path, database_url: str) -> None:
    first, second = two_chains()
    root = first.links[0].id
    with a_store(tmp_path, database_url, first, second) as (store, _):
        store.withdraw([root], AT, "op@example.com")
        found = store.get(root)
        assert (found.link.standing, found.withdrawn_at, found.withdrawn_by) == (Standing.REVOKED, AT, "op@example.com")
        assert store.matching(Wanted(link=root), NOON) == []
        assert [each.id for each in store.listed(Wanted(link=root), NOON, limit=10)] == [root]
        assert store.get(second.links[0].id).link.standing is Standing.ACTIVE


def test_more_than_fit_one_statement_are_withdrawn_and_forgotten(tmp_path: Path, database_url: str) -> None:
    dice = CountingEntropy()
    chains = [a_chain(MARIA, "prn_a", "prn_b", entropy=dice) for _ in range(MAX_ROWS_NAMED // 2 + 5)]
    with a_store(tmp_path, database_url, *chains) as (store, connection):
        ids = store.matching(Wanted(purpose="dispute-handling"), NOON)
        store.withdraw(ids, AT, MARIA)
        assert store.matching(Wanted(purpose="dispute-handling"), NOON) == []
        assert store.forget(NOON + 3600) == 0  # nothing has ended yet
        assert store.forget(NOON + 3601, most=7) == 7
        assert store.forget(NOON + 3601) == len(ids) - 7
        assert connection.execute(sa.select(sa.func.count()).select_from(t.delegation)).scalar() == 0


def test_what_is_live_is_read_after_what_it_rests_on_whatever_was_kept_first(tmp_path: Path, database_url: str) -> None:
    first, second = two_chains()
    turned = Chain(
        tuple(
            replace(link, id=each) for link, each in zip(first.links, [f"del_{0:025}{x}" for x in "zyx"], strict=True)
        )
    )
    with a_store(tmp_path, database_url, turned, second) as (store, _):
        book = DelegationBook()
        for each in store.live(NOON):
            book.add(each)
        assert book.chain_of(turned.id) == turned
        assert book.chain_of(second.id) == second
        assert list(store.live(NOON + 3600)) == []


def test_a_row_that_was_altered_into_what_it_cannot_be_is_left_out_with_what_rests_on_it(
    tmp_path: Path, database_url: str
) -> None:
    first, second = two_chains()
    with a_store(tmp_path, database_url, first, second) as (_, connection):
        middle = t.delegation.c.id == first.links[1].id
        connection.execute(t.delegation.update().where(middle).values(scope='{"no": "scope"}'))
        live = load_live(connection)
    assert live.delegations.chain_of(first.links[0].id) is not None
    assert live.delegations.chain_of(first.links[1].id) is None
    assert live.delegations.chain_of(first.id) is None
    assert live.delegations.chain_of(second.id) == second


def test_switches_are_kept_until_they_are_switched_back(tmp_path: Path, database_url: str) -> None:
    with a_store(tmp_path, database_url) as (store, _):
        for edge in ((HUMANS, "prn_a"), ("prn_b", "prn_a"), ("prn_b", "prn_a")):
            store.switch(*edge, is_on=False, at=AT, by=MARIA)
        assert store.switched_off() == [(HUMANS, "prn_a"), ("prn_b", "prn_a")]
        store.switch(HUMANS, "prn_a", is_on=True, at=AT, by=MARIA)
        assert store.switched_off() == [("prn_b", "prn_a")]


def test_what_is_not_there_is_absent(tmp_path: Path, database_url: str) -> None:
    with a_store(tmp_path, database_url) as (store, _):
        for asked in (store.get, store.chain, store.proofs):
            with pytest.raises(AbsentError):
                asked("del_nothing")
