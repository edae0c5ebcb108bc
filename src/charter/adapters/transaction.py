"""The transaction that works are given: what it gathers becomes durable with it, or not at all.

`SqlTransaction` is the part everybody needs; bootstrap makes a subclass that also carries the stores of all areas,
each on `connection`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from charter.adapters.payloads import Payloads
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError
from charter.core.keys import Signer
from charter.evidence.entry import MAX_ENTRY_BYTES, Draft, Entry, place


@dataclass(slots=True)
class Frame:
    """The inside of one transaction. `node` is None for a read: nothing can be recorded in it."""

    connection: sa.Connection
    at: dt.datetime
    node: str | None = None
    size: int = 0  # of the log, before this transaction
    entries: list[Entry] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)
    steps: list[Callable[[], None]] = field(default_factory=list)
    successor: Signer | None = None  # the key that the log goes on with
    payloads: Payloads | None = None  # what keeps apart what can be erased; None: all stands in what is hashed
    is_complete: bool = False  # the next work must find memory as the steps leave it

    def mark(self) -> tuple[int, int, int]:
        """Return how far the transaction has come, for `rewind`."""
        return len(self.entries), len(self.changes), len(self.steps)

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forget what was gathered since `mark`, by the one work that was run since."""
        del self.entries[mark[0] :], self.changes[mark[1] :], self.steps[mark[2] :]
        self.is_complete, self.successor = False, None  # a work that sets them ends its group


class SqlTransaction:
    """A transaction on the database. Satisfies core.work.Transaction."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.connection = frame.connection
        self.at = frame.at
        self.payloads = frame.payloads

    @property
    def place(self) -> tuple[str, int]:
        """The node, and the index in its log, of the entry that is recorded next."""
        frame = self._writing()
        return frame.node or "", frame.size + len(frame.entries)

    def record(self, draft: Draft) -> int:
        """Append an evidence entry and return its index in this node's log.

        Raises:
            MalformedError: the entry has no canonical form or is larger than 64 KiB.
        """
        frame = self._writing()
        index = frame.size + len(frame.entries)
        salt = frame.payloads.salt if frame.payloads is not None else None
        entry = place(draft, node=frame.node or "", index=index, at=frame.at, salt=salt)
        size = len(entry.data) + (len(entry.apart.payload) if entry.apart else 0)
        if size > MAX_ENTRY_BYTES:
            raise MalformedError(
                ErrorCode.TOO_LARGE,
                f"an evidence entry of {size} bytes is larger than {MAX_ENTRY_BYTES}",
                help="send smaller values; evidence holds digests of large ones",
            )
        frame.entries.append(entry)
        return index

    def changed(self, kind: str, subject: str, *, actor: str, reason: str) -> None:
        """Add a row to the ordered feed of changes."""
        row = {"kind": kind, "subject": subject, "at": rfc3339(self.at), "actor": actor, "reason": reason}
        self._writing().changes.append(row)

    def after_commit(self, step: Callable[[], None], *, apart: bool = False) -> None:
        """Run `step` on the writer's thread once the transaction is durable, before anyone gets an answer.

        What it shows `apart` is nothing that another work of the group could ask for, so the group goes on.
        """
        frame = self._writing()
        frame.steps.append(step)
        frame.is_complete = frame.is_complete or not apart

    def hand_log_over(self, successor: Signer) -> None:
        """Let this node's log go on with another key: its head after this transaction is signed by both.

        The log's signer must be that one once the transaction is durable (`after_commit`).
        """
        self._writing().successor = successor

    def _writing(self) -> Frame:
        if self._frame.node is None:
            raise RuntimeError("a read transaction records and changes nothing")
        return self._frame
