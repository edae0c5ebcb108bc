"""The only reader of wall time and of the monotonic clock.

Pure functions take `at`, an aware UTC `datetime`, and never a clock. A use case reads the clock once and passes it on.
"""

from __future__ import annotations

import datetime as dt
import time
from functools import lru_cache
from typing import Protocol

import msgspec


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> dt.datetime:
        """Return the present as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """Return the present as an aware UTC datetime."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()


class Deadline(msgspec.Struct, frozen=True):
    """A moment on the monotonic clock after which work on a request is given up."""

    at_monotonic: float
    clock: Clock

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline `seconds` from now."""
        return cls(clock.monotonic() + seconds, clock)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at_monotonic - self.clock.monotonic())

    @property
    def is_past(self) -> bool:
        """Whether the moment has come."""
        return self.clock.monotonic() >= self.at_monotonic


def rfc3339(at: dt.datetime) -> str:
    """Return `at` in UTC with microseconds, `2026-11-24T09:30:00.000000Z`: one width, so text order is time order."""
    return _utc_text(at if at.tzinfo is dt.UTC else at.astimezone(dt.UTC))


@lru_cache(maxsize=256)  # all that one commit records is of one moment; in UTC, where equal moments are one
def _utc_text(at: dt.datetime) -> str:
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> dt.datetime:
    """Return the aware UTC datetime that `text` names.

    Raises:
        ValueError: `text` is not a timestamp with a zone.
    """
    at = dt.datetime.fromisoformat(text)
    if at.tzinfo is None:
        msg = f"`{text}` names no zone"
        raise ValueError(msg)
    try:
        return at.astimezone(dt.UTC)
    except OverflowError as err:  # its zone moves it before the year 1, or behind 9999
        raise ValueError("the time lies outside the calendar") from err
