"""Failed authentications, counted per source: how strangers are slowed down, and told of without letting them write.

INVARIANT: a stranger cannot grow the log: failures become one entry a minute at most, which counts them per source and
names the worst, however many there were.
INVARIANT: memory is bounded: past a number of sources and clients, further ones share a count.

A source is an address, or for IPv6 its /64, which is what one stranger has at least.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from charter.core.clock import Clock, rfc3339
from charter.core.errors import ErrorCode, ThrottledError
from charter.evidence.entry import Draft, EntryKind

WINDOW_SECONDS = 60
PER_CLIENT = 30  # failures a window of one known client from one source
PER_SOURCE = 300  # failures a window of one source that claimed no known client
MAX_COUNTED = 10_000  # sources, and pairs of source and client, told apart in a window
MAX_NAMED = 40  # sources named in an entry, which holds 64 KiB even if each met every error there is
MAX_UNTOLD = 60  # entries that wait to be recorded
OTHERS = "others"


@dataclass(slots=True)
class _Window:
    """The counts of one minute."""

    began: float  # monotonic seconds
    since: dt.datetime
    sources: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    codes: dict[str, Counter[str]] = field(default_factory=dict)  # by source


class Failures:
    """The failures of the current minute, and those not yet told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._window = self._fresh()
        self._untold: list[Draft] = []

    def failed(self, source: str, code: ErrorCode, client: str = "") -> None:
        """Count one failure of `source`; `client` is the known client it claimed to be, if it claimed one."""
        place = source_of(source)
        with self._lock:
            window = self._current()
            name = place if place in window.sources or len(window.sources) < MAX_COUNTED else OTHERS
            window.sources[name] += 1
            window.codes.setdefault(name, Counter())[code.value] += 1
            window.pairs[_pair(window, place, client)] += 1

    def check(self, source: str, client: str = "") -> None:
        """Let a request of `source` as `client` pass, unless too many of theirs failed within the minute.

        Many clients may share a source, so what one of them does wrong is not held against the others.

        Raises:
            ThrottledError: too many did.
        """
        with self._lock:
            window = self._current()
            pair = _pair(window, source_of(source), client)
            if window.pairs[pair] < (PER_CLIENT if pair[1] not in ("", OTHERS) else PER_SOURCE):
                return
            wait = window.began + WINDOW_SECONDS - self._clock.monotonic()
        raise ThrottledError(
            ErrorCode.TOO_MANY,
            "too many authentications failed from here",
            help="check the client's key and clock; what failed is counted in the evidence",
            retry_after_seconds=max(1, int(wait) + 1),
        )

    def drain(self, *, early: bool = False) -> list[Draft]:
        """Return the entries of the minutes that are over, to be recorded, each once; `early` ends the current one."""
        with self._lock:
            self._current(early=early)
            untold, self._untold = self._untold, []
            return untold

    def _current(self, *, early: bool = False) -> _Window:
        """Return the current minute; if one is over, its entry waits to be told."""
        if early or self._clock.monotonic() - self._window.began >= WINDOW_SECONDS:
            if self._window.sources:
                body = _body(self._window, self._clock.now())
                draft = Draft(EntryKind.AUTHENTICATION_FAILURES, "charter", None, body)
                self._untold = [*self._untold, draft][-MAX_UNTOLD:]
            self._window = self._fresh()
        return self._window

    def _fresh(self) -> _Window:
        return _Window(self._clock.monotonic(), self._clock.now())


def _pair(window: _Window, place: str, client: str) -> tuple[str, str]:
    """Return what a failure is held against: the client at its source, or, when too many are told apart, all others."""
    pair = (place, client)
    return pair if pair in window.pairs or len(window.pairs) < MAX_COUNTED else (OTHERS, OTHERS)


def source_of(address: str) -> str:
    """Return the source that an address stands for: itself, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))


def _body(window: _Window, until: dt.datetime) -> dict[str, Any]:
    worst = window.sources.most_common(MAX_NAMED)
    named = [{"source": name, "count": count, "codes": dict(window.codes[name])} for name, count in worst]
    return {
        "since": rfc3339(window.since),
        "until": rfc3339(until),
        "count": window.sources.total(),
        "sources": len(window.sources),
        "worst": named,
    }
