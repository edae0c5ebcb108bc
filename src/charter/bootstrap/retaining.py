"""Retention: once a day what is over its time is erased; and orders to erase that were cut short are carried out.

How far each rule was carried out is kept with each step, so a sweep that dies goes on from there. Where a hold is
released, all begins anew. An entry whose time is not over, but which stands before one whose time is (a clock was set
back), is looked at again the next time.

INVARIANT: nothing is erased here that a hold covers, nor what no rule of `CHARTER_RETENTION` is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from charter.bootstrap.erasing import PAGE, Tally, carry_out, settle, unheld
from charter.bootstrap.evidence import log_of
from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import CharterError, ConflictError, ErrorCode, MalformedError
from charter.evidence.erasure import MAX_ERASED, Erasing, erase
from charter.evidence.log import Stored
from charter.registry.duration import write_duration
from charter.registry.retention import Periods, parse_retention, place_of, rules_for

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

EVERY_SECONDS = 60.0
SWEEP_EVERY = dt.timedelta(days=1)  # each sweep that erases has sealed evidence made again
_log = logging.getLogger("charter.retention")


@dataclass(slots=True)
class Retaining:
    """The retention of one house's own log."""

    house: House
    lock: threading.Lock = field(default_factory=threading.Lock)  # who holds it erases
    _settled: bool = False  # what a process that died erased without emptying SQLite's log

    async def keep(self, stop: asyncio.Event) -> None:
        """Carry out until `stop` what is under way or due; what fails is tried again a minute later."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self.tend, stop.is_set)
            except CharterError as err:
                _log.warning("evidence could not be erased: %s", err.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)

    def tend(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Carry out what is under way, and sweep if that is due.

        Raises:
            UnavailableError: it could not be done to its end; it goes on from there.
        """
        house = self.house
        with self.lock:
            if not self._settled:
                house.database.settle_erasure()
                self._settled = True
            for order in house.database.read(lambda tx: tx.erasures.orders(house.database.node)):
                carry_out(house, order, stopped)
            if self._is_due() and not stopped():
                told = self._sweep(stopped)
                _log.info("retention erased %d payloads", sum(each["erased"] for each in told))

    async def run(self, *, actor: str, reason: str) -> dict[str, Any]:
        """Sweep now, in the name of whoever asks; say what each rule erased."""
        return {"rules": await asyncio.to_thread(self._run, actor, reason)}

    def _run(self, actor: str, reason: str) -> list[dict[str, Any]]:
        with self.lock:
            return self._sweep(lambda: False, actor, reason)

    def listing(self) -> dict[str, Any]:
        """Return rules [{rule, period, before, reached, swept_at}], orders that are under way (how many), holds.

        `elsewhere` [{log, orders}]: orders that wait for other nodes, each for its own log.
        """
        house, now = self.house, self.house.clock.now()

        def read(tx: HouseTransaction) -> dict[str, Any]:
            node = house.database.node
            swept = tx.erasures.swept(node)
            told = []
            for rule, period in sorted(house.settings.retention.items()):
                reached, at = swept.get(place_of(rule, house.settings.retention), (-1, None))
                told.append(_said(rule, period, now) | {"reached": reached if reached >= 0 else None, "swept_at": at})
            under_way = len(tx.erasures.orders(node))
            waiting = [{"log": log, "orders": count} for log, count in tx.erasures.waiting(node).items()]
            return {"rules": told, "under_way": under_way, "elsewhere": waiting, "holds": len(tx.erasures.holds())}

        return house.database.read(read)

    async def preview(self, rules: str | None) -> dict[str, Any]:
        """Return what a sweep would erase now: by the settings, or by other `rules` of the same form.

        Raises:
            MalformedError: they are none.
        """
        try:
            periods = self.house.settings.retention if rules is None else parse_retention(rules)
        except ValueError as err:
            raise MalformedError(
                ErrorCode.BAD_VALUE, f"a rule of retention {err}", help="as in default=400d,customer-pii=90d"
            ) from err
        return {"rules": await asyncio.to_thread(self._preview, periods)}

    def _preview(self, periods: Periods) -> list[dict[str, Any]]:
        now, told = self.house.clock.now(), []
        for rule, period in sorted(periods.items()):
            walk, tally = _Walk(self.house, rule, periods, now), Tally()
            walk.begin(anew=True)
            while (page := walk.next()) is not None:
                tally.add(*page)
            told.append(_said(rule, period, now) | {k: v for k, v in tally.to_json().items() if k != "erased"})
        return told

    def _is_due(self) -> bool:
        periods, house = self.house.settings.retention, self.house
        swept = house.database.read(lambda tx: tx.erasures.swept(house.database.node)) if periods else {}
        now = house.clock.now()
        times = [swept.get(place_of(rule, periods), (-1, None))[1] for rule in periods]
        return any(at is None or abs(now - parse_rfc3339(at)) >= SWEEP_EVERY for at in times)

    def _sweep(
        self, stopped: Callable[[], bool], actor: str = "charter", reason: str = "retention"
    ) -> list[dict[str, Any]]:
        house, told = self.house, []
        periods, now = house.settings.retention, house.clock.now()
        for rule, period in sorted(periods.items()):
            order = Erasing(actor, reason, f"retention {rule}={write_duration(period)}")
            tally = self._sweep_rule(_Walk(house, rule, periods, now), order, stopped)
            told.append(_said(rule, period, now) | tally.to_json())
            if stopped():
                break
        if any(each["erased"] for each in told):
            settle(house)
        return told

    def _sweep_rule(self, walk: _Walk, order: Erasing, stopped: Callable[[], bool]) -> Tally:
        """Erase what one rule is for, telling of many pages' in one entry; keep how far that is done with each step."""
        tally, waiting = Tally(), list[Stored]()
        walk.begin()
        while not stopped():
            page = walk.next() if len(waiting) < MAX_ERASED else ([], 0)
            if page is not None and len(waiting) < MAX_ERASED:
                tally.add(*page)
                waiting += page[0]
                continue
            some, waiting = waiting[:MAX_ERASED], waiting[MAX_ERASED:]
            is_end = page is None and not waiting
            try:
                tally.erased += self.house.database.write(partial(walk.erase, some, waiting, order, is_end))
            except ConflictError:  # a hold was placed meanwhile: it is seen when the walk begins again
                tally, waiting = Tally(found=tally.erased, erased=tally.erased, shown=tally.shown), []
                walk.begin()
                continue
            if is_end:
                break
        return tally


@dataclass(slots=True)
class _Walk:
    """Through the entries that are over the time of one rule, oldest first, from where the last walk ended."""

    house: House
    rule: str
    periods: Periods
    now: dt.datetime
    place: str = ""
    _reached: int = -1
    _last: int = -1
    _early: int | None = None  # the first that is passed over because its time is not over

    def begin(self, *, anew: bool = False) -> None:
        """Find out where the walk begins and ends."""
        self.place = place_of(self.rule, self.periods)
        before = self.before

        def read(tx: HouseTransaction) -> tuple[int, int]:
            node = self.house.database.node
            reached = -1 if anew else tx.erasures.swept(node).get(self.place, (-1, None))[0]
            return reached, tx.erasures.last_before(node, before)

        self._reached, self._last = self.house.database.read(read)
        self._early = None

    @property
    def before(self) -> str:
        """The time before which the rule erases."""
        return rfc3339(self.now - self.periods[self.rule])

    def next(self) -> tuple[list[Stored], int] | None:
        """Return what of the next page is to be erased, opened, and how much of it is held; None at the end."""
        return self.house.database.read(self._page)

    def erase(
        self, some: list[Stored], waiting: list[Stored], order: Erasing, is_end: bool, tx: HouseTransaction
    ) -> int:
        """Erase some of what was found, and keep how far the walk is when all but `waiting` is erased. A work."""
        count = erase(tx, some, order)
        tx.erasures.sweep(self.house.database.node, self.place, self._done(waiting), tx.at if is_end else None)
        return count

    def _done(self, waiting: list[Stored]) -> int:
        ends = [self._reached]
        if self._early is not None:
            ends.append(self._early - 1)
        if waiting:
            ends.append(waiting[0].index - 1)
        return min(ends)

    def _page(self, tx: HouseTransaction) -> tuple[list[Stored], int] | None:
        node = self.house.database.node
        rows = tx.erasures.kept(node, self._reached, self._last, PAGE)
        if not rows:
            self._reached = max(self._reached, self._last)
            return None
        meant = []
        for each in rows:
            if self.rule not in rules_for(self.periods, msgspec.json.decode(each.data)):
                continue
            if each.time < self.before:
                meant.append(each.index)
            elif self._early is None:
                self._early = each.index
        self._reached = rows[-1].index
        opened = log_of(self.house, tx).chosen(meant) if meant else ()
        free = unheld(opened, tx.erasures.holds())
        return free, len(opened) - len(free)


def _said(rule: str, period: dt.timedelta, now: dt.datetime) -> dict[str, Any]:
    return {"rule": rule, "period": write_duration(period), "before": rfc3339(now - period)}
