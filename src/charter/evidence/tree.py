"""The Merkle tree over entries (RFC 6962 section 2.1, the same as RFC 9162 section 2.1): hashing, proofs, their checks.

A leaf's hash is SHA-256(0x00 || entry), a node's SHA-256(0x01 || left || right), so neither can pass for the other. A
tree of n leaves splits at the largest power of two below n. `Frontier` holds just enough to append: the roots of the
full subtrees that n's binary digits name, largest first. Proofs are made from `node(level, index)`, the root of the
`index`-th full subtree of 2**level leaves, so that no proof needs all leaves. `verify_*` raise, because ignoring the
answer would be wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from charter.core.errors import ErrorCode, IntegrityError, MalformedError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
NodeReader = Callable[[int, int], bytes]
_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf whose bytes are `data`."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return _sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Subtree:
    """A full subtree of 2**level leaves, the `index`-th of its level, with its root."""

    level: int
    index: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, as the roots of its full subtrees, largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extend(self, leaves: Sequence[bytes], every: int) -> tuple[Frontier, tuple[Subtree, ...]]:
        """Append leaf hashes; return the new frontier and each subtree completed at a level divisible by `every`."""
        stack, size, completed = list(self.roots), self.size, []
        for leaf in leaves:
            node, rest, level = leaf, size, 0
            while rest & 1:
                node = _sha256(b"\x01" + stack.pop() + node).digest()
                rest >>= 1
                level += 1
                if level % every == 0:
                    completed.append(Subtree(level, rest, node))
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack)), tuple(completed)

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        return fold(self.roots)


def fold(roots: Sequence[bytes]) -> bytes:
    """Return the root of the tree whose full subtrees, largest first, have `roots`."""
    if not roots:
        return EMPTY_ROOT
    node = roots[-1]
    for left in reversed(roots[:-1]):
        node = node_hash(left, node)
    return node


def full_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the full subtrees that leaves `start` to `end` consist of, left to right.

    `start` is a multiple of the largest power of two not above `end - start`, as in each range RFC 9162 speaks of.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def root_of(start: int, end: int, node: NodeReader) -> bytes:
    """Return MTH(D[start:end]) (RFC 9162 section 2.1.1)."""
    return fold([node(level, index) for level, index in full_subtrees(start, end)])


def inclusion_path(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return the inclusion path of leaf `index` in a tree of `size`, leaf to root (RFC 9162 section 2.1.3.1).

    Raises:
        MalformedError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise MalformedError(ErrorCode.UNKNOWN_ENTRY, f"a log of {size} entries has no entry {index}")
    ranges, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return tuple(root_of(low, high, node) for low, high in reversed(ranges))


def consistency_path(first: int, second: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return the proof that the tree of `second` leaves extends that of `first` (RFC 9162 section 2.1.4.1).

    Empty where nothing needs proof: `first` is 0 or equals `second`.

    Raises:
        MalformedError: `first` is above `second`.
    """
    if not 0 <= first <= second:
        raise MalformedError(ErrorCode.UNKNOWN_ENTRY, f"a log of {second} entries never had {first}")
    if first in (0, second):
        return ()
    ranges, start, end, is_whole = [], 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:
        ranges.append((start, end))
    return tuple(root_of(low, high, node) for low, high in reversed(ranges))


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) stands at `index` of the tree of `size` with `root` (RFC 9162 2.1.3.2).

    Raises:
        IntegrityError: the path does not prove it.
    """
    if not 0 <= index < size:
        raise _unproved(f"a log of {size} entries has no entry {index}")
    fn, sn, node = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise _unproved(f"the inclusion path of entry {index} is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn or node != root:
        raise _unproved(f"the inclusion path of entry {index} does not lead to the checkpoint's root")


def verify_consistency(first: int, second: int, roots: tuple[bytes, bytes], path: Sequence[bytes]) -> None:
    """Check that the tree of `second` leaves extends that of `first`; `roots` are theirs (RFC 9162 2.1.4.2).

    Raises:
        IntegrityError: the path does not prove it.
    """
    if not 0 <= first <= second:
        raise _unproved(f"a log of {second} entries never had {first}")
    if first in (0, second):
        _verify_trivial(first, second, roots, path)
        return
    nodes = list(path)
    if not first & (first - 1):  # a power of two: the first tree is itself a node of the second
        nodes.insert(0, roots[0])
    if not nodes:
        raise _unproved(f"the consistency path from {first} to {second} entries is empty")
    _climb(first - 1, second - 1, nodes, roots)


def _climb(fn: int, sn: int, nodes: Sequence[bytes], roots: tuple[bytes, bytes]) -> None:
    """Carry out steps 4 to 8 of RFC 9162 section 2.1.4.2."""
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            raise _unproved("the consistency path is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    if sn or (first, second) != roots:
        raise _unproved("the consistency path does not lead from the older root to the newer one")


def _verify_trivial(first: int, second: int, roots: tuple[bytes, bytes], path: Sequence[bytes]) -> None:
    if path:
        raise _unproved(f"from {first} to {second} entries there is nothing to prove, yet there is a path")
    if first == second and roots[0] != roots[1]:
        raise _unproved(f"two logs of {first} entries have different roots")
    if first == 0 and roots[0] != EMPTY_ROOT:
        raise _unproved("the root of the empty log is not that of an empty tree")


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _unproved(detail: str) -> IntegrityError:
    return IntegrityError(ErrorCode.EVIDENCE_BROKEN, detail)
