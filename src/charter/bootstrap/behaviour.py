"""Watching behaviour: one task follows this node's log, weighs every act, and keeps what it learns.

The log is the queue, as it is for sinks: nobody's call waits for it, and what could not be weighed yet stands in the
log. Whoever keeps up is given what the writer just wrote (behaviour_feed.py), and need not read it. Its state is kept
every few seconds, by principal, each with how far it learned; whoever starts again reads on from the least of these,
and each baseline passes over what it has learned.

INVARIANT: entries are weighed in the log's order, all of them, whatever principal they are of; what is kept of signals
and findings is bounded for each principal by itself. So a flood of one costs others time, and never a signal.
INVARIANT: a signal's finding, and what follows of it, are durable before the cursor passes its act.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from charter.behaviour.acceptance import Accepted
from charter.behaviour.act import Act, act_of
from charter.behaviour.baseline import Baseline
from charter.behaviour.peers import Peers
from charter.behaviour.repeats import Repeats
from charter.behaviour.signal import Signal
from charter.behaviour.watch import Crowd, Ration, Thresholds, Weighed, learn, weigh
from charter.bootstrap import responses
from charter.bootstrap.behaviour_feed import Feed
from charter.core.canonical import digest_of
from charter.core.errors import CharterError
from charter.registry.field import EVERY_ACTION
from charter.registry.principal import Principal

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

BATCH = 500  # entries read at once
YIELDS_EVERY = 10  # entries: each time the interpreter is given away, and may be busy elsewhere for milliseconds
IDLE_SECONDS = 0.1  # between looks at where the log ends
KEEP_SECONDS = 10.0  # between keepings of what was learned
KEPT_AT_ONCE = 50  # baselines: some megabytes
IN_MEMORY = 2_000  # baselines; others are read when they are needed
GROUPS_IN_MEMORY = 500
PEERS_IN_MEMORY = 10_000
LAGS = 1_000  # of the newest signals
TO_TELL = 1_000  # findings; what is told no more stands in the console
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
_log = logging.getLogger("charter.behaviour")


@dataclass(frozen=True, slots=True)
class Belongs:
    """What is known of a principal beside its acts: what its charter grants, and whose peer it is."""

    version: int  # of its charter
    granted: frozenset[str]
    alike: str  # the group of those that may do exactly the same
    kind: str  # the group of its kind and environment


@dataclass(slots=True)
class BehaviourRoom:
    """What is learned of behaviour on this node."""

    house: House
    thresholds: Thresholds = field(default_factory=Thresholds)
    crowd: Crowd = field(default_factory=lambda: Crowd(IN_MEMORY))
    groups: Crowd = field(default_factory=lambda: Crowd(GROUPS_IN_MEMORY))
    ration: Ration = field(default_factory=Ration)
    kind_ration: Ration = field(default_factory=Ration)
    belongs: OrderedDict[str, Belongs] = field(default_factory=OrderedDict)
    accepted: dict[str, tuple[Accepted, ...]] = field(default_factory=dict)
    next: int = -1  # the first entry that was not weighed; below 0: not asked yet
    silent: int = 0
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=LAGS))  # seconds from an act to its signal
    to_tell: deque[str] = field(default_factory=lambda: deque(maxlen=TO_TELL))  # findings that owners wait to hear of
    weighed: int = 0
    failure: str = ""
    feed: Feed = field(default_factory=Feed)
    repeats: Repeats = field(default_factory=Repeats)
    is_stale: bool = False  # what owners say is normal was changed
    _kept_at: float = 0.0

    async def keep(self, stop: asyncio.Event) -> None:
        """Weigh what comes into the log, until `stop`."""
        done = self.house.database.hand_out(self.feed.hear)
        try:
            await self._follow(stop)
        finally:
            done()
        with contextlib.suppress(CharterError):
            await self.keep_learned(most=IN_MEMORY)

    async def _follow(self, stop: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                moved = await self.step()
                self.failure, pause = "", FIRST_PAUSE
                wait = 0.0 if moved else IDLE_SECONDS
            except CharterError as err:
                self._failed(err.detail)
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE)
            except Exception as err:  # watching must not end with one act that nobody foresaw  # noqa: BLE001
                self._failed(type(err).__name__)
                _log.exception("behaviour cannot be watched")
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE)
            if wait:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)

    async def step(self) -> int:
        """Weigh the next entries of the log; return how many there were.

        Raises:
            CharterError: the store failed; the entries are weighed again then.
        """
        if self.next < 0:
            await self._begin()
        is_behind = self.next < self.house.database.head.size
        try:
            found, after = await asyncio.to_thread(self._weigh_batch) if is_behind else ([], self.next)
        except BaseException:
            self._forget()
            raise
        ticks = self.house.clock.monotonic()
        at_once = self.repeats.sift(found, ticks, partial(responses.answer, self.house))
        await self._keep([*at_once, *self.repeats.take(ticks)])
        now = self.house.clock.now()
        self.lags.extend((now - each.at).total_seconds() for each in at_once)
        moved, self.next = after - self.next, after
        if moved:
            self._make_room()
        if self.house.clock.monotonic() - self._kept_at >= KEEP_SECONDS or self._is_crowded:
            await self.keep_learned()
        return moved

    async def keep_learned(self, *, most: int = KEPT_AT_ONCE) -> None:
        """Keep up to `most` of the baselines that changed, longest waiting first, and from where to read on."""
        self._kept_at = self.house.clock.monotonic()
        if self.next < 0:
            return
        await self._keep(self.repeats.take(self._kept_at, all_of_them=True))
        node = self.house.database.node
        waiting = [(first, crowd, name) for crowd in (self.crowd, self.groups) for name, first in crowd.dirty.items()]
        waiting.sort(key=lambda each: each[0])
        chosen, least = waiting[:most], min((first for first, _, _ in waiting[most:]), default=self.next)
        bodies = await asyncio.to_thread(_written, [(name, crowd.baselines[name]) for _, crowd, name in chosen])

        def work(tx: HouseTransaction) -> None:
            tx.behaviour.keep(node, bodies, tx.at)
            tx.behaviour.move(node, least, self.silent, tx.at)

        await self.house.database.awrite(work, patient=True)
        for _, crowd, name in chosen:
            crowd.dirty.pop(name, None)
        self._make_room()

    def reread_accepted(self) -> None:
        """Read again what owners say is normal."""
        self.is_stale = False
        found = self.house.database.read(lambda tx: tx.behaviour.accepted(self.house.clock.now()))
        known: dict[str, list[Accepted]] = {}
        for each in found:
            known.setdefault(each.principal, []).append(each)
        self.accepted = {principal: tuple(each) for principal, each in known.items()}

    def reread_soon(self) -> None:
        """Have what owners say is normal read again before the next act: something of it changed."""
        self.is_stale = True

    def baseline_of(self, principal_id: str) -> Baseline:
        """Return what a principal usually does, as far as it was learned."""
        return self._baseline(self.crowd, principal_id)

    def peers_of(self, principal: Principal) -> Peers:
        """Return what a charter and peers let expect of a principal."""
        own = self._belongs(principal)
        for group, said in (
            (own.alike, "with the same grants"),
            (own.kind, f"{principal.kind.value}s in its environment"),
        ):
            found = self._baseline(self.groups, group)
            others = [each for each in found.members.names if each != principal.id]
            if others:
                return Peers(own.granted, said, found)
        return Peers(own.granted)

    # --- within ---

    async def _begin(self) -> None:
        node, head = self.house.database.node, self.house.database.head.size
        kept = await asyncio.to_thread(self.house.database.read, lambda tx: tx.behaviour.cursor(node))
        await asyncio.to_thread(self.reread_accepted)
        self.next, self.silent = kept if kept is not None else (0, head)

    async def _keep(self, signals: list[Signal]) -> None:
        try:
            await responses.keep(self.house, signals)
        except BaseException:
            self._forget()
            raise

    def _weigh_batch(self) -> tuple[list[Signal], int]:
        if self.is_stale:
            self.reread_accepted()
        start = self.next
        told = self.feed.take(start, BATCH)
        if told is None:
            stored = self.house.database.read_log(lambda log: log.entries(start - 1, BATCH))
            told = [each.to_json() for each in stored]
        found: list[Signal] = []
        for number, each in enumerate(told):
            act = act_of(each)
            signal = self._signal_of(act) if act is not None else None
            if signal is not None:
                found.append(signal)
            if number % YIELDS_EVERY == 0:
                time.sleep(0)  # let calls be answered meanwhile
        return found, start + len(told)

    def _signal_of(self, act: Act) -> Signal | None:
        try:
            weighed = self._weigh(act)
        except CharterError:
            raise
        except Exception:  # one act that nobody foresaw must not stop the watch over all others  # noqa: BLE001
            _log.exception("the act at entry %d cannot be weighed", act.index)
            return None
        return weighed.signal if weighed is not None and act.index >= self.silent else None

    def _weigh(self, act: Act) -> Weighed | None:
        principal = self.house.live.principals.get(act.principal)
        if principal is None:
            return None
        own = self._baseline(self.crowd, act.principal)
        if act.index < own.next:
            return None
        peers, belongs = self.peers_of(principal), self._belongs(principal)
        weighed = weigh(act, own, peers, self.accepted.get(act.principal, ()), self.thresholds)
        groups = []
        for name, ration in ((belongs.alike, self.ration), (belongs.kind, self.kind_ration)):
            group = self._baseline(self.groups, name)
            if act.index >= group.next and ration.takes(act):
                group.next = act.index + 1
                self.groups.dirty.setdefault(name, act.index)
                groups.append(group)
        learn(weighed, own, groups, peers.baseline)
        own.next = act.index + 1
        self.crowd.dirty.setdefault(act.principal, act.index)
        self.weighed += 1
        return weighed

    def _baseline(self, crowd: Crowd, name: str) -> Baseline:
        found = crowd.get(name)
        if found is None:
            node = self.house.database.node
            found = self.house.database.read(lambda tx: tx.behaviour.baseline(node, name)) or Baseline()
            crowd.put(name, found)
        return found

    def _belongs(self, principal: Principal) -> Belongs:
        known = self.belongs.get(principal.id)
        if known is not None and known.version == principal.version:
            self.belongs.move_to_end(principal.id)
            return known
        granted = self._granted(principal)
        alike = "alike:" + digest_of({"granted": sorted(granted)}).removeprefix("sha256:")[:32]
        found = Belongs(principal.version, granted, alike, f"kind:{principal.kind.value}:{principal.environment.value}")
        self.belongs[principal.id] = found
        if len(self.belongs) > PEERS_IN_MEMORY:
            self.belongs.popitem(last=False)
        return found

    def _granted(self, principal: Principal) -> frozenset[str]:
        charter = self.house.database.read(
            lambda tx: tx.registry.charter_version(principal.id, principal.version)
        ).charter
        deeds: set[str] = set()
        for grant in charter.grants:
            record = self.house.live.systems.get(grant.system)
            every = tuple(record.system.actions) if record is not None else ()
            for action in every if EVERY_ACTION in grant.actions else grant.actions:
                deeds.add(f"{grant.system}/{action}")
        return frozenset(deeds)

    @property
    def _is_crowded(self) -> bool:
        return len(self.crowd.baselines) > IN_MEMORY or len(self.groups.baselines) > GROUPS_IN_MEMORY

    def _make_room(self) -> None:
        """Put baselines aside that are kept already; those that are not are kept first."""
        for crowd in (self.crowd, self.groups):
            for name in list(crowd.surplus()):
                if name not in crowd.dirty:
                    crowd.drop(name)

    def _forget(self) -> None:
        """Have what was not kept read again: what was learned of it, and what it signalled, is found again."""
        for crowd in (self.crowd, self.groups):
            crowd.baselines.clear()
            crowd.dirty.clear()
        self.repeats = Repeats()
        self.next = -1

    def _failed(self, detail: str) -> None:
        if self.failure != detail:
            self.failure = detail
            _log.warning("behaviour is not watched: %s", detail)


def _written(baselines: list[tuple[str, Baseline]]) -> dict[str, str]:
    return {name: msgspec.json.encode(baseline.to_json()).decode() for name, baseline in baselines}
