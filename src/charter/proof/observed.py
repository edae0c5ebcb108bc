"""What a principal was seen to do, gathered from its verdicts: the ground that right-sizing stands on.

Kept is what a narrower charter would have to allow, and no more: per action how often, when and on which objects; how
full each limit became; the largest amounts; whose delegations. What becomes too much to keep counts as everything.

INVARIANT: a call that was allowed, or held for a person's yes, is use. One that was refused is not, but that it was
asked for is remembered, so that nobody takes authority from a principal by having its calls refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.registry.charter import EVERY_ACTION, Charter
from charter.registry.delegation import is_person
from charter.registry.window import Window

MAX_OBJECTS = 5_000  # of one action; more count as any object
MAX_MADE = 1_000  # ways in which calls of one action were begun; more count as any
QUARTER = 900  # seconds; every zone is a whole number of quarters from UTC

Key = tuple[str, str]  # system, action


@dataclass(frozen=True, slots=True)
class Made:
    """On whose behalf a call was made. `parties`: names; `initiator`: a name, or a person's address."""

    parties: frozenset[str] = frozenset()
    purpose: str = ""
    depth: int = 0  # delegations; 0: by itself
    initiator: str = ""
    by_person: bool = False


@dataclass(slots=True)
class Seen:
    """What was seen of one action of one system in the period."""

    count: int = 0
    objects: set[str] | None = field(default_factory=set)  # None: too many
    quarters: set[int] = field(default_factory=set)  # quarters of an hour since 1970
    peaks: dict[str, Decimal | None] = field(default_factory=dict)  # largest of each argument; None: not always told
    is_told: bool = True  # whether of every call it is known what it asked for
    made: set[Made] | None = field(default_factory=set)  # None: too many, or not known of all

    def dates(self) -> frozenset[dt.date]:
        """Return the days, UTC."""
        return frozenset(_day(each) for each in self.quarters)


def _day(quarter: int) -> dt.date:
    return dt.datetime.fromtimestamp(quarter * QUARTER, dt.UTC).date()


@dataclass(slots=True)
class Past:
    """What is known of one action over all of the evidence that is looked at, the period and before."""

    count: int = 0
    refused: int = 0  # in the period: asked for in vain
    last: dt.datetime | None = None
    dates: set[dt.date] = field(default_factory=set)


@dataclass(slots=True)
class Fill:
    """How full one limit of one grant became: the amounts by the counter that each was added to."""

    window: Window
    argument: str | None
    actions: frozenset[str]
    system: str
    added: dict[int, Decimal] = field(default_factory=dict)
    is_told: bool = True

    def peak(self) -> Decimal | None:
        """Return the most that any window held; None if the evidence does not say."""
        if not self.is_told:
            return None
        if self.window.seconds is None:
            return max(self.added.values(), default=Decimal(0))
        most = Decimal(0)
        for start in self.added:  # a sliding window is fullest when a counter was just added to
            reaches = self.window.starts(dt.datetime.fromtimestamp(start, dt.UTC))
            most = max(most, sum((self.added.get(each, Decimal(0)) for each in reaches), Decimal(0)))
        return most


@dataclass(slots=True)
class Observed:
    """All that was seen of one principal from `since` on, and in outline before."""

    since: dt.datetime
    fills: dict[tuple[int, int], Fill] = field(default_factory=dict)  # by grant and limit
    seen: dict[Key, Seen] = field(default_factory=dict)
    past: dict[Key, Past] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    chains: list[Made] = field(default_factory=list)  # each once
    calls: int = 0
    issued: dict[str, dt.datetime] = field(default_factory=dict)  # tokens of the period: when
    token_age: dt.timedelta | None = dt.timedelta()  # of the oldest in use; None: not known of all
    in_use: set[str] = field(default_factory=set)  # tokens of `issued`
    delegations: dict[str, dt.datetime] = field(default_factory=dict)  # when a call was made under each, last

    @classmethod
    def of(cls, charter: Charter, since: dt.datetime) -> Observed:
        """Return what is to be filled for `charter`."""
        fills = {
            (g, n): Fill(limit.window, limit.sum, frozenset(grant.actions), grant.system)
            for g, grant in enumerate(charter.grants)
            for n, limit in enumerate(grant.limit)
        }
        return cls(since, fills)

    def issue(self, body: Mapping[str, Any], at: dt.datetime) -> None:
        """Take in the body of one authentication."""
        if body.get("outcome") == "issued":
            self.issued[str(body.get("token"))] = at

    def take(self, body: Mapping[str, Any], recorded: dt.datetime, *, is_erased: bool = False) -> None:
        """Take in the body of one verdict that the log has. Of what was erased, anything may have been."""
        action, told = body.get("action"), body.get("asked") or {}
        if not isinstance(action, str):
            return
        at = parse_rfc3339(told["at"]) if told.get("at") else recorded
        key = (str(body["system"]), action)
        past = self.past.setdefault(key, Past())
        is_within = recorded >= self.since
        if body["verdict"] == "deny":
            past.refused += is_within
            return
        past.count += 1
        past.last = max(past.last or at, at)
        past.dates.add(at.astimezone(dt.UTC).date())
        if is_within:
            self._used(key, body, at, is_erased)

    def _used(self, key: Key, body: Mapping[str, Any], at: dt.datetime, is_erased: bool) -> None:
        self.calls += 1
        seen = self.seen.setdefault(key, Seen())
        seen.count += 1
        seen.quarters.add(int(at.timestamp()) // QUARTER)
        if is_erased:
            seen.objects, seen.made = None, None
            seen.is_told = False
        if seen.objects is not None:
            seen.objects.add(str(body.get("object") or ""))
            if len(seen.objects) > MAX_OBJECTS:
                seen.objects = None
        self.data.update(str(each) for each in body.get("data") or ())
        amounts = dict(_amounts((body.get("asked") or {}).get("arguments")))
        for name, amount in amounts.items():
            before = seen.peaks.get(name, amount)
            seen.peaks[name] = None if amount is None or before is None else max(before, amount)
        for fill in self.fills.values():
            if fill.system == key[0] and (key[1] in fill.actions or EVERY_ACTION in fill.actions):
                self._fill(fill, amounts, at)
        self._chained(seen, body.get("chain"), at)
        self._proved(str(body.get("token") or ""), at)

    @staticmethod
    def _fill(fill: Fill, amounts: Mapping[str, Decimal | None], at: dt.datetime) -> None:
        amount = Decimal(1) if fill.argument is None else amounts.get(fill.argument)
        if amount is None:
            fill.is_told = False
            return
        start = fill.window.starts(at)[-1]
        fill.added[start] = fill.added.get(start, Decimal(0)) + amount

    def _chained(self, seen: Seen, chain: object, at: dt.datetime) -> None:
        found = Made()
        if isinstance(chain, Mapping):
            parties = [each for each in chain.get("parties") or () if isinstance(each, Mapping)]
            if not parties:  # it was gone when the call was denied or recorded
                seen.made = None
                return
            names = frozenset(str(each.get("name")) for each in parties)
            begun = (str(parties[0].get("name")), is_person(str(parties[0].get("party"))))
            found = Made(names, str(chain.get("purpose") or ""), max(1, len(parties) - 1), *begun)
            delegation = str(chain.get("delegation"))
            self.delegations[delegation] = max(at, self.delegations.get(delegation, at))
            if found not in self.chains:
                self.chains.append(found)
        if seen.made is not None:
            seen.made.add(found)
            if len(seen.made) > MAX_MADE:
                seen.made = None

    def _proved(self, token: str, at: dt.datetime) -> None:
        issued = self.issued.get(token)
        if issued is None or self.token_age is None:
            self.token_age = None  # of an earlier day, or another node
        else:
            self.token_age = max(self.token_age, at - issued)
            self.in_use.add(token)

    def of_actions(self, system: str, actions: Sequence[str]) -> Iterator[Seen]:
        """Yield what was seen of these actions."""
        return (self.seen[system, name] for name in actions if (system, name) in self.seen)


def _amounts(told: object) -> Iterator[tuple[str, Decimal | None]]:
    if not isinstance(told, Mapping):
        return
    for name, said in told.items():
        value = None
        if isinstance(said, Mapping):
            value = said["quantity"].get("value") if isinstance(said.get("quantity"), Mapping) else said.get("number")
        try:
            yield str(name), None if value is None else Decimal(str(value))
        except InvalidOperation:
            yield str(name), None
