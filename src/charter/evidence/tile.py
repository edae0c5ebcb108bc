"""Tiles: how the tree's hashes are kept (C2SP tlog-tiles). A tile of level L holds up to 256 hashes of tree level 8L.

Level 0 tiles hold leaf hashes; the root of a full tile stands in the tile above it. The log keeps them all, full and
partial, so that any proof reads a handful of 8 kB blobs whatever the log's size, and a changed entry can be named: its
hash no longer is the one in its tile.

`Edge` is the right edge of the growing tree: the frontier, and the partial tile of each level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.tree import HASH_BYTES, Frontier, full_subtrees

HEIGHT = 8
WIDTH = 1 << HEIGHT
FULL_BYTES = WIDTH * HASH_BYTES
TileReader = Callable[[int, int], bytes]  # (level, index) -> the hashes kept, or b"" if there are none


@dataclass(frozen=True, slots=True)
class Tile:
    """The `index`-th tile of tile level `level`: 1 to 256 hashes, one after the other."""

    level: int
    index: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of the tree: all that appending needs. `partial[L]` is the partial tile of level L."""

    frontier: Frontier = field(default_factory=Frontier)
    partial: tuple[bytes, ...] = (b"",)

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self.frontier.size

    def extend(self, leaves: Sequence[bytes]) -> tuple[Edge, tuple[Tile, ...]]:
        """Append leaf hashes; return the new edge and the tiles that are new or grew."""
        frontier, completed = self.frontier.extend(leaves, HEIGHT)
        added = [b"".join(leaves)] + [b""] * (max((s.level for s in completed), default=0) // HEIGHT)
        for subtree in completed:
            added[subtree.level // HEIGHT] += subtree.root
        tiles: list[Tile] = []
        partial = list(self.partial) + [b""] * (len(added) - len(self.partial))
        for level, hashes in enumerate(added):
            first = self.size >> HEIGHT * (level + 1)
            cut, partial[level] = _cut(level, first, partial[level] + hashes)
            tiles += cut
            if partial[level]:
                tiles.append(Tile(level, first + len(cut), partial[level]))
        return Edge(frontier, tuple(partial)), tuple(tiles)


def _cut(level: int, first: int, hashes: bytes) -> tuple[list[Tile], bytes]:
    """Return the full tiles at the front of `hashes`, the first of them at index `first`, and what is left."""
    full = len(hashes) // FULL_BYTES
    tiles = [Tile(level, first + i, hashes[i * FULL_BYTES : (i + 1) * FULL_BYTES]) for i in range(full)]
    return tiles, hashes[full * FULL_BYTES :]


def load_edge(size: int, read: TileReader) -> Edge:
    """Return the edge of a log of `size` entries from its kept tiles.

    Raises:
        IntegrityError: a tile at the edge is missing or has the wrong width.
    """
    partial, level = [], 0
    while level == 0 or size >> HEIGHT * level:
        width = (size >> HEIGHT * level) % WIDTH
        index = size >> HEIGHT * (level + 1)
        hashes = read(level, index) if width else b""
        if len(hashes) != width * HASH_BYTES:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"tile {index} of level {level} holds {len(hashes) // HASH_BYTES} hashes, not {width}",
            )
        partial.append(hashes)
        level += 1
    roots = Tree(lambda level, _: partial[level]).edge_roots(size)
    return Edge(Frontier(size, tuple(roots)), tuple(partial))


class Tree:
    """The nodes of a tree, computed from its tiles. Each tile is read once; make one `Tree` per proof."""

    def __init__(self, read: TileReader) -> None:
        self._read = read
        self._tiles: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the `index`-th full subtree of 2**level leaves.

        Raises:
            IntegrityError: the tile it needs is missing or too short.
        """
        tile_level, inner = divmod(level, HEIGHT)
        tile_index, place = divmod(index << inner, WIDTH)
        hashes = self._tile(tile_level, tile_index)
        start, end = place * HASH_BYTES, (place + (1 << inner)) * HASH_BYTES
        if len(hashes) < end:
            raise IntegrityError(
                ErrorCode.EVIDENCE_BROKEN,
                f"tile {tile_index} of level {tile_level} is missing or too short",
                help="run `charter evidence verify` to see what is broken",
            )
        nodes = [hashes[at : at + HASH_BYTES] for at in range(start, end, HASH_BYTES)]
        while len(nodes) > 1:
            nodes = [sha256(b"\x01" + nodes[i] + nodes[i + 1]).digest() for i in range(0, len(nodes), 2)]
        return nodes[0]

    def edge_roots(self, size: int) -> list[bytes]:
        """Return the roots of the full subtrees of the tree of `size` leaves, largest first."""
        return [self.node(level, index) for level, index in full_subtrees(0, size)]

    def _tile(self, level: int, index: int) -> bytes:
        key = (level, index)
        if key not in self._tiles:
            self._tiles[key] = self._read(level, index)
        return self._tiles[key]
