"""A log of made-up entries that can be forked, and a house that is asked to cosign it.

Run as a program, it has a house cosign heads of two forks in turn, and says each that was, to be killed meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

from charter.bootstrap.witnessing import Witnessing
from charter.core.keys import Ed25519Signer
from charter.evidence.checkpoint import Checkpoint, sign_checkpoint
from charter.evidence.tree import Frontier, consistency_path, leaf_hash, root_of
from houses import Stage, a_house

ORIGIN, LOG_KEY = "example.com/log/1", Ed25519Signer.from_seed(b"\1" * 32)
FORKED_AT, MOST = 5, 400


class Log:
    """The log; forked, its entries from `FORKED_AT` on are others."""

    def __init__(self, *, forked: bool = False) -> None:
        self.leaves = [leaf_hash(b"%d %d" % (number, forked and number >= FORKED_AT)) for number in range(MOST)]

    def node(self, level: int, index: int) -> bytes:
        first = index << level
        return Frontier().extend(self.leaves[first : first + (1 << level)], 64)[0].root

    def head(self, size: int) -> Checkpoint:
        return sign_checkpoint(ORIGIN, size, root_of(0, size, self.node), LOG_KEY)

    def asks(self, old: int, size: int) -> bytes:
        """Return the request for a cosignature of the head of `size`, from that of `old`."""
        proof = "".join(base64.b64encode(each).decode() + "\n" for each in consistency_path(old, size, self.node))
        return f"old {old}\n{proof}\n{self.head(size).to_note()}".encode()


def asked(eye: Stage, body: bytes) -> tuple[int, str]:
    """Return the status and text of a witness's answer."""
    found = asyncio.run(Witnessing.of(eye.house).answer(body))
    return found.status, found.text


def main(folder: Path, first: str) -> None:
    """Ask for ever larger heads of both forks, that of `first` first, and say which were cosigned."""
    forks = {"a": Log(), "b": Log(forked=True)}
    order = (first, "b" if first == "a" else "a")
    with a_house(folder, apply=False) as eye:
        kept = eye.house.database.read(lambda tx: tx.witnessed.log(ORIGIN))
        old = kept.size if kept else 0
        for size in range(max(old, FORKED_AT) + 1, MOST):
            for name in order:
                if asked(eye, forks[name].asks(old, size))[0] == 200:
                    os.write(1, f"{name} {size}\n".encode())
                    old = size


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
