"""Which step of its session a call is, and which call it came of, as its verdict tells it.

    {"session": "ses_…", "run": "ticket-7", "since": "2026-11-24T09:30:00Z", "step": 3,
     "parents": [{"verdict": "vrd_…", "known_by": "proposal"}, {"session": "ses_…", "known_by": "delegation"}]}

Steps are counted in memory: `since` is when this process met the session, so (node, session, since, step) names one
call. A step that no verdict has is an attempt that could not be recorded. The order of the log stands above all of it.

INVARIANT: nothing here gives authority; a parent is told as far as Charter itself knows it, never as a caller says.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from charter.core.clock import rfc3339
from charter.gateway.flow import IDLE, SessionKey
from charter.registry.delegation import Chain, is_person

MAX_SESSIONS = 16_384
MAX_OF_ONE = 1_024  # sessions of one principal, so that nobody makes another's forgotten
MAX_UNDER_WAY = 16_384


class KnownBy(StrEnum):
    """What a parent is known by."""

    PROPOSAL = "proposal"  # the answer of a model proposed just this call
    DELEGATION = "delegation"  # whoever lent the authority is doing it meanwhile, in that session


class Parent(msgspec.Struct, frozen=True):
    """What a call came of: another call, or a session of which no one call is known to be it."""

    known_by: KnownBy
    session: str | None = None
    verdict: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as evidence has it."""
        told = {"session": self.session, "verdict": self.verdict}
        return {name: said for name, said in told.items() if said} | {"known_by": self.known_by.value}


class Step(msgspec.Struct, frozen=True):
    """The place of one call in what its principal does."""

    session: str
    run: str | None
    since: dt.datetime
    number: int  # from 1
    parents: tuple[Parent, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as evidence has it."""
        told: dict[str, Any] = {"session": self.session, "since": rfc3339(self.since), "step": self.number}
        if self.run is not None:
            told["run"] = self.run
        return told | ({"parents": [each.to_json() for each in self.parents]} if self.parents else {})


@dataclass(slots=True)
class _Count:
    id: str
    since: dt.datetime
    used_at: dt.datetime
    steps: int = 0


@dataclass(slots=True)
class Sequences:
    """The sessions of a node, as far as steps are counted, and the calls that are under way."""

    _counts: OrderedDict[SessionKey, _Count] = field(default_factory=OrderedDict)
    _of: dict[str, OrderedDict[SessionKey, None]] = field(default_factory=dict)  # by principal, least lately used first
    _under_way: OrderedDict[str, SessionKey] = field(default_factory=OrderedDict)  # by verdict
    _open_of: dict[tuple[str, str | None], dict[str, SessionKey]] = field(default_factory=dict)

    def step(self, key: SessionKey, at: dt.datetime, parents: Iterable[Parent] = ()) -> Step:
        """Return the next step of a session."""
        count = self._counts.get(key)
        if count is None or at - count.used_at > IDLE:
            count = self._counts[key] = _Count(key.id, at, at)
        count.used_at = at
        count.steps += 1
        self._keep(key)
        return Step(count.id, key.run, count.since, count.steps, tuple(parents))

    def began(self, key: SessionKey, verdict_id: str) -> None:
        """Know that a call is under way."""
        self._under_way[verdict_id] = key
        self._open_of.setdefault((key.principal_id, key.delegation), {})[verdict_id] = key
        while len(self._under_way) > MAX_UNDER_WAY:
            self.ended(next(iter(self._under_way)))

    def ended(self, verdict_id: str) -> None:
        """Know that a call is under way no more."""
        key = self._under_way.pop(verdict_id, None)
        if key is None:
            return
        lent = (key.principal_id, key.delegation)
        open_ = self._open_of.get(lent, {})
        open_.pop(verdict_id, None)
        if not open_:
            self._open_of.pop(lent, None)

    def lender(self, chain: Chain | None, run: str | None, at: dt.datetime) -> Parent | None:
        """Return the call or session of the principal that lent the authority of a call; None if none is known.

        It is a call only where just one may be it: of the same run, or the only one that the lender has under way under
        the authority that it lent from.
        """
        if chain is None or is_person(chain.links[-1].lender):
            return None
        above = chain.links[-2].id if chain.depth > 1 else None
        key = SessionKey(chain.links[-1].lender, above, run)
        open_ = self._open_of.get((key.principal_id, above), {})
        own = [verdict for verdict, each in open_.items() if each == key]
        found = own or list(open_)
        if len(found) == 1:
            return Parent(KnownBy.DELEGATION, open_[found[0]].id, found[0])
        count = self._counts.get(key)
        if count is None or at - count.used_at > IDLE:
            return None
        return Parent(KnownBy.DELEGATION, count.id)

    def _keep(self, key: SessionKey) -> None:
        own = self._of.setdefault(key.principal_id, OrderedDict())
        own[key] = None
        own.move_to_end(key)
        self._counts.move_to_end(key)
        if len(own) > MAX_OF_ONE:
            self._forget(next(iter(own)))
        while len(self._counts) > MAX_SESSIONS:
            self._forget(next(iter(self._counts)))

    def _forget(self, key: SessionKey) -> None:
        self._counts.pop(key, None)
        own = self._of.get(key.principal_id)
        if own is not None:
            own.pop(key, None)
            if not own:
                del self._of[key.principal_id]
