"""The Merkle tree is RFC 6962's: held against the recursive definition, known answers, and every wrong proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import IntegrityError, MalformedError
from charter.evidence.tile import FULL_BYTES, WIDTH, Edge, Tile, Tree, load_edge
from charter.evidence.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(str(i).encode()) for i in range(700)]

# The reference answers of the certificate-transparency project: these leaves, and the roots of the first 1 to 8.
REFERENCE_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
REFERENCE_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(min_value=0, max_value=len(LEAVES))


def naive_root(leaves: list[bytes]) -> bytes:
    """Return MTH as RFC 9162 section 2.1.1 defines it, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


ROOTS = [naive_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def a_tree(size: int) -> Tree:
    def read(level: int, index: int) -> bytes:
        step = WIDTH**level
        first = index * WIDTH
        return b"".join(
            ROOTS[step] if step > 1 and i == 0 else naive_root(LEAVES[i * step : (i + 1) * step])
            for i in range(first, min(first + WIDTH, size // step))
        )

    return Tree(read)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_reference_ones(size: int) -> None:
    frontier, _ = Frontier().extend([leaf_hash(bytes.fromhex(leaf)) for leaf in REFERENCE_LEAVES[:size]], 8)
    assert frontier.root == (bytes.fromhex(REFERENCE_ROOTS[size - 1]) if size else EMPTY_ROOT)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 300), max_size=6))
def test_appending_in_any_groups_gives_the_root_and_the_tiles_of_the_definition(groups: list[int]) -> None:
    edge, kept, size = Edge(), {}, 0
    for group in groups:
        taken = LEAVES[size : size + group]
        edge, tiles = edge.extend(taken)
        kept |= {(tile.level, tile.index): tile for tile in tiles}
        size += len(taken)
    assert edge.frontier.root == ROOTS[size]
    assert load_edge(size, lambda level, index: kept.get((level, index), Tile(level, index, b"")).hashes) == edge
    full = [kept[0, index].hashes for index in range(size // WIDTH)]
    assert full == [b"".join(LEAVES[i : i + WIDTH]) for i in range(0, size // WIDTH * WIDTH, WIDTH)]
    assert all(len(hashes) == FULL_BYTES for hashes in full)


@settings(max_examples=60)
@given(sizes.filter(bool), st.data())
def test_every_entry_can_be_proved_and_nothing_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, a_tree(size).node)

    verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])

    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else index + 1
    for leaf, at, steps, root in (
        (leaf_hash(b"forged"), index, path, ROOTS[size]),
        (LEAVES[index], other, path, ROOTS[size]),
        (LEAVES[index], index, (*path, EMPTY_ROOT), ROOTS[size]),
        (LEAVES[index], index, path, EMPTY_ROOT),
    ):
        with pytest.raises(IntegrityError):
            verify_inclusion(leaf, at, size, steps, root)
    if path:
        with pytest.raises(IntegrityError):
            verify_inclusion(LEAVES[index], index, size, path[:-1], ROOTS[size])


@settings(max_examples=60)
@given(sizes, sizes)
def test_every_growth_can_be_proved_and_no_other_history(one: int, other: int) -> None:
    first, second = sorted((one, other))
    path = consistency_path(first, second, a_tree(second).node)

    verify_consistency(first, second, (ROOTS[first], ROOTS[second]), path)

    wrong = leaf_hash(b"another history")
    for roots in ((wrong, ROOTS[second]), (ROOTS[first], wrong)):
        if first == 0 and roots[0] == EMPTY_ROOT:
            continue  # every log continues the empty one
        with pytest.raises(IntegrityError):
            verify_consistency(first, second, roots, path)
    with pytest.raises(IntegrityError):
        verify_consistency(first, second, (ROOTS[first], ROOTS[second]), (*path, wrong))


def test_a_log_of_three_tile_levels_is_proved_from_a_handful_of_tiles() -> None:
    leaves = [leaf_hash(i.to_bytes(4, "big")) for i in range(66_000)]
    kept: dict[tuple[int, int], bytes] = {}
    edge = Edge()
    for start in range(0, len(leaves), 999):
        edge, tiles = edge.extend(leaves[start : start + 999])
        kept |= {(tile.level, tile.index): tile.hashes for tile in tiles}
    read: list[tuple[int, int]] = []

    def node(level: int, index: int) -> bytes:
        read.append((level, index))
        return Tree(lambda *place: kept[place]).node(level, index)

    path = inclusion_path(40_000, 66_000, node)
    verify_inclusion(leaves[40_000], 40_000, 66_000, path, edge.frontier.root)

    assert {level for level, _ in kept} == {0, 1, 2}
    assert kept[2, 0] == naive_root(leaves[:65_536])
    assert len(read) < 30
    assert load_edge(66_000, lambda *place: kept[place]) == edge


def test_proofs_of_what_is_not_there_are_refused() -> None:
    tree = a_tree(10)
    with pytest.raises(MalformedError, match="a log of 10 entries has no entry 10"):
        inclusion_path(10, 10, tree.node)
    with pytest.raises(MalformedError, match="never had 11"):
        consistency_path(11, 10, tree.node)
    with pytest.raises(IntegrityError, match="never had 11"):
        verify_consistency(11, 10, (EMPTY_ROOT, EMPTY_ROOT), ())
    with pytest.raises(IntegrityError, match="path from 3 to 9 entries is empty"):
        verify_consistency(3, 9, (ROOTS[3], ROOTS[9]), ())
    with pytest.raises(IntegrityError, match="has no entry 12"):
        verify_inclusion(LEAVES[0], 12, 10, (), ROOTS[10])


def test_a_missing_or_short_tile_is_noticed() -> None:
    with pytest.raises(IntegrityError, match="tile 0 of level 0 is missing or too short"):
        Tree(lambda _level, _index: b"").node(0, 3)
    with pytest.raises(IntegrityError, match="tile 1 of level 0 holds 0 hashes, not 44"):
        load_edge(300, lambda _level, _index: b"")
