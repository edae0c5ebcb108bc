"""The newest entries of the log, as the writer wrote them, until they are weighed.

Read back, each costs a query, a decryption and two keys for it, more than to weigh it. Whoever falls behind, or starts,
reads the log.

INVARIANT: what is given out is what the log holds from the entry asked for on, without a gap, or nothing.
INVARIANT: bounded: what cannot be kept is let go of altogether, and read from the log.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from charter.evidence.entry import Entry
from charter.evidence.payload import whole

MAX_BYTES = 16 * 1024 * 1024


class Feed:
    """Entries on their way from the writer to whoever weighs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._size = 0

    def hear(self, entries: Sequence[Entry]) -> None:
        """Keep what was written. On the writer's thread, once it is durable."""
        with self._lock:
            if self._entries and entries and entries[0].index != self._entries[-1].index + 1:
                self._clear()  # a commit of which nobody told is between them
            self._entries.extend(entries)
            self._size += sum(map(_size_of, entries))
            if self._size > MAX_BYTES:
                self._clear()

    def take(self, index: int, most: int) -> list[dict[str, Any]] | None:
        """Take out up to `most` entries from `index` on, each as it says; None if that one has to be read."""
        with self._lock:
            while self._entries and self._entries[0].index < index:
                self._drop()
            if not self._entries or self._entries[0].index != index:
                return None
            taken = [self._drop() for _ in range(min(most, len(self._entries)))]
        return [whole(msgspec.json.decode(each.data), each.apart.payload if each.apart else None) for each in taken]

    def _drop(self) -> Entry:
        entry = self._entries.popleft()
        self._size -= _size_of(entry)
        return entry

    def _clear(self) -> None:
        self._entries.clear()
        self._size = 0


def _size_of(entry: Entry) -> int:
    return len(entry.data) + (len(entry.apart.payload) if entry.apart else 0)
