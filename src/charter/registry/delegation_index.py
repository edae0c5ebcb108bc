"""Where a delegation stands in the book: an index from identifiers to rows, in arrays, for a million of them.

A dictionary would take some hundred bytes for each; open addressing over one array of row numbers takes about twelve.

INVARIANT: one writer changes it while any number of threads read. A row number is put into a slot after its row is
whole, and a table that grows is replaced in one step, so that a reader finds a row or does not, but never another one:
every hit is compared with the identifier itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

_EMPTY = 0
_GONE = 0xFFFF_FFFF  # a slot whose row was taken out; searching goes on behind it
_SMALLEST = 1024
_DIGITS = str.maketrans("0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv")
_LENGTH = 26
_LOW = (1 << 64) - 1


def number_of(identifier: str) -> int | None:
    """Return the 128 bits that an identifier `del_<26 characters>` spells, None if it is of another form."""
    text = identifier.removeprefix("del_")
    if len(text) != _LENGTH or len(identifier) == _LENGTH or not text.isascii() or not text.isalnum():
        return None
    try:
        value = int(text.translate(_DIGITS), 32)
    except ValueError:
        return None
    return value if value < 1 << 128 else None


class RowIndex:
    """Row numbers by the 128-bit number of an identifier. `number_at` tells the number that a row has."""

    def __init__(self, number_at: Callable[[int], int]) -> None:
        self._number_at = number_at
        self._slots = array("I", [_EMPTY]) * _SMALLEST
        self._used = 0  # slots that are not empty, those gone included
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, number: int) -> int | None:
        """Return the row of `number`."""
        slots = self._slots
        mask = len(slots) - 1
        at = _hash(number) & mask
        while (slot := slots[at]) != _EMPTY:
            if slot != _GONE and self._number_at(slot - 1) == number:
                return slot - 1
            at = (at + 1) & mask
        return None

    def put(self, number: int, row: int) -> None:
        """Let `row`, which is whole already, be found under `number`, which is not in the index."""
        if (self._used + 1) * 3 > len(self._slots) * 2:
            self._rebuild()
        if _place(self._slots, number, row):
            self._used += 1
        self._count += 1

    def drop(self, number: int) -> None:
        """Let nothing be found under `number`."""
        slots = self._slots
        mask = len(slots) - 1
        at = _hash(number) & mask
        while (slot := slots[at]) != _EMPTY:
            if slot != _GONE and self._number_at(slot - 1) == number:
                slots[at] = _GONE
                self._count -= 1
                return
            at = (at + 1) & mask

    def _rebuild(self) -> None:
        """Make room: a larger table, or one of the same size without the slots that are gone."""
        size = _SMALLEST
        while size * 2 < (self._count + 1) * 4:
            size *= 2
        fresh = array("I", [_EMPTY]) * size
        for slot in self._slots:
            if slot not in (_EMPTY, _GONE):
                _place(fresh, self._number_at(slot - 1), slot - 1)
        self._slots, self._used = fresh, self._count

    @property
    def bytes_held(self) -> int:
        """How much memory the table takes."""
        return len(self._slots) * self._slots.itemsize


def _hash(number: int) -> int:
    """Return well-mixed bits: the random half of an identifier would do, but a test's may count."""
    return ((number & _LOW) * 0x9E37_79B9_7F4A_7C15 & _LOW) >> 20


def _place(slots: array[int], number: int, row: int) -> bool:
    """Put a row into the first free slot of its run; return whether that slot was never used before."""
    mask = len(slots) - 1
    at = _hash(number) & mask
    while slots[at] not in (_EMPTY, _GONE):
        at = (at + 1) & mask
    was_empty = slots[at] == _EMPTY
    slots[at] = row + 1
    return was_empty
