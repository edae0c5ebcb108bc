"""How anything is made durable: one writer, in groups, each group one transaction.

A *work* is a plain function from a `Transaction` to an answer. The writer runs the works that wait, in order, in one
database transaction, appends the evidence they recorded, commits once, applies their `after_commit` steps, and only
then gives the answers. So:

INVARIANT: an answer from `write` means that the work and its evidence are durable, and that the live estate shows them.

A work may run twice (a group that fails is tried again one by one), so it must not touch anything but its transaction;
what must follow goes into `after_commit`. A work that raises changes nothing; the others of its group are unharmed. A
work with `after_commit` steps ends its group: the next work finds the live estate as those steps leave it. Only what
no other work can ask for yet, since nobody knows its name before the answer, is shown `apart`, and ends nothing.
No network and no waiting inside a work.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Tx_co = TypeVar("Tx_co", covariant=True)


class Transaction(Protocol):
    """What every work may do; each floor adds the stores it needs by structure."""

    @property
    def at(self) -> dt.datetime:
        """The time of this transaction."""
        ...

    @property
    def place(self) -> tuple[str, int]:
        """The log, and the index in it, of the entry that is recorded next."""
        ...

    def record(self, draft: Any) -> int:  # noqa: ANN401 - an evidence Draft; the floor below evidence cannot name it
        """Append an evidence entry and return its index in this node's log."""
        ...

    def changed(self, kind: str, subject: str, *, actor: str, reason: str) -> None:
        """Add a row to the ordered feed of changes."""
        ...

    def after_commit(self, step: Callable[[], None], *, apart: bool = False) -> None:
        """Run `step` on the writer's thread once the transaction is durable, before anyone gets an answer."""
        ...


class Writer(Protocol[Tx_co]):
    """The one way to change anything."""

    def write(self, work: Callable[[Tx_co], T]) -> T:
        """Return what `work` returns, once it is durable. Blocks.

        Raises:
            UnavailableError: it could not be made durable; nothing of it happened.
        """
        ...

    def awrite(self, work: Callable[[Tx_co], T], *, patient: bool = False) -> Awaitable[T]:
        """Return what to await for what `work` returns, once it is durable, without blocking the event loop.

        The work is handed over now, whether that is awaited or not. A patient one waits a moment for another to share
        its commit with: nobody is waiting for it.
        """
        ...
