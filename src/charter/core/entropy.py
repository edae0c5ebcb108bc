"""The only source of identifiers, nonces and secrets.

Identifiers carry their kind as a prefix and sort by the time they were made: `prn_01k2…`. They tell neither tenant
nor count.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
import time
from collections import deque
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_RANDOM, _AT_ONCE = 10, 256  # random bytes of an identifier, and for how many they are drawn at once
_LENGTH, _TIMED = 26, 10  # characters of an identifier, and those of them that hold its time
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


_drawn: deque[bytes] = deque()  # random bytes for identifiers that are still to be made
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_drawn.clear)  # or two processes would make the same ones


class Entropy(Protocol):
    """Where identifiers and randomness come from."""

    def identifier(self, kind: str) -> str:
        """Return a fresh identifier `<kind>_<26 characters>`."""
        ...

    def token(self, nbytes: int = 32) -> str:
        """Return `nbytes` of randomness as URL-safe text."""
        ...

    def bytes(self, nbytes: int) -> bytes:
        """Return `nbytes` of randomness."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    def identifier(self, kind: str) -> str:
        """Return a fresh identifier: 48 bits of milliseconds, then 80 random bits (the layout of a ULID).

        They are drawn for many identifiers at once: at each draw the interpreter is another thread's to take.
        """
        try:
            bits = _drawn.popleft()  # one step: no two threads are given the same
        except IndexError:
            drawn = secrets.token_bytes(_RANDOM * _AT_ONCE)
            bits, *others = (drawn[at : at + _RANDOM] for at in range(0, len(drawn), _RANDOM))
            _drawn.extend(others)
        value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(bits)
        return f"{kind}_{encode_base32(value)}"

    def token(self, nbytes: int = 32) -> str:
        """Return `nbytes` of randomness as URL-safe text."""
        return secrets.token_urlsafe(nbytes)

    def bytes(self, nbytes: int) -> bytes:
        """Return `nbytes` of randomness."""
        return secrets.token_bytes(nbytes)


def encode_base32(value: int) -> str:
    """Return a 128-bit `value` as 26 characters of Crockford's base 32, most significant first."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def moment_of(identifier: str) -> dt.datetime | None:
    """Return when an identifier was made, by the clock of who made it; None if it is none of ours."""
    text = identifier.rpartition("_")[2]
    if len(text) != _LENGTH or any(each not in _ALPHABET for each in text):
        return None
    value = 0
    for each in text[:_TIMED]:
        value = value << 5 | _ALPHABET.index(each)
    try:
        return dt.datetime.fromtimestamp(value / 1000, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None
