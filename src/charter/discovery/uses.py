"""What one principal did, call by call, gathered by what could tell its senders apart.

INVARIANT: memory is bounded however long the evidence is: past a number of different senders or objects, further ones
count without being told apart.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

MAX_SENDERS = 20_000  # combinations of features
MAX_OBJECTS = 500  # different ones of one deed
MAX_TOKENS = 50_000


class Feature(StrEnum):
    """What could tell senders apart, the surest first."""

    WORKLOAD = "workload"  # attested by the kernel, by the selectors of its charter
    CREDENTIAL = "credential"  # which registered key, certificate or secret obtained the token
    KEY = "key"  # which key the token is bound to
    INITIATOR = "initiator"  # on whose behalf
    CLIENT = "client"  # what the program says that it is
    PLACE = "place"  # where the call came from
    HOURS = "hours"  # at what time of the day


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as the evidence has it. What is not known is None."""

    at: dt.datetime
    verdict: str  # allow | deny | escalate
    system: str
    action: str
    effect: str
    object: str
    rule: str  # that decided
    data: tuple[str, ...]
    token: str
    told: tuple[tuple[Feature, str], ...]  # the features known of it; hours are worked out from `at`


@dataclass(slots=True)
class Deed:
    """One action on one system under one rule: how often, and on what."""

    calls: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    more_objects: bool = False

    def add(self, name: str, calls: int = 1) -> None:
        """Count calls on an object."""
        self.calls += calls
        if name in self.objects or len(self.objects) < MAX_OBJECTS:
            self.objects[name] += calls
        else:
            self.more_objects = True

    def merge(self, other: Deed) -> None:
        """Count what another counted."""
        for name, calls in other.objects.items():
            self.add(name, calls)
        self.calls += other.calls - other.objects.total()
        self.more_objects = self.more_objects or other.more_objects


@dataclass(slots=True)
class Tally:
    """What one sender did, or several."""

    calls: int = 0
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    hours: Counter[int] = field(default_factory=Counter)  # UTC
    days: set[dt.date] = field(default_factory=set)
    deeds: dict[tuple[str, str, str], Deed] = field(default_factory=dict)  # by system, action, rule
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # by system, action
    data: set[str] = field(default_factory=set)

    def add(self, call: Call) -> None:
        """Count a call."""
        self.calls += 1
        self.first = call.at if self.first is None else min(self.first, call.at)
        self.last = call.at if self.last is None else max(self.last, call.at)
        self.hours[call.at.hour] += 1
        self.days.add(call.at.date())
        if call.verdict == "deny":
            self.refused[call.system, call.action] += 1
            return
        self.data.update(call.data)
        self.deeds.setdefault((call.system, call.action, call.rule), Deed()).add(call.object)

    def merge(self, other: Tally) -> None:
        """Count what another counted."""
        self.calls += other.calls
        self.first = min((each for each in (self.first, other.first) if each is not None), default=None)
        self.last = max((each for each in (self.last, other.last) if each is not None), default=None)
        self.hours.update(other.hours)
        self.days |= other.days
        self.refused.update(other.refused)
        self.data |= other.data
        for key, deed in other.deeds.items():
            self.deeds.setdefault(key, Deed()).merge(deed)

    @property
    def actions(self) -> frozenset[tuple[str, str]]:
        """What it did, by system and action."""
        return frozenset((system, action) for system, action, _ in self.deeds)


Sender = tuple[tuple[Feature, str], ...]


class Uses:
    """All calls of one principal over a period."""

    def __init__(self) -> None:
        self.calls = 0
        self.by_sender: dict[Sender, Tally] = {}
        self._tokens: dict[str, set[Sender]] = {}

    def add(self, call: Call) -> None:
        """Count a call."""
        self.calls += 1
        sender = (*call.told, (Feature.HOURS, f"{call.at.hour:02}"))
        if sender not in self.by_sender and len(self.by_sender) >= MAX_SENDERS:
            sender = tuple(each for each in sender if each[0] is not Feature.KEY)
            sender = sender if sender in self.by_sender else ()
        self.by_sender.setdefault(sender, Tally()).add(call)
        if call.token in self._tokens or len(self._tokens) < MAX_TOKENS:
            self._tokens.setdefault(call.token, set()).add(call.told)

    def steadiness(self, feature: Feature) -> float:
        """Return the share of tokens that were never used under two values of `feature`."""
        values = [{dict(sender).get(feature) for sender in senders} for senders in self._tokens.values()]
        return sum(len(each) == 1 for each in values) / len(values) if values else 0.0


def with_told(call: Call, *told: tuple[Feature, str | None]) -> Call:
    """Return a call with these features, those that are known."""
    known = tuple((feature, value) for feature, value in told if value)
    return replace(call, told=known)
